//! The table of the reasons in the book, with the texts of their Events: `make reference` writes it.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::core::reason::Reason;
use crate::core::reason::examples::all;

const FIRST: &str = "<!-- made: reasons (`make reference`) -->\n";
const LAST: &str = "<!-- /made -->";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/src/reference/reasons.md")
}

/// The reasons by their names, each with whether someone must act, and its texts.
fn rows() -> Vec<(&'static str, bool, Vec<String>)> {
    let mut rows: Vec<(&str, bool, Vec<String>)> = Vec::new();
    // What else it may be called, and what that means, stands before the table.
    for reason in all().iter().filter(|reason| !matches!(reason, Reason::LoginNotAccepted { .. })) {
        let (name, text) = (reason.name(), cell(&reason.note()));
        match rows.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, must_act, texts)) => {
                *must_act |= reason.needs_user_action();
                if !texts.contains(&text) {
                    texts.push(text);
                }
            }
            None => rows.push((name, reason.needs_user_action(), vec![text])),
        }
    }
    rows.sort_by_key(|(name, ..)| *name);
    rows
}

/// A text as a cell of a table.
fn cell(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(index, part)| match index % 2 {
        0 => part.split(' ').map(word).collect::<Vec<_>>().join(" "),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`").replace('|', "\\|")
}

/// A word outside of code. A flag becomes code: otherwise Markdown makes one dash of two.
fn word(word: &str) -> String {
    let flag = word.trim_matches(['(', ')', ',', ';', '.']);
    if flag.starts_with("--") { word.replace(flag, &format!("`{flag}`")) } else { word.replace('_', "\\_") }
}

/// The page with the table as it is made now.
fn made(page: &str) -> Option<String> {
    let (before, rest) = page.split_once(FIRST)?;
    let (_, after) = rest.split_once(LAST)?;
    let mut table = "| Reason | `Stalled` | Text |\n|---|---|---|\n".to_owned();
    for (name, must_act, texts) in rows() {
        let (must_act, texts) = (if must_act { "yes" } else { "no" }, texts.join("<br>"));
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| [`{name}`](../runbooks/{name}.md) | {must_act} | {texts} |");
    }
    Some(format!("{before}{FIRST}\n{table}\n{LAST}{after}"))
}

#[test]
fn the_book_lists_every_reason_with_the_texts_of_its_events() {
    let page = fs::read_to_string(path()).unwrap();
    assert!(made(&page).unwrap() == page, "the reasons are outdated: run `make reference` and commit it");
}

#[test]
#[ignore = "writes a page of the book: `make reference`"]
fn write_the_reasons() {
    let page = fs::read_to_string(path()).unwrap();
    fs::write(path(), made(&page).unwrap()).unwrap();
}
