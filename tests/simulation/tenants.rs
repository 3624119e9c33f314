//! A tenant that exceeds its limits.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idissuer_testbed::memory::Fault;
use serde_json::json;
use tokio::time::Instant;

use crate::issuers::{HOUR, Issuers};
use crate::population::{Credential, login_secret, text};
use crate::world::{Plan, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const STATUS: &str = "idissuercredentials/status";

/// This number of accounts with one credential each, all in one namespace. Nothing runs yet.
fn crowd(issuers: Issuers, credentials: usize) -> World {
    World::new(&Plan { seed: 9, accounts: credentials, credentials, lease: None }, issuers)
}

/// The writes of the operator to objects of this resource.
fn writes(world: &World, resource: &str) -> u64 {
    let is_write =
        |verb: &str, target: &str| target == resource && matches!(verb, "create" | "patch" | "update");
    let counts = world.environment.api.counts().into_iter();
    counts.filter(|((_, verb, target), _)| is_write(verb, target)).map(|(_, count)| count).sum()
}

fn told(world: &World, credential: &Credential, kind: &str) -> Option<(String, String)> {
    world.condition(credential, kind)
}

#[tokio::test(start_paused = true)]
async fn very_short_lived_tokens_are_written_once_a_minute_and_reported_without_a_flood_of_events() {
    let mut world = crowd(Issuers::plain(9, SECOND), 50);
    world.start();
    world.pass(10 * SECOND).await;
    for credential in &world.population.credentials {
        let expected = |status: &str| Some((status.to_owned(), "TokenLifetimeTooShort".to_owned()));
        assert_eq!(told(&world, credential, "Ready"), expected("False"));
        assert_eq!(told(&world, credential, "Stalled"), expected("True"));
    }
    world.environment.api.reset_counts();
    world.pass(2 * MINUTE).await;
    let (secrets, statuses) = (writes(&world, "secrets"), writes(&world, STATUS));
    assert!((50..=150).contains(&secrets), "{secrets}: two or three of each");
    assert!(statuses <= 2 * secrets, "{statuses}");
    assert_eq!(writes(&world, "events"), 0);

    // Longer lives are noticed by themselves, and a life of three seconds is served.
    let issuer = &world.environment.issuers.get(0).simulator;
    issuer.configure(|personality| personality.token.lifetime = 3 * SECOND);
    world.pass(MINUTE + 10 * SECOND).await;
    for credential in &world.population.credentials {
        assert_eq!(told(&world, credential, "Ready"), Some(("True".into(), "TokenPublished".into())));
        assert_eq!(told(&world, credential, "Stalled"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_of_five_seconds_stay_alive_and_are_written_no_more_often_than_that_needs() {
    let mut world = crowd(Issuers::plain(9, 5 * SECOND), 50);
    world.start();
    world.pass(2 * MINUTE).await;
    world.environment.api.reset_counts();
    for _ in 0..60 {
        world.pass(SECOND).await;
        world.assert_healthy();
    }
    let (secrets, statuses) = (writes(&world, "secrets"), writes(&world, STATUS));
    assert!(secrets <= 50 * 17, "{secrets} in a minute");
    assert!(statuses <= 50 * 16, "{statuses} in a minute");
}

#[tokio::test(start_paused = true)]
async fn what_is_changed_over_and_over_is_written_at_a_pace_and_as_it_was_asked_for_last() {
    let mut world = crowd(Issuers::plain(9, HOUR), 2);
    world.start();
    world.pass(10 * SECOND).await;
    world.assert_healthy();
    let credential = world.population.credentials[0].clone();
    let place = (credential.namespace.as_str(), credential.name.as_str());
    for edits_specification in [true, false] {
        world.pass(5 * MINUTE).await;
        world.environment.api.reset_counts();
        for number in 0..240 {
            if edits_specification {
                world.edits(&credential, &json!({"renewal": {"renewBeforePercent": 20 + number % 50}}));
            } else {
                let request = json!({"idissuer.pl/renew-requested-at": number.to_string()});
                let patch = json!({"metadata": {"annotations": request}});
                world.environment.api.merge("owner", "idissuercredentials", place, &patch).unwrap();
            }
            world.pass(SECOND / 2).await;
        }
        let (secrets, statuses) = (writes(&world, "secrets"), writes(&world, STATUS));
        assert!(secrets <= 55 && statuses <= 55, "{secrets} and {statuses} in two minutes");
        world.pass(10 * SECOND).await;
        let object = world.credential(&credential);
        assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"]);
        if !edits_specification {
            assert_eq!(object["status"]["lastHandledRenewRequest"], "239");
        }
        world.assert_healthy();
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_has_so_many_places_older_credentials_go_first_and_no_token_dies_for_a_newcomer() {
    let mut world = crowd(Issuers::plain(9, HOUR), 5);
    world.environment.max_credentials_per_namespace = 3;
    let credentials = world.population.credentials.clone();
    let is_served = |world: &World, number: usize| {
        let (ready, stalled) =
            (told(world, &credentials[number], "Ready"), told(world, &credentials[number], "Stalled"));
        match ready.unwrap() {
            (status, reason) if (status.as_str(), reason.as_str()) == ("True", "TokenPublished") => true,
            other => {
                assert_eq!(other, ("False".to_owned(), "TooManyCredentials".to_owned()));
                assert_eq!(stalled, Some(("True".to_owned(), "TooManyCredentials".to_owned())));
                false
            }
        }
    };
    let served = |world: &World| (1..5).filter(|it| is_served(world, *it)).collect::<Vec<_>>();
    // The first one is created last of all, though its name comes first.
    world.environment.api.delete(
        "owner",
        "idissuercredentials",
        &credentials[0].namespace,
        &credentials[0].name,
    );
    world.start();
    world.pass(10 * SECOND).await;
    assert_eq!(served(&world), [1, 2, 3]);
    world.apply(&credentials[0], &json!({}));
    world.pass(10 * SECOND).await;
    assert!(!is_served(&world, 0));
    assert_eq!(served(&world), [1, 2, 3]);

    // A place that becomes free goes to the oldest that waits.
    world.environment.api.delete(
        "owner",
        "idissuercredentials",
        &credentials[2].namespace,
        &credentials[2].name,
    );
    world.pass(10 * SECOND).await;
    let rest = |world: &World| [0, 1, 3, 4].map(|it| is_served(world, it));
    assert_eq!(rest(&world), [false, true, true, true]);

    // Who begins finds the same, and a smaller limit stops the youngest.
    for (limit, expected) in [(3, [false, true, true, true]), (2, [false, true, true, false])] {
        world.environment.max_credentials_per_namespace = limit;
        world.replicas[0].stop().unwrap().await.unwrap();
        world.replicas[0].start(&world.environment);
        world.pass(10 * SECOND).await;
        assert_eq!(rest(&world), expected, "{limit}");
    }
    assert_eq!(world.environment.ledger.calls().sent(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_has_a_hundred_events_at_once_and_then_one_a_second() {
    let mut world = crowd(Issuers::plain(9, HOUR), 300);
    world.start();
    world.pass(20 * SECOND).await;
    world.assert_healthy();
    let events = writes(&world, "events");
    assert!((100..=121).contains(&events), "{events}");
    let metrics = world.replicas[0]
        .process
        .as_ref()
        .unwrap()
        .metrics
        .render(idissuer::ops::metrics::TextFormat::Prometheus)
        .unwrap();
    let dropped = metrics.lines().find(|line| line.starts_with("idissuer_events_dropped_total")).unwrap();
    assert!(dropped.ends_with(&format!(" {}", 300 - events)), "{dropped}");
}

/// One that is too large to be kept is read again each time that it is rendered.
#[tokio::test(start_paused = true)]
async fn a_large_template_is_rendered_repaired_changed_and_refused_like_any_other() {
    let mut world = crowd(Issuers::plain(9, HOUR), 1);
    let credential = world.population.credentials[0].clone();
    let spec = |letter: &str, variable: &str| {
        let data = json!({
            "token": "{{ token }}",
            "long": format!("{}{{{{ {variable} }}}}", letter.repeat(6000)),
        });
        json!({"target": {"template": {"metadata": {"annotations": {"note": letter}}, "data": data}}})
    };
    let target = |world: &World| {
        world.environment.api.get("secrets", &credential.namespace, &credential.name).unwrap()
    };
    let holds = |world: &World, letter: &str| {
        let expected = letter.repeat(6000) + &world.token(&credential).unwrap();
        text(&target(world), "long") == Some(expected)
            && target(world)["metadata"]["annotations"]["note"] == letter
    };
    world.apply(&credential, &spec("a", "token"));
    world.start();
    world.pass(10 * SECOND).await;
    world.assert_healthy();
    assert!(holds(&world, "a"));

    world.edit_target(&credential, Some(&json!({"data": {"long": "Zm9yZ2Vk"}})));
    world.pass(2 * SECOND).await;
    assert!(holds(&world, "a"), "put back");
    world.environment.api.reset_counts();
    world.edit_target(&credential, Some(&json!({"metadata": {"annotations": {"other.example/seen": "1"}}})));
    world.pass(2 * SECOND).await;
    assert_eq!(writes(&world, "secrets"), 0);

    world.edits(&credential, &spec("b", "token"));
    world.pass(2 * SECOND).await;
    assert!(holds(&world, "b"), "laid out anew");
    world.edits(&credential, &spec("c", "passwort"));
    world.pass(2 * SECOND).await;
    assert_eq!(told(&world, &credential, "Ready"), Some(("False".into(), "TemplateError".into())));
    assert!(holds(&world, "b"), "what was published stays");
    world.edits(&credential, &spec("d", "token"));
    world.pass(2 * SECOND).await;
    assert!(holds(&world, "d"));

    world.environment.api.reset_counts();
    let calls = world.environment.ledger.calls().sent();
    world.replicas[0].stop().unwrap().await.unwrap();
    world.replicas[0].start(&world.environment);
    world.pass(MINUTE).await;
    assert_eq!((writes(&world, "secrets"), world.environment.ledger.calls().sent()), (0, calls));
    world.pass(HOUR).await;
    world.assert_healthy();
    assert!(holds(&world, "d"), "renewed");
}

/// A large template is read before status is taken over.
#[tokio::test(start_paused = true)]
async fn a_large_template_that_cannot_be_read_at_a_restart_makes_nobody_forget_a_token_or_a_rejection() {
    let mut world = crowd(Issuers::plain(9, HOUR), 2);
    let [good, rejected] = [0, 1].map(|number| world.population.credentials[number].clone());
    world.write(&login_secret(&rejected.namespace, &world.population.accounts[1], "wrong"));
    let data = json!({"token": "{{ token }}", "long": "x".repeat(6000)});
    for credential in [&good, &rejected] {
        world.apply(credential, &json!({"target": {"template": {"data": data}}}));
    }
    world.start();
    world.pass(MINUTE).await;
    assert_eq!(told(&world, &rejected, "LoginAccepted").unwrap().0, "False");
    let token = world.token(&good);
    world.replicas[0].stop().unwrap().await.unwrap();

    let calls = world.environment.ledger.calls().sent();
    let refused = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&refused);
    world.environment.api.set_fault(move |annotations| {
        let is_read = annotations.resource == "idissuercredentials" && annotations.verb == "get";
        is_read.then(|| {
            count.fetch_add(1, Ordering::Relaxed);
            Fault::refuse(500, "InternalError")
        })
    });
    world.replicas[0].start(&world.environment);
    world.pass(5 * SECOND).await;
    world.environment.api.clear_fault();
    world.pass(MINUTE).await;
    assert!(refused.load(Ordering::Relaxed) >= 2, "of both");
    assert_eq!((world.environment.ledger.calls().sent(), world.token(&good)), (calls, token.clone()));
    world.pass(HOUR).await;
    assert_ne!(world.token(&good), token, "renewed");
}

/// Whole objects in memory are limited for all together, and waiting tasks hold none.
#[tokio::test(start_paused = true)]
async fn refused_writes_of_large_templates_stop_no_others() {
    for code in [409, 403] {
        let mut world = crowd(Issuers::plain(9, HOUR), 12);
        let crowd = world.population.credentials.clone();
        let data = json!({"token": "{{ token }}", "long": "x".repeat(6000)});
        for credential in &crowd {
            world.apply(credential, &json!({"target": {"template": {"data": data}}}));
        }
        world.start();
        world.pass(10 * SECOND).await;
        world.assert_healthy();

        world.environment.api.set_fault(move |annotations| {
            let is_write = annotations.resource == "secrets" && annotations.verb == "patch";
            is_write.then(|| Fault::refuse(code, "Conflict"))
        });
        for credential in &crowd {
            world.edit_target(credential, Some(&json!({"data": {"long": "Zm9yZ2Vk"}})));
        }
        world.pass(3 * SECOND).await;
        world.environment.api.clear_fault();
        world.pass(MINUTE).await;
        for credential in &crowd {
            let target =
                world.environment.api.get("secrets", &credential.namespace, &credential.name).unwrap();
            assert_eq!(text(&target, "long").map_or(0, |text| text.len()), 6000, "{code}: put back");
        }
        world.assert_healthy();
    }
}

/// Whose rejection status remembers must find its account before anybody logs in for the first time; but not for ever.
#[tokio::test(start_paused = true)]
async fn a_rejected_credential_that_is_edited_whenever_it_is_read_keeps_no_first_login_waiting() {
    let mut world = crowd(Issuers::plain(9, HOUR), 2);
    let [rejected, newcomer] = [0, 1].map(|number| world.population.credentials[number].clone());
    world.environment.api.delete("owner", "idissuercredentials", &newcomer.namespace, &newcomer.name);
    world.write(&login_secret(&rejected.namespace, &world.population.accounts[0], "wrong"));
    let large = |round: u32| {
        let data = json!({"token": "{{ token }}", "long": format!("{round}{}", "x".repeat(6000))});
        json!({"target": {"template": {"data": data}}})
    };
    world.apply(&rejected, &large(0));
    world.start();
    world.pass(10 * SECOND).await;
    assert_eq!(told(&world, &rejected, "LoginAccepted").unwrap().0, "False");

    world.replicas[0].stop().unwrap().await.unwrap();
    let (api, round) = (world.environment.api.clone(), AtomicU32::new(1));
    let edited = rejected.clone();
    world.environment.api.set_fault(move |annotations| {
        let is_read = annotations.verb == "get"
            && annotations.resource == "idissuercredentials"
            && annotations.name == edited.name;
        if is_read {
            let spec = large(round.fetch_add(1, Ordering::Relaxed));
            let place = (edited.namespace.as_str(), edited.name.as_str());
            api.merge("owner", "idissuercredentials", place, &json!({"spec": spec})).unwrap();
        }
        is_read.then_some(Fault::Delay(SECOND / 4))
    });
    world.replicas[0].start(&world.environment);
    world.pass(5 * SECOND).await;
    world.apply(&newcomer, &json!({}));
    world.pass(20 * SECOND).await;
    world.health(&newcomer).unwrap();
}

/// An object of a tenant may hold a megabyte, however little a credential needs.
#[tokio::test(start_paused = true)]
async fn of_a_login_that_a_hundred_credentials_name_eight_copies_are_read_at_once() {
    let mut world =
        World::new(&Plan { seed: 9, accounts: 1, credentials: 100, lease: None }, Issuers::plain(9, HOUR));
    world.start();
    world.pass(10 * SECOND).await;
    world.assert_healthy();
    let reads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&reads);
    world.environment.api.set_fault(move |annotations| {
        let is_read = annotations.resource == "secrets" && annotations.verb == "get";
        if is_read {
            seen.lock().unwrap().push(Instant::now());
        }
        is_read.then_some(Fault::Delay(SECOND))
    });
    let account = &world.population.accounts[0];
    for namespace in world.population.namespaces_of(0) {
        let mut login = login_secret(&namespace, account, &account.password);
        login["data"]["padding"] = json!("eHh4");
        world.write(&login);
    }
    world.pass(MINUTE).await;
    let reads = reads.lock().unwrap();
    let at_once = |first: &Instant| reads.iter().filter(|at| (*first..*first + SECOND).contains(at)).count();
    let most = reads.iter().map(at_once).max().unwrap();
    assert!(reads.len() >= 100 && most <= 8, "{} reads, {most} at once", reads.len());
    world.assert_healthy();
}
