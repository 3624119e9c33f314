//! Hooks: the program learns of a new token.

use std::fs;
use std::process::Command;
use std::time::Duration;

use idissuer_testbed::process::{Grace, Supervised};
use idissuer_testbed::{skip, wait};

use super::{HOUR, LIMIT, Sidecar};
use crate::support::{RawServer, http};

#[tokio::test]
async fn every_hook_runs_once_the_files_are_there() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    let server = RawServer::answering(http("204 No Content", "", "")).await;
    let (touched, written) = (sidecar.path("touched"), sidecar.path("written"));
    let (pid_file, token) = (sidecar.path("pid"), sidecar.path("output/token"));
    // It writes its process id once it handles the signal: before, the signal would end it. (HUP could not be trapped by a
    // shell under nohup.)
    let waiting = format!(
        "trap 'cp {} {}' USR1; echo $$ > {}; while :; do sleep 0.05; done",
        token.display(),
        written.display(),
        pid_file.display()
    );
    let mut program = Command::new("/bin/sh");
    program.args(["-c", &waiting]);
    let _program = Supervised::spawn("program", &program, Grace::NONE, &sidecar.folder).unwrap();
    wait::until("the program", LIMIT, async || {
        fs::read_to_string(&pid_file).is_ok_and(|id| id.ends_with('\n'))
    })
    .await;
    let executed = sidecar.path("executed by a hook");
    sidecar.add(&["--hook-url", &format!("{}/reload?key=of-the-program", server.url())]);
    sidecar.add(&["--hook-touch", touched.to_str().unwrap()]);
    sidecar.add(&["--hook-signal", &format!("USR1:{}", pid_file.display())]);
    sidecar.add(&["--hook-exec", &format!("/bin/cp {} '{}'", token.display(), executed.display())]);
    sidecar.start().await;
    let token = sidecar.token().await;
    wait::until("all hooks", LIMIT, async || {
        touched.exists()
            && fs::read_to_string(&written).is_ok_and(|found| found == token)
            && fs::read_to_string(&executed).is_ok_and(|found| found == token)
            && !server.requests().is_empty()
    })
    .await;
    let request = &server.requests()[0];
    assert!(
        request.starts_with("POST /reload?key=of-the-program ") && request.contains("expires_at"),
        "{request}"
    );
    assert!(!request.contains(&token) && !sidecar.output().contains("key=of-the-program"));
    wait::until("all hooks counted", LIMIT, async || {
        let (_, metrics) = sidecar.page("/metrics").await;
        let of = |hook| format!("idissuer_hooks_total{{hook=\"{hook}\",outcome=\"ok\"}} 1");
        ["http", "touch", "signal", "exec"].iter().all(|hook| metrics.contains(&of(hook)))
    })
    .await;

    fs::remove_file(&touched).unwrap();
    sidecar.stop().await;
    sidecar.start().await;
    wait::until("the hook, once more", LIMIT, async || touched.exists()).await;
    assert_eq!(
        sidecar.counts().logins_accepted,
        1,
        "for the same token: nobody knows who was told of it before"
    );
}

