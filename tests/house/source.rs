//! The project's Rust files, and the code in them without comments, texts and tests.

use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a file before its tests, and with them.
const LINES_BEFORE_TESTS: usize = 400;
const LINES: usize = 800;

/// One Rust file.
pub(crate) struct SourceFile {
    /// Below the root of the project, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Whether the whole of it is tests.
    is_test: bool,
}

impl SourceFile {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), is_test: false }
    }

    /// The path of the module: `src/core/token.rs` is `core::token`; a `mod.rs` is its folder.
    pub(crate) fn module(&self) -> Vec<&str> {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let inside = inside.trim_end_matches(".rs").trim_end_matches("/mod");
        inside.split('/').collect()
    }

    /// What runs outside of tests: comments and the insides of texts are blank, line by line as it stood.
    pub(crate) fn code(&self) -> String {
        if self.is_test { String::new() } else { without_tests(&without_words(&self.text)).to_owned() }
    }
}

/// The code before the first module of tests. Tests come last.
fn without_tests(code: &str) -> &str {
    let is_of_tests = |&(at, _): &(usize, &str)| {
        let rest = code[at + "#[cfg(test)]".len()..].trim_start();
        rest.starts_with("mod ") || rest.starts_with("pub(crate) mod ")
    };
    code.match_indices("#[cfg(test)]").find(is_of_tests).map_or(code, |(at, _)| &code[..at])
}

/// Blanks comments, and what stands inside of texts and characters; line breaks stay.
fn without_words(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let words = length_of_words(rest);
        let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
        code.extend(rest[..words].chars().map(blank));
        rest = &rest[words..];
        if words == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// How many bytes at the start are a comment, a text or a character; 0: it is code.
fn length_of_words(text: &str) -> usize {
    let up_to =
        |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return up_to("*/", 2);
    }
    if let Some(hashes) = text.strip_prefix('r').map(|rest| rest.len() - rest.trim_start_matches('#').len())
        && text[1 + hashes..].starts_with('"')
    {
        return up_to(&format!("\"{}", "#".repeat(hashes)), 2 + hashes);
    }
    if text.starts_with('"') {
        return length_of_quoted(text, '"');
    }
    // A lifetime has no second quote.
    let mut after = text.chars().skip(1);
    let is_character = match (after.next(), after.next()) {
        (Some('\\'), _) => true,
        (_, second) => second == Some('\''),
    };
    if text.starts_with('\'') && is_character { length_of_quoted(text, '\'') } else { 0 }
}

fn length_of_quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below this folder of the project.
pub(crate) fn rust_files(folder: &str) -> Vec<SourceFile> {
    let mut files = files(folder, &["rs"]);
    let of_tests: Vec<String> = files.iter().flat_map(modules_of_tests).collect();
    for file in &mut files {
        file.is_test = of_tests.contains(&file.module().join("/"));
    }
    files
}

/// Every file below this folder of the project whose name ends in one of these.
pub(crate) fn files(folder: &str, extensions: &[&str]) -> Vec<SourceFile> {
    let mut paths = Vec::new();
    collect(&root().join(folder), extensions, &mut paths);
    let read = |path: &PathBuf| {
        let inside = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
        SourceFile::new(&inside, &fs::read_to_string(path).unwrap())
    };
    paths.iter().map(read).collect()
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

/// The modules that a file declares for tests only, in files of their own: `#[cfg(test)] mod tests;`.
fn modules_of_tests(file: &SourceFile) -> Vec<String> {
    let code = without_words(&file.text);
    code.split("#[cfg(test)]")
        .skip(1)
        .filter_map(|after| {
            let declaration = after.trim_start().trim_start_matches("pub(crate) ").strip_prefix("mod ")?;
            let (name, _) = declaration.split_once(';').filter(|(name, _)| !name.contains('{'))?;
            Some(format!("{}/{}", file.module().join("/"), name.trim()))
        })
        .collect()
}

/// What is too long in a file.
fn excess(file: &SourceFile) -> Option<String> {
    let (all, before_tests) = (file.text.lines().count(), file.code().lines().count());
    let is_too_long = all > LINES || before_tests > LINES_BEFORE_TESTS;
    is_too_long.then(|| format!("{}: {before_tests} lines before its tests, {all} with them", file.path))
}

#[test]
fn no_file_is_longer_than_a_person_reads() {
    let files = rust_files("src");
    assert!(files.len() > 30, "the files were found");
    let too_long: Vec<String> = files.iter().filter_map(excess).collect();
    assert!(too_long.is_empty(), "{}", too_long.join("\n"));
    let too_long: Vec<String> = ["tests", "examples", "benches"]
        .iter()
        .flat_map(|folder| rust_files(folder))
        .filter(|file| file.text.lines().count() > LINES)
        .map(|file| file.path)
        .collect();
    assert!(too_long.is_empty(), "more than {LINES} lines: {too_long:?}");
}

#[test]
fn a_file_that_is_too_long_is_found() {
    let line = "let x = 1;\n";
    let tests = |lines: usize| format!("#[cfg(test)]\nmod tests {{\n{}}}\n", line.repeat(lines));
    let file = |text: &str| excess(&SourceFile::new("src/core/long.rs", text)).is_some();
    assert!(!file(&line.repeat(400)));
    assert!(file(&line.repeat(401)));
    assert!(!file(&(line.repeat(400) + &tests(396))));
    assert!(file(&(line.repeat(400) + &tests(398))));
}

#[test]
fn comments_texts_and_tests_are_no_code() {
    let text = "use a::b; // c::d\n/* e::f\n */ let g = \"h::i \\\" j::k\"; let l = r#\"m\"::n\"#;\n\
        let o: &'static str = p; let q = '\"'; let r = '\\''; s::t(\"ü\");\n#[cfg(test)]\nuse u::v;\n\
        #[cfg(test)]\nmod tests { use w::x; }";
    let code = SourceFile::new("src/core/x.rs", text).code();
    for there in ["a::b", "let g =", "let l =", "&'static str", "s::t(", "u::v"] {
        assert!(code.contains(there), "{there} in:\n{code}");
    }
    for gone in ["c::d", "e::f", "h::i", "j::k", "m", "n\"", "ü", "w::x"] {
        assert!(!code.contains(gone), "{gone} in:\n{code}");
    }
    assert_eq!(code.lines().count(), 6, "lines stay where they were:\n{code}");
}

#[test]
fn a_file_of_tests_is_known_by_its_declaration() {
    let file = |path, text: &str| modules_of_tests(&SourceFile::new(path, text));
    assert_eq!(file("src/core/account.rs", "#[cfg(test)]\nmod tests;"), ["core/account/tests"]);
    assert_eq!(file("src/core/mod.rs", "mod token;\n#[cfg(test)]\npub(crate) mod world;"), ["core/world"]);
    assert!(file("src/core/mod.rs", "mod token; #[cfg(test)]\nmod tests { const A: u8 = 1; }").is_empty());
}
