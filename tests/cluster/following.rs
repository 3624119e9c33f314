//! Credentials that share the tokens of another one, in another namespace too, and tenants who may not.

mod hostile;
mod order;
mod selecting;

use std::time::Duration;

use idissuer::api::IdIssuerCredential;
use idissuer_simulator::User;
use idissuer_testbed::{TestNamespace, wait};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::CLUSTER;
use crate::operator::{
    HOUR, LIMIT, NAME, PASSWORD, Stage, condition, credential, holds, issuer, stays, text, token_status,
};

/// Another account at the issuer.
const OTHER_USER: &str = "other@example.org";

/// The operator works in the owner's namespace, where the [`Stage`] is, and in that of a tenant.
struct Tenant {
    stage: Stage,
    namespace: TestNamespace,
}

impl Tenant {
    async fn set(name: &str, lifetime: Duration) -> Self {
        Self::set_with(name, lifetime, &[]).await
    }

    async fn set_with(name: &str, lifetime: Duration, more: &[String]) -> Self {
        let control_plane = CLUSTER.control_plane().await.unwrap();
        let namespace = TestNamespace::create(control_plane, "tenant").await.unwrap();
        let arguments = ["--namespace".to_owned(), namespace.name().to_owned()];
        let arguments = arguments.into_iter().chain(more.iter().cloned());
        let issuer = issuer(lifetime).user(User::new(OTHER_USER, PASSWORD));
        let stage = Stage::start_with(name, issuer, |operator, _| operator.arguments.extend(arguments)).await;
        Self { stage, namespace }
    }

    fn credentials(&self) -> Api<IdIssuerCredential> {
        self.namespace.api()
    }

    fn secrets(&self) -> Api<Secret> {
        self.namespace.api()
    }

    /// The owner, which permits these namespaces.
    async fn own(&self, names: Value, mut spec: Value) -> IdIssuerCredential {
        spec["allowedNamespaces"] = json!({"names": names});
        self.stage.apply(spec).await
    }

    /// The owner, which permits the tenant.
    async fn own_for_tenant(&self, spec: Value) -> IdIssuerCredential {
        self.own(json!([self.namespace.name()]), spec).await
    }

    /// A credential of the tenant that follows this one of the owner's namespace.
    async fn follow_as(&self, name: &str, followed: &str, mut spec: Value) {
        spec["credentialRef"] = json!({"namespace": self.stage.namespace.name(), "name": followed});
        let parameters = PatchParams::apply("tenant").force().validation_strict();
        self.credentials().patch(name, &parameters, &Patch::Apply(credential(name, spec))).await.unwrap();
    }

    async fn follow(&self, spec: Value) {
        self.follow_as("follower", NAME, spec).await;
    }

    async fn until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&IdIssuerCredential) -> bool,
    ) -> IdIssuerCredential {
        wait::object(&self.credentials(), name, what, LIMIT, wanted).await
    }

    async fn ready(&self) -> IdIssuerCredential {
        self.until("follower", "Ready", |it| holds(it, "Ready", "True", "TokenPublished")).await
    }

    /// Waits until the follower has the token that this credential has.
    async fn until_same(&self, owner: &IdIssuerCredential) -> IdIssuerCredential {
        let fingerprint = token_status(owner).fingerprint.clone();
        let is_same = |it: &IdIssuerCredential| {
            let token = it.status.as_ref().and_then(|status| status.token.as_ref());
            token.is_some_and(|token| token.fingerprint == fingerprint)
        };
        self.until("follower", "the same token", is_same).await
    }

    async fn token(&self) -> String {
        text(&self.secrets().get("follower").await.unwrap(), "token")
    }

    async fn denied(&self, name: &str) -> IdIssuerCredential {
        self.until(name, "its refusal", |it| holds(it, "Stalled", "True", "ReferenceNotPermitted")).await
    }
}

