//! The files of a release, packed from programs that are none, and the workflows that make them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use idissuer_testbed::process::WorkFolder;
use idissuer_testbed::{Program, Tools};
use regex_lite::Regex;
use serde_json::Value;

use crate::source::{files, root};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const REGISTRY: &str = "registry.example.com/team";
const REPOSITORY: &str = "https://git.example.com/team/operator";
/// A program that says its name and version, as those of a release do.
const PROGRAM: &str = concat!("#!/bin/sh\necho \"$(basename \"$0\") ", env!("CARGO_PKG_VERSION"), "\"\n");

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// The platform of Linux that this machine is.
fn here() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux-arm64" } else { "linux-amd64" }
}

fn run(command: &mut Command) -> Output {
    command.current_dir(root()).output().unwrap()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A release of this machine's platform and of others, and where it is.
struct Release {
    folder: WorkFolder,
    files: PathBuf,
}

impl Release {
    fn pack(others: &[&str]) -> Self {
        let folder = WorkFolder::create().unwrap();
        let (built, files) = (folder.path().join("built"), folder.path().join("files"));
        let release = Self { folder, files };
        for platform in others.iter().chain([&here()]) {
            let place = built.join(platform);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("idissuer"), PROGRAM).unwrap();
            release.write_images(&place, platform);
        }
        let helm = Tools::locate().and_then(|tools| tools.provide(Program::Helm)).unwrap();
        let mut command = Command::new("deploy/release.sh");
        command.args(others).arg(here()).env("BUILT", &built).env("FILES", &release.files);
        command.env("HELM", helm).env("REGISTRY", REGISTRY).env("REPOSITORY", REPOSITORY);
        succeeded(&run(&mut command));
        release
    }

    /// As much of an image as tells for which machines it is.
    fn write_images(&self, place: &Path, platform: &str) {
        let architecture = platform.rsplit('-').next().unwrap();
        let index = format!("{{\"manifests\":[{{\"platform\":{{\"architecture\":\"{architecture}\"}}}}]}}");
        fs::write(self.folder.path().join("index.json"), index).unwrap();
        for image in ["idissuer", "idissuer-simulator"] {
            let archive = place.join(format!("{image}.tar"));
            let mut tar = Command::new("tar");
            tar.args(["--create", "--mtime=@0", "--file"])
                .arg(archive)
                .arg("--directory")
                .arg(self.folder.path());
            succeeded(&run(tar.arg("index.json")));
            fs::write(place.join(format!("{image}.cdx.json")), "{}").unwrap();
        }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.files.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn check(&self) -> Output {
        run(Command::new("tests/released.sh").arg(&self.files).arg(VERSION))
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.files).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn a_release_has_programs_images_chart_manifests_and_checksums_of_all() {
    let release = Release::pack(&["darwin-amd64", "darwin-arm64"]);
    let said = succeeded(&release.check());
    for archive in ["idissuer", "kubectl-idissuer"] {
        assert!(said.contains(&format!("runs: {archive}-{}.tar.gz", here())), "{said}");
    }
    let chart = format!("idissuer-operator-{VERSION}.tgz");
    let of_linux = |name: &str| format!("{name}-{}", here());
    let expected = [
        "RELEASE_NOTES.md".to_owned(),
        "SHA256SUMS".to_owned(),
        "idissuer-darwin-amd64.tar.gz".to_owned(),
        "idissuer-darwin-arm64.tar.gz".to_owned(),
        "idissuer.pl_idissuercredentials.yaml".to_owned(),
        "idissuer.yaml".to_owned(),
        "install.yaml".to_owned(),
        "kubectl-idissuer-darwin-amd64.tar.gz".to_owned(),
        "kubectl-idissuer-darwin-arm64.tar.gz".to_owned(),
        of_linux("idissuer") + ".cdx.json",
        of_linux("idissuer") + ".tar.gz",
        of_linux("idissuer-simulator") + ".cdx.json",
        of_linux("image-idissuer") + ".tar",
        of_linux("image-idissuer-simulator") + ".tar",
        of_linux("kubectl-idissuer") + ".tar.gz",
        chart,
    ];
    assert_eq!(release.names(), expected.into_iter().collect());
    let notes = release.read("RELEASE_NOTES.md");
    assert!(notes.starts_with("### "), "{notes}");
    assert!(!notes.contains("\n## "), "only of this version: {notes}");
    assert!(notes.contains(&format!("{REPOSITORY}/blob/v{VERSION}/docs/src/reference/verify.md")), "{notes}");
}

#[test]
fn the_chart_and_the_manifest_of_a_release_take_the_images_from_its_registry() {
    let release = Release::pack(&[]);
    let chart = release.files.join(format!("idissuer-operator-{VERSION}.tgz"));
    let helm = Tools::locate().and_then(|tools| tools.provide(Program::Helm)).unwrap();
    let arguments = ["template", "release", "--set", "test.simulator.enabled=true"];
    let rendered = succeeded(&run(Command::new(&helm).args(arguments).arg(&chart)));
    for text in [rendered, release.read("install.yaml")] {
        let images: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("image: ")).collect();
        assert!(!images.is_empty());
        for image in images {
            assert!(image.trim_matches('"').starts_with(&format!("{REGISTRY}/idissuer")), "{image}");
        }
    }
    let about = yaml(&succeeded(&run(Command::new(&helm).args(["show", "chart"]).arg(&chart))));
    assert_eq!(about["sources"][0], REPOSITORY);
    let announced = yaml(about["annotations"]["artifacthub.io/images"].as_str().unwrap());
    assert_eq!(announced[0]["image"], format!("{REGISTRY}/idissuer:{VERSION}"));
    assert_eq!(announced[1]["image"], format!("{REGISTRY}/idissuer-simulator:{VERSION}"));
    let readme = succeeded(&run(Command::new(&helm).args(["show", "readme"]).arg(&chart)));
    assert!(readme.contains(&format!("| `image.registry` | `{REGISTRY}` |")), "{readme}");
}

#[test]
fn the_manifest_for_krew_has_the_checksum_of_each_archive() {
    let release = Release::pack(&["darwin-amd64", "darwin-arm64"]);
    let plugin = yaml(&release.read("idissuer.yaml"));
    assert_eq!(plugin["spec"]["version"], format!("v{VERSION}"));
    let checksums = release.read("SHA256SUMS");
    let platforms = plugin["spec"]["platforms"].as_array().unwrap();
    assert_eq!(platforms.len(), 3);
    for platform in platforms {
        let labels = &platform["selector"]["matchLabels"];
        let name = platform["uri"].as_str().unwrap().rsplit('/').next().unwrap();
        let (os, machine) = (labels["os"].as_str().unwrap(), labels["arch"].as_str().unwrap());
        assert_eq!(name, format!("kubectl-idissuer-{os}-{machine}.tar.gz"));
        let line = format!("{}  {name}\n", platform["sha256"].as_str().unwrap());
        assert!(checksums.contains(&line), "{line} is not in {checksums}");
        assert_eq!(platform["bin"], "kubectl-idissuer");
    }
}

#[test]
fn a_file_that_was_changed_or_added_or_a_program_of_another_version_is_noticed() {
    let release = Release::pack(&[]);
    succeeded(&release.check());
    fs::write(release.files.join("more"), "").unwrap();
    let told = release.check();
    assert!(String::from_utf8_lossy(&told.stderr).contains("has no checksum"), "{told:?}");
    fs::remove_file(release.files.join("more")).unwrap();
    let other = run(Command::new("tests/released.sh").arg(&release.files).arg("9.9.9"));
    assert!(String::from_utf8_lossy(&other.stderr).contains("says"), "{other:?}");
    let install = release.files.join("install.yaml");
    fs::set_permissions(&install, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(install, "kind: Other").unwrap();
    let told = release.check();
    assert!(
        !told.status.success() && String::from_utf8_lossy(&told.stderr).contains("NOT match"),
        "{told:?}"
    );
}

/// Archives tell times in seconds.
#[expect(clippy::disallowed_methods, reason = "what packs goes by the true clock")]
fn wait_for_another_second() {
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let begin = second();
    while second() == begin {
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_same_programs_are_packed_into_the_same_bytes() {
    let one = Release::pack(&[]);
    wait_for_another_second();
    let other = Release::pack(&[]);
    assert_eq!(one.read("SHA256SUMS"), other.read("SHA256SUMS"));
}

#[test]
fn only_the_tag_of_this_version_is_released_and_only_once_the_changelog_says_when() {
    let check = |tag: &str| run(Command::new("deploy/release.sh").args(["check", tag]));
    let told = check("v9.9.9");
    assert!(!told.status.success());
    assert!(String::from_utf8_lossy(&told.stderr).contains(&format!("tag v{VERSION}")), "{told:?}");
    let is_open = fs::read_to_string(root().join("CHANGELOG.md")).unwrap().contains("not released yet");
    let told = check(&format!("v{VERSION}"));
    assert_eq!(told.status.success(), !is_open, "{told:?}");
    assert_eq!(String::from_utf8_lossy(&told.stderr).contains("make chart"), is_open, "{told:?}");
}

/// The workflows, each with its name.
fn workflows() -> Vec<(String, String)> {
    files(".github/workflows", &["yml"]).into_iter().map(|file| (file.path, file.text)).collect()
}

#[test]
fn workflows_use_actions_by_digest_and_ask_for_no_permission_that_a_job_does_not_need() {
    let used = Regex::new(r"uses: (\S+)").unwrap();
    let pinned = Regex::new(r"^\S+@[0-9a-f]{40}$").unwrap();
    let mut times = 0;
    for (path, text) in workflows() {
        for found in used.captures_iter(&text).filter(|found| !found[1].starts_with("./")) {
            assert!(pinned.is_match(&found[1]), "{path}: {} is not pinned by a digest", &found[1]);
            times += 1;
        }
        let workflow = yaml(&text);
        let permissions =
            workflow["permissions"].as_object().unwrap_or_else(|| panic!("{path}: permissions"));
        assert!(permissions.values().all(|value| value == "read"), "{path}: {permissions:?}");
        let writers = workflow["jobs"].as_object().unwrap().iter();
        let writers: Vec<_> =
            writers.filter(|(_, job)| job["permissions"].to_string().contains("write")).collect();
        assert!(writers.iter().all(|(name, _)| *name == "publish"), "{path}: {writers:?}");
    }
    assert!(times > 10, "{times} actions only");
}

#[test]
fn a_release_packs_each_platform_that_its_workflow_builds() {
    let (_, text) = workflows().into_iter().find(|(path, _)| path.ends_with("release.yml")).unwrap();
    let built = Regex::new(r"\{platform: ([a-z0-9-]+),").unwrap();
    let built: BTreeSet<_> = built.captures_iter(&text).map(|found| found[1].to_owned()).collect();
    let (_, packed) = text.split_once("deploy/release.sh linux").unwrap();
    let packed = format!("linux{}", packed.lines().next().unwrap());
    assert_eq!(built, packed.split_whitespace().map(str::to_owned).collect());
    assert!(built.len() >= 4, "{built:?}");
}
