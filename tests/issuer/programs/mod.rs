//! The examples in `examples/consume`: each follows the rotations of a mounted Secret, and a call whose token was replaced
//! on the way succeeds.

mod api;
mod envoy;
mod nginx;
mod proxied;

use std::path::{Path, PathBuf};
use std::process::Command;

use idissuer_testbed::process::{Grace, Supervised};
use idissuer_testbed::{skip, wait};

use api::{Api, LIMIT};

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/consume").join(path)
}

/// Whether this machine has a program; says so if not.
fn has(program: &str, argument: &str) -> bool {
    let tried = Command::new(program).arg(argument).output();
    let has = tried.is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("skipped: `{program} {argument}` does not work here");
    }
    has
}

/// What a user of an API gets, in order: the status of each call.
trait Calling {
    fn statuses(&self) -> Vec<u16>;
    /// For the output of a test that fails.
    fn log(&self) -> String;
    /// Returns once it knows as many tokens. A program that reads the file for each call knows them at once.
    async fn until_known(&self, _tokens: u32) {}
}

/// A program that prints the status of each call.
impl Calling for Supervised {
    fn statuses(&self) -> Vec<u16> {
        self.output().lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn log(&self) -> String {
        self.output_tail()
    }
}

fn start(api: &Api, mut command: Command) -> Supervised {
    command.env("API_URL", format!("{}/v2/reports", api.origin())).env("TOKEN_FILE", api.token_file());
    Supervised::spawn("program", &command, Grace::NONE, &api.stage().folder).unwrap()
}

/// Checks that a program uses each new token, that nobody sees the 401 of a token that was replaced on the way, that a call
/// is repeated only once, and that the program lasts until there is a good token again.
async fn follow(api: &Api, program: &impl Calling) {
    let until_last = async |status| {
        wait::until(&format!("{status} as last status"), LIMIT, async || match program.statuses().last() {
            Some(last) if *last == status => Ok(()),
            last => Err(format!("{last:?}\n{}", program.log())),
        })
        .await;
    };
    until_last(200).await;
    let second = api.rotate().await;
    api.until_served(&second).await;
    assert_eq!(api.refused(), 0, "a rotation alone");
    let third = api.replace_token_during_a_call(async |tokens| program.until_known(tokens).await).await;
    api.until_served(&third).await;
    assert_eq!(api.refused(), 1, "the call whose token was replaced on the way");
    assert!(program.statuses().iter().all(|status| *status == 200), "{}", program.log());

    api.revoke();
    until_last(401).await;
    let fourth = api.rotate().await;
    api.until_served(&fourth).await;
    until_last(200).await;
    // The first call after the last rotation may have begun before it.
    let seen = program.statuses().iter().filter(|status| **status == 401).count();
    let refused = api.refused() - 1;
    assert!((2 * seen..=2 * seen + 1).contains(&refused), "{refused} calls for {seen} results");
}

mod rust {
    //! The example itself, compiled into this test, since Cargo builds no examples for a test.
    #![allow(clippy::all, clippy::pedantic, clippy::print_stdout, clippy::disallowed_methods)]
    include!("../../../examples/consume/rust/main.rs");

    #[test]
    #[ignore = "a part of another test, in a process of its own"]
    fn run() {
        main().unwrap();
    }
}

#[tokio::test]
async fn the_rust_program_follows_rotations() {
    let api = Api::start().await;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "programs::rust::run", "--ignored", "--nocapture"]);
    follow(&api, &start(&api, command)).await;
}

#[tokio::test]
async fn the_go_program_follows_rotations() {
    if !has("go", "version") {
        return skip("there is no Go");
    }
    let api = Api::start().await;
    let program = api.stage().path("of-go");
    let mut build = tokio::process::Command::new("go");
    // As the testbed builds its tools, so that the standard library is compiled once.
    build.args(["build", "-trimpath", "-buildvcs=false", "-o"]).arg(&program).arg(example("go/main.go"));
    build.env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local").env("GOFLAGS", "").env("GOWORK", "off");
    let output = build.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    follow(&api, &start(&api, Command::new(program))).await;
}

/// The same for an example that an interpreter runs.
async fn follow_script(interpreter: &str, version: &str, script: &str) {
    if !has(interpreter, version) {
        return;
    }
    let api = Api::start().await;
    let mut command = Command::new(interpreter);
    command.arg(example(script));
    follow(&api, &start(&api, command)).await;
}

#[tokio::test]
async fn the_python_program_follows_rotations() {
    follow_script("python3", "--version", "python/main.py").await;
}

#[tokio::test]
async fn the_java_program_follows_rotations() {
    // A runtime without the compiler cannot run a source file.
    if has("javac", "--version") {
        follow_script("java", "--version", "java/Main.java").await;
    }
}

#[tokio::test]
async fn the_javascript_program_follows_rotations() {
    follow_script("node", "--version", "javascript/main.mjs").await;
}

#[tokio::test]
async fn the_curl_script_follows_rotations() {
    if has("curl", "--version") {
        follow_script("bash", "--version", "curl/main.sh").await;
    }
}
