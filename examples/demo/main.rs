//! `make demo`: the operator at work on a real API server, on one screen.
//!
//! ```text
//! stage    brings up API server, issuers and controller, and applies deploy/samples
//! watch    what happens in the cluster ──► board ──► screen, or plain lines
//! check    asks the issuer each second whether it accepts what the Secrets hold
//! ```
//!
//! Everything ends with this process, however it ends.

mod board;
mod check;
mod samples;
mod screen;
mod stage;
mod watch;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use futures::StreamExt as _;
use idissuer::ops::clock::{Clock as _, SystemClock};
use idissuer::ops::shutdown;
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use board::{Board, News};
use check::Checker;
use screen::Screen;
use stage::Stage;

/// How long the demo's tokens live.
const TOKEN_LIFETIME: Duration = Duration::from_secs(20);
/// How often the issuer is asked about what the Secrets hold.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the screen is drawn.
const FRAME: Duration = Duration::from_millis(250);
/// How long the end may take: a whole cluster is taken down.
const STOP_LIMIT: Duration = Duration::from_secs(60);

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Watch the operator rotate tokens on a real API server.
#[derive(Parser)]
#[command(name = "demo")]
struct Arguments {
    /// End once every credential has seen this many rotations; without it, on Ctrl-C
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rotations: Option<u32>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let outcome = runtime.block_on(demo(arguments.rotations));
    // A build of the testbed's programs may be under way on a thread that nothing can interrupt.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    }
}

fn fail(error: &dyn Error) -> ExitCode {
    let mut text = format!("demo: {error}");
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.for_each(|cause| text = format!("{text}: {cause}"));
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::FAILURE
}

/// A line of output. A reader that has gone, as in `make demo | head`, is no reason to fail here; the next frame of a
/// screen, or the end, is.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

async fn demo(rotations: Option<u32>) -> Outcome {
    let stop = shutdown::on_signal(STOP_LIMIT)?;
    let clock = SystemClock::start();
    let stage = tokio::select! {
        stage = Stage::start(&clock) => stage?,
        () = stop.cancelled() => return Ok(()),
    };
    for line in stage.hints() {
        say(&line);
    }
    say("");
    let mut board = Board::default();
    let outcome = show(&stage, &mut board, &clock, rotations, &stop).await;
    for line in board.summary() {
        say(&line);
    }
    say(&stage.summary());
    if outcome.is_err() {
        say(&format!("\nThe end of the controller's log:\n{}", stage.controller_log()));
    }
    outcome
}

/// Shows what happens, until it was enough or is interrupted.
async fn show(
    stage: &Stage,
    board: &mut Board,
    clock: &SystemClock,
    rotations: Option<u32>,
    stop: &CancellationToken,
) -> Outcome {
    let checker = Checker::new(stage)?;
    let mut screen = Screen::open(stage.hints(), rotations)?;
    let mut sights = watch::sights(stage.client());
    let mut check = tokio::time::interval(CHECK_INTERVAL);
    check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut frame = tokio::time::interval(FRAME);
    frame.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let limit = rotations.map(|rotations| TOKEN_LIFETIME * (rotations + 3));
    let late = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let mut late = std::pin::pin!(late);
    loop {
        let changed = tokio::select! {
            Some(sight) = sights.next() => board.see(sight),
            _ = check.tick() => board.holders(),
            _ = frame.tick() => {
                if let Some(code) = stage.controller_exit_code() {
                    return Err(format!("the controller ended with exit code {code}").into());
                }
                screen.draw(board, clock.now())?;
                continue;
            }
            () = &mut late => return Err("the rotations did not come in time".into()),
            () = stop.cancelled(), if rotations.is_some() => return Err("interrupted".into()),
            () = stop.cancelled() => return Ok(()),
        };
        for name in changed {
            if let Some((url, token)) = board.held(&name) {
                let verdict = checker.ask(url, token).await;
                board.judge(&name, verdict);
            }
        }
        let news = board.news(clock.now());
        screen.tell(&news, clock.now());
        let refusal = news.iter().find(|news| news.is_refusal);
        if let (Some(_), Some(News { name, text, .. })) = (rotations, refusal) {
            return Err(format!("{name}: {text}").into());
        }
        if rotations.is_some_and(|rotations| board.has_seen(rotations)) {
            screen.draw(board, clock.now())?;
            return Ok(());
        }
    }
}

/// Seconds with one digit, as people read them.
fn seconds(duration: SignedDuration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
