use jiff::SignedDuration;

use super::super::call_failure::CallFailure;
use super::super::connection_failure::ConnectionFailure;
use super::super::testing::{
    at, blocked, inconclusive, malformed, misconfigured, obtained, pair, reason_name, refused, rejected,
    seconds, transient,
};
use super::super::token::{Grant, LifetimeSource};
use super::*;
use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Generator;

const AUTO: Strategy = Strategy::Auto;

fn middle() -> RandomFraction {
    RandomFraction::new(0.5)
}

/// Begins what is next and ends it so.
fn call(account: &mut Account, now: Moment, outcome: Result<TokenResponse, Failure>) -> Grant {
    let call = account.begin(AUTO, Some(pair()), now).expect("something to begin");
    let grant = call.grant();
    account.finish(call, outcome, now, middle());
    grant
}

/// An account that logged in at the start and got `first`, for an hour.
fn logged_in() -> Account {
    let mut account = Account::default();
    assert_eq!(call(&mut account, at(0), Ok(obtained("first", at(0), 3600))), Grant::Login);
    account
}

fn text(account: &Account) -> &str {
    account.token().map_or("", |token| token.access.expose())
}

#[test]
fn a_token_that_the_issuer_calls_expired_is_replaced_after_five_seconds_instead_of_a_minute() {
    let mut account = logged_in();
    account.call_expired(&Fingerprint::of(b"another"));
    assert_eq!(account.next(AUTO, at(1)), Next::Wait(at(60)), "it is not the present one");
    account.call_expired(&Fingerprint::of(b"first"));
    assert_eq!(account.next(AUTO, at(1)), Next::Wait(at(5)));
    call(&mut account, at(5), Ok(obtained("second", at(5), 3600)));
    assert_eq!(account.next(AUTO, at(6)), Next::Wait(at(65)), "the next one has not been called so");
}

#[test]
fn a_new_account_logs_in_and_a_renewal_refreshes_with_the_pair_it_holds() {
    let mut account = logged_in();
    assert_eq!(account.accepted(), Some(at(0)));
    assert_eq!(account.next(AUTO, at(2700)), Next::Refresh);
    assert_eq!(account.next(Strategy::Login, at(2700)), Next::Login);
    let call = account.begin(AUTO, Some(pair()), at(2700)).unwrap();
    let Call::Refresh { token, refresh } = &call else { panic!("{call:?}") };
    assert_eq!((token.access.expose(), refresh.expose()), ("first", "refresh-first"));
    assert_eq!(account.next(AUTO, at(2700)), Next::InFlight);
    assert!(account.begin(AUTO, Some(pair()), at(2700)).is_none(), "one call at a time");
    account.finish(call, Ok(obtained("second", at(2700), 3600)), at(2701), middle());
    assert_eq!(text(&account), "second");
    assert_eq!(account.refresh_support(), RefreshSupport::Early);
}

#[test]
fn what_a_failed_refresh_leads_to() {
    let pause = Next::Wait(at(2700).plus(retry_pause(1, TimeScale::FULL, middle())));
    let cases = [
        ("refused", refused(), Next::Login, Next::Login),
        ("an answer of success that cannot be used", malformed(), Next::Login, Next::Login),
        ("no such path", misconfigured(), Next::Login, Next::Login),
        ("blocked", blocked(), pause, Next::Login),
        ("answered by who never saw it", inconclusive(Sent::No), pause, Next::Refresh),
        ("an answer that broke off", inconclusive(Sent::Maybe), pause, Next::Login),
        ("not sent", transient(Sent::No, None), pause, Next::Refresh),
        ("sent, and its answer lost", transient(Sent::Maybe, None), pause, Next::Login),
    ];
    for (case, failure, at_once, later) in cases {
        let mut account = logged_in();
        assert_eq!(call(&mut account, at(2700), Err(failure)), Grant::Refresh, "{case}");
        assert_eq!(account.next(AUTO, at(2700)), at_once, "{case}");
        assert_eq!(account.next(AUTO, at(2710)), later, "{case}");
    }
}

