use super::super::conditions::{ConditionType, find};
use super::super::object_name::NamespacedName;
use super::super::observed::AccountReference;
use super::super::reason::{Reason, ReferenceProblem};
use super::super::sharing::Followers;
use super::super::testing::{BILLING, Known, OTHER, TestWorld, at, rejected, seconds};
use super::*;

type Change = fn(&mut TestWorld);

/// A credential that follows another one.
fn follower() -> TestWorld {
    let mut world = TestWorld::new();
    world.owner_uid = Some("owner".into());
    world.edit_spec(|spec| {
        spec.account = AccountReference::Followed(NamespacedName::new("platform", "billing"));
    });
    world
}

/// The owner has logged in, and its account holds this token.
fn share(world: &mut TestWorld, text: &str) {
    world.login_known = Known::Account(BILLING);
    world.renew_by_another_member(BILLING, text, 3600);
}

/// A follower that published `first` at the start.
fn published() -> TestWorld {
    let mut world = follower();
    share(&mut world, "first");
    assert_eq!(world.settle(), ["Publish"]);
    world
}

fn deny(world: &mut TestWorld) {
    let problem =
        ReferenceProblem::NotPermitted { credential: "platform/billing".into(), namespace: "shop".into() };
    world.login_known = Known::Defective(Reason::Reference(problem));
    world.owner_uid = None;
}

fn wished(world: &TestWorld) -> Option<Wish> {
    wish(&world.observe(), world.now)
}

fn asks(world: &TestWorld) -> bool {
    wished(world).is_some()
}

/// Another owner has the name of the one before, and has not read its login yet.
fn replace_owner(world: &mut TestWorld) {
    world.owner_uid = Some("made anew".into());
    world.login_known = Known::Unread;
}

/// Of a follower whose token is of another account: whatever the owner's account holds.
const ANY: Option<Wish> = Some(Wish { published: None });

#[test]
fn a_follower_publishes_what_its_owner_obtains_and_never_reads_a_login() {
    let mut world = follower();
    assert_eq!((world.settle(), asks(&world)), (vec![], true), "it has no token");
    share(&mut world, "first");
    assert!(!asks(&world), "it has only to be published");
    assert_eq!((world.settle(), asks(&world)), (vec!["Publish"], false));
    world.now = at(2700);
    assert_eq!((world.settle(), asks(&world)), (vec![], true), "a renewal is due");
    share(&mut world, "second");
    assert_eq!((world.settle(), asks(&world)), (vec!["Publish"], false));
    assert_eq!(world.published_text(), "second");
    let status = world.known.status();
    assert!(status.login.is_none() && status.refresh_support.is_none());
    assert!(find(&status.conditions, ConditionType::LoginAccepted).is_none());
    assert!(world.conditions().ready.is_ok());
}

#[test]
fn a_fresh_follower_asks_for_nothing_after_a_restart() {
    let mut world = published();
    world.now = at(60);
    world.restart();
    assert_eq!((world.settle(), asks(&world)), (vec![], false), "before its owner has logged in");
    world.login_known = Known::Account(BILLING);
    world.account(BILLING);
    assert_eq!((world.settle(), asks(&world)), (vec![], false), "after it has");
    assert!(world.conditions().ready.is_ok());
}

#[test]
fn a_token_of_an_owner_that_was_replaced_is_replaced_by_one_of_the_present_owners_account() {
    for restarts in [false, true] {
        let mut world = published();
        world.now = at(60);
        replace_owner(&mut world);
        if restarts {
            world.restart();
        }
        assert_eq!((world.settle(), wished(&world)), (vec![], ANY), "restarts: {restarts}");
        assert!(world.conditions().ready.is_ok(), "the account may be the same");
        world.login_known = Known::Account(OTHER);
        world.account(OTHER);
        assert_eq!((world.settle(), wished(&world)), (vec![], ANY), "it has no token yet");
        assert_eq!(world.conditions().ready.map_err(|reason| reason.name()), Err("Updating"));
        world.renew_by_another_member(OTHER, "other", 3600);
        assert_eq!((world.settle(), asks(&world)), (vec!["Publish"], false));
        assert_eq!(world.published_text(), "other");
        world.restart();
        assert_eq!((world.settle(), asks(&world)), (vec![], false), "status tells whose token it is");
        assert!(world.conditions().ready.is_ok());
    }
}

#[test]
fn a_token_of_an_owner_that_was_replaced_makes_no_follower_ready_while_the_present_one_obtains_none() {
    let mut world = published();
    replace_owner(&mut world);
    let owner = NamespacedName::new("platform", "billing");
    world.login_known = Known::Defective(ReferenceProblem::not_ready(&owner, true).into());
    assert_eq!((world.settle(), asks(&world)), (vec![], false));
    assert_eq!(world.conditions().ready.map_err(|reason| reason.name()), Err("ReferenceNotReady"));
}

#[test]
fn an_owner_that_is_made_anew_with_the_same_account_changes_nothing_for_its_followers() {
    let mut world = published();
    world.now = at(60);
    replace_owner(&mut world);
    assert_eq!((world.settle(), wished(&world)), (vec![], ANY));
    world.login_known = Known::Account(BILLING);
    assert_eq!((world.settle(), asks(&world)), (vec![], false));
    assert!(world.conditions().ready.is_ok());
    world.restart();
    assert_eq!((world.settle(), asks(&world)), (vec![], false), "status names the present owner");
    // The session has outlived a term of another process.
    replace_owner(&mut world);
    world.login_known = Known::Account(BILLING);
    share(&mut world, "second");
    world.settle();
    let text = world.published_text().to_owned();
    world.known.published_mut().key = None;
    world.owner_uid = Some("made anew again".into());
    assert_eq!((world.settle(), asks(&world)), (vec![], false), "the account holds the published token");
    assert_eq!((world.published_text(), world.conditions().ready.is_ok()), (text.as_str(), true));
}

