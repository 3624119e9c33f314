//! Telling the program.

use std::fs;
use std::process::Command;
use std::time::Duration;

use idissuer_testbed::process::{Grace, Supervised};
use idissuer_testbed::wait;

use super::{HOUR, LIMIT, Stage};
use crate::support::{RawServer, http};

#[tokio::test]
async fn the_program_is_told_in_every_way_once_the_files_stand_there() {
    let mut stage = Stage::set(HOUR).await;
    let server = RawServer::answering(http("204 No Content", "", "")).await;
    let (touched, written) = (stage.path("touched"), stage.path("written"));
    let (pid_file, token) = (stage.path("pid"), stage.path("output/token"));
    // It writes its process id itself, once it can be told: before, the signal would end it. (HUP could not be trapped by a
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
    let executed = stage.path("executed");
    stage.add(&["--hook-url", &format!("{}/reload?key=of-the-program", server.url())]);
    stage.add(&["--hook-touch", touched.to_str().unwrap()]);
    stage.add(&["--hook-signal", &format!("USR1:{}", pid_file.display())]);
    stage.add(&["--hook-exec", &format!("/bin/cp {} {}", token.display(), executed.display())]);
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
    let mut stage = Stage::set(Duration::from_secs(2)).await;
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
async fn a_hook_never_goes_through_the_proxy_of_the_environment() {
    let mut stage = Stage::set(HOUR).await;
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
