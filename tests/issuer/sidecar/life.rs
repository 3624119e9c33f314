//! The lifecycle of the process: `--once`, beside a program, and shutdown.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown};
use std::process::Command;
use std::time::{Duration, Instant};

use idissuer_simulator::{Fault, FaultRule, User};
use idissuer_testbed::process::Signal;
use idissuer_testbed::wait;

use super::{HOUR, LIMIT, NAME, SECRET, Stage, as_nobody, can_be_nobody};

/// Opening a FIFO so fails where it would wait.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

#[tokio::test]
async fn once_ends_with_code_0_after_the_first_token() {
    let mut stage = Stage::prepare(HOUR).await;
    stage.add(&["--once"]);
    for logins in [1, 1] {
        let command = stage.command();
        stage.spawn(&command);
        assert_eq!(stage.sidecar().wait_timeout(LIMIT).await.unwrap(), 0, "{}", stage.output());
        assert!(stage.file("token").is_some());
        assert_eq!(stage.counts().logins_accepted, logins, "the second finds the token of the first");
    }
}

#[tokio::test]
async fn once_stopped_before_there_is_a_token_exits_with_another_code_than_0() {
    let mut stage = Stage::prepare(HOUR).await;
    stage.write_login(NAME, "mistyped");
    stage.add(&["--once"]);
    stage.start().await;
    stage.until_logged("LoginRejected").await;
    stage.sidecar().signal(Signal::Terminate).unwrap();
    assert_eq!(stage.sidecar().wait_timeout(LIMIT).await.unwrap(), 143, "{}", stage.output());
    assert!(stage.output().contains("before there was a token"), "{}", stage.output());
}

#[tokio::test]
async fn sigterm_ends_it_while_it_still_waits_for_what_it_reads_at_the_start() {
    for (flags, code) in [(&[][..], 0), (&["--once"], 143)] {
        let mut stage = Stage::prepare(HOUR).await;
        let fifo = stage.fifo("kubeconfig");
        let output = stage.path("output");
        stage.arguments =
            ["sidecar", "--source", "secret", "--secret", "shop/billing"].map(str::to_owned).to_vec();
        stage.add(&["--output-dir", output.to_str().unwrap()]);
        stage.add(flags);
        let mut command = stage.command();
        command.env("KUBECONFIG", &fifo).env("RUST_LOG", "trace");
        stage.spawn(&command);
        // Whoever opens the other end without waiting finds it open once the sidecar reads.
        wait::until("the sidecar to read", LIMIT, async || {
            let writing = OpenOptions::new().write(true).custom_flags(NONBLOCK).open(&fifo);
            writing.map(std::mem::forget).map_err(|error| error.to_string())
        })
        .await;
        stage.sidecar().signal(Signal::Terminate).unwrap();
        assert_eq!(stage.sidecar().wait_timeout(LIMIT).await.unwrap(), code, "{}", stage.output());
    }
}

#[tokio::test]
async fn what_is_no_regular_file_is_named_and_not_waited_for() {
    let mut stage = Stage::prepare(HOUR).await;
    let login = stage.arguments.clone();
    let secret = stage.path("secret");
    fs::create_dir(&secret).unwrap();
    stage.fifo("secret/token");
    let [secret, output] = [&secret, &stage.path("output")].map(|path| path.to_str().unwrap().to_owned());
    stage.arguments =
        ["sidecar", "--admin-addr", "127.0.0.1:0", "--secret-dir", &secret, "--output-dir", &output]
            .map(str::to_owned)
            .to_vec();
    let is_named = async |stage: &mut Stage, file: &str| {
        let check = stage.command().arg("check").output().unwrap();
        let check = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(check.contains(&format!("{file} is a FIFO (named pipe)")), "{check}");
        stage.start().await;
        let text = wait::until(file, LIMIT, async || {
            let (_, text) = stage.page("/readyz").await;
            if text.contains("NotARegularFile") { Ok(text) } else { Err(text) }
        })
        .await;
        assert!(text.contains(&format!("{file} is a FIFO (named pipe)")), "{text}");
        assert_eq!(stage.page("/livez").await.0, 200);
        stage.stop().await;
    };
    is_named(&mut stage, "secret/token").await;

    stage.arguments = login;
    fs::remove_file(stage.path("login/password")).unwrap();
    stage.fifo("login/password");
    is_named(&mut stage, "login/password").await;
    fs::remove_file(stage.path("login/password")).unwrap();
    stage.write_login(NAME, SECRET);
    let bundle = stage.fifo("ca.crt");
    stage.add(&["--issuer-ca-file", bundle.to_str().unwrap()]);
    is_named(&mut stage, "ca.crt").await;
    stage.arguments.truncate(stage.arguments.len() - 2);

    let pid_file = stage.fifo("pid");
    stage.add(&["--hook-signal", &format!("USR1:{}", pid_file.display())]);
    stage.start().await;
    stage.until_logged("is a FIFO (named pipe)").await;
    stage.stop().await;
    stage.add(&["--proxy-listen", "0", "--upstream", "https://up.example", "--upstream-ca-file"]);
    stage.add(&[bundle.to_str().unwrap()]);
    let output = stage.command().output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("ca.crt: is a FIFO (named pipe)"), "{text}");
}

