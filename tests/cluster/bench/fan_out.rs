//! Many credentials that follow one: each gets the token of its owner.

use std::time::Duration;

use idissuer_testbed::wait;
use serde_json::json;
use tokio::time::Instant;

use super::field::{Field, LIMIT, login_of, name_of};
use super::figures::{Case, percentile};

/// The owner's token is not renewed before all have their first one, and soon enough.
pub(super) const LIFETIME: Duration = Duration::from_secs(90);

/// The owner has the number 0, its followers those up to `followers`.
pub(super) async fn fan_out(field: &Field<'_>, followers: usize, case: &mut Case) {
    let owner_namespace = field.namespaces[0].name();
    let names: Vec<&str> = field.namespaces.iter().map(idissuer_testbed::TestNamespace::name).collect();
    let owner = json!({"loginSecretRef": {"name": login_of(0)}, "allowedNamespaces": {"names": names}});
    field.create_with(0, owner).await;
    field.tracker.until_ready(1, LIMIT).await;
    field.settle().await;

    let start = field.sample().await;
    let reference = json!({"credentialRef": {"namespace": owner_namespace, "name": name_of(0)}});
    Field::for_each(1..followers + 1, |number| field.create_with(number, reference.clone())).await;
    field.tracker.until_ready(followers + 1, LIMIT).await;
    case.set("first tokens: seconds", field.spent_since(&start).await.seconds);
    field.settle().await;
    let waits = field.tracker.waits();
    case.set("first tokens: wait p99 seconds", percentile(&waits, 99));
    case.set_spent(&field.spent_since(&start).await, followers, "follower");

    // The owner's token is renewed, and the others get the new one.
    let (start, begin) = (field.sample().await, Instant::now());
    wait::until("all to have the new token", LIMIT, async || {
        let renewed = field.tracker.lateness_since(begin).len();
        if renewed > followers { Ok(()) } else { Err(format!("{renewed} of {followers}")) }
    })
    .await;
    case.set("renewal: seconds from the first to the last", field.tracker.span_of_renewals_since(begin));
    field.settle().await;
    case.set_spent(&field.spent_since(&start).await, followers, "renewed follower");
}