#[tokio::test]
async fn a_rotation_is_one_call_for_all_and_two_writes_for_each_follower() {
    let tenant = Tenant::set("following", Duration::from_secs(20)).await;
    tenant.own_for_tenant(json!({})).await;
    tenant.follow(json!({"target": {"template": {"data": {"token": "{{ token }}", "bearer": "Bearer {{ token }}"}}}})).await;
    let first = tenant.stage.ready().await;
    tenant.ready().await;
    let shared = tenant.until_same(&first).await;
    assert!(condition(&shared, "LoginAccepted").is_none() && shared.status.unwrap().login.is_none());
    let mark = tenant.stage.mark().await;
    let second = tenant.stage.renewed(token_status(&first)).await;
    tenant.until_same(&second).await;
    tenant.stage.settle().await;
    let requests = tenant.stage.requests_since(mark);
    let writes = |what: &str| requests.get(what).copied().unwrap_or_default();
    assert_eq!(writes("patch secrets"), 2, "{requests:?}");
    let of_status: usize = requests
        .iter()
        .filter(|(what, _)| what.ends_with("idissuercredentials/status"))
        .map(|(_, it)| it)
        .sum();
    assert_eq!(of_status, 2, "{requests:?}");
    assert_eq!(writes("get secrets"), 0, "{requests:?}");
    let counts = tenant.stage.counts();
    assert_eq!((counts.logins_accepted, counts.refreshes_accepted), (1, 1));
    assert_eq!(tenant.stage.present(&tenant.token().await).await, 200);
}

#[tokio::test]
async fn a_tenant_cannot_tell_what_he_may_not_follow_from_what_does_not_exist() {
    let tenant = Tenant::set("hostile-following", HOUR).await;
    tenant.own(json!(["orders", "tenants"]), json!({})).await;
    let owner = tenant.stage.ready().await;
    tenant.stage.apply_as("relay", json!({"credentialRef": {"name": NAME}})).await;
    tenant.stage.ready_as("relay").await;
    tenant.stage.apply_as("suspended", json!({"suspend": true})).await;
    for followed in [NAME, "nothing", "relay", "suspended"] {
        tenant.follow_as(&format!("of-{followed}"), followed, json!({})).await;
    }
    let mut told = Vec::new();
    for followed in [NAME, "nothing", "relay", "suspended"] {
        let name = format!("of-{followed}");
        let refused = tenant.denied(&name).await;
        assert!(holds(&refused, "Ready", "False", "ReferenceNotPermitted"));
        let events: Api<Event> = tenant.namespace.api();
        let about = |it: &Event| it.regarding.as_ref().and_then(|about| about.name.as_deref()) == Some(&name);
        let events = wait::until("its Event", LIMIT, async || {
            let list = events.list(&ListParams::default()).await.unwrap();
            let about: Vec<_> = list.items.into_iter().filter(about).map(|it| (it.reason, it.note)).collect();
            (!about.is_empty()).then_some(about)
        });
        let mut status = serde_json::to_value(refused.status.clone().unwrap()).unwrap();
        for condition in status["conditions"].as_array_mut().unwrap() {
            condition["lastTransitionTime"] = Value::Null;
        }
        told.push(format!("{status} {:?}", events.await).replace(followed, "REFERENCE"));
        assert!(tenant.secrets().get_opt(&name).await.unwrap().is_none(), "{name}");
    }
    assert!(told.iter().all(|it| *it == told[0]), "{told:#?}");
    assert!(!told[0].contains(&token_status(&owner).fingerprint.clone()));
    assert_eq!(tenant.stage.counts().logins_accepted, 1, "nothing of this costs a login");
}

#[tokio::test]
async fn a_permission_that_is_withdrawn_ends_with_the_published_token_and_may_be_given_again() {
    let tenant = Tenant::set("withdrawing", Duration::from_secs(12)).await;
    tenant.own_for_tenant(json!({})).await;
    tenant.follow(json!({})).await;
    tenant.ready().await;
    tenant.own(json!(["orders"]), json!({})).await;
    let denied = tenant.denied("follower").await;
    assert!(holds(&denied, "Ready", "True", "TokenPublished"));
    let kept = tenant.token().await;
    let expired = tenant.until("follower", "Expired", |it| holds(it, "Ready", "False", "Expired")).await;
    assert!(condition(&expired, "Ready").unwrap().message.contains("ask its owner"));
    assert_eq!(tenant.token().await, kept, "no other token came meanwhile");
    tenant.own_for_tenant(json!({})).await;
    tenant.ready().await;
    assert_eq!(tenant.stage.present(&tenant.token().await).await, 200);
}

#[tokio::test]
async fn an_owner_that_is_made_anew_gives_its_own_permission() {
    let tenant = Tenant::set("made-anew", HOUR).await;
    tenant.own_for_tenant(json!({})).await;
    tenant.follow(json!({})).await;
    let first = tenant.ready().await;
    let login = [("username", OTHER_USER.as_bytes()), ("password", PASSWORD.as_bytes())];
    tenant.stage.write_secret("other-login", &login).await;
    let other = || json!({"loginSecretRef": {"name": "other-login"}});
    tenant.stage.credentials().delete(NAME, &DeleteParams::default()).await.unwrap();
    tenant.denied("follower").await;
    tenant.own(json!([]), other()).await;
    tenant.stage.ready().await;
    let is_kept = async || {
        let now = tenant.credentials().get("follower").await.unwrap();
        token_status(&now).fingerprint == token_status(&first).fingerprint
    };
    stays("the token of the first owner", Duration::from_millis(500), is_kept).await;
    let owner = tenant.own_for_tenant(other()).await;
    tenant.until_same(&owner).await;
    let is_good = |it: &IdIssuerCredential| condition(it, "Stalled").is_none();
    tenant.until("follower", "no refusal", is_good).await;
    assert_eq!(tenant.stage.issuer.counts().of(OTHER_USER).logins_accepted, 1);
}

