//! The kinds of faults of issuers, and edits by people.

use std::time::Duration;

use idissuer_simulator::{DurationRange, Fault, FaultRule, Latency, RefreshAccepted, Request, RetryAfter};
use serde_json::{Value, json};

use crate::conditions::Source;
use crate::population::{Credential, login_secret};
use crate::schedule::{FaultSchedule, Kind};
use crate::sharing::{namespace_relabelled, owner_replaced, permission_withdrawn, reference_edited};
use crate::upheaval::{
    api_in_trouble, machines_suspended, replica_crashed, replica_stalled, replica_stopped, wall_clock_set,
    watches_broken, watches_silent,
};
use crate::world::World;

pub(crate) static KINDS: [Kind; 30] = [
    Kind { name: "issuer unreachable", daily: 2.0, grows: false, begin: issuer_unreachable },
    Kind { name: "issuer fails", daily: 4.0, grows: false, begin: issuer_fails },
    Kind { name: "issuer busy", daily: 2.0, grows: false, begin: issuer_busy },
    Kind { name: "issuer answers badly", daily: 3.0, grows: false, begin: issuer_answers_badly },
    Kind { name: "issuer rejects everyone", daily: 0.5, grows: false, begin: issuer_rejects },
    Kind { name: "issuer slow", daily: 2.0, grows: false, begin: issuer_slow },
    Kind { name: "answer lost", daily: 8.0, grows: true, begin: answer_lost },
    Kind { name: "refreshes refused", daily: 1.0, grows: false, begin: refreshes_refused },
    Kind { name: "password changed first", daily: 3.0, grows: true, begin: password_changed },
    Kind { name: "password changed everywhere", daily: 2.0, grows: true, begin: password_replaced },
    Kind { name: "wrong password in a Secret", daily: 2.0, grows: true, begin: wrong_password },
    Kind { name: "user locked by others", daily: 2.0, grows: true, begin: locked_out },
    Kind { name: "login Secret touched", daily: 20.0, grows: true, begin: login_touched },
    Kind { name: "target edited", daily: 10.0, grows: true, begin: target_edited },
    Kind { name: "specification edited", daily: 10.0, grows: true, begin: specification_edited },
    Kind { name: "credential suspended", daily: 3.0, grows: true, begin: suspended },
    Kind { name: "credential made anew", daily: 3.0, grows: true, begin: made_anew },
    Kind { name: "renewal requested", daily: 10.0, grows: true, begin: renewal_requested },
    Kind { name: "permission withdrawn", daily: 40.0, grows: true, begin: permission_withdrawn },
    Kind { name: "namespace relabelled", daily: 10.0, grows: false, begin: namespace_relabelled },
    Kind { name: "owner replaced", daily: 6.0, grows: true, begin: owner_replaced },
    Kind { name: "reference edited", daily: 10.0, grows: true, begin: reference_edited },
    Kind { name: "watches broken", daily: 10.0, grows: false, begin: watches_broken },
    Kind { name: "watches silent", daily: 2.0, grows: false, begin: watches_silent },
    Kind { name: "API server in trouble", daily: 5.0, grows: false, begin: api_in_trouble },
    Kind { name: "replica stopped", daily: 2.0, grows: false, begin: replica_stopped },
    Kind { name: "replica crashed", daily: 2.0, grows: false, begin: replica_crashed },
    Kind { name: "replica cut off or stalled", daily: 4.0, grows: false, begin: replica_stalled },
    Kind { name: "wall clock set", daily: 1.0, grows: false, begin: wall_clock_set },
    Kind { name: "machines suspended", daily: 0.5, grows: false, begin: machines_suspended },
];

pub(crate) const MINUTE: f64 = 60.0;
pub(crate) const HOUR: f64 = 3600.0;

fn one_issuer(world: &World, schedule: &mut FaultSchedule) -> usize {
    schedule.one_of(world.environment.issuers.len())
}

