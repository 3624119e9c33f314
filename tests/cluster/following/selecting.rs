//! Namespaces that are permitted by their labels: when these are read, and what is said where they cannot be.

use idissuer_testbed::{AuditRequest, Mark, wait};
use serde_json::json;

use super::{Tenant, label};
use crate::operator::{HOUR, LIMIT, holds};

/// What the operator has asked about namespaces.
fn asked(tenant: &Tenant) -> Vec<AuditRequest> {
    let audit = tenant.stage.control_plane.audit();
    let mut requests = audit.of_user_since(&tenant.stage.operator.user, Mark::START).unwrap();
    requests.retain(|request| request.resource == "namespaces");
    requests
}

#[tokio::test]
async fn namespaces_are_watched_from_the_first_selector_on_and_not_before() {
    let arguments = ["--namespace-selectors".to_owned()];
    let mut tenant = Tenant::set_with("first-selector", HOUR, &arguments).await;
    tenant.own_for_tenant(json!({})).await;
    tenant.follow(json!({})).await;
    tenant.ready().await;
    tenant.stage.restart_operator().await;
    tenant.stage.settle().await;
    assert_eq!(asked(&tenant), []);

    label(&tenant, "first-selector").await;
    let selector = json!({"selector": {"matchLabels": {"team": "first-selector"}}});
    tenant.stage.apply_as("by-label", json!({"allowedNamespaces": selector})).await;
    tenant.follow_as("by-label", "by-label", json!({})).await;
    tenant.until("by-label", "Ready", |it| holds(it, "Ready", "True", "TokenPublished")).await;
    wait::until("a list and a watch", LIMIT, async || {
        // A list may have several pages.
        let mut verbs: Vec<_> = asked(&tenant).into_iter().map(|it| (it.verb, it.name, it.code)).collect();
        verbs.dedup();
        let expected = ["list", "watch"].map(|verb| (verb.to_owned(), String::new(), 200));
        if verbs == expected { Ok(()) } else { Err(format!("{verbs:?}")) }
    })
    .await;
}
