//! The lifecycle of the process: `--once`, beside a program, and shutdown.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown};
use std::process::Command;
use std::time::{Duration, Instant};

use idissuer_simulator::{Fault, FaultRule, User};
use idissuer_testbed::process::Signal;
use idissuer_testbed::wait;

use super::{HOUR, LIMIT, NAME, SECRET, Sidecar, as_nobody, can_be_nobody};

/// Opening a FIFO so fails where it would wait.
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

#[tokio::test]
async fn once_ends_with_code_0_after_the_first_token() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    sidecar.add(&["--once"]);
    for logins in [1, 1] {
        let command = sidecar.command();
        sidecar.spawn(&command);
        assert_eq!(sidecar.process().wait_timeout(LIMIT).await.unwrap(), 0, "{}", sidecar.output());
        assert!(sidecar.file("token").is_some());
        assert_eq!(sidecar.counts().logins_accepted, logins, "the second finds the token of the first");
    }
}

#[tokio::test]
async fn once_stopped_before_there_is_a_token_exits_with_another_code_than_0() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    sidecar.write_login(NAME, "mistyped");
    sidecar.add(&["--once"]);
    sidecar.start().await;
    sidecar.until_logged("LoginRejected").await;
    sidecar.process().signal(Signal::Terminate).unwrap();
    assert_eq!(sidecar.process().wait_timeout(LIMIT).await.unwrap(), 143, "{}", sidecar.output());
    assert!(sidecar.output().contains("before there was a token"), "{}", sidecar.output());
}

#[tokio::test]
async fn sigterm_ends_it_while_it_still_waits_for_what_it_reads_at_the_start() {
    for (flags, code) in [(&[][..], 0), (&["--once"], 143)] {
        let mut sidecar = Sidecar::prepare(HOUR).await;
        let fifo = sidecar.fifo("kubeconfig");
        let output = sidecar.path("output");
        sidecar.arguments =
            ["sidecar", "--source", "secret", "--secret", "shop/billing"].map(str::to_owned).to_vec();
        sidecar.add(&["--output-dir", output.to_str().unwrap()]);
        sidecar.add(flags);
        let mut command = sidecar.command();
        command.env("KUBECONFIG", &fifo).env("RUST_LOG", "trace");
        sidecar.spawn(&command);
        // Whoever opens the other end without waiting finds it open once the sidecar reads.
        wait::until("the sidecar to read", LIMIT, async || {
            let writing = OpenOptions::new().write(true).custom_flags(NONBLOCK).open(&fifo);
            writing.map(std::mem::forget).map_err(|error| error.to_string())
        })
        .await;
        sidecar.process().signal(Signal::Terminate).unwrap();
        assert_eq!(sidecar.process().wait_timeout(LIMIT).await.unwrap(), code, "{}", sidecar.output());
    }
}

#[tokio::test]
async fn what_is_no_regular_file_is_named_and_not_waited_for() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    let login = sidecar.arguments.clone();
    let secret = sidecar.path("secret");
    fs::create_dir(&secret).unwrap();
    sidecar.fifo("secret/token");
    let [secret, output] = [&secret, &sidecar.path("output")].map(|path| path.to_str().unwrap().to_owned());
    sidecar.arguments =
        ["sidecar", "--admin-addr", "127.0.0.1:0", "--secret-dir", &secret, "--output-dir", &output]
            .map(str::to_owned)
            .to_vec();
    let is_named = async |sidecar: &mut Sidecar, file: &str| {
        let check = sidecar.command().arg("check").output().unwrap();
        let check = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(check.contains(&format!("{file} is a FIFO (named pipe)")), "{check}");
        sidecar.start().await;
        let text = wait::until(file, LIMIT, async || {
            let (_, text) = sidecar.page("/readyz").await;
            if text.contains("NotARegularFile") { Ok(text) } else { Err(text) }
        })
        .await;
        assert!(text.contains(&format!("{file} is a FIFO (named pipe)")), "{text}");
        assert_eq!(sidecar.page("/livez").await.0, 200);
        sidecar.stop().await;
    };
    is_named(&mut sidecar, "secret/token").await;

    sidecar.arguments = login;
    fs::remove_file(sidecar.path("login/password")).unwrap();
    sidecar.fifo("login/password");
    is_named(&mut sidecar, "login/password").await;
    fs::remove_file(sidecar.path("login/password")).unwrap();
    sidecar.write_login(NAME, SECRET);
    let bundle = sidecar.fifo("ca.crt");
    sidecar.add(&["--issuer-ca-file", bundle.to_str().unwrap()]);
    is_named(&mut sidecar, "ca.crt").await;
    sidecar.arguments.truncate(sidecar.arguments.len() - 2);

    let pid_file = sidecar.fifo("pid");
    sidecar.add(&["--hook-signal", &format!("USR1:{}", pid_file.display())]);
    sidecar.start().await;
    sidecar.until_logged("is a FIFO (named pipe)").await;
    sidecar.stop().await;
    sidecar.add(&["--proxy-listen", "0", "--upstream", "https://up.example", "--upstream-ca-file"]);
    sidecar.add(&[bundle.to_str().unwrap()]);
    let output = sidecar.command().output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("ca.crt: is a FIFO (named pipe)"), "{text}");
}

