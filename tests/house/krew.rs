//! What `make krew` writes, with a program that is none.

use std::fs;
use std::path::Path;
use std::process::Command;

use idissuer_testbed::process::WorkFolder;
use serde_json::Value;

use crate::source::root;

/// Packs a program for a platform.
fn pack(folder: &Path, architecture: &str) {
    let program = folder.join("program");
    fs::write(&program, "a program").unwrap();
    let mut command = Command::new(root().join("deploy/krew.sh"));
    command.arg(&program).arg(folder.join("out")).args(["v1.2.3", architecture]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn printed(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_manifest_names_the_archives_that_are_there_with_their_checksums() {
    let folder = WorkFolder::create().unwrap();
    let out = folder.path().join("out");
    let platforms = || {
        let text = fs::read_to_string(out.join("idissuer.yaml")).unwrap();
        assert!(!text.contains("{{"), "{text}");
        let manifest: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(manifest["spec"]["version"], "v1.2.3");
        manifest["spec"]["platforms"].as_array().unwrap().clone()
    };
    for (architecture, packed) in [("x86_64", 1), ("arm64", 2)] {
        pack(folder.path(), architecture);
        let platforms = platforms();
        assert_eq!(platforms.len(), packed, "{platforms:?}");
        for platform in platforms {
            let archive = platform["uri"].as_str().unwrap().rsplit('/').next().unwrap();
            let name = platform["selector"]["matchLabels"]["arch"].as_str().unwrap();
            assert_eq!(archive, format!("kubectl-idissuer-linux-{name}.tar.gz"));
            let checksum = printed("sha256sum", &[archive], &out);
            assert_eq!(checksum.split_whitespace().next(), platform["sha256"].as_str(), "{platform}");
            let files = printed("tar", &["tzf", archive], &out);
            let wanted =
                platform["files"].as_array().unwrap().iter().map(|file| file["from"].as_str().unwrap());
            assert_eq!(files.lines().collect::<Vec<_>>(), wanted.collect::<Vec<_>>(), "{platform}");
        }
    }
}

#[test]
fn the_same_program_gives_the_same_archive() {
    let archive = || {
        let folder = WorkFolder::create().unwrap();
        pack(folder.path(), "amd64");
        fs::read(folder.path().join("out/kubectl-idissuer-linux-amd64.tar.gz")).unwrap()
    };
    assert_eq!(archive(), archive());
}
