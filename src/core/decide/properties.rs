//! Whatever happens to a credential, its decisions keep these promises. What happens is drawn; the world of
//! [`super::super::testing`] acts on the plans and asserts on its own that the decision comes to rest within eight
//! steps, that no wake-up lies in the past, that each plan to obtain starts a call, that nothing is written while
//! suspended, and that no dead token and no older one of the same account is published.

use proptest::prelude::{Just, ProptestConfig, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Generator;

use super::super::account::Strategy;
use super::super::account::TokenResponse;
use super::super::observed::{CredentialSpec, LastSeen};
use super::super::reason::Reason;
use super::super::retry::{Failure, Sent};
use super::super::target::ControllerOwner;
use super::super::testing::{
    BILLING, OTHER, TestWorld, malformed, misconfigured, obtained, own, refused, rejected, seconds, token,
    transient,
};
use super::super::token::Grant;
use super::*;

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    Passes(i64),
    WakesUp,
    WallClockJumps(i64),
    Restarts,
    StatusIsLost,
    TargetIsDeleted,
    TargetIsEdited,
    TargetIsOverwritten,
    TargetIsTaken,
    TargetBecomesImmutable,
    TypeChanges(bool),
    StrangerAppears,
    TargetWatchRestarts,
    LoginIsTouched,
    LoginChanges(bool),
    LoginBreaks,
    TemplateChanges,
    StrategyChanges(bool),
    LoginMoves,
    SpecBreaks,
    Suspended(bool),
    RenewalIsRequested,
    AnotherMemberRenews(bool, i64),
    WritesArePaused(i64),
    RepairsArePaused(i64),
}

fn events() -> impl Generator<Value = Event> {
    use Event::*;
    prop_oneof![
        6 => (0_i64..5_000).prop_map(Passes),
        6 => Just(WakesUp),
        1 => (-100_000_i64..100_000).prop_map(WallClockJumps),
        2 => Just(Restarts),
        1 => Just(StatusIsLost),
        2 => Just(TargetIsDeleted),
        2 => Just(TargetIsEdited),
        1 => Just(TargetIsOverwritten),
        1 => Just(TargetIsTaken),
        1 => Just(TargetBecomesImmutable),
        1 => any::<bool>().prop_map(TypeChanges),
        1 => Just(StrangerAppears),
        1 => Just(TargetWatchRestarts),
        1 => Just(LoginIsTouched),
        2 => any::<bool>().prop_map(LoginChanges),
        1 => Just(LoginBreaks),
        2 => Just(TemplateChanges),
        1 => any::<bool>().prop_map(StrategyChanges),
        1 => Just(LoginMoves),
        1 => Just(SpecBreaks),
        2 => any::<bool>().prop_map(Suspended),
        2 => Just(RenewalIsRequested),
        2 => (any::<bool>(), 1_i64..5_000).prop_map(|(other, lifetime)| AnotherMemberRenews(other, lifetime)),
        1 => (0_i64..60).prop_map(WritesArePaused),
        1 => (0_i64..60).prop_map(RepairsArePaused),
    ]
}

/// How the issuer answers next; without an answer the call stays in flight.
#[derive(Clone, Debug)]
enum Answer {
    Token(i64),
    Fails(Failure),
    Nothing,
}

fn answers() -> impl Generator<Value = Answer> {
    let failure = prop_oneof![
        Just(rejected()),
        Just(refused()),
        Just(malformed()),
        Just(misconfigured()),
        Just(transient(Sent::Maybe, None)),
        (0_i64..10_000).prop_map(|after| transient(Sent::No, Some(after))),
    ];
    prop_oneof![
        4 => (1_i64..100_000).prop_map(Answer::Token),
        3 => failure.prop_map(Answer::Fails),
        1 => Just(Answer::Nothing),
    ]
}

