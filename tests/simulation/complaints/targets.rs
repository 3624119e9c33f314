//! Deleted targets and credentials.

use super::*;
use crate::conditions::Source;
use serde_json::{Value, json};

/// The writes of the operator, but for Events.
fn writes(world: &World) -> u64 {
    let is_write = |verb: &str, target: &str| !matches!(verb, "get" | "list" | "watch") && target != "events";
    let counts = world.environment.api.counts().into_iter();
    counts.filter(|((_, verb, target), _)| is_write(verb, target)).map(|(_, count)| count).sum()
}

fn merge(world: &World, resource: &str, patch: &Value) {
    let credential = &world.population.credentials[0];
    let place = (credential.namespace.as_str(), credential.name.as_str());
    world.environment.api.merge("owner", resource, place, patch).unwrap();
}

fn delete(world: &World, resource: &str) {
    let credential = &world.population.credentials[0];
    world.environment.api.delete("owner", resource, &credential.namespace, &credential.name);
}

/// vault-secrets-operator #228, #935: a deleted Secret came back late, with a new lease, and the old one leaked.
#[tokio::test(start_paused = true)]
async fn a_target_that_is_deleted_comes_back_at_once_with_the_same_token_and_without_a_call() {
    let mut world = settled(Issuers::plain(1, HOUR), 2, 6).await;
    for _ in 0..3 {
        for credential in world.population.credentials.clone() {
            let token = world.token(&credential).unwrap();
            world.edit_target(&credential, None);
            world.pass(2 * SECOND).await;
            assert_eq!(world.token(&credential), Some(token));
        }
        world.pass(11 * MINUTE).await;
    }
    assert_eq!(calls(&world), 2);
    restarts(&mut world).await;
    world.pass(MINUTE).await;
    assert_eq!(calls(&world), 2, "nor after a restart");
    world.assert_healthy();
}

/// external-secrets #4297, #2176: Secrets were written while they were being deleted, over and over.
#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_target_or_credential_are_being_deleted() {
    for resource in ["secrets", "idissuercredentials"] {
        let world = settled(Issuers::plain(2, HOUR), 1, 1).await;
        world.checker.breaks(Source::Credential(0));
        merge(&world, resource, &json!({"metadata": {"finalizers": ["example.org/wait"]}}));
        delete(&world, resource);
        world.pass(MINUTE).await;
        world.environment.api.reset_counts();
        let before = calls(&world);
        world.pass(50 * MINUTE).await;
        let counts = world.environment.api.counts();
        let patches = counts.iter().filter(|((_, verb, target), _)| *verb == "patch" && target == "secrets");
        assert_eq!(patches.count(), 0, "{resource}: {counts:?}");
        if resource == "idissuercredentials" {
            assert_eq!((writes(&world), calls(&world)), (0, before));
        }
        merge(&world, resource, &json!({"metadata": {"finalizers": null}}));
        world.pass(5 * SECOND).await;
        if resource == "secrets" {
            world.assert_healthy();
        }
    }
}

/// external-secrets #2416: a policy that owns its target took over, and later wiped, a Secret that others used.
#[tokio::test(start_paused = true)]
async fn a_secret_of_someone_else_is_never_written_and_no_login_is_spent_on_it() {
    let mut world = unstarted(Issuers::plain(3, HOUR), 1, 1);
    let credential = world.population.credentials[0].clone();
    let foreign = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": credential.name, "namespace": credential.namespace},
        "data": {"token": "bWluZQ=="},
    });
    world.write(&foreign);
    world.start();
    world.pass(3 * HOUR).await;
    assert_eq!(world.token(&credential).as_deref(), Some("mine"));
    assert_eq!(world.condition(&credential, "Ready"), Some(("False".into(), "TargetConflict".into())));
    assert_eq!(calls(&world), 0);
    delete(&world, "secrets");
    world.pass(5 * SECOND).await;
    world.assert_healthy();
}