#[test]
fn what_a_failed_login_leads_to() {
    let pause = Next::Wait(at(0).plus(retry_pause(1, TimeScale::FULL, middle())));
    let cases = [
        ("rejected", rejected(), Next::Wait(at(300))),
        ("not sent", transient(Sent::No, None), pause),
        ("answer lost", transient(Sent::Maybe, None), pause),
        ("unusable", malformed(), Next::Wait(at(300))),
        ("misconfigured", misconfigured(), Next::Wait(at(300))),
        ("blocked", blocked(), Next::Wait(at(300))),
        ("answered by who never saw it", inconclusive(Sent::No), Next::Wait(at(300))),
        ("an answer that broke off", inconclusive(Sent::Maybe), Next::Wait(at(300))),
    ];
    for (case, failure, next) in cases {
        let mut account = Account::default();
        let told = account.judge(Grant::Login, failure.clone());
        assert_eq!(reason_name(&told), reason_name(&failure), "{case}");
        assert_eq!(call(&mut account, at(0), Err(failure.clone())), Grant::Login, "{case}");
        assert_eq!(account.next(AUTO, at(0)), next, "{case}");
        assert_eq!(account.last_failure().map(|last_failure| &last_failure.failure), Some(&told), "{case}");
        assert_eq!((account.accepted(), account.attempted()), (None, Some(at(0))), "{case}");
        assert_eq!(account.next(AUTO, at(1_000_000)), Next::Login, "{case}");
    }
}

#[test]
fn a_success_ends_all_trouble_and_the_backoff_begins_anew() {
    let mut account = Account::default();
    let mut now = at(0);
    for (failures, longest) in (1..=6).zip([5, 10, 20, 40, 60, 60]) {
        call(&mut account, now, Err(transient(Sent::No, None)));
        let Next::Wait(until) = account.next(AUTO, now) else { panic!("{account:?}") };
        assert_eq!(until, now.plus(retry_pause(failures, TimeScale::FULL, middle())));
        assert!(until.remaining(now) <= seconds(longest));
        now = until;
    }
    call(&mut account, now, Ok(obtained("first", now, 3600)));
    assert_eq!(account.last_failure(), None);
    call(&mut account, now.plus(seconds(60)), Err(transient(Sent::No, None)));
    assert_eq!(account.last_failure().map(|last_failure| last_failure.count), Some(1));
}

#[test]
fn tokens_of_one_account_are_a_minute_apart_and_short_lived_ones_less() {
    for (lifetime, spacing) in [(3600, 60), (300, 60), (60, 12), (20, 4), (5, 1), (2, 1)] {
        let mut account = Account::default();
        call(&mut account, at(0), Ok(obtained("first", at(0), lifetime)));
        assert_eq!(account.next(AUTO, at(0)), Next::Wait(at(spacing)), "{lifetime}");
        assert!(account.begin(AUTO, Some(pair()), at(0)).is_none());
        assert_eq!(account.next(AUTO, at(spacing)), Next::Refresh, "{lifetime}");
    }
}

/// An account whose login was rejected as often as it may be, by itself.
fn held() -> Account {
    let mut account = Account::default();
    for now in [0, 300, 900] {
        call(&mut account, at(now), Err(rejected()));
    }
    account
}

#[test]
fn a_held_login_goes_on_at_once_when_it_is_lifted_and_once_only() {
    let mut account = held();
    assert_eq!(account.next(AUTO, at(1_000_000)), Next::Held);
    account.override_hold(at(1_000));
    assert_eq!(account.next(AUTO, at(1_000)), Next::Login);
    assert!(account.last_failure().is_some(), "what the issuer said last holds until it says something else");
    call(&mut account, at(1_000), Err(rejected()));
    assert_eq!(account.next(AUTO, at(1_000_000)), Next::Held);
    assert_eq!(
        account.last_failure().map(|last_failure| last_failure.count),
        Some(4),
        "rejections in a row are counted on"
    );
    account.override_hold(at(3_600));
    call(&mut account, at(3_600), Ok(obtained("first", at(3_600), 3600)));
    assert_eq!((account.last_failure(), account.rejections()), (None, 0));
}

