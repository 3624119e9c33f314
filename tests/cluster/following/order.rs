//! What a rotation costs for many followers, and who gets the new token first.

use std::time::Duration;

use idissuer_simulator::User;
use idissuer_testbed::wait;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::Tenant;
use crate::operator::{HOUR, LIMIT, NAME, PASSWORD, token_status};

/// More than status names.
const FOLLOWERS: usize = 24;
const THIRD_USER: &str = "third@example.org";

impl Tenant {
    /// Applies these followers, and waits until the operator has seen the specification of each.
    async fn follow_all(&self, names: &[String], spec: Value) {
        for name in names {
            self.follow_as(name, NAME, spec.clone()).await;
        }
        for name in names {
            let generation = self.credentials().get(name).await.unwrap().metadata.generation;
            self.until(name, "its generation seen", |it| {
                it.status.as_ref().is_some_and(|status| status.observed_generation == generation)
            })
            .await;
        }
    }

    /// Waits until all credentials of the tenant but so many have this token.
    async fn until_shared(&self, fingerprint: &str, but: usize) {
        wait::until("followers with the token", LIMIT, async || {
            let all = self.credentials().list(&ListParams::default()).await.map_err(|it| it.to_string())?;
            let tokens = all.iter().filter_map(|it| it.status.as_ref()?.token.as_ref());
            let have = tokens.filter(|token| token.fingerprint == fingerprint).count();
            if have + but == all.items.len() { Ok(()) } else { Err(format!("{have}")) }
        })
        .await;
    }

    /// The tenant's Secrets in the order of their last writes.
    async fn written(&self) -> Vec<String> {
        let list = self.secrets().list(&ListParams::default()).await.unwrap();
        let revision = |secret: &Secret| secret.resource_version().unwrap().parse::<u64>().unwrap();
        let mut written: Vec<_> = list.items.into_iter().map(|it| (revision(&it), it.name_any())).collect();
        written.sort();
        written.into_iter().map(|(_, name)| name).collect()
    }
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number:02}")).collect()
}

#[tokio::test]
async fn a_rotation_is_two_writes_for_each_of_many_followers_and_no_other_request() {
    let tenant = Tenant::set("many-followers", Duration::from_secs(40)).await;
    tenant.own_for_tenant(json!({})).await;
    tenant.follow_all(&names("follower", FOLLOWERS), json!({})).await;
    let counted = |it: &idissuer::api::IdIssuerCredential| {
        let followers = it.status.as_ref().and_then(|status| status.followers.as_ref());
        followers.is_some_and(|followers| followers.count == 24 && followers.names.len() == 20)
    };
    let first = tenant.stage.until(NAME, "the number of all followers, and twenty names", counted).await;
    tenant.until_shared(&token_status(&first).fingerprint, 0).await;
    let mark = tenant.stage.mark().await;
    let second = tenant.stage.renewed(token_status(&first)).await;
    tenant.until_shared(&token_status(&second).fingerprint, 0).await;
    tenant.stage.settle().await;
    let requests = tenant.stage.requests_since(mark);
    let expected = [("patch secrets", FOLLOWERS + 1), ("update idissuercredentials/status", FOLLOWERS + 1)];
    let expected = expected.map(|(what, count)| (what.to_owned(), count));
    assert_eq!(requests, expected.into());
    let counts = tenant.stage.counts();
    assert_eq!((counts.logins_accepted, counts.refreshes_accepted), (1, 1));
}

#[tokio::test]
async fn followers_whose_tokens_end_first_are_written_first() {
    // Of two permits, one namespace has one.
    let tenant = Tenant::set_with("order", Duration::from_secs(120), &["--concurrency=2".to_owned()]).await;
    tenant.own_for_tenant(json!({})).await;
    let (calm, hurried) = (names("a-calm", 8), names("b-hurried", 8));
    tenant.follow_all(&calm, json!({})).await;
    tenant.follow_all(&hurried, json!({})).await;
    let first = tenant.stage.ready().await;
    tenant.until_shared(&token_status(&first).fingerprint, 0).await;

    // Some get a token of another account, which lives longer. The others keep the first one.
    tenant.follow_all(&hurried, json!({"suspend": true})).await;
    tenant.stage.issuer.configure(|personality| personality.token.lifetime = HOUR);
    tenant.stage.write_login(super::OTHER_USER, PASSWORD).await;
    let second = tenant.stage.renewed(token_status(&first)).await;
    tenant.until_shared(&token_status(&second).fingerprint, hurried.len()).await;
    tenant.own_for_tenant(json!({"suspend": true})).await;
    tenant.stage.ready().await;
    tenant.follow_all(&hurried, json!({})).await;
    let written = tenant.written().await;
    assert!(
        written[..hurried.len()].iter().all(|name| hurried.contains(name)),
        "the older token: {written:?}"
    );

    // A third account is for all of them, at the same moment.
    tenant.stage.issuer.set_user(&User::new(THIRD_USER, PASSWORD));
    tenant.stage.write_login(THIRD_USER, PASSWORD).await;
    tenant.own_for_tenant(json!({})).await;
    let third = tenant.stage.renewed(token_status(&second)).await;
    tenant.until_shared(&token_status(&third).fingerprint, 0).await;
    let written = tenant.written().await;
    // The first to arrive did not wait.
    let late = written.iter().skip(hurried.len() + 2).filter(|name| hurried.contains(name)).count();
    assert_eq!(late, 0, "{written:?}");
}