/// external-secrets #5426, vault-secrets-operator #100, 1Password operator #55: orphaned finalizers kept
/// namespaces from going.
#[tokio::test(start_paused = true)]
async fn no_finalizer_is_ever_set_and_deleted_objects_are_gone_and_left_alone() {
    let world = settled(Issuers::plain(4, HOUR), 2, 6).await;
    world.environment.api.observe(|change| {
        let finalizers = change.after.as_ref().map_or(&Value::Null, |after| &after["metadata"]["finalizers"]);
        assert!(finalizers.is_null(), "{finalizers}");
    });
    world.pass(2 * HOUR).await;
    world.assert_healthy();
    let kinds = ["idissuercredentials", "secrets"];
    let objects: Vec<_> = kinds.iter().flat_map(|kind| world.environment.api.list(kind, "")).collect();
    assert_eq!(objects.len(), 6 + 6 + 6);
    for object in &objects {
        let metadata = &object["metadata"];
        assert!(metadata["finalizers"].is_null() && !metadata.to_string().contains("blockOwnerDeletion"));
    }
    for (kind, object) in kinds
        .iter()
        .flat_map(|kind| world.environment.api.list(kind, "").into_iter().map(move |object| (kind, object)))
    {
        let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
        world.checker.touch(Source::Leader);
        world.environment.api.delete("owner", kind, &text("namespace"), &text("name"));
    }
    assert!(kinds.iter().all(|kind| world.environment.api.list(kind, "").is_empty()));
    world.environment.api.reset_counts();
    let before = calls(&world);
    world.pass(2 * HOUR).await;
    assert_eq!((writes(&world), calls(&world)), (0, before));
    assert!(kinds.iter().all(|kind| world.environment.api.list(kind, "").is_empty()));
}

/// An annotation that another controller kept up to date led to a write for each of
/// its updates, and the two accused each other.
#[tokio::test(start_paused = true)]
async fn what_other_controllers_keep_on_a_target_leads_to_a_look_and_to_no_write_and_no_complaint() {
    let mut world = settled(Issuers::plain(5, HOUR), 1, 1).await;
    let credential = world.population.credentials[0].clone();
    world.environment.api.reset_counts();
    let theirs = |round: u32| {
        let value = if round.is_multiple_of(2) { "b25l" } else { "dHdv" };
        json!({
            "metadata": {
                "annotations": {"other.example/seen": round.to_string()},
                "labels": {"other.example/seen": round.to_string()},
            },
            "data": {"theirs": value},
        })
    };
    for round in 0..30 {
        merge(&world, "secrets", &theirs(round));
        world.pass(2 * SECOND).await;
    }
    let reads = |world: &World| {
        let counts = world.environment.api.counts().into_iter();
        counts
            .filter(|((_, verb, target), _)| *verb == "get" && *target == "secrets")
            .map(|(_, n)| n)
            .sum::<u64>()
    };
    assert_eq!(writes(&world), 0);
    assert!(reads(&world) <= 30, "{}", reads(&world));
    assert_eq!(world.condition(&credential, "Stalled"), None);
    let told = world.environment.api.list("events", "");
    assert!(told.iter().all(|event| event["reason"] != "TargetContested"), "{told:?}");

    // What is ours is put back as ever, also where both are changed at once.
    let token = world.token(&credential).unwrap();
    let mut both = theirs(30);
    both["metadata"]["ownerReferences"] = Value::Null;
    merge(&world, "secrets", &both);
    world.pass(2 * SECOND).await;
    let target = world.environment.api.get("secrets", &credential.namespace, &credential.name).unwrap();
    assert_eq!(target["metadata"]["ownerReferences"].as_array().map(Vec::len), Some(1));
    assert_eq!(target["metadata"]["annotations"]["other.example/seen"], "30");
    merge(&world, "secrets", &json!({"data": {"token": "Zm9yZ2Vk"}}));
    world.pass(2 * SECOND).await;
    assert_eq!(world.token(&credential), Some(token));

    // A process that begins finds another version than it remembers: it looks once, and that is all.
    merge(&world, "secrets", &json!({"metadata": {"labels": {"other.example/seen": "last"}}}));
    world.pass(2 * SECOND).await;
    world.environment.api.reset_counts();
    let before = calls(&world);
    restarts(&mut world).await;
    world.pass(MINUTE).await;
    assert_eq!((writes(&world), reads(&world), calls(&world)), (0, 1, before));
    world.assert_healthy();
}

