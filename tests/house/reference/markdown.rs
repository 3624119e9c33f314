//! Text of the code as Markdown.

use std::fmt::Write as _;

use regex_lite::Regex;

/// Text of a help or a comment as a cell of a table: one line, with flags as code, which would otherwise become dashes.
pub(super) fn cell(text: &str) -> String {
    let flag = Regex::new(r"(^|[\s(])(--[a-z][a-z-]*(?:=[^\s;,]+)?)").unwrap();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let outside_of_code = |text: &str| {
        let text = text.replace('*', "\\*").replace('_', "\\_").replace('<', "&lt;");
        flag.replace_all(&text, "${1}`${2}`").into_owned()
    };
    let parts = line.split('`').enumerate();
    let parts: Vec<_> = parts
        .map(|(index, part)| if index % 2 == 0 { outside_of_code(part) } else { part.to_owned() })
        .collect();
    parts.join("`").replace('|', "\\|").trim_end_matches('.').to_owned()
}

/// A table with these columns.
pub(super) fn table<const COLUMNS: usize>(
    columns: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let mut made = format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(COLUMNS));
    for row in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(made, "| {} |", row.join(" | "));
    }
    made
}

#[test]
fn a_cell_is_one_line_in_which_nothing_becomes_markup_by_accident() {
    let text = "Use --allow-issuer=https://x.example\n(or --namespace), `a|b --c`, * and <x>.";
    let expected = "Use `--allow-issuer=https://x.example` (or `--namespace`), `a\\|b --c`, \\* and &lt;x>";
    assert_eq!(cell(text), expected);
}