#[tokio::test]
async fn a_follower_gets_a_token_of_an_owner_that_is_made_anew_although_that_ones_own_target_is_blocked() {
    let tenant = Tenant::set("replaced", HOUR).await;
    tenant.own_for_tenant(json!({})).await;
    tenant.follow(json!({})).await;
    let first = tenant.ready().await;
    let login = [("username", OTHER_USER.as_bytes()), ("password", PASSWORD.as_bytes())];
    tenant.stage.write_secret("other-login", &login).await;
    tenant.stage.write_secret("taken", &[("note", b"of somebody else")]).await;
    tenant.stage.credentials().delete(NAME, &DeleteParams::default()).await.unwrap();
    tenant.denied("follower").await;
    let spec = json!({"loginSecretRef": {"name": "other-login"}, "target": {"secretName": "taken"}});
    let owner = tenant.own_for_tenant(spec).await;
    tenant.stage.until_condition("Ready", "False", "TargetConflict").await;
    let is_another =
        |it: &IdIssuerCredential| token_status(it).fingerprint != token_status(&first).fingerprint;
    let second = tenant.until("follower", "a token of the present owner", is_another).await;
    assert!(token_status(&first).owner_uid.is_some());
    assert_eq!(token_status(&second).owner_uid, owner.uid());
    assert!(holds(&second, "Ready", "True", "TokenPublished") && condition(&second, "Stalled").is_none());
    assert_eq!(tenant.stage.issuer.counts().of(OTHER_USER).logins_accepted, 1);
    assert_eq!(tenant.stage.present(&tenant.token().await).await, 200);
}

#[tokio::test]
async fn a_restart_costs_no_login_and_a_renewal_that_a_follower_requests_then_costs_one() {
    let mut tenant = Tenant::set("following-restart", HOUR).await;
    tenant.own_for_tenant(json!({})).await;
    tenant.follow(json!({})).await;
    let first = tenant.ready().await;
    tenant.stage.ready().await;
    tenant.stage.settle().await;
    tenant.stage.restart_operator().await;
    tenant.stage.settle().await;
    assert_eq!(tenant.stage.counts().logins_accepted, 1);
    let request = json!({"metadata": {"annotations": {"idissuer.pl/renew-requested-at": "now"}}});
    let parameters = PatchParams::default();
    // The published token is younger than a minute, in which no other one would be obtained.
    tenant.secrets().delete("follower", &DeleteParams::default()).await.unwrap();
    tenant.credentials().patch("follower", &parameters, &Patch::Merge(request)).await.unwrap();
    let is_another =
        |it: &IdIssuerCredential| token_status(it).fingerprint != token_status(&first).fingerprint;
    let second = tenant.until("follower", "another token", is_another).await;
    let handled = second.status.as_ref().unwrap().last_handled_renew_request.as_deref();
    assert_eq!(handled, Some("now"));
    let fingerprint = token_status(&second).fingerprint.clone();
    let is_same = |it: &IdIssuerCredential| token_status(it).fingerprint == fingerprint;
    tenant.stage.until(NAME, "the same token", is_same).await;
    assert_eq!(tenant.stage.counts().logins_accepted, 2);
}

#[tokio::test]
async fn a_follower_that_wants_more_time_left_has_the_account_renewed_earlier() {
    let tenant = Tenant::set("early-follower", Duration::from_secs(60)).await;
    tenant.own_for_tenant(json!({})).await;
    tenant.follow(json!({"renewal": {"renewBeforePercent": 80}})).await;
    let owner = tenant.stage.ready().await;
    tenant.ready().await;
    // The owner alone would renew at half of the lifetime.
    let renewed = tenant.stage.renewed(token_status(&owner)).await;
    tenant.until_same(&renewed).await;
    let (before, after) = (token_status(&owner), token_status(&renewed));
    let early = after.issued_time.0.duration_since(before.issued_time.0).as_secs();
    assert!(early < 20, "{early}");
}