/// Such a target holds the token in no key alone, so a process that begins cannot have it back from there: it logged in, and
/// wrote target and status, for a version that was another one only by what is not ours.
#[tokio::test(start_paused = true)]
async fn a_target_without_a_bare_token_costs_a_restart_one_read_even_if_others_add_to_it() {
    let mut world = settled(Issuers::plain(5, HOUR), 1, 1).await;
    let credential = world.population.credentials[0].clone();
    let template = json!({"data": {"header": "Bearer {{ token }}", "name": "{{ name }}"}});
    world.edits(&credential, &json!({"target": {"template": template}}));
    world.pass(10 * SECOND).await;
    let header = |world: &World| {
        let target = world.environment.api.get("secrets", &credential.namespace, &credential.name).unwrap();
        target["data"]["header"].as_str().unwrap().to_owned()
    };
    let written = header(&world);
    let before = calls(&world);
    for round in 0..3 {
        merge(
            &world,
            "secrets",
            &json!({"metadata": {"annotations": {"other.example/seen": round.to_string()}}}),
        );
        world.pass(2 * SECOND).await;
        world.environment.api.reset_counts();
        restarts(&mut world).await;
        world.pass(MINUTE).await;
        assert_eq!((writes(&world), calls(&world), header(&world)), (0, before, written.clone()));
    }

    // A value that somebody has changed is not ours any more.
    world.replicas[0].stop().unwrap().await.unwrap();
    merge(&world, "secrets", &json!({"data": {"header": "Zm9yZ2Vk"}}));
    world.replicas[0].start(&world.environment);
    world.pass(MINUTE).await;
    assert_ne!(header(&world), "Zm9yZ2Vk");
    assert_eq!(calls(&world), before + 1, "the token is nowhere");
}

/// A status that was edited or removed stayed wrong until the next renewal.
#[tokio::test(start_paused = true)]
async fn a_status_that_is_edited_or_removed_by_hand_is_restored_and_more_edits_are_restored_less_often() {
    let mut world = settled(Issuers::plain(6, HOUR), 1, 1).await;
    let credential = world.population.credentials[0].clone();
    let edit = |world: &World, patch: &Value| {
        let place = (credential.namespace.as_str(), credential.name.as_str());
        world.environment.api.merge_status("somebody", "idissuercredentials", place, patch).unwrap();
    };
    let status = |world: &World| world.credential(&credential)["status"].clone();
    let told = status(&world);
    world.environment.api.reset_counts();
    let failures = json!({
        "consecutiveFailures": 7, "lastFailureTime": "2026-01-01T00:00:00Z", "reason": "Forged",
    });
    for patch in [
        json!({"status": null}),
        json!({"status": {"failures": failures}}),
        json!({"status": {"conditions": null}}),
    ] {
        edit(&world, &patch);
        world.pass(SECOND).await;
        assert_eq!(status(&world), told, "{patch}");
    }
    assert_eq!(writes(&world), 3);
    for round in 0..600 {
        edit(&world, &json!({"status": {"secretName": format!("forged-{round}")}}));
        world.pass(SECOND).await;
    }
    assert!((8..=18).contains(&(writes(&world) - 3)), "{}", writes(&world));
    world.pass(2 * MINUTE).await;
    assert_eq!(status(&world), told);

    // What a process takes over counts like what it wrote.
    restarts(&mut world).await;
    world.pass(MINUTE).await;
    world.environment.api.reset_counts();
    edit(&world, &json!({"status": null}));
    world.pass(SECOND).await;
    assert_eq!((status(&world), writes(&world)), (told, 1));
}
