//! Finding and building the programs, with a `go` that only pretends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use idissuer_testbed::process::WorkFolder;
use idissuer_testbed::{Program, wait};

use crate::process::is_alive;

/// Notes each build, and makes a file under the name that it is given (`go build … -o <name> <package>`).
const GO: &str = r#"#!/bin/sh
test "$1" = version && exit
while test "$1" != -o; do shift; done
echo "$3" >>"$GO_NOTES"
echo $$ >"$GO_NOTES.pid"
sleep "$GO_SECONDS"
echo program >"$2"
"#;

struct Place {
    folder: WorkFolder,
}

impl Place {
    fn create() -> Self {
        let folder = WorkFolder::create().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        let go = folder.path().join("bin/go");
        fs::write(&go, GO).unwrap();
        fs::set_permissions(&go, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `idissuer-testbed tools`, with an empty cache of its own.
    fn tools(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_idissuer-testbed"));
        let path = std::env::var("PATH").unwrap();
        command
            .arg("tools")
            .env_remove("KUBEBUILDER_ASSETS")
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("GO_NOTES", self.path("notes"))
            .env("GO_SECONDS", "0.2")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn builds(&self) -> usize {
        fs::read_to_string(self.path("notes")).map_or(0, |notes| notes.lines().count())
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn programs_in(output: &Output) -> Vec<PathBuf> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().take(Program::CONTROL_PLANE.len()).map(PathBuf::from).collect()
}

fn touch(folder: &Path, programs: &[Program]) {
    fs::create_dir_all(folder).unwrap();
    for program in programs {
        fs::write(folder.join(program.name()), "").unwrap();
    }
}

#[test]
fn processes_that_need_the_same_programs_build_each_of_them_once() {
    let place = Place::create();
    let processes: Vec<_> = (0..3).map(|_| place.tools().spawn().unwrap()).collect();
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        for program in programs_in(&output) {
            assert_eq!(fs::read_to_string(program).unwrap(), "program\n");
        }
    }
    assert_eq!(place.builds(), Program::CONTROL_PLANE.len());
}

#[test]
fn a_person_who_waits_is_told_what_is_built() {
    let place = Place::create();
    let output = place.tools().output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    for program in Program::CONTROL_PLANE {
        assert!(told.contains(&format!("building {} with Go, once", program.name())), "{told}");
    }
}

#[test]
fn what_lies_in_the_assets_is_not_built() {
    let place = Place::create();
    let given = [Program::Etcd, Program::KubeApiServer, Program::Kubectl];
    touch(&place.path("assets"), &given);
    let output = place.tools().env("KUBEBUILDER_ASSETS", place.path("assets")).output().unwrap();
    let from_assets =
        programs_in(&output).iter().filter(|path| path.starts_with(place.path("assets"))).count();
    assert_eq!(from_assets, given.len(), "{}", text(&output));
    assert_eq!(place.builds(), 1);
}

#[test]
fn without_go_a_missing_program_is_told_in_one_sentence_that_names_the_cure() {
    let place = Place::create();
    let output = place.tools().env("PATH", place.path("nowhere")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output);
    assert_eq!(told.lines().count(), 1, "{told}");
    for part in ["etcd is missing", "install Go", "KUBEBUILDER_ASSETS"] {
        assert!(told.contains(part), "{told}");
    }
}

#[tokio::test]
async fn a_build_that_is_killed_leaves_no_process_no_program_and_no_lock() {
    let place = Place::create();
    let limit = Duration::from_secs(10);
    let mut process = place.tools().env("GO_SECONDS", "60").spawn().unwrap();
    let go: u32 = wait::until("the build", limit, async || {
        let text = fs::read_to_string(place.path("notes.pid")).ok()?;
        text.trim().parse().ok()
    })
    .await;
    process.kill().unwrap();
    process.wait().unwrap();
    wait::until("its end", limit, async || !is_alive(go)).await;

    let output = place.tools().output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(place.builds(), 1 + Program::CONTROL_PLANE.len());
}