#[test]
fn a_status_that_does_not_tell_whose_token_it_is_asks_for_nothing() {
    let mut world = published();
    world.known.published_mut().owner_uid = None;
    world.now = at(60);
    world.settle();
    world.restart();
    assert_eq!((world.settle(), asks(&world)), (vec![], false));
    assert!(world.conditions().ready.is_ok());
}

#[test]
fn a_requested_renewal_asks_the_owner_and_another_account_is_published_at_once() {
    let mut world = published();
    world.now = at(120);
    world.request_renewal(at(120));
    assert_eq!((world.settle(), asks(&world)), (vec![], true));
    share(&mut world, "second");
    assert_eq!((world.settle(), asks(&world)), (vec!["Publish"], false));
    assert_eq!(world.known.status().last_handled_renew_request, world.request);
    world.pass(seconds(120));
    world.login_known = Known::Account(OTHER);
    world.account(OTHER);
    assert_eq!((world.settle(), asks(&world)), (vec![], true), "the owner logs in to another account");
}

#[test]
fn without_permission_the_published_token_stays_until_it_expires_and_no_other_is_wanted() {
    let mut world = published();
    world.now = at(2700);
    share(&mut world, "second");
    deny(&mut world);
    assert_eq!((world.settle(), asks(&world)), (vec![], false));
    let conditions = world.conditions();
    assert!(conditions.ready.is_ok());
    assert_eq!(conditions.stalled.map(|reason| reason.name()), Some("ReferenceNotPermitted"));
    world.now = at(3600);
    assert_eq!((world.settle(), asks(&world)), (vec![], false));
    let Err(Reason::Expired { cause: Some(cause), .. }) = world.conditions().ready else { panic!() };
    assert_eq!(cause.name(), "ReferenceNotPermitted");
    world.delete_target();
    assert_eq!((world.settle(), asks(&world)), (vec![], false));
}

#[test]
fn nothing_is_asked_for_that_cannot_be_used() {
    let due = || {
        let mut world = published();
        world.now = at(2700);
        world
    };
    let cases: [(&str, Change, bool); 5] = [
        ("due", |_| (), true),
        ("suspended", |world| world.edit_spec(|spec| spec.suspended = true), false),
        ("another Secret has the name of the target", TestWorld::put_stranger, false),
        ("writes are refused", |world| world.refuse_writes(at(2800)), false),
        ("the namespace has too many writes", |world| world.namespace_pause = Some(at(4000)), false),
    ];
    for (case, change, expected) in cases {
        let mut world = due();
        change(&mut world);
        world.settle();
        assert_eq!(asks(&world), expected, "{case}");
    }
}

#[test]
fn an_owner_obtains_what_its_followers_need_whatever_keeps_its_own_target_from_being_written() {
    let cases: [(&str, Change, &[&str]); 6] = [
        ("fresh", |_| (), &["ReadLogin", "Obtain"]),
        ("after a restart", TestWorld::restart, &["ReadLogin", "Obtain"]),
        (
            "another Secret has the name of the target",
            TestWorld::put_stranger,
            &["ReadTarget", "ReadLogin", "Obtain"],
        ),
        ("writes are refused", |world| world.refuse_writes(at(2800)), &["ReadLogin", "Obtain"]),
        ("suspended", |world| world.edit_spec(|spec| spec.suspended = true), &[]),
        ("nobody needs one", |world| world.is_wanted_by_followers = false, &[]),
    ];
    for (case, change, steps) in cases {
        let mut world = TestWorld::published();
        world.now = at(600);
        world.edit_spec(|spec| spec.strategy = super::super::account::Strategy::Login);
        world.settle();
        world.now = at(1200);
        world.is_wanted_by_followers = true;
        change(&mut world);
        assert_eq!(world.settle(), steps, "{case}");
    }
}

#[test]
fn an_owner_reads_a_changed_login_for_its_followers_although_its_own_target_cannot_be_written() {
    let followers = Followers { count: 1, names: vec!["shop/follower".into()] };
    for (followers, steps) in
        [(None, &[][..]), (Some(Followers::default()), &[]), (Some(followers), &["ReadLogin"])]
    {
        let mut world = TestWorld::published();
        world.now = at(600);
        world.followers = followers;
        world.put_stranger();
        assert_eq!(world.settle(), ["ReadTarget"]);
        assert_eq!(world.settle(), [""; 0], "its login is the one that it has read");
        world.edit_login(Ok(OTHER));
        assert_eq!(world.settle(), steps);
        assert_eq!(world.settle(), [""; 0], "once");
    }
}

#[test]
fn what_followers_need_never_lifts_a_hold_and_has_no_more_than_one_token_a_minute() {
    let mut world = TestWorld::published();
    world.now = at(30);
    world.is_wanted_by_followers = true;
    assert_eq!(world.settle(), [""; 0], "the token is half a minute old");
    let Plan::Rest { until } = world.decide() else { panic!() };
    assert_eq!(until, Some(at(60)));
    let mut world = TestWorld::new();
    for pause in [300, 600, 0] {
        world.settle();
        world.answer(Err(rejected()));
        world.pass(seconds(pause));
    }
    world.is_wanted_by_followers = true;
    assert_eq!(world.settle(), [""; 0], "held");
    world.request_renewal(world.now.plus(seconds(1)));
    world.pass(seconds(1));
    assert_eq!(world.settle(), ["ReadLogin", "Record, lift, Obtain"], "by the owner's own request");
}
