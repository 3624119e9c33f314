//! What a reader pastes from a page of the book.

use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

/// A block of a page.
pub(super) enum Piece {
    /// Commands for a shell.
    Script(String),
    /// Objects to be applied.
    Manifest(String),
    /// A file whose name the line before the block ends with, in code and with a colon: "`tenants.yaml`:".
    File { name: String, text: String },
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages below `docs/src`, by their paths there.
pub(super) fn pages() -> Vec<String> {
    let (folder, mut folders, mut found) =
        (root().join("docs/src"), vec![root().join("docs/src")], Vec::new());
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                found.push(path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The blocks of a page below `docs/src`, in order.
pub(super) fn pieces(page: &str) -> Vec<Piece> {
    let path = root().join("docs/src").join(page);
    let text = fs::read_to_string(&path).unwrap();
    let file = Regex::new(r"`([\w-]+\.yaml)`:$").unwrap();
    let (mut pieces, mut before) = (Vec::new(), "");
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((indentation, language)) = line.split_once("```") else {
            before = if line.is_empty() { before } else { line };
            continue;
        };
        let block = lines.by_ref().take_while(|line| line.trim() != "```");
        let block: String =
            block.map(|line| line.strip_prefix(indentation).unwrap_or(line).to_owned() + "\n").collect();
        let block = include(&path, block);
        match (language, file.captures(before)) {
            ("sh" | "bash", _) => pieces.push(Piece::Script(block)),
            ("yaml", Some(name)) => pieces.push(Piece::File { name: name[1].to_owned(), text: block }),
            ("yaml", None) if block.lines().any(|line| line.starts_with("apiVersion:")) => {
                pieces.push(Piece::Manifest(block));
            }
            _ => {}
        }
    }
    pieces
}

/// The manifest of this number on a page.
pub(super) fn manifest(page: &str, number: usize) -> String {
    let mut manifests = pieces(page).into_iter().filter_map(|piece| match piece {
        Piece::Manifest(text) => Some(text),
        _ => None,
    });
    manifests.nth(number).unwrap_or_else(|| panic!("{page} has no manifest {number}"))
}

/// The block itself, or the file that it includes.
fn include(page: &Path, block: String) -> String {
    let place = block.trim().strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}"));
    let path: Option<PathBuf> = place.map(|place| page.parent().unwrap().join(place));
    path.map_or(block, |path| fs::read_to_string(path).unwrap())
}