/// Something is wrong with an issuer until it ends.
fn issuer_trouble(
    world: &World,
    schedule: &mut FaultSchedule,
    issuer: usize,
    duration: Duration,
    end: impl FnOnce(&mut World) + 'static,
) {
    world.checker.breaks(Source::Issuer(issuer));
    schedule.ends_after(duration, world, move |world, _| {
        end(world);
        world.checker.mends(Source::Issuer(issuer));
    });
}

fn issuer_unreachable(world: &mut World, schedule: &mut FaultSchedule) {
    let (issuer, duration) = (one_issuer(world, schedule), schedule.seconds(5.0, 40.0 * MINUTE));
    world.environment.issuers.get(issuer).cut();
    issuer_trouble(world, schedule, issuer, duration, move |world| {
        world.environment.issuers.get(issuer).restore();
    });
}

/// An issuer follows this rule until it ends; which one, and how long.
fn issuer_follows(
    world: &World,
    schedule: &mut FaultSchedule,
    rule: FaultRule,
    longest: f64,
) -> (usize, Duration) {
    let (issuer, duration) = (one_issuer(world, schedule), schedule.seconds(5.0, longest));
    let rule = rule.chance(if schedule.chances.bool() { 1.0 } else { 0.5 });
    world.environment.issuers.get(issuer).simulator.inject(rule.clone());
    issuer_trouble(world, schedule, issuer, duration, move |world| {
        world.environment.issuers.get(issuer).simulator.configure(|personality| {
            let index = personality.faults.iter().position(|other| *other == rule);
            drop(index.map(|index| personality.faults.remove(index)));
        });
    });
    (issuer, duration)
}

fn issuer_fails(world: &mut World, schedule: &mut FaultSchedule) {
    let status = [500, 502, 503, 504][schedule.one_of(4)];
    let rule = FaultRule::new(Fault::status(status));
    let rule = if schedule.chances.bool() { rule.after_work() } else { rule.before_work() };
    issuer_follows(world, schedule, rule, 40.0 * MINUTE);
}

fn issuer_busy(world: &mut World, schedule: &mut FaultSchedule) {
    let seconds = schedule.chances.u32(1..600);
    let status = [429, 503][schedule.one_of(2)];
    let fault = Fault::retry_after(status, RetryAfter::Seconds(seconds));
    let (issuer, duration) =
        issuer_follows(world, schedule, FaultRule::new(fault).before_work(), 20.0 * MINUTE);
    world.checker.breaks(Source::Patience(issuer));
    let waits = duration + Duration::from_secs(seconds.into());
    schedule.ends_after(waits, world, move |world, _| world.checker.mends(Source::Patience(issuer)));
}

fn issuer_answers_badly(world: &mut World, schedule: &mut FaultSchedule) {
    let faults = [
        Fault::Lost,
        Fault::Hang,
        Fault::Garbage,
        Fault::Truncated,
        Fault::Cut,
        Fault::NotHttp,
        Fault::Oversize { bytes: 100_000 },
        Fault::Trickle { interval: Duration::from_secs(1) },
    ];
    let fault = faults[schedule.one_of(faults.len())].clone();
    issuer_follows(world, schedule, FaultRule::new(fault), 20.0 * MINUTE);
}

fn issuer_rejects(world: &mut World, schedule: &mut FaultSchedule) {
    let status = [401, 403][schedule.one_of(2)];
    issuer_follows(world, schedule, FaultRule::on_login(Fault::status(status)), HOUR);
}

fn issuer_slow(world: &mut World, schedule: &mut FaultSchedule) {
    let (issuer, duration) = (one_issuer(world, schedule), schedule.seconds(5.0, 20.0 * MINUTE));
    if !schedule.active.insert(("slow", issuer)) {
        return;
    }
    let slow = DurationRange { from: Duration::from_secs(2), to: Duration::from_secs(12) };
    let simulator = &world.environment.issuers.get(issuer).simulator;
    let before =
        simulator.configure(|personality| std::mem::replace(&mut personality.latency, Latency::of(slow)));
    issuer_trouble(world, schedule, issuer, duration, move |world| {
        world.environment.issuers.get(issuer).simulator.configure(|personality| personality.latency = before);
    });
    schedule.ends_after(duration, world, move |_, schedule| {
        schedule.active.remove(&("slow", issuer));
    });
}