#[test]
fn what_keeps_an_account_from_calling_puts_off_what_would_come_next() {
    let (calls, logins) = (Some(at(10)), Some(at(20)));
    let cases = [
        ("nothing", Throttle::default(), Next::Login, Next::Refresh),
        ("the issuer fails", Throttle { calls, logins: None }, Next::Wait(at(10)), Next::Wait(at(10))),
        ("too many rejections", Throttle { calls: None, logins }, Next::Wait(at(20)), Next::Refresh),
        ("both", Throttle { calls, logins }, Next::Wait(at(20)), Next::Wait(at(10))),
    ];
    let (unproven, mut proven) = (Account::default(), Account::default());
    call(&mut proven, at(-100), Ok(obtained("first", at(-100), 3600)));
    for (case, throttle, new, renewal) in cases {
        assert_eq!(unproven.next_under(throttle, AUTO, at(0)), new, "{case}");
        assert_eq!(proven.next_under(throttle, AUTO, at(0)), renewal, "{case}");
        assert_eq!(unproven.next_under(throttle, AUTO, at(20)), Next::Login, "{case}: it is over");
    }
    let held = held();
    assert_eq!(held.next_under(Throttle { calls, logins }, AUTO, at(2_000)), Next::Held, "the rest stands");
}

#[test]
fn what_a_calls_end_says_about_the_issuer() {
    let asked = Some(seconds(7));
    let cases = [
        ("a token", Ok(()), CallOutcome::Works, CallOutcome::Works),
        ("rejected", Err(rejected()), CallOutcome::Answers, CallOutcome::RejectsProven),
        ("refused", Err(refused()), CallOutcome::Answers, CallOutcome::Answers),
        ("unusable", Err(malformed()), CallOutcome::Answers, CallOutcome::Fails { retry_after: None }),
        (
            "no such path",
            Err(misconfigured()),
            CallOutcome::Answers,
            CallOutcome::Fails { retry_after: None },
        ),
        ("blocked", Err(blocked()), CallOutcome::Answers, CallOutcome::Fails { retry_after: None }),
        (
            "broken off",
            Err(inconclusive(Sent::Maybe)),
            CallOutcome::Answers,
            CallOutcome::Fails { retry_after: None },
        ),
        (
            "asked to wait",
            Err(transient(Sent::Maybe, Some(7))),
            CallOutcome::Fails { retry_after: asked },
            CallOutcome::Fails { retry_after: asked },
        ),
    ];
    for (case, outcome, unproven, proven) in cases {
        let says = |account: &Account| {
            let judged = outcome.clone().map_err(|failure| account.judge(Grant::Login, failure));
            account.call_outcome(judged.as_ref().copied(), false)
        };
        assert_eq!(says(&Account::default()), unproven, "{case}");
        assert_eq!(says(&logged_in()), proven, "{case}");
    }
    let cause = CallFailure::NoAnswer(ConnectionFailure::CertificateNotInBundle);
    let untrusted = Failure { cause, ..transient(Sent::No, None) };
    let fails = CallOutcome::Fails { retry_after: None };
    for (account, failure, has_own_trust, call_outcome) in [
        (Account::default(), &untrusted, true, CallOutcome::Distrusted),
        (Account::default(), &untrusted, false, fails),
        (Account::default(), &transient(Sent::No, None), true, fails),
        (logged_in(), &untrusted, true, fails),
    ] {
        assert_eq!(account.call_outcome(Err(failure), has_own_trust), call_outcome, "{has_own_trust}");
    }
}

