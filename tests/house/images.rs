//! What the images promise, as their one recipe has it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use idissuer_testbed::process::WorkFolder;
use idissuer_testbed::{Recipe, unpack};
use serde_json::Value;

use crate::source::root;

const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The files below a folder, as seen from there.
fn files(folder: &Path) -> Vec<String> {
    let output =
        std::process::Command::new("find").args([".", "!", "-type", "d"]).current_dir(folder).output();
    let mut files: Vec<_> = String::from_utf8(output.unwrap().stdout)
        .unwrap()
        .lines()
        .map(|line| line.trim_start_matches('.').to_owned())
        .collect();
    files.sort();
    files
}

/// Makes the image of a program that is none, and unpacks it.
fn make(recipe: &Recipe, name: &str, root: &Path) -> Value {
    let sources = WorkFolder::create().unwrap();
    let program = sources.path().join("target/image").join(name);
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::write(&program, name).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let arguments =
        [("VERSION", "1.2.3"), ("REVISION", "abc")].map(|(name, value)| (name.into(), value.into()));
    let image = recipe.image(name, sources.path(), &BTreeMap::from(arguments)).unwrap();
    let archive = sources.path().join("image.tar");
    image.write(&archive).unwrap();
    unpack(&archive, root).unwrap()
}

#[test]
fn each_image_holds_its_program_and_the_authorities_and_runs_as_nobody() {
    let recipe = Recipe::read(&root().join("deploy/Containerfile")).unwrap();
    assert_eq!(recipe.images(), ["idissuer-simulator", "idissuer"]);
    for name in recipe.images() {
        let root = WorkFolder::create().unwrap();
        let config = &make(&recipe, name, root.path())["config"];
        let program = format!("/{name}");
        assert_eq!(files(root.path()), [AUTHORITIES, &program], "no shell, no library");
        assert_eq!(config["Entrypoint"], serde_json::json!([program]));
        assert_eq!(config["User"], "65532:65532");
        let label = |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].clone();
        assert_eq!(
            (label("title"), label("version"), label("revision")),
            (name.into(), "1.2.3".into(), "abc".into())
        );
        assert_eq!(label("licenses"), env!("CARGO_PKG_LICENSE"));
        assert!(label("description").as_str().is_some_and(|text| !text.is_empty()));
    }
}

#[test]
fn the_containerfile_builds_as_make_does_and_with_a_compiler_that_is_new_enough() {
    let text = fs::read_to_string(root().join("deploy/Containerfile")).unwrap();
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let steps = |text: &str, before: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix(before)).map(str::to_owned).collect()
    };
    let carried_out = ["build.sh dependencies", "build.sh"];
    assert_eq!(steps(&text, "RUN deploy/"), carried_out, "the dependencies, then all");
    assert_eq!(steps(&makefile, "\t$(ELSEWHERE)/deploy/"), carried_out, "reproducible does the same");
    assert_eq!(
        steps(&makefile, "\tdeploy/"),
        ["build.sh"],
        "so does image, where the dependencies are there"
    );
    let version = text.split_once("FROM rust:1.").unwrap().1.split_once('-').unwrap().0;
    let needed = env!("CARGO_PKG_RUST_VERSION").split('.').nth(1).unwrap();
    assert!(
        version.parse::<u32>().unwrap() >= needed.parse().unwrap(),
        "1.{version}, but 1.{needed} is needed"
    );
    for manifest in ["Cargo.toml", "tests/simulator/Cargo.toml", "tests/testbed/Cargo.toml"] {
        assert!(text.lines().any(|line| line.starts_with("COPY") && line.contains(manifest)), "{manifest}");
    }
}