fn answer_lost(world: &mut World, schedule: &mut FaultSchedule) {
    let issuer = one_issuer(world, schedule);
    world.environment.issuers.get(issuer).simulator.inject(FaultRule::new(Fault::Lost).once());
}

fn refreshes_refused(world: &mut World, schedule: &mut FaultSchedule) {
    let (issuer, duration) = (one_issuer(world, schedule), schedule.seconds(10.0 * MINUTE, 4.0 * HOUR));
    if !schedule.active.insert(("refused", issuer)) {
        return;
    }
    let set = move |world: &World, accepted| {
        let simulator = &world.environment.issuers.get(issuer).simulator;
        simulator.configure(|personality| std::mem::replace(&mut personality.refresh.accepted, accepted))
    };
    let before = set(world, RefreshAccepted::Never);
    schedule.ends_after(duration, world, move |world, schedule| {
        set(world, before);
        schedule.active.remove(&("refused", issuer));
    });
}

/// The issuer has another password for an account from now on.
fn new_password(world: &mut World, schedule: &mut FaultSchedule) -> usize {
    let number = schedule.one_of(world.population.accounts.len());
    let account = &mut world.population.accounts[number];
    account.password = format!("password-{number}-{}", schedule.chances.u32(1..));
    world.environment.issuers.get(account.issuer).simulator.set_user(&account.user());
    number
}

/// Its login Secret in a namespace gets the password that the issuer has by now.
fn repairs_login(world: &World, account: usize, namespace: &str) {
    let account = &world.population.accounts[account];
    world.write(&login_secret(namespace, account, &account.password));
}

fn password_changed(world: &mut World, schedule: &mut FaultSchedule) {
    let account = new_password(world, schedule);
    for namespace in world.population.namespaces_of(account) {
        let duration = schedule.seconds(30.0, 6.0 * HOUR);
        schedule.ends_after(duration, world, move |world, _| repairs_login(world, account, &namespace));
    }
}

fn password_replaced(world: &mut World, schedule: &mut FaultSchedule) {
    let account = new_password(world, schedule);
    for namespace in world.population.namespaces_of(account) {
        repairs_login(world, account, &namespace);
    }
}

fn one_login(world: &World, schedule: &mut FaultSchedule) -> (usize, String) {
    let number = schedule.one_of(world.population.credentials.len());
    let credential = &world.population.credentials[number];
    (credential.account, credential.login_namespace().to_owned())
}

fn wrong_password(world: &mut World, schedule: &mut FaultSchedule) {
    let (account, namespace) = one_login(world, schedule);
    let wrong = format!("wrong-{}", schedule.chances.u32(..));
    world.write(&login_secret(&namespace, &world.population.accounts[account], &wrong));
    let duration = schedule.seconds(5.0, 3.0 * HOUR);
    schedule.ends_after(duration, world, move |world, _| repairs_login(world, account, &namespace));
}

fn locked_out(world: &mut World, schedule: &mut FaultSchedule) {
    let number = schedule.one_of(world.population.accounts.len());
    let account = &world.population.accounts[number];
    let issuer = world.environment.issuers.get(account.issuer);
    let login = json!({"username": account.username(), "password": "a guess"});
    for _ in 0..5 {
        let request = Request::post(&issuer.personality().login.path, &login);
        drop(issuer.call(&request, world.now()));
    }
}

fn login_touched(world: &mut World, schedule: &mut FaultSchedule) {
    let (account, namespace) = one_login(world, schedule);
    let login = world.population.accounts[account].login();
    let patch =
        json!({"metadata": {"annotations": {"example.org/note": schedule.chances.u32(..).to_string()}}});
    world.environment.api.merge("owner", "secrets", (&namespace, &login), &patch).unwrap();
    // After a restart it may have been repaired.
    world.environment.ledger.lifts(account, world.now());
}

