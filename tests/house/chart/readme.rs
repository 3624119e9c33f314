//! The list of values in the chart's README is made from the comments of `values.yaml`.

use std::fmt::Write as _;

use serde_json::Value;

use super::{folder, read_of_chart, yaml};

const START: &str = "<!-- ANCHOR: values. `make chart` generates it from values.yaml. -->\n";
const END: &str = "<!-- ANCHOR_END: values -->\n";

/// One line of `values.yaml` that is more than a comment.
struct Line {
    path: String,
    comment: String,
    section: Option<String>,
}

fn lines(text: &str) -> Vec<Line> {
    let (mut lines, mut steps) = (Vec::new(), Vec::<(usize, String)>::new());
    let (mut comment, mut section) = (Vec::new(), None);
    for line in text.lines() {
        let bare = line.trim_start();
        if let Some(title) = bare.strip_prefix("## ") {
            section = Some(title.to_owned());
        } else if let Some(words) = bare.strip_prefix("# ") {
            comment.push(words);
        } else if let Some((name, _)) = bare.split_once(':') {
            let depth = line.len() - bare.len();
            steps.retain(|(of, _)| *of < depth);
            steps.push((depth, name.to_owned()));
            let path = steps.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(".");
            lines.push(Line { path, comment: comment.join(" "), section: section.take() });
            comment.clear();
        } else {
            comment.clear();
        }
    }
    lines
}

/// Whether the description of another value covers it.
fn is_told_elsewhere(lines: &[Line], path: &str) -> bool {
    lines.iter().any(|other| {
        let is_told = !other.comment.is_empty();
        let is_inside = path.starts_with(&format!("{}.", other.path));
        let is_group = other.path.starts_with(&format!("{path}."));
        is_told && (is_inside || is_group)
    })
}

fn table(text: &str) -> String {
    let (values, lines) = (yaml(text), lines(text));
    let mut made = String::new();
    for line in &lines {
        if let Some(title) = &line.section {
            // Writing to a String cannot fail.
            let _ = write!(made, "\n### {title}\n\n| Value | Default | Meaning |\n|---|---|---|\n");
        }
        if !line.comment.is_empty() {
            let value = values.pointer(&format!("/{}", line.path.replace('.', "/"))).unwrap();
            let is_group = lines
                .iter()
                .any(|other| other.path.starts_with(&format!("{}.", line.path)) && !other.comment.is_empty());
            let default = if is_group { String::new() } else { format!("`{}`", short(value)) };
            let comment = line.comment.replace('|', "\\|");
            let _ = writeln!(made, "| `{}` | {default} | {comment} |", line.path);
        }
    }
    made.push('\n');
    made
}

fn short(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        other => other.to_string(),
    }
}

fn made() -> (String, String) {
    let readme = read_of_chart("README.md");
    let (before, rest) = readme.split_once(START).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let made = format!("{before}{START}{}{END}{after}", table(&read_of_chart("values.yaml")));
    (readme, made)
}

#[test]
fn the_values_in_the_readme_are_those_of_the_chart() {
    let (readme, made) = made();
    assert!(
        readme == made,
        "the chart's README is not made from its values.yaml: run `make chart` and commit it"
    );
}

#[test]
#[ignore = "writes the chart's README anew: `make chart`"]
fn write_the_values_into_the_readme() {
    std::fs::write(folder().join("README.md"), made().1).unwrap();
}

#[test]
fn every_value_is_described() {
    let text = read_of_chart("values.yaml");
    let lines = lines(&text);
    let dark: Vec<_> = lines
        .iter()
        .filter(|line| line.comment.is_empty() && !is_told_elsewhere(&lines, &line.path))
        .map(|line| &line.path)
        .collect();
    assert_eq!(dark, Vec::<&String>::new());
}

#[test]
fn a_value_is_listed_with_its_default_and_what_stands_before_it() {
    let text = "## Some\n\n# One\n# and more.\none: 1\n\ngroup:\n  # Two.\n  two: {a: [b]}\n";
    let table = table(text);
    assert!(table.starts_with("\n### Some\n"), "{table}");
    assert!(table.contains("| `one` | `1` | One and more. |\n"), "{table}");
    assert!(table.contains("| `group.two` | `{\"a\":[\"b\"]}` | Two. |\n"), "{table}");
}
