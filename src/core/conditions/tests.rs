use super::super::account::{Strategy, Throttle};
use super::super::reason::Reason;
use super::super::retry::{Failure, Sent};
use super::super::target::ControllerOwner;
use super::super::testing::{
    BILLING, OTHER, TestWorld, at, malformed, misconfigured, obtained, rejected, seconds, token, transient,
};
use super::*;

/// Ready as True or False and its reason, Reconciling, Stalled, `LoginAccepted`, `RenewalOverdue`.
type Row = (Result<&'static str, &'static str>, &'static str, &'static str, &'static str, &'static str);

fn row(world: &TestWorld) -> Row {
    let Conditions { ready, reconciling, stalled, login_accepted, renewal_overdue } = world.conditions();
    let name = |reason: Option<Reason>| reason.map_or("-", |reason| reason.name());
    let ready = ready.map(|reason| reason.name()).map_err(|reason| reason.name());
    let login = match login_accepted {
        None => "as before",
        Some(LoginAnswer::NotTried) => "not tried",
        Some(LoginAnswer::Accepted) => "accepted",
        Some(LoginAnswer::Rejected(_)) => "rejected",
        Some(LoginAnswer::Unneeded) => "unneeded",
    };
    (ready, name(reconciling), name(stalled), login, name(renewal_overdue))
}

fn check(cases: Vec<(&str, TestWorld, Row)>) {
    for (case, mut world, expected) in cases {
        world.settle();
        assert_eq!(row(&world), expected, "{case}");
    }
}

fn new(change: impl FnOnce(&mut TestWorld)) -> TestWorld {
    let mut world = TestWorld::new();
    change(&mut world);
    world
}

/// A credential with a token of an hour, so many seconds later.
fn published(now: i64, change: impl FnOnce(&mut TestWorld)) -> TestWorld {
    let mut world = TestWorld::published();
    world.now = at(now);
    change(&mut world);
    world
}