#[test]
fn a_response_without_a_token_counts_as_a_rejection_until_the_login_is_accepted() {
    for failure in
        [malformed(), misconfigured(), blocked(), inconclusive(Sent::No), inconclusive(Sent::Maybe)]
    {
        let mut account = Account::default();
        for now in [0, 300, 900] {
            assert_eq!(account.next(AUTO, at(now)), Next::Login, "{failure:?}");
            call(&mut account, at(now), Err(failure.clone()));
        }
        assert_eq!((account.rejections(), account.next(AUTO, at(1_000_000))), (3, Next::Held), "{failure:?}");
        account.override_hold(at(1_000));
        call(&mut account, at(1_000), Ok(obtained("first", at(1_000), 3600)));
        let mut now = at(5_000);
        let login = account.begin(Strategy::Login, Some(pair()), now).unwrap();
        account.finish(login, Err(failure.clone()), now, middle());
        for _ in 0..20 {
            assert_eq!(
                (account.rejections(), account.last_failure().map(|it| &it.failure)),
                (0, Some(&failure))
            );
            let Next::Wait(until) = account.next(Strategy::Login, now) else { panic!("{account:?}") };
            let is_lasting = failure == blocked() && !at(5_900).is_after(now);
            let longest = if is_lasting { seconds(900) } else { seconds(60) };
            assert!(until.remaining(now) <= longest, "{failure:?}");
            now = until;
            let call = account.begin(Strategy::Login, Some(pair()), now).unwrap();
            account.finish(call, Err(failure.clone()), now, middle());
        }
    }
}

#[test]
fn only_a_word_of_the_issuer_about_the_login_ends_a_block() {
    let (own, lasting) = (retry_pause(100, TimeScale::FULL, middle()), seconds(900));
    let cases = [
        ("nothing", None, lasting),
        ("no answer", Some(Err(transient(Sent::Maybe, None))), lasting),
        ("another odd answer", Some(Err(malformed())), lasting),
        ("a rejection", Some(Err(rejected())), own),
        ("a token", Some(Ok(obtained("second", at(2_000), 3600))), retry_pause(1, TimeScale::FULL, middle())),
    ];
    for (case, between, pause) in cases {
        let mut account = Account::default();
        account.remember_accepted(at(-10));
        let mut answers = |now: i64, outcome| {
            account.override_hold(at(now));
            let login = account.begin(Strategy::Login, Some(pair()), at(now)).unwrap();
            account.finish(login, outcome, at(now), middle());
            account.next(Strategy::Login, at(now))
        };
        for now in (0..=40).map(|minute| minute * 30) {
            answers(now, Err(blocked()));
        }
        if let Some(outcome) = between {
            answers(2_000, outcome);
        }
        assert_eq!(answers(3_000, Err(blocked())), Next::Wait(at(3_000).plus(pause)), "{case}");
    }
}

#[test]
fn a_rejection_is_forgiven_once_until_the_login_is_accepted() {
    let mut account = Account::default();
    account.remember_accepted(at(-10));
    for round in [0, 10_000] {
        if account.next(AUTO, at(round)) == Next::Refresh {
            call(&mut account, at(round), Err(refused()));
        }
        call(&mut account, at(round), Err(rejected()));
        account.forgive(at(round + 1));
        assert_eq!((account.rejections(), account.next(AUTO, at(round + 1))), (0, Next::Login));
        call(&mut account, at(round + 1), Err(rejected()));
        account.forgive(at(round + 2));
        assert_eq!(
            (account.rejections(), account.next(AUTO, at(round + 2))),
            (1, Next::Wait(at(round + 301)))
        );
        call(&mut account, at(round + 301), Ok(obtained("token", at(round + 301), 3600)));
    }
    let before = account.rejections();
    account.forgive(at(20_000));
    assert_eq!((before, account.last_failure()), (0, None), "there was nothing to forgive");
}

#[test]
fn after_a_restart_what_was_learned_holds_until_the_specification_changes_or_a_day_has_passed() {
    for (support, asks_again, after, next) in [
        (RefreshSupport::Refused, false, 2_700, Next::Login),
        (RefreshSupport::Refused, true, 2_700, Next::Refresh),
        (RefreshSupport::Refused, false, 86_400, Next::Refresh),
        (RefreshSupport::Early, false, 2_700, Next::Refresh),
    ] {
        let mut account = Account::default();
        account.remember_support(support, at(0));
        call(&mut account, at(0), Ok(obtained("first", at(0), 100_000)));
        if asks_again {
            account.ask_again();
        }
        assert_eq!(account.next(AUTO, at(after)), next, "{support:?}, {asks_again}, {after}");
    }
}