#[tokio::test]
async fn a_program_ends_its_sidecar_on_the_loopback_address() {
    let mut stage = Stage::prepare(HOUR).await;
    stage.add(&["--quit-port", "0", "--shutdown-delay", "60"]);
    stage.start().await;
    stage.token().await;
    let quit = stage.logged_address("quit").await;
    assert!(quit.ip().is_loopback());
    let url = format!("http://{quit}/quitquitquit");
    assert_eq!(reqwest::get(&url).await.unwrap().status(), 405, "only by POST");
    let admin = format!("http://{}/quitquitquit", stage.admin.unwrap());
    let client = reqwest::Client::new();
    assert_eq!(client.post(admin).send().await.unwrap().status(), 404, "not where probes come");
    let page = client.post(&url).header("origin", "https://elsewhere.example").send().await.unwrap();
    assert_eq!(page.status(), 403, "no page in a browser ends it");
    assert_eq!(client.post(url).send().await.unwrap().status(), 200);
    assert_eq!(stage.sidecar().wait_timeout(Duration::from_secs(6)).await.unwrap(), 0, "without the delay");
}

#[tokio::test]
async fn sigterm_ends_it_with_code_0_also_during_a_login_and_after_the_delay_that_was_asked_for() {
    let mut stage = Stage::prepare(HOUR).await;
    stage.issuer.inject(FaultRule::on_login(Fault::Hang).once());
    stage.start().await;
    stage.issuer.simulator().wait_for(|counts| counts.total().faults == 1).await;
    stage.stop().await;

    let mut stage = Stage::prepare(Duration::from_secs(2)).await;
    stage.add(&["--shutdown-delay", "3"]);
    stage.start().await;
    let token = stage.token().await;
    stage.sidecar().signal(Signal::Terminate).unwrap();
    #[expect(clippy::disallowed_methods, reason = "it is the true time that counts")]
    let start = Instant::now();
    stage.token_after(&token).await;
    assert_eq!(stage.sidecar().wait_timeout(Duration::from_secs(8)).await.unwrap(), 0);
    assert!(start.elapsed() > Duration::from_secs(2), "it went on working");
}

#[tokio::test]
async fn any_user_without_rights_will_do_and_the_group_of_the_volume_reads_the_files() {
    if !can_be_nobody() {
        return;
    }
    let mut stage = Stage::prepare(HOUR).await;
    let output = stage.path("output");
    fs::set_permissions(stage.folder.path(), Permissions::from_mode(0o755)).unwrap();
    // As the kubelet makes a volume with fsGroup.
    chown(&output, Some(0), Some(4711)).unwrap();
    fs::set_permissions(&output, Permissions::from_mode(0o2775)).unwrap();
    let command = as_nobody(&stage.command());
    stage.start_as(&command).await;
    let token = stage.token().await;
    let read_as = |user: &str, group: &str| {
        let who = [format!("--reuid={user}"), format!("--regid={user}"), format!("--groups={group}")];
        let output = Command::new("setpriv").args(who).arg("cat").arg(output.join("token")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!((read_as("1000", "4711"), read_as("1000", "4712")), (token.clone(), String::new()));

    // A volume of somebody else: the files stay, and the cure is named.
    stage.stop().await;
    fs::set_permissions(&output, Permissions::from_mode(0o2755)).unwrap();
    stage.issuer.set_user(&User::new("other@example.org", "another"));
    stage.write_login("other@example.org", "another");
    stage.start_as(&command).await;
    stage.until_logged("LoginNotRecorded").await;
    assert_eq!(stage.file("token"), Some(token.clone()));
    fs::set_permissions(&output, Permissions::from_mode(0o2775)).unwrap();
    stage.token_after(&token).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_the_cure() {
    let cases: [(&[&str], &str); 16] = [
        (
            &[
                "--source",
                "login",
                "--login-dir",
                "/x",
                "--proxy-listen",
                "0",
                "--upstream",
                "https://up.example",
            ],
            "--output-dir",
        ),
        (
            &["--secret-dir", "/x", "--proxy-listen", "8081", "--upstream", "http://localhost:8081"],
            "would loop",
        ),
        (&["--secret-dir", "/x"], "--proxy-listen"),
        (&["--secret-dir", "/x", "--upstream", "https://up.example"], "--proxy-listen"),
        (&["--secret-dir", "/x", "--proxy-listen", "0"], "--upstream"),
        (
            &["--secret-dir", "/x", "--proxy-listen", "0", "--upstream", "http://up.example"],
            "--allow-plain-upstream",
        ),
        (
            &["--secret-dir", "/x", "--proxy-listen", "x", "--upstream", "https://up.example"],
            "127.0.0.1:8080",
        ),
        (
            &["--secret-dir", "/x", "--proxy-listen", "0", "--upstream", "https://up.example", "--once"],
            "--once",
        ),
        (&["--source", "login"], "--login-dir"),
        (&["--secret-dir", "/x"], "--output-dir"),
        (&["--source", "secret", "--output-dir", "/x"], "--secret"),
        (&["--secret-dir", "/x", "--output-dir", "/x", "--file-mode", "0444"], "--allow-world-readable"),
        (&["--secret-dir", "/x", "--output-dir", "/x", "--file-mode", "0755"], "0440"),
        (&["--secret-dir", "/x", "--output-dir", "/x", "--once", "--hook-touch", "/x"], "--once"),
        (&["--secret-dir", "/x", "--output-dir", "/x", "--hook-signal", "KILL:nginx"], "USR1"),
        (&["--secret-dir", "/x", "--output-dir", "/x", "--hook-exec", "/bin/sh -c 'x"], "close the quotes"),
    ];
    for (arguments, part) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_idissuer"));
        let output = command.arg("sidecar").args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(part), "{arguments:?}: {text}");
    }
}