fn missing() -> Reason {
    Reason::LoginSecretMissing { secret: "billing-login".into() }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_credential_without_a_token_says_what_it_waits_for() {
    let answered = |failure: Failure| {
        new(move |world| {
            world.settle();
            world.answer(Err(failure));
        })
    };
    check(vec![
        ("in flight", new(|_| ()), (Err("Issuing"), "Issuing", "-", "not tried", "-")),
        ("rejected", answered(rejected()), (Err("LoginRejected"), "-", "LoginRejected", "rejected", "-")),
        (
            "unavailable",
            answered(transient(Sent::Maybe, None)),
            (Err("IssuerUnavailable"), "IssuerUnavailable", "-", "not tried", "-"),
        ),
        (
            "waiting its turn while the issuer fails for everyone",
            new(|world| world.throttle.calls = Some(at(5))),
            (Err("IssuerCircuitOpen"), "IssuerCircuitOpen", "-", "not tried", "-"),
        ),
        (
            "put off because its user name was rejected too often",
            new(|world| world.throttle.logins = Some(at(3600))),
            (Err("LoginRateLimited"), "-", "LoginRateLimited", "not tried", "-"),
        ),
        (
            "rejected, and put off",
            new(|world| {
                world.settle();
                world.answer(Err(rejected()));
                world.pass(seconds(300));
                world.throttle.logins = Some(at(3600));
            }),
            (Err("LoginRateLimited"), "-", "LoginRateLimited", "rejected", "-"),
        ),
        (
            "misconfigured",
            answered(misconfigured()),
            (Err("IssuerMisconfigured"), "-", "IssuerMisconfigured", "rejected", "-"),
        ),
        (
            "unusable",
            answered(malformed()),
            (Err("IssuerResponseInvalid"), "-", "IssuerResponseInvalid", "rejected", "-"),
        ),
        (
            "no login Secret",
            new(|world| world.login_holds = Err(missing())),
            (Err("LoginSecretMissing"), "-", "LoginSecretMissing", "as before", "-"),
        ),
        (
            "a stranger's Secret stands there",
            new(TestWorld::put_stranger),
            (Err("TargetConflict"), "-", "TargetConflict", "as before", "-"),
        ),
        (
            "a namesake's waits for garbage collection",
            new(|world| {
                world.put_stranger();
                let owner = ControllerOwner { is_credential: true, name: "billing".into(), uid: "u0".into() };
                world.edit_target(|target| target.controller = Some(owner));
            }),
            (Err("TargetPendingDeletion"), "TargetPendingDeletion", "-", "as before", "-"),
        ),
        (
            "suspended",
            new(|world| world.edit_spec(|spec| spec.suspended = true)),
            (Err("Suspended"), "-", "-", "as before", "-"),
        ),
        (
            "a specification that cannot be carried out",
            new(|world| world.spec = Err(Reason::InvalidSpec { field: "spec" })),
            (Err("InvalidSpec"), "-", "InvalidSpec", "as before", "-"),
        ),
        (
            "a held login is lifted: what the issuer said last holds until it says something else",
            new(|world| {
                world.settle();
                world.answer(Err(rejected()));
                world.settle();
                world.pass(seconds(1));
                world.edit_spec(|_| ());
                assert_eq!(world.settle(), ["ReadLogin", "Record, lift, Obtain"]);
            }),
            (Err("LoginRejected"), "-", "LoginRejected", "rejected", "-"),
        ),
    ]);
}

const READY: Row = (Ok("TokenPublished"), "-", "-", "accepted", "-");

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_published_token_keeps_its_credential_ready_until_it_dies() {
    let failing = |now, failure: Failure| {
        published(2700, move |world| {
            world.settle();
            world.answer(Err(failure));
            world.now = at(now);
            if !world.settle().is_empty() {
                world.answer(Err(transient(Sent::No, None)));
            }
        })
    };
    let held = |now| {
        published(2700, move |world| {
            world.edit_spec(|spec| spec.strategy = Strategy::Login);
            world.settle();
            world.answer(Err(rejected()));
            world.now = at(now);
        })
    };
    check(vec![
        ("fresh", published(60, |_| ()), READY),
        ("a renewal in flight", published(2700, |_| ()), READY),
        ("a renewal that fails", failing(2700, transient(Sent::Maybe, None)), READY),
        ("the login is held", held(2701), (Ok("TokenPublished"), "-", "LoginRejected", "rejected", "-")),
        (
            "overdue",
            failing(3300, transient(Sent::No, None)),
            (Ok("TokenPublished"), "-", "-", "accepted", "RenewalOverdue"),
        ),
        (
            "dead",
            failing(3600, transient(Sent::No, None)),
            (Err("Expired"), "Expired", "-", "accepted", "RenewalOverdue"),
        ),
        ("dead and held", held(3600), (Err("Expired"), "-", "LoginRejected", "rejected", "RenewalOverdue")),
        ("suspended", published(60, |world| world.edit_spec(|spec| spec.suspended = true)), READY),
        (
            "suspended past the margin",
            published(3300, |world| world.edit_spec(|spec| spec.suspended = true)),
            READY,
        ),
        (
            "suspended and dead",
            published(3600, |world| world.edit_spec(|spec| spec.suspended = true)),
            (Err("Expired"), "-", "-", "accepted", "-"),
        ),
        (
            "the login Secret is gone",
            published(60, |world| world.edit_login(Err(missing()))),
            (Ok("TokenPublished"), "-", "LoginSecretMissing", "as before", "-"),
        ),
        (
            "the login Secret was deleted and is back, for an account that was forgotten",
            published(60, |world| {
                world.accounts.clear();
                world.edit_login(Ok(BILLING));
            }),
            (Ok("TokenPublished"), "-", "-", "accepted", "-"),
        ),
        (
            "another account, in flight",
            published(60, |world| world.edit_login(Ok(OTHER))),
            (Ok("TokenPublished"), "-", "-", "not tried", "-"),
        ),
        (
            "another account, rejected",
            published(60, |world| {
                world.edit_login(Ok(OTHER));
                world.settle();
                world.answer(Err(rejected()));
            }),
            (Ok("TokenPublished"), "-", "LoginRejected", "rejected", "-"),
        ),
        ("restarted", published(60, TestWorld::restart), (Ok("TokenPublished"), "-", "-", "as before", "-")),
        (
            "restarted, and the renewal in flight",
            published(2700, TestWorld::restart),
            (Ok("TokenPublished"), "-", "-", "accepted", "-"),
        ),
        (
            "a specification that cannot be carried out any more",
            published(60, |world| world.spec = Err(Reason::IssuerNotAllowed { origin: String::new() })),
            (Err("IssuerNotAllowed"), "-", "IssuerNotAllowed", "accepted", "-"),
        ),
        (
            "writes are refused",
            published(2700, |world| world.refuse_writes(at(2705))),
            (Ok("TokenPublished"), "-", "TargetWriteRefused", "accepted", "-"),
        ),
        (
            "a new template cannot be written",
            published(60, |world| {
                world.edit_spec(|spec| spec.target.owned = false);
                world.refuse_writes(at(65));
            }),
            (Err("TargetWriteRefused"), "-", "TargetWriteRefused", "accepted", "-"),
        ),
    ]);
}

#[test]
fn a_changed_target_is_recognised_by_what_it_still_holds() {
    let owner = || ControllerOwner { is_credential: false, name: "other".into(), uid: "u9".into() };
    check(vec![
        ("edited and put back", published(60, |world| world.edit_target(|_| ())), READY),
        ("deleted and put back", published(60, TestWorld::delete_target), READY),
        (
            "edited again and again",
            published(60, |world| {
                world.edit_target(|_| ());
                world.repair_pause = Some(at(61));
            }),
            (Ok("TokenPublished"), "-", "TargetContested", "accepted", "-"),
        ),
        (
            "emptied again and again",
            published(60, |world| {
                world.edit_target(|target| target.token = None);
                world.repair_pause = Some(at(61));
            }),
            (Err("TargetContested"), "-", "TargetContested", "accepted", "-"),
        ),
        (
            "made immutable",
            published(60, |world| world.edit_target(|target| target.immutable = true)),
            (Ok("TokenPublished"), "-", "TargetImmutable", "accepted", "-"),
        ),
        (
            "taken over, with the token in it",
            published(60, |world| world.edit_target(|target| target.controller = Some(owner()))),
            (Err("TargetConflict"), "-", "TargetConflict", "accepted", "-"),
        ),
        (
            "replaced by a stranger's",
            published(60, TestWorld::put_stranger),
            (Err("TargetConflict"), "-", "TargetConflict", "accepted", "-"),
        ),
        (
            "of another type than a new specification wants",
            published(60, |world| {
                world.edit_spec(|spec| spec.target.secret_type = "example.com/token".into());
            }),
            (Err("TargetTypeMismatch"), "-", "TargetTypeMismatch", "accepted", "-"),
        ),
        (
            "lost at a restart, and the new login in flight",
            published(60, |world| {
                world.restart();
                world.edit_target(|target| target.token = Some(token("forged", at(0), 3600).access));
            }),
            (Err("Issuing"), "Issuing", "-", "accepted", "-"),
        ),
        (
            "deleted while suspended",
            published(60, |world| {
                world.edit_spec(|spec| spec.suspended = true);
                world.delete_target();
            }),
            (Err("Suspended"), "-", "-", "accepted", "-"),
        ),
    ]);
}

#[test]
fn short_lifetimes_get_a_warning_about_mounted_files_and_times_are_cut_to_seconds() {
    for (lifetime, lags) in [(3, true), (299, true), (300, false)] {
        let mut world = TestWorld::new();
        world.now.wall += jiff::SignedDuration::from_millis(999);
        world.settle();
        world.answer(Ok(obtained("first", world.now, lifetime)));
        world.settle();
        let expected = Reason::TokenPublished {
            secret: "billing-token".into(),
            expiry: at(lifetime).wall,
            outruns_kubelet: lags,
        };
        assert_eq!(world.conditions().ready, Ok(expected));
    }
}

#[test]
fn a_renewal_by_another_member_ends_an_overdue_one() {
    let mut world = published(3400, |_| ());
    assert!(world.conditions().renewal_overdue.is_some());
    world.renew_by_another_member(BILLING, "shared", 3600);
    world.settle();
    assert_eq!(row(&world), READY);
}

#[test]
fn a_late_renewal_and_a_dead_token_say_what_keeps_a_new_one_from_coming() {
    let missing = |now| published(now, |world| world.edit_login(Err(missing())));
    let (mut late, mut dead) = (missing(3400), missing(3600));
    let mut suspended = published(3600, |world| world.edit_spec(|spec| spec.suspended = true));
    for world in [&mut late, &mut dead, &mut suspended] {
        world.settle();
    }
    let overdue = late.conditions().renewal_overdue.map(|reason| reason.message()).unwrap_or_default();
    assert!(overdue.contains("Secret billing-login does not exist; create it"), "{overdue}");
    let expired = |world: &TestWorld| {
        world.conditions().ready.map_or_else(|reason| reason.message(), |_| String::new())
    };
    assert!(expired(&dead).contains("Secret billing-login does not exist; create it"), "{}", expired(&dead));
    assert!(expired(&suspended).contains("spec.suspend is set; set it to false"), "{}", expired(&suspended));
}

#[test]
fn a_selector_that_nobody_reads_is_reported_by_those_that_have_one() {
    for (has_selector, is_read, stalled) in
        [(true, false, Some("NamespaceSelectorIgnored")), (true, true, None), (false, false, None)]
    {
        let mut world = TestWorld::published();
        world.edit_spec(|spec| spec.has_namespace_selector = has_selector);
        world.settle();
        world.reads_namespace_labels = is_read;
        let conditions = world.conditions();
        assert_eq!(conditions.stalled.map(|reason| reason.name()), stalled, "{has_selector} {is_read}");
        assert!(conditions.ready.is_ok(), "its own token comes all the same");
    }
}

#[test]
fn a_rejected_login_says_when_a_corrected_one_is_tried() {
    let rejected_then = |change: fn(&mut TestWorld)| {
        new(|world| {
            world.settle();
            world.answer(Err(rejected()));
            world.settle();
            change(world);
            world.settle();
        })
    };
    let later = "after 2027-01-15T09:00:00Z, because too many logins were rejected";
    let unwritable = "once the target Secret can be written";
    let cases = vec![
        ("nothing puts it off", rejected_then(|_| ()), "at once"),
        ("its user name is limited", rejected_then(|world| world.throttle.logins = Some(at(3600))), later),
        ("a limit that is over", rejected_then(|world| world.throttle.logins = Some(at(0))), "at once"),
        ("logins in progress", rejected_then(|world| world.throttle.logins = Some(at(2))), "at once"),
        (
            "a bit longer",
            rejected_then(|world| world.throttle.logins = Some(at(3))),
            "after 2027-01-15T08:00:03Z",
        ),
        (
            "the issuer fails for all: it may be the probe",
            rejected_then(|world| world.throttle.calls = Some(at(5))),
            "at once",
        ),
        (
            "limited while the issuer fails for all",
            rejected_then(|world| world.throttle = Throttle { calls: Some(at(5)), logins: Some(at(3600)) }),
            later,
        ),
        (
            "suspended, and limited",
            rejected_then(|world| {
                world.edit_spec(|spec| spec.suspended = true);
                world.throttle.logins = Some(at(3600));
            }),
            "once spec.suspend is false",
        ),
        ("a stranger's target", rejected_then(TestWorld::put_stranger), unwritable),
        ("writes are refused", rejected_then(|world| world.refuse_writes(at(60))), unwritable),
        ("a refused write is repeated now", rejected_then(|world| world.refuse_writes(at(0))), "at once"),
        (
            "writes are refused, but a follower waits for the login",
            rejected_then(|world| {
                world.refuse_writes(at(60));
                world.is_wanted_by_followers = true;
            }),
            "at once",
        ),
    ];
    for (case, world, expected) in cases {
        let Some(LoginAnswer::Rejected(reason)) = world.conditions().login_accepted else {
            panic!("{case}: {:?}", world.conditions());
        };
        let message = reason.message();
        assert!(message.contains(&format!("A corrected Secret is tried {expected}")), "{case}: {message}");
    }
}

#[test]
fn a_held_login_that_is_limited_keeps_its_reason_and_says_until_when() {
    let mut world = new(|world| {
        world.settle();
        world.answer(Err(rejected()));
    });
    world.settle();
    world.throttle.logins = Some(at(3600));
    let stalled = world.conditions().stalled.unwrap();
    assert_eq!(stalled.name(), "LoginRejected");
    assert!(stalled.message().contains("is tried after 2027-01-15T09:00:00Z"), "{}", stalled.message());
}