#[test]
fn after_a_restart_retries_are_as_much_in_a_hurry_as_before() {
    let published = |issued, lifetime| Validity {
        issued: at(issued),
        lifetime: seconds(lifetime),
        source: LifetimeSource::ExpiresIn,
    };
    let mut account = Account::default();
    assert_eq!((account.pace(), account.overdue()), (TimeScale::FULL, None));
    account.remember_published(published(-10, 40), at(0));
    account.remember_published(published(-5, 20), at(0));
    account.remember_published(published(0, 3600), at(0));
    assert_eq!(account.pace(), TimeScale::of(seconds(20)), "what ends first counts");
    assert_eq!(account.overdue(), Some(at(13)));
    call(&mut account, at(0), Ok(obtained("first", at(0), 3600)));
    assert_eq!(account.pace(), TimeScale::FULL, "the newest token tells");
    assert_eq!(account.overdue(), Some(at(3300)));
}

#[test]
fn a_login_that_had_no_turn_was_not_attempted() {
    let mut account = Account::default();
    let call = account.begin(AUTO, Some(pair()), at(0)).unwrap();
    account.withdraw(call);
    assert_eq!((account.attempted(), account.next(AUTO, at(0))), (None, Next::Login));
}

#[test]
fn a_login_that_was_accepted_before_is_probed_once_an_hour() {
    let mut account = Account::default();
    account.remember_accepted(at(-10));
    for now in [0, 300, 900, 4_500] {
        assert_eq!(account.next(AUTO, at(now)), Next::Login, "{now}");
        call(&mut account, at(now), Err(rejected()));
        assert!(matches!(account.next(AUTO, at(now)), Next::Wait(_)), "{now}");
    }
    account.override_hold(at(4_501));
    assert_eq!(account.next(AUTO, at(4_501)), Next::Login, "whoever asks gets it at once");
}

#[test]
fn a_lift_ends_a_pause_as_well_and_is_nothing_to_an_account_without_trouble() {
    let mut account = Account::default();
    call(&mut account, at(0), Err(transient(Sent::No, None)));
    account.override_hold(at(0));
    assert_eq!(account.next(AUTO, at(0)), Next::Login);
    let mut account = logged_in();
    account.override_hold(at(0));
    assert_eq!(account.next(AUTO, at(0)), Next::Wait(at(60)));
}

#[test]
fn an_abandoned_refresh_is_spent_and_nothing_stays_in_flight() {
    let mut account = logged_in();
    drop(account.begin(AUTO, Some(pair()), at(2700)));
    account.abandon();
    assert_eq!(account.next(AUTO, at(2700)), Next::Login);
    assert_eq!(account.refresh_support(), RefreshSupport::Unknown, "nothing was learned");
    assert_eq!(text(&account), "first", "the token lives on");
}

#[test]
fn an_answer_without_a_refresh_token_keeps_the_old_one_after_a_refresh_and_none_after_a_login() {
    let bare = |text, now| TokenResponse { refresh: None, ..obtained(text, now, 3600) };
    let mut account = logged_in();
    call(&mut account, at(2700), Ok(bare("second", at(2700))));
    let Some(Call::Refresh { token, refresh }) = account.begin(AUTO, Some(pair()), at(5400)) else {
        panic!()
    };
    assert_eq!((token.access.expose(), refresh.expose()), ("second", "refresh-first"));
    let mut account = Account::default();
    call(&mut account, at(0), Ok(bare("first", at(0))));
    assert_eq!(account.next(AUTO, at(2700)), Next::Login);
}