fn target_edited(world: &mut World, schedule: &mut FaultSchedule) {
    let number = schedule.one_of(world.population.credentials.len());
    let credential = &world.population.credentials[number];
    let edits = [
        None,
        Some(json!({"data": null})),
        Some(json!({"data": {"token": "bm8gdG9rZW4="}})),
        Some(json!({"data": {"token": null}})),
        Some(json!({"metadata": {"labels": null, "annotations": null}})),
        Some(json!({"metadata": {"annotations": {"example.org/note": "mine"}}})),
    ];
    world.edit_target(credential, edits[schedule.one_of(edits.len())].as_ref());
}

/// A credential gets another specification, and after a while its first one.
pub(crate) fn edits(
    world: &mut World,
    schedule: &mut FaultSchedule,
    credential: &Credential,
    spec: &Value,
    duration: Duration,
    breaks: Option<Source>,
) {
    if !schedule.active.insert(("specification", credential.number)) {
        return;
    }
    let credential = credential.clone();
    world.edits(&credential, spec);
    if let Some(source) = breaks {
        world.checker.breaks(source);
    }
    schedule.ends_after(duration, world, move |world, schedule| {
        world.edits(&credential, &json!({}));
        if let Some(source) = breaks {
            world.checker.mends(source);
        }
        schedule.active.remove(&("specification", credential.number));
    });
}

fn one_credential(world: &World, schedule: &mut FaultSchedule) -> Credential {
    world.population.credentials[schedule.one_of(world.population.credentials.len())].clone()
}

fn specification_edited(world: &mut World, schedule: &mut FaultSchedule) {
    let template = json!({"token": "{{ token }}", "header": "Bearer {{ token }}"});
    let specs = [
        json!({"renewal": {"renewBeforePercent": 5}}),
        json!({"renewal": {"renewBeforePercent": 60}}),
        json!({"renewal": {"renewBeforeSeconds": 120}}),
        json!({"target": {"template": {"data": template}}}),
        json!({"target": {"creationPolicy": "Orphan"}}),
        // Not of a follower.
        json!({"renewal": {"strategy": "Login"}}),
    ];
    let credential = one_credential(world, schedule);
    let possible = specs.len() - usize::from(credential.owner.is_some());
    let (spec, duration) = (&specs[schedule.one_of(possible)], schedule.seconds(5.0, 4.0 * HOUR));
    edits(world, schedule, &credential, spec, duration, None);
}

fn suspended(world: &mut World, schedule: &mut FaultSchedule) {
    let (credential, duration) = (one_credential(world, schedule), schedule.seconds(5.0, 2.0 * HOUR));
    let breaks = Some(Source::Credential(credential.number));
    edits(world, schedule, &credential, &json!({"suspend": true}), duration, breaks);
}

fn made_anew(world: &mut World, schedule: &mut FaultSchedule) {
    let number = schedule.one_of(world.population.credentials.len());
    if !schedule.active.insert(("specification", number)) {
        return;
    }
    let credential = world.population.credentials[number].clone();
    let (namespace, name) = (credential.namespace.clone(), credential.name.clone());
    world.checker.breaks(Source::Credential(number));
    world.environment.api.delete("owner", "idissuercredentials", &namespace, &name);
    world.garbage.insert(number);
    let duration = schedule.seconds(1.0, 10.0 * MINUTE);
    schedule.ends_after(duration, world, move |world, schedule| {
        world.edits(&credential, &json!({}));
        world.checker.mends(Source::Credential(number));
        schedule.active.remove(&("specification", number));
    });
}

fn renewal_requested(world: &mut World, schedule: &mut FaultSchedule) {
    let number = schedule.one_of(world.population.credentials.len());
    let credential = &world.population.credentials[number];
    let request = schedule.chances.u32(..).to_string();
    let patch = json!({"metadata": {"annotations": {"idissuer.pl/renew-requested-at": request}}});
    let place = (credential.namespace.as_str(), credential.name.as_str());
    drop(world.environment.api.merge("owner", "idissuercredentials", place, &patch));
    world.lifts(credential);
}
