//! What Artifact Hub shows as changes is made from the changelog.

use std::fmt::Write as _;

use serde_json::Value;

use super::{folder, read, read_of_chart, yaml};

/// The last of the annotations in `Chart.yaml`.
const START: &str = "  artifacthub.io/changes: |\n";
const KINDS: [&str; 6] = ["added", "changed", "deprecated", "removed", "fixed", "security"];

/// The headings of the versions, and the text below each, without the blank lines around it.
fn versions(changelog: &str) -> Vec<(&str, &str)> {
    let sections = changelog.split("\n## ").skip(1);
    sections.map(|section| section.split_once('\n').unwrap_or((section, ""))).collect()
}

/// The kind and the text of each entry of a version, without markup.
fn entries(text: &str) -> Vec<(String, String)> {
    let (mut kind, mut entries) = (String::new(), Vec::<(String, String)>::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        let plain = line.replace("**", "").replace('`', "");
        if let Some(heading) = plain.strip_prefix("### ") {
            kind = heading.to_lowercase();
        } else if let Some(entry) = plain.strip_prefix("- ") {
            entries.push((kind.clone(), entry.to_owned()));
        } else if let (Some(rest), Some((_, entry))) = (plain.strip_prefix("  "), entries.last_mut()) {
            let _ = write!(entry, " {rest}");
        } else {
            panic!("neither heading nor entry: {line}");
        }
    }
    entries
}

/// `Chart.yaml` with the changes of the first version of the changelog.
fn made() -> String {
    let (chart, changelog) = (read_of_chart("Chart.yaml"), read("CHANGELOG.md"));
    let (mut made, _) = chart.split_once(START).map(|(before, rest)| (before.to_owned(), rest)).unwrap();
    made.push_str(START);
    for (kind, entry) in entries(versions(&changelog)[0].1) {
        let _ = writeln!(made, "    - kind: {kind}\n      description: {}", Value::String(entry));
    }
    made
}

#[test]
fn the_changelog_begins_with_this_version_and_says_when_it_was_released() {
    let changelog = read("CHANGELOG.md");
    let versions = versions(&changelog);
    let (heading, _) = versions[0];
    let when = heading.strip_prefix(concat!(env!("CARGO_PKG_VERSION"), ", ")).unwrap_or_default();
    assert!(
        when == "not released yet" || is_date(when),
        "{heading}: {} is expected",
        env!("CARGO_PKG_VERSION")
    );
    for (heading, text) in versions {
        assert!(!entries(text).is_empty(), "{heading}");
        for (kind, entry) in entries(text) {
            assert!(KINDS.contains(&kind.as_str()), "{heading}: Artifact Hub does not know {kind}: {entry}");
        }
    }
}

fn is_date(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts[..], [year, month, day] if year.len() == 4 && month.len() == 2 && day.len() == 2)
        && parts.iter().all(is_number)
}

#[test]
fn the_changes_that_the_chart_announces_are_those_of_the_changelog() {
    assert!(
        read_of_chart("Chart.yaml") == made(),
        "the changes in Chart.yaml are not those of CHANGELOG.md: run `make chart` and commit it"
    );
    let announced = yaml(&read_of_chart("Chart.yaml"))["annotations"]["artifacthub.io/changes"].clone();
    let announced = yaml(announced.as_str().unwrap());
    assert_eq!(announced[0]["kind"], "added");
    assert!(
        announced[0]["description"].as_str().is_some_and(|text| text.starts_with("Sharing: a credential"))
    );
}

#[test]
#[ignore = "writes the changes into Chart.yaml: `make chart`"]
fn write_the_changes() {
    std::fs::write(folder().join("Chart.yaml"), made()).unwrap();
}
