//! A tenant who may do everything with the credentials, Secrets and Events of its own namespace, also with status.

use std::time::Duration;

use idissuer::api::IdIssuerCredential;
use idissuer_simulator::{DurationRange, Fault, FaultRule, RetryAfter};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource as _;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::Tenant;
use crate::operator::{HOUR, NAME, USER, condition, credential, now, text, token_status, write_secret};

impl Tenant {
    /// The tenant claims this in the status of its credential.
    async fn claim(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.credentials().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn renew(&self, name: &str, request: &str) {
        let patch = json!({"metadata": {"annotations": {"idissuer.pl/renew-requested-at": request}}});
        self.credentials().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
}

/// A token that has just expired, after the life of five seconds.
fn expired_token(fingerprint: &str) -> Value {
    let time = |seconds| (now() - jiff::SignedDuration::from_secs(seconds)).to_string();
    json!({
        "issuedTime": time(6), "renewalTime": time(3), "expirationTime": time(1), "lifetimeSource": "ExpiresIn",
        "fingerprint": fingerprint, "grant": "Login",
    })
}

/// For how long the owner's next attempt waits.
fn pause(owner: &IdIssuerCredential) -> Option<Duration> {
    let failures = owner.status.as_ref()?.failures.as_ref()?;
    let next = failures.next_attempt_time.as_ref()?;
    Duration::try_from(next.0.duration_since(failures.last_failure_time.0)).ok()
}

#[tokio::test]
async fn what_a_follower_claims_of_its_token_makes_nobody_call_the_issuer_sooner_than_it_wants() {
    let mut tenant = Tenant::set("claims", HOUR).await;
    tenant.own_for_tenant(json!({})).await;
    tenant.follow(json!({})).await;
    let follower = tenant.ready().await;
    tenant.stage.ready().await;
    tenant.stage.operator.stop().await;
    tenant.claim("follower", json!({"token": expired_token(&token_status(&follower).fingerprint)})).await;
    // While the owner's call waits for its answer, the follower joins the account.
    let slow = DurationRange::fixed(Duration::from_millis(1500));
    tenant.stage.issuer.configure(|personality| personality.latency.login = slow);
    tenant.stage.issuer.inject(FaultRule::new(Fault::retry_after(503, RetryAfter::Seconds(50))));
    tenant.stage.operator.start(tenant.stage.control_plane).await;
    tenant.stage.operator.until_ready().await;
    let has_failed = |it: &IdIssuerCredential| it.status.as_ref().is_some_and(|it| it.failures.is_some());
    tenant.until("follower", "the failure of its owner", has_failed).await;
    let failed = tenant.stage.until(NAME, "a failure", has_failed).await;
    assert!(pause(&failed).is_some_and(|pause| pause >= Duration::from_secs(49)), "{:?}", failed.status);
}

#[tokio::test]
async fn a_tenant_without_permission_gets_nothing_by_names_records_or_requests() {
    let mut tenant = Tenant::set("stranger", HOUR).await;
    let own = tenant.namespace.name();
    let similar = json!([own[..own.len() - 1], format!("{own}-2"), format!("x{own}"), "tenant"]);
    tenant.own(similar, json!({})).await;
    tenant.stage.ready().await;
    tenant.stage.settle().await;
    let owner = tenant.stage.credentials().get(NAME).await.unwrap();
    // What it may have heard of: the fingerprint of the token stands in the owner's status.
    let token = token_status(&owner);
    for name in ["follower", NAME] {
        let target = json!({"secretName": format!("{name}-token")});
        tenant.follow_as(name, NAME, json!({"target": target})).await;
        tenant.denied(name).await;
        write_secret(&tenant.secrets(), &format!("{name}-token"), &[("token", b"my-own")]).await.unwrap();
    }
    for round in 0..2 {
        for name in ["follower", NAME] {
            let secret = tenant.secrets().get(&format!("{name}-token")).await.unwrap();
            let target = json!({"uid": secret.meta().uid, "resourceVersion": secret.meta().resource_version});
            tenant
                .claim(
                    name,
                    json!({"token": token, "target": target, "followers": {"count": 1, "names": ["a/b"]}}),
                )
                .await;
            tenant.renew(name, &round.to_string()).await;
            let annotations = json!({"idissuer.pl/credential": name});
            let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
            tenant.secrets().patch(&format!("{name}-token"), &PatchParams::default(), &patch).await.unwrap();
        }
        if round == 0 {
            tenant.stage.restart_operator().await;
        }
        tenant.stage.settle().await;
    }
    for name in ["follower", NAME] {
        tenant.denied(name).await;
        let secret: Secret = tenant.secrets().get(&format!("{name}-token")).await.unwrap();
        assert_eq!(text(&secret, "token"), "my-own");
    }
    let after = tenant.stage.credentials().get(NAME).await.unwrap();
    assert_eq!(after.meta().resource_version, owner.meta().resource_version, "{:?}", after.status);
    assert_eq!(tenant.stage.issuer_calls(), 1);
}

#[tokio::test]
async fn a_status_that_claims_an_accepted_login_lets_nobody_guess_without_limit() {
    let tenant = Tenant::set("guessing", HOUR).await;
    tenant.own(json!([]), json!({})).await;
    tenant.stage.ready().await;
    // The account is the owner's; the tenant knows the user name.
    let guess = Patch::Apply(credential("guess", json!({"loginSecretRef": {"name": "guess-login"}})));
    let parameters = PatchParams::apply("tenant").force();
    let applied = tenant.credentials().patch("guess", &parameters, &guess).await.unwrap();
    let generation = applied.metadata.generation;
    for round in 0..8 {
        // The operator stands by for another controller, and then takes over what stands in the status.
        tenant.claim("guess", json!({"controller": format!("another-{round}")})).await;
        tenant.stage.settle().await;
        let guess = format!("guess-{round}");
        let keys = [("username", USER.as_bytes()), ("password", guess.as_bytes())];
        write_secret(&tenant.secrets(), "guess-login", &keys).await.unwrap();
        let version = tenant.secrets().get("guess-login").await.unwrap().metadata.resource_version;
        let accepted =
            json!({"secretResourceVersion": version, "acceptedTime": now().to_string(), "rejections": 0});
        let ready = json!({
            "type": "Ready", "status": "True", "reason": "TokenPublished", "message": "",
            "lastTransitionTime": now().to_string(), "observedGeneration": generation,
        });
        let status = json!({
            "controller": null, "claimedBy": null, "observedGeneration": generation, "conditions": [ready],
            "failures": null, "login": accepted, "token": expired_token("0123456789abcdef0123456789abcdef"),
        });
        tenant.claim("guess", status).await;
        let is_answered = |it: &IdIssuerCredential| {
            let status = it.status.as_ref().unwrap();
            let version_now = status.login.as_ref().and_then(|login| login.secret_resource_version.clone());
            let is_limited = |it: &Condition| it.message.contains("to avoid locking the account");
            status.failures.is_some() && version_now == version || status.conditions.iter().any(is_limited)
        };
        tenant.until("guess", "a rejection, or a limit", is_answered).await;
    }
    assert!(tenant.stage.counts().logins_rejected <= 4, "{:?}", tenant.stage.counts());
}

#[tokio::test]
async fn a_follower_that_comes_and_goes_costs_its_owner_few_writes_and_keeps_no_repair_waiting() {
    const ROUNDS: usize = 60;
    let tenant = Tenant::set("coming-and-going", HOUR).await;
    tenant.own_for_tenant(json!({})).await;
    tenant.stage.ready().await;
    let mark = tenant.stage.mark().await;
    for round in 0..ROUNDS {
        let name = format!("follower-{round}");
        tenant.follow_as(&name, NAME, json!({})).await;
        tenant.until(&name, "Ready", |it| condition(it, "Ready").is_some_and(|it| it.status == "True")).await;
        tenant.credentials().delete(&name, &DeleteParams::default()).await.unwrap();
    }
    tenant.stage.secrets().delete(NAME, &DeleteParams::default()).await.unwrap();
    tenant.stage.target_until("its repair", |_| true).await;
    let audit = tenant.stage.control_plane.audit();
    let requests = audit.of_user_since(&tenant.stage.operator.user, mark).unwrap();
    let of_owner = |it: &&idissuer_testbed::AuditRequest| it.namespace == tenant.stage.namespace.name();
    let of_status = requests.iter().filter(of_owner).filter(|it| it.subresource == "status").count();
    let events = requests.iter().filter(of_owner).filter(|it| it.resource == "events").count();
    assert!(of_status < ROUNDS && events < ROUNDS, "{of_status} {events}");
    assert_eq!(tenant.stage.issuer_calls(), 1);
}
