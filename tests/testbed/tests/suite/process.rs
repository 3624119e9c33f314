use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use idissuer_testbed::process::{Grace, Signal, Supervised, WorkFolder};
use idissuer_testbed::{Error, wait};

const LIMIT: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

fn spawn(command: &Command, grace: Grace) -> (Supervised, Arc<WorkFolder>) {
    let folder = Arc::new(WorkFolder::create().unwrap());
    let process = Supervised::spawn("child", command, grace, &folder).unwrap();
    (process, folder)
}

pub(crate) fn is_alive(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn the_exit_code_is_that_of_the_program() {
    let (process, _folder) = spawn(&shell("exit 7"), Grace::SHORT);
    assert_eq!(process.wait_timeout(LIMIT).await.unwrap(), 7);
    assert_eq!(process.exit_code(), Some(7));
}

#[tokio::test]
async fn both_streams_go_into_the_output_file() {
    let mut command = shell("echo $WORD; echo two >&2; read line || echo no input");
    command.env("WORD", "one").env_remove("PATH");
    let (process, _folder) = spawn(&command, Grace::SHORT);
    process.wait_timeout(LIMIT).await.unwrap();
    assert_eq!(process.output(), "one\ntwo\nno input\n");
}

#[tokio::test]
async fn a_signal_reaches_the_program_itself() {
    let script = "trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let (process, _folder) = spawn(&shell(script), Grace::SHORT);
    wait::until("the trap", LIMIT, async || process.output().contains("ready")).await;
    process.signal(Signal::Terminate).unwrap();
    assert_eq!(process.wait_timeout(LIMIT).await.unwrap(), 3);
    assert!(process.output().contains("asked"));
    let late = process.signal(Signal::Terminate);
    assert!(matches!(late, Err(Error::Ended { .. })), "{late:?}");
}

#[tokio::test]
async fn a_stopped_program_stands_still_until_it_may_go_on() {
    let (process, _folder) = spawn(&shell("while :; do echo tick; sleep 0.02; done"), Grace::SHORT);
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
        stat.split(' ').nth(2).unwrap().to_owned()
    };
    process.signal(Signal::Stop).unwrap();
    wait::until("the stop", LIMIT, async || state() == "T").await;
    process.signal(Signal::Continue).unwrap();
    wait::until("it going on", LIMIT, async || state() != "T").await;
}

#[tokio::test]
async fn a_program_that_goes_on_is_told_after_the_limit() {
    let (process, _folder) = spawn(&shell("exec sleep 60"), Grace::NONE);
    let result = process.wait_timeout(Duration::from_millis(100)).await;
    assert!(matches!(result, Err(Error::StillRunning { .. })), "{result:?}");
    assert_eq!(process.kill().await.unwrap(), 128 + 9);
}

#[tokio::test]
async fn a_dropped_program_is_asked_first_and_its_folder_goes_with_it() {
    let note = WorkFolder::create().unwrap();
    let path = note.path().join("note");
    let script =
        format!("trap 'echo asked >{}; exit' TERM; echo ready; while :; do sleep 0.05; done", path.display());
    let (process, folder) = spawn(&shell(&script), Grace::SHORT);
    let (pid, place) = (process.pid(), folder.path().to_owned());
    wait::until("the trap", LIMIT, async || process.output().contains("ready")).await;
    assert!(is_alive(pid) && place.exists());
    drop(folder);
    assert!(place.exists(), "the process still works in it");
    drop(process);
    assert!(!is_alive(pid) && !place.exists());
    assert_eq!(std::fs::read_to_string(path).unwrap(), "asked\n");
}

#[tokio::test]
async fn a_dropped_program_that_does_not_listen_is_killed() {
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let (process, _folder) = spawn(&shell(script), Grace::SHORT);
    let pid = process.pid();
    wait::until("the trap", LIMIT, async || process.output().contains("ready")).await;
    drop(process);
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_program_that_is_not_there_ends_with_127_and_says_so() {
    let (process, _folder) = spawn(&Command::new("/no/such/program"), Grace::SHORT);
    assert_eq!(process.wait_timeout(LIMIT).await.unwrap(), 127);
    assert!(process.output_tail().contains("/no/such/program"));
}
