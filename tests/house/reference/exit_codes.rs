//! The exit codes, with the comments of their constants.

use std::fs;

use regex_lite::Regex;

use super::markdown::{self, cell};
use crate::source::root;

pub(super) fn table_of(text: &str) -> String {
    let code = Regex::new(r"((?:/// [^\n]+\n)+)pub\(super\) const [A-Z_]+: u8 = ([0-9]+);").unwrap();
    let rows = code.captures_iter(text).map(|found| {
        let meaning = found[1].replace("/// ", " ");
        [found[2].to_owned(), cell(&meaning)]
    });
    let good = ["0".to_owned(), "Good".to_owned()];
    markdown::table(["Code", "Meaning"], std::iter::once(good).chain(rows))
}

pub(super) fn table() -> String {
    table_of(&fs::read_to_string(root().join("src/cli/exit_code.rs")).unwrap())
}

#[test]
fn every_constant_is_a_row() {
    let text = "//! Codes.\n\n/// Not allowed,\n/// alas.\npub(super) const FORBIDDEN: u8 = 4;\n/// Bad.\npub(super) const BAD: u8 = 1;\n";
    assert!(
        table_of(text).ends_with("\n| 0 | Good |\n| 4 | Not allowed, alas |\n| 1 | Bad |\n"),
        "{}",
        table_of(text)
    );
}
