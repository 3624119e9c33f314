//! The decisions of `idissuer token`, one by one.

use super::*;
use crate::core::account::{Account, Strategy, Throttle};
use crate::core::backoff::RandomFraction;
use crate::core::connection_failure::ConnectionFailure;
use crate::core::endpoint::Origin;
use crate::core::login_attempts::RejectionKind;
use crate::core::retry::Failure;
use crate::core::sidecar::error::SourceError;
use crate::core::testing::{BILLING, at, obtained, pair, rejected, seconds, token, transient};

const ISSUER: &str = "https://i";

fn files(name: &str) -> FilesIdentity {
    FilesIdentity(name.to_owned())
}

/// Of an attempt that was rejected so, or whose answer nobody heard.
fn record(rejection: Option<RejectionKind>) -> Record {
    let mut record = begin(None, ISSUER.to_owned(), files("a"), at(0).wall);
    record.attempts.rejection = rejection;
    record
}

/// Of an attempt that was accepted.
fn accepted() -> Record {
    record(None).after(&after(Account::default(), Some(Ok(()))))
}

fn view(account: &Account) -> AccountView {
    AccountView::of(BILLING, account, Throttle::default(), Strategy::Login, at(0))
}

fn no_answer(sent: Sent) -> Failure {
    Failure { cause: CallFailure::NoAnswer(ConnectionFailure::Lost), ..transient(sent, None) }
}

/// An account whose attempt at 0 ended so; `None`: it was aborted.
fn after(mut account: Account, outcome: Option<Result<(), Failure>>) -> AccountView {
    let call = account.begin(Strategy::Login, Some(pair()), at(0)).unwrap();
    match outcome.map(|outcome| outcome.map(|()| obtained("t", at(0), 3600))) {
        Some(outcome) => account.finish(call, outcome, at(1), RandomFraction::new(0.5)),
        None => account.abandon(),
    }
    view(&account)
}

#[test]
fn a_token_is_printed_while_it_lives_for_a_minute_a_tenth_of_its_life_or_as_long_as_is_asked() {
    let judge = |min: Option<i64>, lifetime: i64, age: i64| {
        MinTtl(min.map(seconds)).judge(&HeldToken::issued(&token("t", at(-age), lifetime)), at(0))
    };
    for (min, lifetime, age, expected) in [
        (None, 3600, 3540, Fitness::Fit),
        (None, 3600, 3541, Fitness::EndsTooSoon),
        (None, 20, 18, Fitness::Fit),
        (None, 20, 19, Fitness::EndsTooSoon),
        (Some(600), 3600, 3000, Fitness::Fit),
        (Some(600), 3600, 3001, Fitness::EndsTooSoon),
        (Some(0), 3600, 3600, Fitness::EndsTooSoon),
        (Some(3600), 3600, 1, Fitness::EndsTooSoon),
        (Some(3601), 3600, 0, Fitness::LifetimeTooShort),
    ] {
        assert_eq!(judge(min, lifetime, age), expected, "{min:?} {lifetime} {age}");
    }
    let future = HeldToken::issued(&token("t", at(1), 3600));
    assert_eq!(MinTtl(None).judge(&future, at(0)), Fitness::Fit, "by another machine's clock");
    assert_eq!(MinTtl(None).judge_cached(&future, at(0)), Fitness::EndsTooSoon, "this clock was set back");
    let new = HeldToken::issued(&token("t", at(0), 3600));
    assert_eq!(MinTtl(None).judge_cached(&new, at(0)), Fitness::Fit);
    let dead = HeldToken::issued(&token("t", at(-60), 60));
    assert_eq!(MinTtl(Some(seconds(90))).judge_cached(&dead, at(0)), Fitness::EndsTooSoon);
    let endless = HeldToken { expiry: None, ..future };
    assert_eq!(MinTtl(None).judge(&endless, at(0)), Fitness::Fit);
    assert_eq!(MinTtl(None).judge_cached(&endless, at(1)), Fitness::EndsTooSoon, "its times are lost");
    assert_eq!(MinTtl(Some(seconds(1))).judge(&endless, at(0)), Fitness::EndsTooSoon);
}

#[test]
fn a_cached_token_is_of_one_issuer_one_login_and_its_last_answer() {
    let cached = HeldToken::issued(&token("t", at(0), 3600));
    let accepted = accepted();
    let (same, other) = (files("a"), files("b"));
    assert!(is_own(&accepted, &cached, ISSUER, Some(&same)) && is_own(&accepted, &cached, ISSUER, None));
    assert!(!is_own(&accepted, &cached, "https://j", None));
    assert!(!is_own(&accepted, &cached, ISSUER, Some(&other)));
    assert!(!is_own(&record(None), &cached, ISSUER, None));
    let typed = without_password(accepted.clone(), other.clone());
    assert_eq!(typed.files, other);
    let wrong = record(Some(RejectionKind::Rejected));
    assert_eq!(without_password(wrong.clone(), other), wrong, "so that it is known again");
}