/// Logs in, and has the first refresh ahead of expiry refused.
fn refuse_first_refresh(account: &mut Account, now: Moment) -> Moment {
    let later = now.plus(seconds(2700));
    assert_eq!(call(account, later, Err(refused())), Grant::Refresh);
    assert_eq!(call(account, later, Ok(obtained("next", later, 3600))), Grant::Login, "at once");
    later
}

#[test]
fn refreshing_stops_for_a_day_after_two_sessions_in_a_row_had_their_first_refresh_rejected() {
    let mut account = logged_in();
    let now = refuse_first_refresh(&mut account, at(0));
    assert_eq!(account.refresh_support(), RefreshSupport::Unknown);
    let now = refuse_first_refresh(&mut account, now);
    assert_eq!(account.refresh_support(), RefreshSupport::Refused);
    let day = now.plus(SignedDuration::from_hours(24));
    assert_eq!(account.next(AUTO, day.minus(seconds(1))), Next::Login);
    assert_eq!(account.next(AUTO, day), Next::Refresh, "asked again once a day");

    let mut stubborn = account.clone();
    call(&mut stubborn, day, Err(refused()));
    assert_eq!(call(&mut stubborn, day, Ok(obtained("later", day, 3600))), Grant::Login);
    assert_eq!(
        stubborn.next(AUTO, day.plus(seconds(2700))),
        Next::Login,
        "and not again before the next day"
    );

    let mut improved = account.clone();
    call(&mut improved, day, Ok(obtained("late", day, 3600)));
    assert_eq!(improved.refresh_support(), RefreshSupport::Refused, "the old token was dead: not early");
    let next = day.plus(seconds(2700));
    call(&mut improved, next, Ok(obtained("early", next, 3600)));
    assert_eq!(improved.refresh_support(), RefreshSupport::Early);
}

#[test]
fn an_issuer_that_refreshes_dead_tokens_only_is_asked_once_a_day_and_no_more() {
    let mut account = logged_in();
    let now = refuse_first_refresh(&mut account, at(0));
    let now = refuse_first_refresh(&mut account, now);
    let day = now.plus(SignedDuration::from_hours(24));
    call(&mut account, day, Ok(obtained("late", day, 3600)));
    let mut refreshes = 0;
    let mut now = day;
    for _ in 0..20 {
        now = now.plus(seconds(2700));
        if account.next(AUTO, now) == Next::Refresh {
            refreshes += 1;
            call(&mut account, now, Err(refused()));
        }
        call(&mut account, now, Ok(obtained("next", now, 3600)));
    }
    assert_eq!(refreshes, 1);
}

#[test]
fn a_session_that_was_refreshed_once_teaches_nothing_by_a_later_refusal() {
    let mut account = logged_in();
    let mut now = at(0);
    for _ in 0..4 {
        now = now.plus(seconds(2700));
        assert_eq!(call(&mut account, now, Ok(obtained("next", now, 3600))), Grant::Refresh);
        now = now.plus(seconds(2700));
        assert_eq!(call(&mut account, now, Err(refused())), Grant::Refresh);
        assert_eq!(call(&mut account, now, Ok(obtained("next", now, 3600))), Grant::Login);
    }
    assert_eq!(account.refresh_support(), RefreshSupport::Early);
}

#[test]
fn a_retry_after_is_honoured_up_to_half_the_time_left_and_at_most_a_minute_past_the_margin() {
    let own = |pace| retry_pause(1, pace, middle());
    // (lifetime, failure at, Retry-After, the pause that follows); an hour is overdue at 3300, a minute at 54.
    let cases = [
        (3600, 2700, 100, seconds(100)),
        (3600, 2700, 100_000, seconds(300)),
        (3600, 2700, 1, own(TimeScale::FULL)),
        (3600, 2700, -5, own(TimeScale::FULL)),
        (3600, 3300, 30, seconds(30)),
        (3600, 3300, 100_000, seconds(60)),
        (3600, 5000, 100_000, seconds(60)),
        (60, 30, 100_000, seconds(12)),
        (60, 54, 100_000, seconds(12)),
    ];
    for (lifetime, failed, asked, expected) in cases {
        let mut account = Account::default();
        call(&mut account, at(0), Ok(obtained("first", at(0), lifetime)));
        call(&mut account, at(failed), Err(transient(Sent::No, Some(asked))));
        let wait = account.next(AUTO, at(failed));
        assert_eq!(wait, Next::Wait(at(failed).plus(expected)), "{lifetime} {failed} {asked}");
    }
    let mut account = Account::default();
    call(&mut account, at(0), Err(transient(Sent::No, Some(100_000))));
    assert_eq!(account.next(AUTO, at(0)), Next::Wait(at(60)), "also before there is any token");
}

