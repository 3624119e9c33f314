//! What is left when a test process ends.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use idissuer_testbed::{shared, wait};

use crate::process::is_alive;

/// Set for a process that is started by a test below, to be ended in some way.
const ROLE: &str = "TESTBED_LEFTOVERS_ROLE";

/// Not a test by itself: the body of the child processes.
#[tokio::test]
async fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let control_plane = shared().await.unwrap();
    println!();
    for component in
        [control_plane.etcd(), control_plane.api_server(), control_plane.controller_manager().unwrap()]
    {
        println!("pid {}", component.pid().unwrap());
    }
    println!("folder {}", control_plane.folder().path().display());
    match role.as_str() {
        "returns" => {}
        "panics" => panic!("as asked"),
        _ => std::future::pending().await,
    }
}

struct Started {
    process: Child,
    /// Held open: a test process that cannot print fails.
    output: Lines<BufReader<ChildStdout>>,
    pids: Vec<u32>,
    folder: PathBuf,
}

fn start(role: &str) -> Started {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "leftovers::child", "--nocapture"])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut started = Started { process, output, pids: Vec::new(), folder: PathBuf::new() };
    for line in &mut started.output {
        let line = line.unwrap();
        if let Some(pid) = line.strip_prefix("pid ") {
            started.pids.push(pid.parse().unwrap());
        }
        if let Some(folder) = line.strip_prefix("folder ") {
            started.folder = PathBuf::from(folder);
            break;
        }
    }
    started
}

async fn nothing_is_left(pids: &[u32], folder: &Path) {
    wait::until("the end of what was started", Duration::from_secs(15), async || {
        let alive: Vec<&u32> = pids.iter().filter(|pid| is_alive(**pid)).collect();
        match (alive.as_slice(), folder.exists()) {
            ([], false) => Ok(()),
            (alive, exists) => Err(format!("alive: {alive:?}, folder: {exists}")),
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_left_of_a_process_that_is_killed() {
    let mut started = start("waits");
    assert_eq!(started.pids.len(), 3);
    assert!(started.pids.iter().all(|pid| is_alive(*pid)) && started.folder.exists());
    started.process.kill().unwrap();
    started.process.wait().unwrap();
    nothing_is_left(&started.pids, &started.folder).await;
}

#[tokio::test]
async fn nothing_is_left_of_a_process_that_ends() {
    for (role, success) in [("returns", true), ("panics", false)] {
        let mut started = start(role);
        assert_eq!(started.pids.len(), 3);
        assert_eq!(started.process.wait().unwrap().success(), success);
        nothing_is_left(&started.pids, &started.folder).await;
    }
}
