//! Every sequence of up to four calls to the issuer, each with every outcome, with the process ending at every point, at
//! every kind of issuer: over the real decisions, the real account and the simulator's model of an issuer.
//!
//! The exploration is depth first. A state is cloned wherever several things can happen, and left where its future was
//! explored before: two worlds are equal if account, status, clocks and what is left of the sequence are, and what they
//! hold of the issuer is worth the same. After its free calls a sequence goes on, with an issuer that works, until two
//! more tokens are published. In a debug build two calls and one crash are free; optimised, four calls and two crashes
//! (one where refresh tokens can be used again or never, for that is harder to get wrong); with `SIMULATION_FULL` in the
//! environment, one crash more, and tokens of more than a day as well. Each further crash takes five times as long.
//!
//! [`following`] adds a credential that follows, and walks at random instead: its owner permits it or not, is deleted and
//! made anew.
//!
//! What observes and acts here is small and made for this. [`replay`] takes the short ones of these sequences through the
//! real controller and its sessions, which have to do the same.
#![expect(clippy::panic, reason = "a promise that was broken ends the test")]
#![expect(clippy::print_stdout, reason = "how much was explored is for people")]

mod follower;
mod following;
mod issuer;
mod replay;
mod shell;
mod state;

use std::collections::HashSet;

use idissuer::core::account::Call;
use idissuer::core::decide::Plan;
use idissuer::core::time::Moment;
use idissuer_simulator::{RefreshAccepted, RefreshTokens};

use issuer::{Family, Outcome};
use state::{Broken, Happened, Point, State};

/// How often a token is published after the free calls, before a sequence is over.
const PUBLISHED_AT_THE_END: u32 = 2;
/// A process never does more in one go.
const STEPS: u32 = 12;

#[derive(Clone, Copy)]
struct Scope {
    calls: u32,
    crashes: u32,
    lifetimes: &'static [i64],
}

impl Scope {
    fn of_this_run() -> Self {
        if !crate::is_long() {
            Self { calls: 2, crashes: 1, lifetimes: &[3600] }
        } else if is_full() {
            Self { calls: 4, crashes: 3, lifetimes: &[3600, 100_000] }
        } else {
            Self { calls: 4, crashes: 2, lifetimes: &[3600] }
        }
    }

    fn crashes_at(self, family: Family) -> u32 {
        let is_tame = family.tokens == RefreshTokens::Reusable || family.accepted == RefreshAccepted::Never;
        if is_tame { self.crashes.saturating_sub(1).max(self.crashes.min(1)) } else { self.crashes }
    }
}

fn is_full() -> bool {
    std::env::var_os("SIMULATION_FULL").is_some()
}

/// Depth first, through all that can happen.
#[derive(Default)]
struct Exploration {
    seen: HashSet<u64>,
    sequences: u64,
    steps: u64,
}

impl Exploration {
    fn of(family: Family, scope: Scope) -> Self {
        let mut exploration = Self::default();
        let crashes = scope.crashes_at(family);
        exploration.follow(State::new(family, scope.calls, crashes));
        for begin in [State::established, State::resumed] {
            let state = begin(family, scope.calls, crashes);
            exploration.follow(state.unwrap_or_else(|Broken(promise)| panic!("at the start: {promise}")));
        }
        exploration
    }

    /// Follows a state to its end, and every other one that branches off.
    fn follow(&mut self, mut state: State) {
        let mut steps = 0;
        loop {
            (steps, self.steps) = (steps + 1, self.steps + 1);
            if steps > STEPS {
                tell(&state, &Broken("no rest"));
            }
            match state.plan() {
                Plan::Obtain { record_first, .. } => return self.call(state, record_first),
                Plan::Rest { until } => {
                    steps = 0;
                    let is_over = state.free_calls == 0 && state.published >= PUBLISHED_AT_THE_END;
                    if !is_over && !self.seen.insert(state.key()) {
                        return;
                    }
                    if is_over || !self.rest(&mut state, until) {
                        self.sequences += 1;
                        return;
                    }
                }
                plan => {
                    let is_publication = matches!(plan, Plan::Publish { .. });
                    state.act(plan).unwrap_or_else(|broken| tell(&state, &broken));
                    if is_publication {
                        self.crash(&state, Point::AfterPublication);
                    }
                }
            }
        }
    }

