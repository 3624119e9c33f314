//! Long runs through trouble of every kind.

use std::time::Duration;

use idissuer::core::leader::Timings;
use jiff::SignedDuration;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::issuers::Issuers;
use crate::process::stretched;
use crate::storm::Storm;
use crate::table::table;
use crate::time::TrueTime;
use crate::world::{Plan, World};

/// After the storm everything is well within an hour, when the last login that was held has been probed.
const CALM: Duration = Duration::from_secs(66 * 60);

/// A text from the environment.
#[expect(clippy::disallowed_methods, reason = "tests have no command line of their own")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A number from the environment.
fn parameter(name: &str, default: u64) -> u64 {
    variable(name).map_or(default, |text| text.parse().unwrap())
}

#[expect(clippy::disallowed_methods, reason = "the only real time in here: how long a run takes")]
fn real_time() -> std::time::Instant {
    std::time::Instant::now()
}

/// Logs what the operator says, and what happens to it, under the simulated time, if `SIMULATION_LOG` is set.
fn log(time: &TrueTime) -> Option<tracing::subscriber::DefaultGuard> {
    let filter = variable("SIMULATION_LOG")?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_timer(Stamp(time.clone()))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .finish();
    Some(tracing::subscriber::set_default(subscriber))
}

/// Puts the simulated time before a line.
struct Stamp(TrueTime);

impl FormatTime for Stamp {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{:.3}", self.0.now())
    }
}

/// One run, of which everything is drawn from the seed.
#[expect(clippy::print_stderr, reason = "the table is for whoever runs this")]
async fn run(seed: u64, days: u64, credentials: u64, lease: Timings) {
    let (begin, force) = (real_time(), parameter("SIMULATION_FORCE", 1));
    let without = variable("SIMULATION_WITHOUT").unwrap_or_default();
    let credentials = usize::try_from(credentials).unwrap();
    let plan = Plan { seed, accounts: (credentials * 3).div_ceil(10), credentials, lease: Some(lease) };
    let mut world = World::new(&plan, Issuers::various(seed));
    let _log = log(&world.habitat.time);
    world.start();
    world.pass(Duration::from_secs(300)).await;
    world.assert_well();
    let mut storm = Storm::new(seed, &world, force, &without);
    storm.rages(&mut world, SignedDuration::from_hours(24 * i64::try_from(days).unwrap())).await;
    storm.ceases(&mut world);
    if !world.is_given_up() {
        world.pass(CALM).await;
    }
    eprintln!("\n{}", table(&world, &storm, seed, begin.elapsed()));
    let verdict = world.verdict();
    assert!(
        verdict.is_empty(),
        "{}\n\nreplay it: SIMULATION_SEED={seed} SIMULATION_DAYS={days} SIMULATION_CREDENTIALS={credentials} SIMULATION_FORCE={force} make simulation",
        verdict.join("\n")
    );
}

#[tokio::test(start_paused = true)]
async fn a_day_of_all_troubles_leaves_every_credential_well() {
    run(1, 1, 20, stretched()).await;
}

#[tokio::test(start_paused = true)]
async fn so_does_one_under_the_lease_as_it_is_by_default() {
    run(2, 1, 20, Timings::default()).await;
}

#[tokio::test(start_paused = true)]
#[cfg_attr(debug_assertions, ignore = "long: run it optimised, by `make simulation`")]
async fn days_of_all_troubles_leave_every_credential_well() {
    let days = parameter("SIMULATION_DAYS", 10);
    let lease = variable("SIMULATION_LEASE").map_or_else(stretched, |_| Timings::default());
    run(parameter("SIMULATION_SEED", 1), days, parameter("SIMULATION_CREDENTIALS", 100), lease).await;
}