#[test]
fn a_remembered_rejection_is_held_but_hides_nothing_that_this_process_knows() {
    let mut account = Account::default();
    account.remember_rejections(rejected(), 3, at(-100));
    assert_eq!(account.next(AUTO, at(0)), Next::Held);
    account.remember_rejections(rejected(), 1, at(-50));
    assert_eq!(account.rejections(), 3, "of several records the largest holds");
    let mut account = logged_in();
    account.remember_rejections(rejected(), 3, at(-100));
    assert_eq!(account.last_failure(), None);
    let mut account = Account::default();
    call(&mut account, at(0), Err(transient(Sent::No, None)));
    account.remember_rejections(rejected(), 3, at(-100));
    assert_eq!(account.rejections(), 0, "this process has attempted the login itself");
}

#[test]
fn the_count_of_failures_does_not_overflow() {
    let mut account = Account::default();
    account.remember_rejections(rejected(), u32::MAX, at(-100));
    account.override_hold(at(0));
    call(&mut account, at(0), Err(rejected()));
    assert_eq!(account.last_failure().map(|it| it.count), Some(u32::MAX));
}

#[test]
fn only_an_answer_without_a_token_to_a_login_that_was_never_accepted_is_judged_as_a_rejection() {
    let (new, accepted) = (Account::default(), logged_in());
    for (case, account, grant, failure, is_judged) in [
        ("an odd answer", &new, Grant::Login, malformed(), true),
        ("an odd answer to a refresh", &new, Grant::Refresh, malformed(), false),
        ("an odd answer, accepted before", &accepted, Grant::Login, malformed(), false),
        ("no answer", &new, Grant::Login, transient(Sent::Maybe, None), false),
        ("rejected in plain words", &new, Grant::Login, rejected(), false),
    ] {
        let judged = account.judge(grant, failure.clone());
        assert_eq!(judged != failure, is_judged, "{case}");
        assert_eq!(judged.class == RetryClass::Rejected, is_judged || failure == rejected(), "{case}");
    }
}

#[test]
fn deadlines_come_when_either_clock_says_so() {
    let account = logged_in();
    let set_back = Moment { wall: at(-100_000).wall, ..at(60) };
    let set_forward = Moment { wall: at(100_000).wall, ..at(1) };
    assert_eq!(account.next(AUTO, set_back), Next::Refresh);
    assert_eq!(account.next(AUTO, set_forward), Next::Refresh);
}

/// How the issuer answers, and how long nothing happens before the next call.
#[derive(Clone, Debug)]
enum Answer {
    Token { lifetime: i64, with_refresh: bool },
    Fails(Failure),
    Never,
}

fn answers() -> impl Generator<Value = Vec<(Answer, i64, bool)>> {
    let failure = prop_oneof![
        Just(rejected()),
        Just(refused()),
        Just(malformed()),
        Just(misconfigured()),
        Just(blocked()),
        Just(inconclusive(Sent::No)),
        Just(inconclusive(Sent::Maybe)),
        (any::<bool>(), proptest::option::of(-10_i64..100_000))
            .prop_map(|(sent, after)| { transient(if sent { Sent::Maybe } else { Sent::No }, after) }),
    ];
    let answer = prop_oneof![
        3 => (1_i64..100_000, any::<bool>())
            .prop_map(|(lifetime, with_refresh)| Answer::Token { lifetime, with_refresh }),
        4 => failure.prop_map(Answer::Fails),
        1 => Just(Answer::Never),
    ];
    proptest::collection::vec((answer, 0_i64..5_000, any::<bool>()), 1..60)
}

