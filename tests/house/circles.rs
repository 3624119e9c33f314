//! The modules of the core use each other without circles, so that each can be read after those that it uses.

use std::collections::{BTreeMap, BTreeSet};

use crate::references::references;
use crate::source::{SourceFile, program};

/// Which module of the core uses which others.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn graph(files: &[SourceFile]) -> Graph {
    let mut graph = Graph::new();
    for file in files {
        let path = file.module();
        let [root, module, ..] = &path[..] else { continue };
        if root != "core" {
            continue;
        }
        let used = references(file).into_iter().filter_map(|reference| {
            let used = reference.path.strip_prefix("crate::core::")?.split("::").next()?.to_owned();
            (used != *module).then_some(used)
        });
        graph.entry(module.clone()).or_default().extend(used);
    }
    graph
}

/// What is left when the modules that use no other one are taken out, again and again: circles, and what uses them.
fn circles(mut graph: Graph) -> Vec<String> {
    loop {
        let is_leaf = |used: &BTreeSet<String>| used.iter().all(|used| !graph.contains_key(used));
        let leaves: Vec<String> =
            graph.iter().filter(|(_, used)| is_leaf(used)).map(|(module, _)| module.clone()).collect();
        if leaves.is_empty() {
            return graph.into_keys().collect();
        }
        graph.retain(|module, _| !leaves.contains(module));
    }
}

#[test]
fn the_modules_of_the_core_use_each_other_without_circles() {
    let graph = graph(&program());
    assert!(graph.len() > 20 && graph["decide"].contains("observed"), "the modules are found: {graph:?}");
    assert_eq!(circles(graph), Vec::<String>::new());
}

#[test]
fn a_circle_is_found_through_files_below_a_module_and_without_what_only_it_uses() {
    let file = |path: &str, code: &str| SourceFile::new(path, code);
    let files = [
        file("src/core/a.rs", "use super::b::B; use super::time::Moment;"),
        file("src/core/b/mod.rs", "mod c;"),
        file("src/core/b/c.rs", "use crate::core::a::A; use super::B;"),
        file("src/core/time.rs", "use jiff::Timestamp;"),
    ];
    assert_eq!(circles(graph(&files)), ["a", "b"]);
}
