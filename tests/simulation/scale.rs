//! More credentials than a cluster of this machine could hold: what one costs must not grow with their number.

use std::time::Duration;

use idissuer_testbed::variable;
use tokio::time::sleep;

use crate::issuers::{HOUR, Issuers};
use crate::population::Population;
use crate::world::{Plan, World};

/// How often the figures are read.
const LOOK: Duration = Duration::from_secs(10);
/// The credentials of one namespace.
const PER_NAMESPACE: usize = 100;

/// What the whole simulation has used so far: the operator, and the API server and the issuer in the same process.
struct Usage {
    /// Of the processor, in seconds.
    processor: f64,
    /// Heap and stacks, in KiB.
    memory: f64,
    requests: u64,
    calls: u64,
}

impl Usage {
    fn of(world: &World) -> Self {
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let is_for_credentials = |verb: &str, target: &str| verb != "watch" && target != "leases";
        let counts = world.environment.api.counts();
        let requests = counts.iter().filter(|((_, verb, target), _)| is_for_credentials(verb, target));
        Self {
            processor: spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9,
            memory: memory.split_whitespace().next().unwrap().parse().unwrap(),
            requests: requests.map(|(_, count)| count).sum(),
            calls: world.environment.ledger.calls().sent(),
        }
    }
}

/// Prints what each credential cost since `before`, and returns the figures of now.
#[expect(clippy::print_stderr, reason = "the table is for the person who runs this")]
fn report(phase: &str, world: &World, before: &Usage) -> Usage {
    let (now, credentials) = (Usage::of(world), world.population.credentials.len() as f64);
    eprintln!(
        "{credentials:>8} credentials, {phase:<14} {:>7.3} ms CPU {:>6.1} KiB {:>7.3} requests {:>6.3} calls a credential",
        (now.processor - before.processor) * 1e3 / credentials,
        (now.memory - before.memory) / credentials,
        (now.requests - before.requests) as f64 / credentials,
        (now.calls - before.calls) as f64 / credentials,
    );
    now
}

/// Until each credential has a token.
async fn issued(world: &World) {
    for credential in &world.population.credentials {
        while world.token(credential).is_none() {
            sleep(LOOK).await;
        }
    }
}

#[tokio::test(start_paused = true)]
#[ignore = "measures: `make scale`"]
async fn what_a_credential_costs_does_not_grow_with_their_number() {
    let sizes = variable("SIZES").unwrap_or_else(|| "1000,10000,100000".into());
    for size in sizes.split(',') {
        let credentials = size.parse().unwrap();
        let plan = Plan { seed: 1, accounts: credentials, credentials, lease: None };
        let issuers = Issuers::plain(1, HOUR);
        let mut population = Population::new(&issuers, credentials, credentials);
        population.spread(PER_NAMESPACE);
        let mut world = World::of(&plan, issuers, population);
        let before = Usage::of(&world);
        world.start();
        issued(&world).await;
        let before = report("first tokens", &world, &before);
        sleep(4 * HOUR).await;
        let before = report("four hours", &world, &before);
        world.replicas[0].stop().unwrap().await.unwrap();
        world.start();
        sleep(HOUR / 60).await;
        let after = report("a restart", &world, &before);
        world.assert_healthy();
        let is_dear = after.requests - before.requests > 100 + plan.credentials as u64 / 100;
        assert!(!is_dear, "a restart reads pages, and no credential alone");
    }
}