proptest! {
    #[test]
    fn no_order_of_answers_makes_an_account_hammer_or_present_again_what_may_be_spent(
        answers in answers(), random_fraction in 0.0..1.0,
    ) {
        let mut account = Account::default();
        let mut now = at(0);
        let mut spent = Vec::new();
        let mut last_login: Option<Moment> = None;
        let mut refreshed_at: Option<Moment> = None;
        let mut rejected_at: Option<Moment> = None;
        for (number, (answer, pause, login_only)) in answers.into_iter().enumerate() {
            let strategy = if login_only { Strategy::Login } else { AUTO };
            if let Next::Wait(until) = account.next(strategy, now) {
                prop_assert!(!until.is_reached(now), "a wait that is over");
            }
            let Some(call) = account.begin(strategy, Some(pair()), now) else {
                if let Next::Wait(until) = account.next(strategy, now) {
                    now = until.plus(seconds(pause % 7));
                } else {
                    prop_assert_eq!(account.next(strategy, now), Next::Held);
                    prop_assert!(rejected_at.is_some());
                    now = now.plus(seconds(pause));
                }
                continue;
            };
            prop_assert_eq!(account.next(strategy, now), Next::InFlight);
            match &call {
                Call::Login(_) => {
                    let is_paced = |last: Moment| now.monotonic - last.monotonic >= seconds(300);
                    prop_assert!(rejected_at.is_none_or(is_paced), "a rejected login was presented again too soon");
                    prop_assert!(last_login.is_none_or(|last| now.is_after(last)), "two logins without a wait");
                    last_login = Some(now);
                }
                Call::Refresh { refresh, .. } => {
                    prop_assert!(strategy == AUTO);
                    prop_assert!(refreshed_at.is_none_or(|last| now.is_after(last)), "two refreshes without a wait");
                    prop_assert!(last_login.is_none_or(|last| now.is_after(last)), "a refresh right after a login");
                    prop_assert!(!spent.contains(&refresh.expose().to_owned()), "a spent refresh token");
                    refreshed_at = Some(now);
                }
            }
            let presented = match &call {
                Call::Refresh { refresh, .. } => Some(refresh.expose().to_owned()),
                Call::Login(_) => None,
            };
            let is_login = presented.is_none();
            let outcome = match answer {
                Answer::Never => {
                    drop(call);
                    account.abandon();
                    spent.extend(presented);
                    // Given up when the process ends or loses its lease, never in passing.
                    now = now.plus(seconds(10));
                    continue;
                }
                Answer::Token { lifetime, with_refresh } => {
                    let mut good = obtained(&format!("token-{number}"), now, lifetime);
                    good.refresh = good.refresh.filter(|_| with_refresh);
                    spent.extend(presented.filter(|_| with_refresh));
                    Ok(good)
                }
                Answer::Fails(failure) => {
                    let is_kept = matches!(
                        failure.class,
                        RetryClass::Transient { sent: Sent::No, .. }
                            | RetryClass::Inconclusive { sent: Sent::No }
                    );
                    spent.extend(presented.filter(|_| !is_kept));
                    let is_counted = failure.class == RetryClass::Rejected
                        || account.accepted().is_none() && failure.class.is_answer();
                    if is_login && is_counted {
                        rejected_at = Some(now);
                    }
                    Err(failure)
                }
            };
            let is_good = outcome.is_ok();
            rejected_at = rejected_at.filter(|_| !is_good);
            account.finish(call, outcome, now, RandomFraction::new(random_fraction));
            prop_assert_eq!(account.last_failure().is_none(), is_good || !is_login && account.last_failure().is_none());
            let next = account.next(strategy, now);
            prop_assert!(
                matches!(next, Next::Wait(_) | Next::Held) || (!is_login && next == Next::Login),
                "{:?} right after a call", next
            );
        }
    }
}
