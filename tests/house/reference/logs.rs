//! The lines of the log, as the code writes them. When each is written, people write beside it into the page.

use std::collections::BTreeSet;
use std::fs;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::markdown;
use crate::source::{SourceFile, program, root};

pub(super) const PAGE: &str = "reference/logs.md";
/// The parts of the page.
pub(super) const OPERATOR: &str = "lines of the operator";
pub(super) const BOTH: &str = "lines of both";
pub(super) const SIDECAR: &str = "lines of the sidecar";
/// What a person sees without a filter of his own.
const LEVELS: [&str; 3] = ["error", "warn", "info"];

/// The beginning of a row of the page: level, message and fields.
type Line = [String; 3];

pub(super) fn operator() -> String {
    table(OPERATOR)
}

pub(super) fn both() -> String {
    table(BOTH)
}

pub(super) fn sidecar() -> String {
    table(SIDECAR)
}

fn table(part: &str) -> String {
    let files = program();
    let mut found = BTreeSet::new();
    for file in files.iter().filter(|file| part_of(file) == part) {
        let text = file.text.split("#[cfg(test)]\nmod").next().unwrap();
        find(text.parse().unwrap(), &mut found);
    }
    assert!(found.len() > 10, "{part}: {found:#?}");
    let rows = explained(found, &written(&page(), part));
    markdown::table(["Level", "Message", "Fields", "Written when"], rows)
}

/// Whose lines a file writes.
fn part_of(file: &SourceFile) -> &'static str {
    match file.module().first().map(String::as_str) {
        Some("controller") => OPERATOR,
        Some("sidecar") => SIDECAR,
        _ => BOTH,
    }
}

/// The lines that a piece of code writes.
fn find(tokens: TokenStream, found: &mut BTreeSet<Line>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        find(group.stream(), found);
        // tracing :: LEVEL ! ( … )
        let Some(start) = index.checked_sub(5) else { continue };
        let call: Vec<_> = tokens[start..index].iter().map(ToString::to_string).collect();
        let level = LEVELS.iter().find(|level| call == ["tracing", ":", ":", **level, "!"]);
        if let (Some(level), Delimiter::Parenthesis) = (level, group.delimiter()) {
            found.insert(line(level, group.stream()));
        }
    }
}

fn line(level: &str, arguments: TokenStream) -> Line {
    let (mut fields, mut message) = (Vec::new(), None);
    let arguments: Vec<_> = arguments.into_iter().collect();
    for argument in arguments.split(|token| matches!(token, TokenTree::Punct(it) if it.as_char() == ',')) {
        match argument {
            // What follows the message is written into it.
            [TokenTree::Literal(text), ..] if message.is_none() => message = Some(text.to_string()),
            [TokenTree::Punct(_), TokenTree::Ident(name), ..] | [TokenTree::Ident(name), ..]
                if message.is_none() =>
            {
                fields.push(format!("`{name}`"));
            }
            _ => {}
        }
    }
    let message = message.unwrap_or_default();
    let message = message.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or_default();
    let message = message.replace("\\\"", "\"").replace('|', "\\|");
    [level.to_uppercase(), format!("`{message}`"), fields.join(", ")]
}

fn page() -> String {
    fs::read_to_string(root().join("docs/src").join(PAGE)).unwrap()
}

/// The rows of a part of the page, each with when it is written.
fn written(page: &str, part: &str) -> Vec<(Line, String)> {
    let (_, rest) = page.split_once(&format!("<!-- made: {part} ")).unwrap();
    let (made, _) = rest.split_once("<!-- /made -->").unwrap();
    let row = |line: &str| {
        let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let &[level, message, fields, when] = &cells[..] else { panic!("{PAGE}: not four cells: {line}") };
        Some(([level, message, fields].map(str::to_owned), when.to_owned()))
    };
    // After the titles.
    made.lines().filter_map(row).skip(1).collect()
}

/// These lines with their explanations: first those of the page, in its order, then those that nobody has explained yet.
fn explained(mut found: BTreeSet<Line>, written: &[(Line, String)]) -> Vec<[String; 4]> {
    let mut rows: Vec<_> = written.iter().filter(|(line, _)| found.remove(line)).cloned().collect();
    rows.extend(found.into_iter().map(|line| (line, String::new())));
    rows.into_iter().map(|([level, message, fields], when)| [level, message, fields, when]).collect()
}

#[test]
fn the_page_says_of_every_line_of_the_log_when_it_is_written() {
    let page = page();
    for part in [OPERATOR, BOTH, SIDECAR] {
        for (line, when) in written(&page, part) {
            assert!(!when.trim().is_empty(), "{PAGE}: say when this is written: {}", line.join(" | "));
        }
    }
}

#[test]
fn lines_are_found_wherever_they_stand_with_their_fields() {
    let code = r#"
        fn f() { select! { () = x => tracing::warn!(%origin, ?grant, token.field, seconds = y.as_secs(), "a {}: \"b|c\"", c) } }
        fn g() { tracing::debug!("not told"); other::info!("nor this"); it.map(|_| tracing::info!("{error}")); }
    "#;
    let mut found = BTreeSet::new();
    find(code.parse().unwrap(), &mut found);
    let expected =
        [["INFO", "`{error}`", ""], ["WARN", "`a {}: \"b\\|c\"`", "`origin`, `grant`, `token`, `seconds`"]];
    assert_eq!(found, BTreeSet::from(expected.map(|line| line.map(str::to_owned))));
}

#[test]
fn a_line_keeps_its_explanation_and_its_place_and_a_new_one_comes_last_without() {
    let page = "<!-- made: x (`make reference`) -->\n\n| Level | Message | Fields | Written when |\n|---|---|---|---|\n\
        | WARN | `b` |  | it fails |\n| INFO | `gone` |  | it did |\n| INFO | `a \\| b` | `x` | it starts |\n\n<!-- /made -->\n";
    let line = |level: &str, message: &str, fields: &str| [level, message, fields].map(str::to_owned);
    let found = [line("INFO", "`a \\| b`", "`x`"), line("INFO", "`new`", ""), line("WARN", "`b`", "")];
    let expected = [
        ["WARN", "`b`", "", "it fails"],
        ["INFO", "`a \\| b`", "`x`", "it starts"],
        ["INFO", "`new`", "", ""],
    ];
    assert_eq!(explained(found.into(), &written(page, "x")), expected);
}
