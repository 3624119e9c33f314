//! The memory of the operator: by credential, beside unrelated Secrets, and after credentials that came and went.

use idissuer::api::IdIssuerCredential;
use idissuer_testbed::wait;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::field::{Field, LIMIT, TARGET};
use super::figures::{Case, float};
use super::usage::Memory;

/// What so many credentials of as many accounts added.
pub(super) fn by_credential(case: &mut Case, rest: Memory, field: &Field<'_>, size: usize) {
    let now = field.memory();
    case.set("at rest: resident MiB", rest.resident);
    case.set("at rest: heap MiB", rest.heap);
    case.set("resident MiB", now.resident);
    case.set("peak MiB", now.peak);
    case.set("heap MiB", now.heap);
    case.set("private dirty MiB", now.private);
    case.set("heap KiB a credential", (now.heap - rest.heap) * 1024.0 / float(size));
}

/// Adds Secrets of 10 KB that no credential names.
pub(super) async fn unrelated_secrets(field: &Field<'_>, count: usize, case: &mut Case) {
    let before = field.memory();
    Field::for_each(0..count, async |number| {
        let secret = json!({
            "metadata": {"name": format!("unrelated-{number:06}")}, "stringData": {"it": "x".repeat(10_000)},
        });
        let secret = serde_json::from_value(secret).unwrap();
        field.secrets_of(number).create(&PostParams::default(), &secret).await.unwrap();
    })
    .await;
    field.settle().await;
    case.set(format!("{count} unrelated Secrets: heap MiB more"), field.memory().heap - before.heap);
}

/// Creates and deletes the same credentials, over and over.
pub(super) async fn churn(field: &Field<'_>, size: usize, rounds: usize, case: &mut Case) {
    let mut heaps = Vec::new();
    for _ in 0..rounds {
        Field::for_each(0..size, |number| field.create(number)).await;
        field.tracker.until_ready(size, LIMIT).await;
        delete_all(field).await;
        field.settle().await;
        field.tracker.forget();
        heaps.push(field.memory().heap);
    }
    // The first round fills what is kept for the next one.
    let (first, last) = (heaps[0], heaps[rounds - 1]);
    case.set("heap MiB after the first round", first);
    case.set("heap MiB after the last round", last);
    case.set("deleted credentials", float(size * rounds));
    let grown = (last - first) * 1024.0 / float(size * (rounds - 1));
    case.set("heap KiB that a deleted credential left", grown);
}

/// Deletes all credentials, and waits until their targets are gone, too.
async fn delete_all(field: &Field<'_>) {
    for namespace in &field.namespaces {
        let credentials: Api<IdIssuerCredential> = namespace.api();
        credentials.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    }
    for namespace in &field.namespaces {
        let secrets: Api<Secret> = namespace.api();
        wait::until("the end of all targets", LIMIT, async || {
            let list = secrets.list_metadata(&ListParams::default()).await.unwrap();
            !list.items.iter().any(|secret| secret.name_any().starts_with(TARGET))
        })
        .await;
    }
}