#[tokio::test]
async fn a_program_ends_its_sidecar_on_the_loopback_address() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    sidecar.add(&["--quit-port", "0", "--shutdown-delay", "60"]);
    sidecar.start().await;
    sidecar.token().await;
    let quit = sidecar.logged_address("quit").await;
    assert!(quit.ip().is_loopback());
    let url = format!("http://{quit}/quitquitquit");
    assert_eq!(reqwest::get(&url).await.unwrap().status(), 405, "only by POST");
    let admin = format!("http://{}/quitquitquit", sidecar.admin.unwrap());
    let client = reqwest::Client::new();
    assert_eq!(client.post(admin).send().await.unwrap().status(), 404, "not where probes come");
    let page = client.post(&url).header("origin", "https://elsewhere.example").send().await.unwrap();
    assert_eq!(page.status(), 403, "no page in a browser ends it");
    assert_eq!(client.post(url).send().await.unwrap().status(), 200);
    assert_eq!(sidecar.process().wait_timeout(Duration::from_secs(6)).await.unwrap(), 0, "without the delay");
}

#[tokio::test]
async fn sigterm_ends_it_with_code_0_also_during_a_login_and_after_the_delay_that_was_asked_for() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    sidecar.issuer.inject(FaultRule::on_login(Fault::Hang).once());
    sidecar.start().await;
    sidecar.issuer.simulator().wait_for(|counts| counts.total().faults == 1).await;
    sidecar.stop().await;

    let mut sidecar = Sidecar::prepare(Duration::from_secs(2)).await;
    sidecar.add(&["--shutdown-delay", "3"]);
    sidecar.start().await;
    let token = sidecar.token().await;
    sidecar.process().signal(Signal::Terminate).unwrap();
    #[expect(clippy::disallowed_methods, reason = "it is the true time that counts")]
    let start = Instant::now();
    sidecar.token_after(&token).await;
    assert_eq!(sidecar.process().wait_timeout(Duration::from_secs(8)).await.unwrap(), 0);
    assert!(start.elapsed() > Duration::from_secs(2), "it went on working");
}

#[tokio::test]
async fn any_user_without_rights_will_do_and_the_group_of_the_volume_reads_the_files() {
    if !can_be_nobody() {
        return;
    }
    let mut sidecar = Sidecar::prepare(HOUR).await;
    let output = sidecar.path("output");
    fs::set_permissions(sidecar.folder.path(), Permissions::from_mode(0o755)).unwrap();
    // As the kubelet makes a volume with fsGroup.
    chown(&output, Some(0), Some(4711)).unwrap();
    fs::set_permissions(&output, Permissions::from_mode(0o2775)).unwrap();
    let command = as_nobody(&sidecar.command());
    sidecar.start_as(&command).await;
    let token = sidecar.token().await;
    let read_as = |user: &str, group: &str| {
        let who = [format!("--reuid={user}"), format!("--regid={user}"), format!("--groups={group}")];
        let output = Command::new("setpriv").args(who).arg("cat").arg(output.join("token")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!((read_as("1000", "4711"), read_as("1000", "4712")), (token.clone(), String::new()));

    // A volume of somebody else: the files stay, and the cure is named.
    sidecar.stop().await;
    fs::set_permissions(&output, Permissions::from_mode(0o2755)).unwrap();
    sidecar.issuer.set_user(&User::new("other@example.org", "another"));
    sidecar.write_login("other@example.org", "another");
    sidecar.start_as(&command).await;
    sidecar.until_logged("LoginNotRecorded").await;
    assert_eq!(sidecar.file("token"), Some(token.clone()));
    fs::set_permissions(&output, Permissions::from_mode(0o2775)).unwrap();
    sidecar.token_after(&token).await;
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