fn happen(world: &mut TestWorld, event: &Event, number: usize) {
    let key = |other: bool| if other { OTHER } else { BILLING };
    match event {
        Event::Passes(duration) => world.pass(seconds(*duration)),
        Event::WakesUp => {
            if let Plan::Rest { until: Some(until) } = world.decide() {
                world.pass(until.remaining(world.now));
            }
        }
        Event::WallClockJumps(by) => {
            world.pass(seconds(1));
            world.now.wall = world.now.plus(seconds(*by)).wall;
        }
        Event::Restarts => world.restart(),
        Event::StatusIsLost => {
            world.restart();
            world.lose_status();
        }
        Event::TargetIsDeleted => world.delete_target(),
        Event::TargetIsEdited => world.edit_target(|_| ()),
        Event::TargetIsOverwritten => {
            let now = world.now;
            world.edit_target(|target| target.token = Some(token("forged", now, 60).access));
        }
        Event::TargetIsTaken => {
            let owner = ControllerOwner { is_credential: true, name: "other".into(), uid: "u9".into() };
            world.edit_target(|target| target.controller = Some(owner));
        }
        Event::TargetBecomesImmutable => world.edit_target(|target| target.immutable = true),
        Event::TypeChanges(other) => {
            let secret_type = if *other { "example.com/token" } else { "Opaque" };
            world.edit_spec(|spec| spec.target.secret_type = secret_type.into());
        }
        Event::StrangerAppears => world.put_stranger(),
        Event::TargetWatchRestarts => world.target_seen = LastSeen::Unknown,
        Event::LoginIsTouched => {
            let holds = world.login_holds.clone();
            world.edit_login(holds);
        }
        Event::LoginChanges(other) => world.edit_login(Ok(key(*other))),
        Event::LoginBreaks => {
            world.edit_login(Err(Reason::LoginSecretMissing { secret: String::new() }));
        }
        Event::TemplateChanges => world.edit_spec(|spec| spec.target.owned ^= true),
        Event::StrategyChanges(login) => {
            let strategy = if *login { Strategy::Login } else { Strategy::Auto };
            world.edit_spec(|spec| spec.strategy = strategy);
        }
        Event::LoginMoves => world.edit_spec(|spec| own(spec).login.secret.push('x')),
        Event::SpecBreaks => {
            world.spec = Err(Reason::InvalidSpec { field: "spec" });
            world.generation += 1;
        }
        Event::Suspended(suspended) => world.edit_spec(|spec| spec.suspended = *suspended),
        Event::RenewalIsRequested => world.request_renewal(world.now),
        Event::AnotherMemberRenews(other, lifetime) => {
            world.renew_by_another_member(key(*other), &format!("shared-{number}"), *lifetime);
        }
        Event::WritesArePaused(pause) => {
            world.refuse_writes(world.now.plus(seconds(*pause)));
        }
        Event::RepairsArePaused(pause) => world.repair_pause = Some(world.now.plus(seconds(*pause))),
    }
}