#[tokio::test]
async fn a_reference_out_of_the_scope_of_the_operator_depends_on_nothing_there() {
    let stage = Stage::start("scope-of-following", issuer(HOUR)).await;
    let elsewhere = TestNamespace::create(stage.control_plane, "elsewhere").await.unwrap();
    let reference = |namespace: &str| json!({"credentialRef": {"namespace": namespace, "name": NAME}});
    stage.apply_as("exists", reference(elsewhere.name())).await;
    stage.apply_as("absent", reference("no-such-namespace")).await;
    for name in ["exists", "absent"] {
        let refused =
            stage.until(name, "its refusal", |it| holds(it, "Ready", "False", "ReferenceOutOfScope")).await;
        assert!(
            condition(&refused, "Ready").unwrap().message.contains("--namespace="),
            "{}",
            refused.name_any()
        );
    }
}

#[tokio::test]
async fn an_owner_sees_those_whom_it_permits_and_is_told_of_each_that_is_added() {
    let tenant = Tenant::set("followers", HOUR).await;
    let owner = tenant.own_for_tenant(json!({})).await;
    assert!(owner.status.is_none_or(|status| status.followers.is_none()));
    tenant.follow(json!({})).await;
    let names = |it: &IdIssuerCredential| {
        it.status.as_ref().and_then(|status| status.followers.clone()).map(|followers| followers.names)
    };
    let name = |name: &str| format!("{}/{name}", tenant.namespace.name());
    let first = Some(vec![name("follower")]);
    tenant.stage.until(NAME, "its follower", |it| names(it) == first).await;
    tenant.follow_as("another", NAME, json!({})).await;
    let both = Some(vec![name("another"), name("follower")]);
    tenant.stage.until(NAME, "both followers", |it| names(it) == both).await;
    wait::until("its Events", LIMIT, async || {
        let reasons = tenant.stage.event_reasons(NAME).await;
        reasons.iter().any(|reason| reason == "FollowerAdded").then_some(())
    })
    .await;
    tenant.credentials().delete("follower", &DeleteParams::default()).await.unwrap();
    tenant.stage.until(NAME, "one follower", |it| names(it) == Some(vec![name("another")])).await;
    tenant.own(json!(["orders"]), json!({})).await;
    tenant.stage.until(NAME, "no follower", |it| names(it).is_none()).await;
}

/// The labels of a namespace.
async fn label(tenant: &Tenant, team: &str) {
    let namespaces: Api<Namespace> = Api::all(tenant.stage.namespace.client().clone());
    let patch = json!({"metadata": {"labels": {"team": team}}});
    let parameters = PatchParams::default();
    namespaces.patch(tenant.namespace.name(), &parameters, &Patch::Merge(patch)).await.unwrap();
}

#[tokio::test]
async fn a_selector_permits_a_namespace_while_it_has_the_labels() {
    let team = "following-by-labels";
    let arguments = ["--namespace-selectors".to_owned()];
    let mut tenant = Tenant::set_with("selecting", HOUR, &arguments).await;
    let selector = json!({"selector": {"matchLabels": {"team": team}}});
    tenant.stage.apply(json!({"allowedNamespaces": selector})).await;
    tenant.follow(json!({})).await;
    tenant.denied("follower").await;
    label(&tenant, team).await;
    tenant.ready().await;
    tenant.until("follower", "no refusal", |it| condition(it, "Stalled").is_none()).await;
    tenant.stage.restart_operator().await;
    tenant.stage.settle().await;
    let kept = tenant.credentials().get("follower").await.unwrap();
    assert!(condition(&kept, "Stalled").is_none(), "the labels were known before it was looked at");
    label(&tenant, "another").await;
    tenant.denied("follower").await;
}

#[tokio::test]
async fn without_the_flag_a_selector_permits_nobody_and_the_owner_learns_the_cure() {
    let tenant = Tenant::set("not-selecting", HOUR).await;
    let mark = tenant.stage.mark().await;
    label(&tenant, "sales").await;
    let selector = json!({"selector": {"matchLabels": {"team": "sales"}}});
    tenant.stage.apply(json!({"allowedNamespaces": selector})).await;
    tenant.follow(json!({})).await;
    tenant.denied("follower").await;
    let message = tenant.stage.until_condition("Stalled", "True", "NamespaceSelectorIgnored").await;
    assert!(message.contains("--namespace-selectors"), "{message}");
    tenant.stage.ready().await;
    let requests = tenant.stage.requests_since(mark);
    assert!(!requests.keys().any(|what| what.ends_with(" namespaces")), "{requests:?}");
}