#[tokio::test]
async fn a_hook_that_fails_is_tried_again_holds_up_no_token_and_the_latest_wins() {
    let mut sidecar = Sidecar::prepare(Duration::from_secs(2)).await;
    let (gate, told) = (sidecar.path("gate"), sidecar.path("told"));
    let script = sidecar.path("hook");
    let token = sidecar.path("output/token");
    let text = format!("test -e {} && cat {} >> {}\n", gate.display(), token.display(), told.display());
    fs::write(&script, text).unwrap();
    sidecar.add(&["--hook-exec", &format!("/bin/sh {}", script.display())]);
    sidecar.start().await;
    let mut token = sidecar.token().await;
    for _ in 0..2 {
        token = sidecar.token_after(&token).await;
    }
    sidecar.until_logged("retrying").await;
    assert!(!told.exists());
    fs::write(&gate, "").unwrap();
    let is_told = async || fs::read_to_string(&told).is_ok_and(|told| !told.is_empty());
    wait::until("the hook", LIMIT, is_told).await;
    assert!(sidecar.counts().logins_accepted >= 3, "no token waited for it");
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_ended_with_all_that_it_started() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    let (script, started) = (sidecar.path("hook"), sidecar.path("started"));
    let text = format!("sleep 1000 &\necho $! > {0}.new\nmv {0}.new {0}\nwait\n", started.display());
    fs::write(&script, text).unwrap();
    sidecar.add(&["--hook-timeout-seconds", "1", "--hook-exec", &format!("/bin/sh {}", script.display())]);
    sidecar.start().await;
    sidecar.until_logged("did not finish in time").await;
    let child = fs::read_to_string(&started).unwrap();
    wait::until("the end of what it started", LIMIT, async || !is_running(child.trim())).await;
    fs::remove_file(&started).unwrap();
    wait::until("another attempt", LIMIT, async || started.exists()).await;
    let child = fs::read_to_string(&started).unwrap();
    assert!(is_running(child.trim()));
    sidecar.stop().await;
    wait::until("its end with the sidecar", LIMIT, async || !is_running(child.trim())).await;
}

/// Whether a process is there, and not only its entry in the table.
fn is_running(pid: &str) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z")
}

/// The state of a process, and its parent.
fn stat(pid: &str) -> Option<(String, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned);
    Some((fields.next()?, fields.next()?))
}

/// The children of a process, and their states.
fn children(pid: &str) -> Vec<(String, String)> {
    let all =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let of =
        |child: String| stat(&child).filter(|(_, parent)| parent == pid).map(|(state, _)| (child, state));
    all.filter_map(of).collect()
}

#[tokio::test]
async fn as_the_first_process_it_buries_what_its_hooks_leave_behind() {
    let first = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    if !Command::new("unshare").args(first).arg("true").status().is_ok_and(|status| status.success()) {
        skip("only root can start a first process");
        return;
    }
    let mut sidecar = Sidecar::prepare(Duration::from_secs(2)).await;
    let (script, told) = (sidecar.path("hook"), sidecar.path("told"));
    // Each of the five outlives the shell that started it.
    let text = format!("for i in 1 2 3 4 5; do (sleep 0.1 &); done\necho >> {}\n", told.display());
    fs::write(&script, text).unwrap();
    sidecar.add(&["--hook-exec", &format!("/bin/sh {}", script.display())]);
    let bare = sidecar.command();
    let mut command = Command::new("unshare");
    command.args(first).arg(bare.get_program()).args(bare.get_args());
    sidecar.start_as(&command).await;
    let inner = children(&sidecar.process().pid().to_string());
    let [(child, _)] = &inner[..] else { panic!("{inner:?}") };
    wait::until("three hooks, and nothing left of them", LIMIT, async || {
        let hooks = fs::read_to_string(&told).unwrap_or_default().lines().count();
        let left = children(child);
        if hooks >= 3 && left.is_empty() { Ok(()) } else { Err(format!("{hooks} hooks, {left:?}")) }
    })
    .await;
    let output = sidecar.output();
    assert!(!output.contains("run hook"), "their own ends are heard of: {output}");
}

#[tokio::test]
async fn a_hook_never_goes_through_the_proxy_of_the_environment() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    let proxy = RawServer::answering(http("502 Bad Gateway", "", "")).await;
    let program = RawServer::answering(http("204 No Content", "", "")).await;
    let url = format!("http://localhost:{}/reload?key=of-the-program", program.address.port());
    sidecar.add(&["--use-environment-proxy", "--hook-url", &url]);
    let mut command = sidecar.command();
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, proxy.url()).env(name.to_lowercase(), proxy.url());
    }
    // The issuer is to be reached without it, and the program by another name than the issuer.
    command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1").env_remove("REQUEST_METHOD");
    sidecar.start_as(&command).await;
    sidecar.token().await;
    wait::until("the hook", LIMIT, async || !program.requests().is_empty() || proxy.connections() > 0).await;
    assert_eq!((program.requests().len(), proxy.requests()), (1, Vec::new()));
}
