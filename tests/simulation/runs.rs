//! Long runs with faults of every kind.

use std::time::Duration;

use idissuer::core::lease::Timings;
use idissuer_testbed::variable;
use jiff::SignedDuration;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::issuers::Issuers;
use crate::process::stretched;
use crate::schedule::FaultSchedule;
use crate::table::{call_ratio, table};
use crate::time::TrueTime;
use crate::world::{Plan, World};

/// After the fault schedule everything is well within an hour, when the last login that was held has been probed.
const CALM: Duration = Duration::from_secs(66 * 60);
/// Calls beyond the necessary ones that the usual trouble may cost, as a share of these. Most days cost a tenth, some of few
/// credentials a third.
const EXTRA_CALLS: f64 = 0.5;

/// The timings of the lease in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lease {
    /// Longer timings, so that a simulated day costs less.
    Stretched,
    /// As they are by default, which is quick enough for tokens that live a minute: there are some of them, too.
    Default,
}

impl Lease {
    fn name(self) -> &'static str {
        match self {
            Self::Stretched => "stretched",
            Self::Default => "default",
        }
    }

    fn timings(self) -> Timings {
        match self {
            Self::Stretched => stretched(),
            Self::Default => Timings::default(),
        }
    }
}

/// All that shapes a run, but for the code.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shape {
    seed: u64,
    days: u64,
    credentials: u64,
    /// The factor of the number of faults.
    force: u64,
    /// The names of the kinds of trouble that are left out.
    without: String,
    lease: Lease,
}

impl Shape {
    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name, default| variable(name).map_or(default, |text| text.parse().unwrap());
        let lease = variable("SIMULATION_LEASE").unwrap_or_else(|| Lease::Stretched.name().into());
        let lease = [Lease::Stretched, Lease::Default].into_iter().find(|known| known.name() == lease);
        Self {
            seed: number("SIMULATION_SEED", 1),
            days: number("SIMULATION_DAYS", 10),
            credentials: number("SIMULATION_CREDENTIALS", 100),
            force: number("SIMULATION_FORCE", 1),
            without: variable("SIMULATION_WITHOUT").unwrap_or_default(),
            lease: lease.unwrap(),
        }
    }

    /// A day of few credentials, in other respects as the variables say.
    fn of_a_day(seed: u64, lease: Lease) -> Self {
        Self { seed, days: 1, credentials: 24, lease, ..Self::read(variable) }
    }

    fn issuers(&self) -> Issuers {
        match self.lease {
            Lease::Stretched => Issuers::various(self.seed),
            Lease::Default => Issuers::hurried(self.seed),
        }
    }

    fn variables(&self) -> [(&'static str, String); 6] {
        [
            ("SIMULATION_SEED", self.seed.to_string()),
            ("SIMULATION_DAYS", self.days.to_string()),
            ("SIMULATION_CREDENTIALS", self.credentials.to_string()),
            ("SIMULATION_FORCE", self.force.to_string()),
            ("SIMULATION_WITHOUT", self.without.clone()),
            ("SIMULATION_LEASE", self.lease.name().into()),
        ]
    }

    fn command(&self) -> String {
        let variables = self.variables().map(|(name, value)| format!("{name}='{value}' "));
        variables.concat() + "make simulation"
    }
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
async fn run(shape: &Shape) {
    let begin = real_time();
    // First, for every later failure.
    eprintln!("\nto run this again: {}", shape.command());
    let credentials = usize::try_from(shape.credentials).unwrap();
    let lease = Some(shape.lease.timings());
    let plan = Plan { seed: shape.seed, accounts: (credentials * 3).div_ceil(10), credentials, lease };
    let mut world = World::shared(&plan, shape.issuers());
    let _log = log(&world.environment.time);
    world.start();
    world.pass(Duration::from_secs(300)).await;
    world.assert_healthy();
    let mut schedule = FaultSchedule::new(shape.seed, &world, shape.force, &shape.without);
    schedule.run(&mut world, SignedDuration::from_hours(24 * i64::try_from(shape.days).unwrap())).await;
    schedule.end_all(&mut world);
    if !world.is_given_up() {
        world.pass(CALM).await;
    }
    eprintln!("\n{}", table(&world, &schedule, shape.seed, begin.elapsed()));
    let mut verdict = world.verdict();
    let (ratio, most) = (call_ratio(&world), 1.0 + EXTRA_CALLS * shape.force as f64);
    verdict
        .extend((ratio > most).then(|| format!("{ratio:.3} calls for each necessary one; at most {most}")));
    assert!(verdict.is_empty(), "{}\n\nreplay it: {}", verdict.join("\n"), shape.command());
}

#[tokio::test(start_paused = true)]
async fn a_day_of_all_troubles_leaves_every_credential_well() {
    run(&Shape::of_a_day(1, Lease::Stretched)).await;
}

#[tokio::test(start_paused = true)]
#[cfg_attr(debug_assertions, ignore = "long, for tokens live a minute: make simulation runs it")]
async fn so_does_one_under_the_lease_as_it_is_by_default() {
    run(&Shape::of_a_day(2, Lease::Default)).await;
}

#[tokio::test(start_paused = true)]
#[cfg_attr(debug_assertions, ignore = "long: make simulation runs it")]
async fn days_of_all_troubles_leave_every_credential_well() {
    run(&Shape::read(variable)).await;
}
