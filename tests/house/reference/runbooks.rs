//! The pages of `docs/src/runbooks`.

use std::fs;

use crate::source::{files, root};

/// Their list in the summary of the book.
pub(super) fn list() -> String {
    let names = files("docs/src/runbooks", &["md"]).into_iter().map(|page| {
        let name = page.path.rsplit('/').next().unwrap().trim_end_matches(".md").to_owned();
        format!("  - [{name}](runbooks/{name}.md)\n")
    });
    names.collect()
}

/// What the page of a reason or an alert begins with, in one line.
pub(super) fn first_sentence(name: &str) -> String {
    let page = fs::read_to_string(root().join(format!("docs/src/runbooks/{name}.md"))).unwrap();
    let paragraph = page.split("\n\n").nth(1).unwrap().replace('\n', " ");
    paragraph
        .split_once(". ")
        .map_or(paragraph.as_str(), |(sentence, _)| sentence)
        .trim_end_matches('.')
        .to_owned()
}