    /// Rests until something is due; whether anything ever is.
    fn rest(&mut self, state: &mut State, until: Option<Moment>) -> bool {
        self.crash(state, Point::AtRest);
        self.sleep(state);
        if let Some(until) = until.filter(|_| may_crash(state)) {
            let mut next = state.clone();
            next.rest_nearly(until).unwrap_or_else(|broken| tell(&next, &broken));
            self.crash(&next, Point::LongAtRest);
        }
        state.rest(until).unwrap_or_else(|broken| tell(state, &broken))
    }

    /// A call is due: everything that can become of it.
    fn call(&mut self, mut state: State, record_first: bool) {
        self.crash(&state, Point::BeforeRecord);
        if record_first {
            state.record_attempt();
            self.crash(&state, Point::BeforeCall);
        }
        if state.has_stray() {
            let mut other = state.clone();
            other.stray_arrives().unwrap_or_else(|broken| tell(&other, &broken));
            self.outcomes(&other);
        }
        self.outcomes(&state);
    }

    fn outcomes(&mut self, state: &State) {
        // Only the second of two keys of one moment: the call is recorded by now.
        if !self.seen.insert(!state.key()) {
            return;
        }
        let outcomes = if state.free_calls > 0 { &Outcome::ALL[..] } else { &[Outcome::Answered] };
        for outcome in outcomes {
            let (mut next, call) = begin(state);
            next.end(call, *outcome).unwrap_or_else(|broken| tell(&next, &broken));
            self.crash(&next, Point::AfterAnswer);
            self.sleep(&next);
            self.follow(next);
        }
        if may_crash(state) {
            for point in [Point::InFlightBeforeIssuer, Point::InFlightAfterIssuer, Point::InFlightPaused] {
                let (mut next, call) = begin(state);
                next.crash_in_flight(&call, point).unwrap_or_else(|broken| tell(&next, &broken));
                self.follow(next);
            }
        }
    }

    /// The machine sleeps here, if it may, and the process goes on.
    fn sleep(&mut self, state: &State) {
        if may_crash(state) {
            let mut next = state.clone();
            next.sleep();
            self.follow(next);
        }
    }

    /// The process ends here, if it may, and another one goes on.
    fn crash(&mut self, state: &State, point: Point) {
        if may_crash(state) {
            let mut next = state.clone();
            next.crash(point);
            self.follow(next);
        }
    }
}

/// Crashes and sleeps are explored only while calls are: afterwards everything works.
fn may_crash(state: &State) -> bool {
    state.crashes_left > 0 && state.free_calls > 0
}

fn begin(state: &State) -> (State, Call) {
    let mut next = state.clone();
    let call = next.begin().unwrap_or_else(|broken| tell(&next, &broken));
    (next, call)
}

fn tell(state: &State, Broken(promise): &Broken) -> ! {
    panic!("{promise}, after {:?} at an issuer {:?}", state.history, state.family())
}

/// What happens in a sequence of calls that nothing else disturbs.
fn history(family: Family, outcomes: &[Outcome]) -> Vec<Happened> {
    let calls = u32::try_from(outcomes.len()).unwrap();
    let mut state = State::new(family, calls, 0);
    let is_over = |state: &State| state.free_calls == 0 && state.published >= PUBLISHED_AT_THE_END;
    let works = state.works_until(outcomes, is_over);
    works.unwrap_or_else(|broken| tell(&state, &broken));
    state.history
}

fn explore(scope: Scope) {
    let (mut states, mut sequences, mut steps) = (0, 0, 0);
    for family in Family::all(scope.lifetimes) {
        let exploration = Exploration::of(family, scope);
        println!(
            "{family:?}: {} states with up to {} crashes",
            exploration.seen.len(),
            scope.crashes_at(family)
        );
        states += exploration.seen.len();
        sequences += exploration.sequences;
        steps += exploration.steps;
    }
    println!("{sequences} different ends, {states} states, {steps} decisions");
}

#[test]
fn no_sequence_of_calls_and_crashes_breaks_a_promise() {
    explore(Scope::of_this_run());
}

#[test]
fn no_sequence_of_calls_breaks_a_promise_about_tokens_of_a_short_life() {
    let scope = Scope::of_this_run();
    explore(Scope { crashes: 0, lifetimes: &[60, 20], ..scope });
}

#[test]
fn no_crash_breaks_a_promise_about_tokens_of_a_short_life() {
    let scope = Scope::of_this_run();
    explore(Scope { crashes: 1, lifetimes: &[60, 20], ..scope });
}