#[test]
fn an_attempt_counts_unless_it_was_not_sent_or_answered_with_something_else() {
    let proven = || {
        let mut account = Account::default();
        account.remember_accepted(at(-10));
        account
    };
    let before = || Some(record(Some(RejectionKind::PathWrong)));
    let attempt = || begin(before().as_ref(), ISSUER.to_owned(), files("a"), at(0).wall);
    assert_eq!(attempt().attempts.rejections, 2);
    let settled = |account: &AccountView| {
        let outcome = Outcome::of(account, at(0));
        (outcome, outcome.settle(before(), attempt(), account))
    };
    for (outcome, expected, unproven, once_accepted) in [
        (Some(Err(no_answer(Sent::No))), Outcome::NotSent, before(), before()),
        (Some(Err(transient(Sent::Maybe, None))), Outcome::Answered, before(), before()),
        (Some(Err(no_answer(Sent::Maybe))), Outcome::Unheard, Some(attempt()), before()),
        (None, Outcome::Aborted, Some(attempt()), Some(attempt())),
    ] {
        for (account, kept) in [(Account::default(), unproven), (proven(), once_accepted)] {
            assert_eq!(settled(&after(account, outcome.clone())), (expected, kept));
        }
    }
    let (outcome, kept) = settled(&after(Account::default(), Some(Err(rejected()))));
    let rejection = kept.and_then(|record| record.attempts.rejection);
    assert_eq!((outcome, rejection), (Outcome::Rejected, Some(RejectionKind::Rejected)));
    let (outcome, kept) = settled(&after(Account::default(), Some(Ok(()))));
    assert_eq!((outcome, kept.unwrap().attempts.rejections), (Outcome::Accepted, 0));
    assert_eq!(settled(&view(&Account::default())), (Outcome::NotSent, before()), "it had no turn");
    for (outcome, needs_pause) in
        [(Outcome::NotSent, false), (Outcome::Accepted, false), (Outcome::Answered, true)]
    {
        assert_eq!(outcome.needs_pause(), needs_pause, "{outcome:?}");
    }
}

#[test]
fn a_login_is_attempted_unless_it_was_rejected_or_has_to_wait() {
    let new = view(&Account::default());
    let rejected = record(Some(RejectionKind::Forbidden));
    let origin = Origin::parse(ISSUER).unwrap();
    let login = LoginLabel { name: "login", origin: &origin, password_has_blank: true };
    assert_eq!(may_log_in(&new, None, &login), Ok(()));
    assert_eq!(may_log_in(&new, Some(&record(None)), &login), Ok(()), "its time has come");
    let failure = may_log_in(&new, Some(&rejected), &login).unwrap_err();
    let expected = SourceError::LoginRejected { forbidden: true, proven: false, blank: true, delay: None };
    assert_eq!(failure, expected.into());
    let mut once = rejected;
    once.attempts.accepted = Some(at(-10).wall);
    assert_eq!(may_log_in(&new, Some(&once), &login), Ok(()), "the account's budget counts");
    let mut waiting = Account::default();
    waiting.remember_rejections(record(None).attempts.failure(false).unwrap(), 1, at(0));
    let failure = may_log_in(&view(&waiting), Some(&record(None)), &login).unwrap_err();
    assert_eq!((failure.error.name(), failure.next_attempt), ("LoginOutcomeUnknown", Some(at(300).wall)));
}

#[test]
fn four_rejections_within_an_hour_are_remembered_over_all_passwords_until_one_is_accepted() {
    let mut calls = CallHistory::default();
    assert_eq!(calls.rejected_lately(at(0)), None);
    for second in 0..6 {
        let attempt = begin(None, ISSUER.to_owned(), files("a"), at(second).wall);
        calls.absorb(Some(&attempt));
        calls.absorb(Some(&attempt));
    }
    assert_eq!(calls.rejected_lately(at(6)), Some((4, at(5))));
    assert_eq!(calls.rejected_lately(at(3604)), Some((1, at(5))));
    assert_eq!(calls.rejected_lately(at(3605)), None);
    let kept: CallHistory = serde_json::from_str(&serde_json::to_string(&calls).unwrap()).unwrap();
    assert_eq!(kept, calls);
    calls.absorb(Some(&accepted()));
    assert_eq!(calls.rejected_lately(at(6)), None);
}

#[test]
fn a_call_follows_a_failed_one_after_five_seconds_also_when_the_clock_jumps() {
    let pause = |failed: Option<i64>| {
        let failed = failed.map(|second| at(second).wall);
        CallHistory { failed, ..CallHistory::default() }.pause(at(0))
    };
    for (failed, expected) in [(None, 0), (Some(-5), 0), (Some(-2), 3), (Some(0), 5), (Some(9_999), 5)] {
        assert_eq!(pause(failed), seconds(expected), "{failed:?}");
    }
}

#[test]
fn what_a_clock_recorded_that_was_ahead_gets_older_from_the_time_at_which_that_is_seen() {
    let mut calls = CallHistory { rejected: vec![at(0).wall, at(9000).wall], failed: Some(at(9000).wall) };
    let mut record =
        Record::of_attempt("https://i".to_owned(), FilesIdentity("1".to_owned()), at(9000).wall, 1);
    assert!(bound_times(Some(&mut record), &mut calls, at(100).wall));
    assert_eq!(
        (calls.rejected.as_slice(), calls.failed),
        (&[at(0).wall, at(100).wall][..], Some(at(100).wall))
    );
    assert_eq!(record.attempts.attempted, Some(at(100).wall));
    assert!(!bound_times(Some(&mut record), &mut calls, at(100).wall));
    calls.absorb(Some(&record));
    assert_eq!(calls.rejected.len(), 2, "it is the same rejection");
    assert_eq!(calls.rejected_lately(at(3699)).map(|(count, _)| count), Some(1));
    assert!(calls.rejected_lately(at(3700)).is_none());
}
