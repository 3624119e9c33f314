//! The project's files, and those of which the program consists.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::Span;
use syn::{Attribute, Item};

/// The most lines of a file before its tests, and with them. Clippy's `too_many_lines` bounds functions.
const LINES_BEFORE_TESTS: usize = 400;
const LINES: usize = 800;

pub(crate) struct SourceFile {
    /// Below the root of the project, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    fn read(path: &Path) -> Self {
        let inside = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
        Self::new(&inside, &fs::read_to_string(path).unwrap())
    }

    /// The path of its module: `src/core/token.rs` is `core::token`, `src/core/mod.rs` is `core`, `src/lib.rs` is the
    /// root. `src/main.rs` is `main`.
    pub(crate) fn module(&self) -> Vec<String> {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let inside = inside.trim_end_matches("/mod").trim_end_matches("lib");
        inside.split_terminator('/').map(str::to_owned).collect()
    }

    pub(crate) fn items(&self) -> Vec<Item> {
        syn::parse_file(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.path)).items
    }

    /// Where the files of the modules may be that it declares, except of those for tests.
    fn declared(&self) -> Vec<PathBuf> {
        let folder = self.module().iter().fold(root().join("src"), |folder, name| folder.join(name));
        let places = |item| match item {
            Item::Mod(module) if module.content.is_none() && !is_for_tests(&module.attrs) => {
                let place = folder.join(module.ident.to_string());
                vec![place.with_extension("rs"), place.join("mod.rs")]
            }
            _ => Vec::new(),
        };
        self.items().into_iter().flat_map(places).collect()
    }

    /// How many lines stand before its module of tests, which comes last.
    fn lines_before_tests(&self) -> usize {
        let items = self.items();
        let mut modules = items.iter().filter_map(|item| match item {
            Item::Mod(module) if module.content.is_some() && is_for_tests(&module.attrs) => Some(module),
            _ => None,
        });
        modules.next().map_or(self.text.lines().count(), |tests| line(tests.attrs[0].pound_token.span) - 1)
    }
}

/// Whether it says `#[cfg(test)]`.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    let is_test = |condition: syn::Path| condition.is_ident("test");
    attributes.iter().any(|it| it.path().is_ident("cfg") && it.parse_args().is_ok_and(is_test))
}

pub(crate) fn line(span: Span) -> usize {
    span.start().line
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of which the program consists: those that its roots declare, without tests.
pub(crate) fn program() -> Vec<SourceFile> {
    let mut paths: Vec<_> = ["src/lib.rs", "src/main.rs"].map(|path| root().join(path)).into();
    collect(&root().join("src/bin"), &["rs"], &mut paths);
    let mut program = Vec::new();
    while let Some(path) = paths.pop() {
        if path.exists() {
            let file = SourceFile::read(&path);
            paths.extend(file.declared());
            program.push(file);
        }
    }
    program
}

/// Every Rust file below this folder of the project.
pub(crate) fn rust_files(folder: &str) -> Vec<SourceFile> {
    files(folder, &["rs"])
}

/// Every file below this folder of the project whose name ends in one of these.
pub(crate) fn files(folder: &str, extensions: &[&str]) -> Vec<SourceFile> {
    let mut paths = Vec::new();
    collect(&root().join(folder), extensions, &mut paths);
    paths.iter().map(|path| SourceFile::read(path)).collect()
}

fn collect(folder: &Path, extensions: &[&str], paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, extensions, paths);
        } else if path.extension().is_some_and(|it| extensions.iter().any(|extension| it == *extension)) {
            paths.push(path);
        }
    }
}

fn is_too_long(file: &SourceFile) -> bool {
    file.text.lines().count() > LINES || file.lines_before_tests() > LINES_BEFORE_TESTS
}

#[test]
fn no_file_is_too_long_to_be_read_at_once() {
    let program = program();
    assert!(program.len() > 30, "the files are found");
    let too_long: Vec<_> = program.iter().filter(|file| is_too_long(file)).map(|file| &file.path).collect();
    assert!(too_long.is_empty(), "more than {LINES_BEFORE_TESTS} lines before tests: {too_long:?}");
    let all = ["src", "tests", "examples"].into_iter().flat_map(rust_files);
    let too_long: Vec<_> =
        all.filter(|file| file.text.lines().count() > LINES).map(|file| file.path).collect();
    assert!(too_long.is_empty(), "more than {LINES} lines: {too_long:?}");
}

#[test]
fn a_file_that_is_too_long_is_found() {
    let item = "const X: u8 = 1;\n";
    let tests = |lines: usize| format!("#[cfg(test)]\nmod tests {{\n{}}}\n", item.repeat(lines));
    let is_found = |text: &str| is_too_long(&SourceFile::new("src/core/long.rs", text));
    assert!(!is_found(&item.repeat(400)));
    assert!(is_found(&item.repeat(401)));
    assert!(!is_found(&(item.repeat(400) + &tests(396))));
    assert!(is_found(&(item.repeat(400) + &tests(398))));
}
