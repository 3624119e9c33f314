//! The book names every metric, every flag and every field of the spec.

use std::process::Command;

use serde_json::Value;

use crate::source::{files, root, rust_files};

/// Those of these names that the book does not have.
fn missing(names: &[String]) -> Vec<&String> {
    assert!(names.len() > 4, "the names are found: {names:?}");
    let book: String = files("docs/src", &["md"]).into_iter().map(|page| page.text).collect();
    // A flag may have an argument.
    let book = book.replace([' ', ','], "`");
    names.iter().filter(|name| !book.contains(name.as_str())).collect()
}

/// The first word after each of these.
fn after<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.split(start).skip(1).filter_map(|rest| rest.split_whitespace().next()).collect()
}

#[test]
fn the_book_names_every_metric() {
    let mut names = Vec::new();
    for file in rust_files("src/ops").iter().filter(|file| file.path.starts_with("src/ops/metrics")) {
        let words = ["registry,", "registry.register(", "encode_descriptor(", "encoder,", "number("]
            .map(|it| after(&file.text, it));
        let literals = words.iter().flatten().filter_map(|word| word.strip_prefix('"'));
        names.extend(literals.map(|name| name.trim_end_matches("\",")).map(|name| {
            if name.starts_with("process_") { name.to_owned() } else { format!("idissuer_{name}") }
        }));
    }
    assert_eq!(missing(&names), [""; 0]);
}

#[test]
fn the_book_names_every_flag() {
    for command in ["controller", "sidecar", "selftest", "token"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_idissuer"));
        let help = String::from_utf8(program.args([command, "--help"]).output().unwrap().stdout).unwrap();
        let flags: Vec<_> = after(&help, "\n      --").iter().map(|flag| format!("`--{flag}`")).collect();
        assert_eq!(missing(&flags), [""; 0], "{command}");
    }
}

#[test]
fn the_book_names_every_field_of_the_spec() {
    fn collect(schema: &Value, names: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            names.push(format!("{name}:"));
            collect(field, names);
        }
    }
    let crd = std::fs::read_to_string(root().join("crds/idissuer.pl_idissuercredentials.yaml")).unwrap();
    let crd: Value = serde_saphyr::from_str(&crd).unwrap();
    let mut names = Vec::new();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    collect(&schema["properties"]["spec"], &mut names);
    assert_eq!(missing(&names), [""; 0]);
}
