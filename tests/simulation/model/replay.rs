//! The same sequences through the real controller, from the watch to the write: two calls, each with every outcome, with
//! the process ending once at every crossing of its border, before or after what crosses is carried out.
//!
//! The model goes deeper, and plays the parts of the controller and its sessions itself. Here the real ones act, held to
//! the promise by the ledger and the checker of simulated time; and where no process ends, they have to make the very
//! calls and publications that the model makes.

mod director;

use std::sync::Arc;
use std::time::Duration;

use idissuer_simulator::{RefreshAccepted, RefreshTokens};

use super::issuer::{Family, Outcome};
use super::state::Happened;
use super::{history, is_full};
use crate::issuers::Issuers;
use crate::world::{Plan, World};
use director::{Death, Director};

/// In seconds: long enough for every pause to have its full length, and short, for each second of it costs time.
const LIFETIME: i64 = 600;
/// How long a sequence may go on.
const LIMIT: Duration = Duration::from_secs(12 * 3600);
/// The time to write the status after the last publication.
const SETTLED: Duration = Duration::from_secs(10);
/// How long no process runs after a crash.
const WITHOUT_PROCESS: Duration = Duration::from_secs(20);

struct Played {
    happened: Vec<Happened>,
    /// How often anything crossed the border of the process.
    crossings: usize,
    findings: Vec<String>,
    /// What is wrong in the end, with these.
    verdict: Vec<String>,
}

/// Plays a sequence until two more tokens are published after its last outcome.
async fn play(family: Family, outcomes: &[Outcome], death: Option<Death>) -> Played {
    let plan = Plan { seed: 1, accounts: 1, credentials: 1, lease: None };
    let mut world = World::new(&plan, Issuers::one(1, move |personality| family.shape(personality)));
    let director = Arc::new(Director::new(outcomes, death, &world));
    director.takes_over(&mut world);
    world.start();
    let is_over = tokio::time::timeout(LIMIT, async {
        while !director.is_over() {
            tokio::select! {
                () = world.pass(LIMIT) => {}
                () = director.changes() => {}
            }
            if director.is_dead() {
                world.replicas[0].crash(&world.environment.api);
                world.pass(WITHOUT_PROCESS).await;
                director.revives();
                world.start();
            }
        }
    });
    let is_over = is_over.await.is_ok();
    world.pass(SETTLED).await;
    let (happened, crossings) = director.record();
    let mut verdict = world.verdict();
    if !is_over {
        verdict.push("no two further tokens are published".into());
    }
    Played { happened, crossings, findings: world.findings.all(), verdict }
}

/// In a runtime of its own, so that nothing of it goes on.
fn played(family: Family, outcomes: &[Outcome], death: Option<Death>) -> Played {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(play(family, outcomes, death))
}

fn sequences(length: usize) -> Vec<Vec<Outcome>> {
    let shorter = if length == 0 { return vec![Vec::new()] } else { sequences(length - 1) };
    let longer = |sequence: Vec<Outcome>| {
        Outcome::ALL.into_iter().map(move |outcome| [&sequence[..], &[outcome]].concat())
    };
    shorter.into_iter().flat_map(longer).collect()
}

/// Whether the login budget excuses a sequence from having a token at the end.
fn is_held(outcomes: &[Outcome], death: Option<Death>) -> bool {
    let counts = |outcome: &&Outcome| matches!(outcome, Outcome::Denied | Outcome::Unusable);
    let denied = outcomes.iter().filter(counts).count();
    denied + usize::from(death.is_some()) > 2
}

fn check(family: Family, outcomes: &[Outcome], death: Option<Death>) -> Played {
    let played = played(family, outcomes, death);
    let wrong = if is_held(outcomes, death) { &played.findings } else { &played.verdict };
    assert!(
        wrong.is_empty(),
        "{outcomes:?} with {death:?} at an issuer {family:?}:\n{}\n{:?}",
        wrong.join("\n"),
        played.happened
    );
    played
}

/// Every sequence at every issuer that takes refreshes so; in a debug build, only short ones, at one of them. Where refresh
/// tokens can be used again, which is harder to get wrong, nothing dies unless `SIMULATION_FULL` is set.
fn replay(accepted: RefreshAccepted) {
    let (length, most) = if crate::is_long() { (2, usize::MAX) } else { (1, 1) };
    let families = Family::all(&[LIFETIME]).into_iter().filter(|family| family.accepted == accepted);
    let mut runs = 0;
    for family in families.take(most) {
        let may_die = family.tokens == RefreshTokens::SingleUse || is_full();
        for outcomes in sequences(length) {
            let undisturbed = check(family, &outcomes, None);
            let expected = history(family, &outcomes);
            assert_eq!(undisturbed.happened, expected, "{outcomes:?} at an issuer {family:?}");
            let crossings = if may_die { undisturbed.crossings } else { 0 };
            for crossing in 0..crossings {
                for is_carried_out in [false, true] {
                    check(family, &outcomes, Some(Death { crossing, is_carried_out }));
                }
            }
            runs += 1 + 2 * crossings;
        }
    }
    println!("{runs} runs of the real controller");
}

#[test]
fn no_sequence_breaks_a_promise_of_the_real_controller_where_refreshes_are_taken_early() {
    replay(RefreshAccepted::Early);
}

#[test]
fn no_sequence_breaks_a_promise_of_the_real_controller_where_refreshes_are_taken_after_expiry() {
    replay(RefreshAccepted::AfterExpiry);
}

#[test]
fn no_sequence_breaks_a_promise_of_the_real_controller_where_refreshes_are_never_taken() {
    replay(RefreshAccepted::Never);
}
