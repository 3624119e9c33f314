//! The book in `docs/`: every page is reachable, every link leads somewhere, every example is on a page, and every reason has
//! a runbook.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;
use serde_json::Value;

use crate::source::{files, root};

/// The path of a page and its text.
fn pages() -> Vec<(PathBuf, String)> {
    files("docs/src", &["md"]).into_iter().map(|file| (PathBuf::from(file.path), file.text)).collect()
}

/// The links and pictures of a text that lead to files, without their anchors.
fn links(text: &str) -> Vec<String> {
    let link = Regex::new(r"\]\(([^)#\s]+)(?:#[^)]*)?\)").unwrap();
    let found = link.captures_iter(text).map(|found| found[1].to_owned());
    found.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

/// A page with the files that it includes, as mdBook shows it.
fn expanded(path: &Path, text: &str) -> String {
    let include = Regex::new(r"\{\{#include ([^}:\s]+)[^}]*\}\}").unwrap();
    let read = |found: &regex_lite::Captures| {
        let file = root().join(path.parent().unwrap()).join(&found[1]);
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {}: {error}", path.display(), &found[1]))
    };
    include.replace_all(text, read).into_owned()
}

/// The anchors of a page's headings, as mdBook and GitHub make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let is_heading = |line: &&str| {
        is_code ^= line.starts_with("```");
        !is_code && line.starts_with('#')
    };
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
        kept.map(|it| if it == ' ' { '-' } else { it }).collect()
    };
    text.lines().filter(is_heading).map(anchor).collect()
}

/// The names of all reasons: the code makes the table.
fn reasons() -> BTreeSet<String> {
    let table = fs::read_to_string(root().join("docs/src/reference/reasons.md")).unwrap();
    let name = Regex::new(r"(?m)^\| \[`([A-Za-z]+)`\]\(\.\./runbooks/").unwrap();
    name.captures_iter(&table).map(|found| found[1].to_owned()).collect()
}

#[test]
fn every_link_of_the_documents_leads_to_a_file() {
    let others = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "charts/idissuer-operator/README.md"];
    let others = others.map(|path| (PathBuf::from(path), fs::read_to_string(root().join(path)).unwrap()));
    let (mut times, mut dead) = (0, Vec::new());
    for (path, text) in pages().into_iter().chain(others) {
        for target in links(&text) {
            times += 1;
            let file = root().join(path.parent().unwrap_or(Path::new(""))).join(&target);
            if !file.exists() {
                dead.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(times > 100, "{times} links only");
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn every_included_file_exists() {
    let times = pages().iter().filter(|(path, text)| expanded(path, text) != *text).count();
    assert!(times > 2, "{times} pages only");
}

#[test]
fn every_anchor_of_a_link_is_a_heading() {
    let link = Regex::new(r"\]\(([^)#\s]*)#([^)\s]+)\)").unwrap();
    let others = ["README.md", "CONTRIBUTING.md"];
    let others = others.map(|path| (PathBuf::from(path), fs::read_to_string(root().join(path)).unwrap()));
    let (mut times, mut dead) = (0, Vec::new());
    for (path, text) in pages().into_iter().chain(others) {
        for found in link.captures_iter(&text).filter(|found| !found[1].contains("://")) {
            times += 1;
            let there =
                if found[1].is_empty() { path.clone() } else { path.parent().unwrap().join(&found[1]) };
            let target = fs::read_to_string(root().join(&there)).unwrap_or_default();
            if !anchors(&expanded(&there, &target)).contains(&found[2]) {
                dead.push(format!("{}: {}", path.display(), &found[0]));
            }
        }
    }
    assert!(times > 5, "{times} anchors only");
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn every_example_of_a_consumer_is_on_a_page() {
    let page = fs::read_to_string(root().join("docs/src/tasks/programs.md")).unwrap();
    let all = ["rs", "go", "py", "java", "mjs", "sh", "conf", "js", "yaml"];
    let examples = files("examples/consume", &all);
    assert!(examples.len() > 9, "the examples are found");
    let missing: Vec<_> = examples
        .iter()
        .filter(|example| !page.contains(&format!("{{{{#include ../../../{}}}}}", example.path)))
        .map(|example| &example.path)
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_files_of_envoy_fit_together() {
    let read = |name: &str| fs::read_to_string(root().join("examples/consume/envoy").join(name)).unwrap();
    let parse = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
    let credential = parse(&read("credential.yaml"));
    let data = &credential["spec"]["target"]["template"]["data"];
    let resource = data["sds.yaml"].as_str().unwrap();
    let envoy = parse(&read("envoy.yaml"));
    let cluster = &envoy["static_resources"]["clusters"][0];
    let protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let injector = &cluster["typed_extension_protocol_options"][protocol]["http_filters"][0]["typed_config"];
    let wanted = &injector["credential"]["typed_config"]["credential"];
    let name = wanted["name"].as_str().unwrap();
    assert!(resource.contains(&format!("name: {name}\n")), "{resource}");
    let source = &wanted["sds_config"]["path_config_source"];
    let folder = source["watched_directory"]["path"].as_str().unwrap();
    assert_eq!(source["path"].as_str().unwrap(), format!("{folder}/sds.yaml"));
}

#[test]
fn links_inside_of_the_book_stay_inside() {
    let outside = |(path, text): (PathBuf, String)| {
        let base = path.parent().unwrap().strip_prefix("docs/src").unwrap().components().count();
        let escapes = move |target: &String| target.matches("../").count() > base;
        links(&text).into_iter().filter(escapes).map(move |target| format!("{}: {target}", path.display()))
    };
    let outside: Vec<_> = pages().into_iter().flat_map(outside).collect();
    assert!(outside.is_empty(), "readers of the book do not have the repository: {outside:#?}");
}

#[test]
fn every_page_stands_in_the_summary() {
    let summary = fs::read_to_string(root().join("docs/src/SUMMARY.md")).unwrap();
    let listed: BTreeSet<_> = links(&summary).into_iter().collect();
    let pages = pages().into_iter().map(|(path, _)| path.strip_prefix("docs/src").unwrap().to_owned());
    let missing: Vec<_> = pages
        .map(|path| path.display().to_string())
        .filter(|page| page != "SUMMARY.md" && !listed.contains(page))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_reason_has_a_runbook() {
    let reasons = reasons();
    assert!(reasons.len() > 60, "{reasons:?}");
    for reason in &reasons {
        let page = fs::read_to_string(root().join(format!("docs/src/runbooks/{reason}.md")));
        let page = page.unwrap_or_else(|error| panic!("docs/src/runbooks/{reason}.md: {error}"));
        for part in ["## Impact", "## Diagnosis", "## Cure"] {
            assert!(page.contains(part), "{reason}: {part}");
        }
    }
}

#[test]
fn every_page_that_the_program_names_exists() {
    let named = Regex::new(r#""([a-z]+(?:/[A-Za-z-]+)?\.md)"|runbook\("([A-Za-z]+)"\)"#).unwrap();
    let (mut times, mut missing) = (0, Vec::new());
    for file in files("src/plugin", &["rs"]) {
        for found in named.captures_iter(&file.text) {
            times += 1;
            let page = found
                .get(1)
                .map_or_else(|| format!("runbooks/{}.md", &found[2]), |it| it.as_str().to_owned());
            if !root().join("docs/src").join(&page).exists() {
                missing.push(format!("{}: {page}", file.path));
            }
        }
    }
    assert!(times > 20, "{times} pages only");
    assert!(missing.is_empty(), "{missing:#?}");
}
