//! Hooks: the program learns of a new token.

use std::fs;
use std::process::Command;
use std::time::Duration;

use idissuer_testbed::process::{Grace, Supervised};
use idissuer_testbed::{skip, wait};

use super::{HOUR, LIMIT, Stage};
use crate::support::{RawServer, http};

#[tokio::test]
async fn every_hook_runs_once_the_files_are_there() {
    let mut stage = Stage::prepare(HOUR).await;
    let server = RawServer::answering(http("204 No Content", "", "")).await;
    let (touched, written) = (stage.path("touched"), stage.path("written"));
    let (pid_file, token) = (stage.path("pid"), stage.path("output/token"));
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
    let _program = Supervised::spawn("program", &program, Grace::NONE, &stage.folder).unwrap();
    wait::until("the program", LIMIT, async || {
        fs::read_to_string(&pid_file).is_ok_and(|id| id.ends_with('\n'))
    })
    .await;
    let executed = stage.path("executed by a hook");
    stage.add(&["--hook-url", &format!("{}/reload?key=of-the-program", server.url())]);
    stage.add(&["--hook-touch", touched.to_str().unwrap()]);
    stage.add(&["--hook-signal", &format!("USR1:{}", pid_file.display())]);
    stage.add(&["--hook-exec", &format!("/bin/cp {} '{}'", token.display(), executed.display())]);
    stage.start().await;
    let token = stage.token().await;
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
    assert!(!request.contains(&token) && !stage.output().contains("key=of-the-program"));
    wait::until("all hooks counted", LIMIT, async || {
        let (_, metrics) = stage.page("/metrics").await;
        let of = |hook| format!("idissuer_hooks_total{{hook=\"{hook}\",outcome=\"ok\"}} 1");
        ["http", "touch", "signal", "exec"].iter().all(|hook| metrics.contains(&of(hook)))
    })
    .await;

    fs::remove_file(&touched).unwrap();
    stage.stop().await;
    stage.start().await;
    wait::until("the hook, once more", LIMIT, async || touched.exists()).await;
    assert_eq!(
        stage.counts().logins_accepted,
        1,
        "for the same token: nobody knows who was told of it before"
    );
}

#[tokio::test]
async fn a_hook_that_fails_is_tried_again_holds_up_no_token_and_the_latest_wins() {
    let mut stage = Stage::prepare(Duration::from_secs(2)).await;
    let (gate, told) = (stage.path("gate"), stage.path("told"));
    let script = stage.path("hook");
    let token = stage.path("output/token");
    let text = format!("test -e {} && cat {} >> {}\n", gate.display(), token.display(), told.display());
    fs::write(&script, text).unwrap();
    stage.add(&["--hook-exec", &format!("/bin/sh {}", script.display())]);
    stage.start().await;
    let mut token = stage.token().await;
    for _ in 0..2 {
        token = stage.token_after(&token).await;
    }
    stage.until_logged("retrying").await;
    assert!(!told.exists());
    fs::write(&gate, "").unwrap();
    let is_told = async || fs::read_to_string(&told).is_ok_and(|told| !told.is_empty());
    wait::until("the hook", LIMIT, is_told).await;
    assert!(stage.counts().logins_accepted >= 3, "no token waited for it");
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_ended_with_all_that_it_started() {
    let mut stage = Stage::prepare(HOUR).await;
    let (script, started) = (stage.path("hook"), stage.path("started"));
    let text = format!("sleep 1000 &\necho $! > {0}.new\nmv {0}.new {0}\nwait\n", started.display());
    fs::write(&script, text).unwrap();
    stage.add(&["--hook-timeout-seconds", "1", "--hook-exec", &format!("/bin/sh {}", script.display())]);
    stage.start().await;
    stage.until_logged("did not finish in time").await;
    let child = fs::read_to_string(&started).unwrap();
    wait::until("the end of what it started", LIMIT, async || !is_running(child.trim())).await;
    fs::remove_file(&started).unwrap();
    wait::until("another attempt", LIMIT, async || started.exists()).await;
    let child = fs::read_to_string(&started).unwrap();
    assert!(is_running(child.trim()));
    stage.stop().await;
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
    let mut stage = Stage::prepare(Duration::from_secs(2)).await;
    let (script, told) = (stage.path("hook"), stage.path("told"));
    // Each of the five outlives the shell that started it.
    let text = format!("for i in 1 2 3 4 5; do (sleep 0.1 &); done\necho >> {}\n", told.display());
    fs::write(&script, text).unwrap();
    stage.add(&["--hook-exec", &format!("/bin/sh {}", script.display())]);
    let sidecar = stage.command();
    let mut command = Command::new("unshare");
    command.args(first).arg(sidecar.get_program()).args(sidecar.get_args());
    stage.start_as(&command).await;
    let inner = children(&stage.sidecar().pid().to_string());
    let [(sidecar, _)] = &inner[..] else { panic!("{inner:?}") };
    wait::until("three hooks, and nothing left of them", LIMIT, async || {
        let hooks = fs::read_to_string(&told).unwrap_or_default().lines().count();
        let left = children(sidecar);
        if hooks >= 3 && left.is_empty() { Ok(()) } else { Err(format!("{hooks} hooks, {left:?}")) }
    })
    .await;
    let output = stage.output();
    assert!(!output.contains("run hook"), "their own ends are heard of: {output}");
}

#[tokio::test]
async fn a_hook_never_goes_through_the_proxy_of_the_environment() {
    let mut stage = Stage::prepare(HOUR).await;
    let proxy = RawServer::answering(http("502 Bad Gateway", "", "")).await;
    let program = RawServer::answering(http("204 No Content", "", "")).await;
    let url = format!("http://localhost:{}/reload?key=of-the-program", program.address.port());
    stage.add(&["--use-environment-proxy", "--hook-url", &url]);
    let mut command = stage.command();
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, proxy.url()).env(name.to_lowercase(), proxy.url());
    }
    // The issuer is to be reached without it, and the program by another name than the issuer.
    command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1").env_remove("REQUEST_METHOD");
    stage.start_as(&command).await;
    stage.token().await;
    wait::until("the hook", LIMIT, async || !program.requests().is_empty() || proxy.connections() > 0).await;
    assert_eq!((program.requests().len(), proxy.requests()), (1, Vec::new()));
}