/// Acts, and lets the issuer answer at once, until nothing is left to do at this moment. Returns the calls it took.
fn run(world: &mut TestWorld, answer: &Answer, number: usize) -> Vec<Grant> {
    let mut grants = Vec::new();
    loop {
        world.settle();
        assert!(matches!(world.decide(), Plan::Rest { .. }), "decided again after acting: {world:?}");
        if world.calls.is_empty() || matches!(answer, Answer::Nothing) {
            return grants;
        }
        let text = format!("token-{number}-{}", grants.len());
        assert!(grants.len() < 8, "{grants:?} without any time passing");
        grants.push(world.calls[0].1.grant());
        let outcome: Result<TokenResponse, Failure> = match answer {
            Answer::Token(lifetime) => Ok(obtained(&text, world.now, *lifetime)),
            Answer::Fails(failure) => Err(failure.clone()),
            Answer::Nothing => return grants,
        };
        world.answer(outcome);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn in_every_state_the_decision_comes_to_rest_and_costs_at_most_one_refresh_and_one_login(
        happenings in proptest::collection::vec((events(), answers()), 1..40),
    ) {
        let mut world = TestWorld::new();
        for (number, (event, answer)) in happenings.iter().enumerate() {
            happen(&mut world, event, number);
            let target_before = world.target.clone().map(|target| target.version);
            let pending = world.calls.len();
            let grants = run(&mut world, answer, number);
            let fresh = &grants[pending.min(grants.len())..];
            let allowed: [&[Grant]; 4] =
                [&[], &[Grant::Refresh], &[Grant::Login], &[Grant::Refresh, Grant::Login]];
            prop_assert!(allowed.contains(&fresh), "{grants:?} at once, {pending} pending, by {event:?}");
            let is_still = matches!(&world.spec, Err(_) | Ok(CredentialSpec { suspended: true, .. }));
            if is_still {
                let target_after = world.target.clone().map(|target| target.version);
                prop_assert_eq!(target_before, target_after, "written while suspended");
                prop_assert!(fresh.is_empty(), "called while suspended");
            }
        }
    }

    #[test]
    fn once_everything_works_again_the_target_holds_a_living_token_for_the_present_specification(
        happenings in proptest::collection::vec((events(), answers()), 1..40),
    ) {
        let mut world = TestWorld::new();
        for (number, (event, answer)) in happenings.iter().enumerate() {
            happen(&mut world, event, number);
            run(&mut world, answer, number);
        }
        // What a person would do, and time.
        world.pass(seconds(1));
        world.delete_target();
        world.edit_spec(|spec| spec.suspended = false);
        world.edit_login(Ok(BILLING));
        world.request_renewal(world.now);
        while !world.calls.is_empty() {
            world.answer(Err(transient(Sent::Maybe, None)));
        }
        // The budget may put an attempt off for an hour, not longer. What an issuer asks to wait, 10,000 seconds at most here,
        // is waited while the published token lives long enough.
        let minutes = if world.is_asked_to_wait() { 62 + 10_000 / 60 } else { 62 };
        for number in 1_000..1_000 + minutes {
            world.pass(seconds(60));
            run(&mut world, &Answer::Token(100_000), number);
        }
        let conditions = world.conditions();
        prop_assert!(conditions.ready.is_ok(), "{:?}", conditions);
        prop_assert_eq!(conditions.stalled, None);
        prop_assert_eq!(conditions.reconciling, None);
        let published = world.published_token();
        prop_assert_eq!(published.generation, Some(world.generation));
        prop_assert_eq!(published.key, Some(BILLING));
        let held = world.target.as_ref().unwrap().token.as_ref().unwrap();
        prop_assert_eq!(held.fingerprint(), published.fingerprint.clone());
    }

    #[test]
    fn without_anything_happening_a_credential_is_renewed_for_ever_before_it_is_overdue(
        lifetime in SHORTEST_SERVED.as_secs()..200_000, refreshes in any::<bool>(), login_only in any::<bool>(),
    ) {
        let mut world = TestWorld::new();
        if login_only {
            world.edit_spec(|spec| spec.strategy = Strategy::Login);
        }
        run(&mut world, &Answer::Token(lifetime), 0);
        let mut renewals = 0;
        for number in 1..60 {
            let Plan::Rest { until: Some(until) } = world.decide() else { panic!("{world:?}") };
            world.pass(until.remaining(world.now));
            prop_assert!(world.conditions().renewal_overdue.is_none());
            prop_assert!(world.conditions().ready.is_ok());
            world.settle();
            if !refreshes && world.calls.first().is_some_and(|(_, call)| call.grant() == Grant::Refresh) {
                world.answer(Err(refused()));
            }
            renewals += run(&mut world, &Answer::Token(lifetime), number).len();
        }
        prop_assert_eq!(renewals, 59, "each wake-up was a renewal");
    }
}

#[test]
fn the_world_is_rich_enough_to_reach_every_plan() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    let happenings = proptest::collection::vec((events(), answers()), 30..40);
    for _ in 0..200 {
        let mut world = TestWorld::new();
        let drawn = happenings.new_tree(&mut runner).unwrap().current();
        for (number, (event, answer)) in drawn.iter().enumerate() {
            happen(&mut world, event, number);
            seen.extend(world.settle());
            run(&mut world, answer, number);
        }
    }
    let all = [
        "Obtain",
        "Publish",
        "Publish to repair",
        "PublishReadBack",
        "ReadLogin",
        "ReadTarget",
        "Record, Obtain",
        "Record, lift, Obtain",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}
