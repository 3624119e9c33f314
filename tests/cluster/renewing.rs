//! Renewal: by refresh, by login, on request, and what it costs the API server.

use std::collections::BTreeMap;
use std::time::Duration;

use idissuer::api::{Grant, RefreshSupport};
use idissuer_simulator::RefreshAccepted;
use idissuer_testbed::{Mark, count, wait};
use serde_json::json;

use crate::operator::{
    HOUR, LIMIT, LOGIN, NAME, Stage, USER, issuer, now, present, stays, text, token_status,
};

/// Renewed after half of it, less a little jitter.
const SHORT: Duration = Duration::from_secs(5);

/// Where requests are counted: the next renewal has to come well after the count, on a busy machine too.
const COUNTED: Duration = Duration::from_secs(20);

/// Presents what stands in the target to the issuer, over and over, until stopped: as a pod that reads its token again
/// for every call.
pub(crate) struct Reader(tokio::task::JoinHandle<()>);

impl Reader {
    pub(crate) fn start(stage: &Stage) -> Self {
        Self::of(stage, NAME)
    }

    pub(crate) fn of(stage: &Stage, name: &'static str) -> Self {
        let (secrets, url) = (stage.secrets(), stage.issuer.url());
        Self(tokio::spawn(async move {
            loop {
                let target = secrets.get(name).await.unwrap();
                assert_eq!(present(&url, &text(&target, "token")).await, 200);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }))
    }

    /// Fails if one of the tokens was not accepted.
    pub(crate) async fn stop(self) {
        self.0.abort();
        let ended = self.0.await;
        assert!(ended.as_ref().is_err_and(tokio::task::JoinError::is_cancelled), "{ended:?}");
    }
}

/// Waits for so many further tokens. Returns the grants.
async fn rotations(stage: &Stage, number: usize) -> Vec<Grant> {
    let mut grants = Vec::new();
    let mut last = stage.ready().await;
    for _ in 0..number {
        last = stage.renewed(token_status(&last)).await;
        grants.push(token_status(&last).grant);
    }
    grants
}

#[tokio::test]
async fn tokens_are_refreshed_over_and_over_and_the_secret_never_holds_an_expired_one() {
    let stage = Stage::start("refresh", issuer(SHORT)).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    let reader = Reader::start(&stage);
    let grants = rotations(&stage, 4).await;
    reader.stop().await;

    assert!(grants.iter().all(|grant| *grant == Grant::Refresh), "{grants:?}");
    let counts = stage.counts();
    assert_eq!((counts.logins_accepted, counts.refreshes_accepted), (1, 4));
    assert_eq!(
        (counts.refresh_tokens_reused, counts.authorized_expired, counts.authorized_invalid),
        (0, 0, 0)
    );
    assert!(counts.authorized_accepted > 20, "{counts:?}");
    let status = stage.ready().await.status.unwrap();
    assert_eq!(status.refresh_support, Some(RefreshSupport::Early));
    assert_eq!(status.failures, None);
    assert_eq!(stage.event_reasons(NAME).await, ["TokenPublished"], "a renewal is no transition");
}

#[tokio::test]
async fn an_issuer_that_rejects_refreshes_gets_logins_before_expiry_and_soon_no_refreshes() {
    let issuer = issuer(SHORT).personality(|it| it.refresh.accepted = RefreshAccepted::AfterExpiry);
    let stage = Stage::start("refused-refresh", issuer).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    let reader = Reader::start(&stage);
    let grants = rotations(&stage, 3).await;
    reader.stop().await;

    assert!(grants.iter().all(|grant| *grant == Grant::Login), "{grants:?}");
    let counts = stage.counts();
    assert_eq!((counts.logins_accepted, counts.refreshes_refused), (4, 2));
    assert_eq!((counts.authorized_expired, counts.authorized_invalid), (0, 0));
    let status = stage.ready().await.status.unwrap();
    assert_eq!(status.refresh_support, Some(RefreshSupport::Refused));
    assert_eq!(status.failures, None, "a refusal that a login made good is no failure");
}

#[tokio::test]
async fn strategy_login_never_refreshes_and_a_rotation_costs_two_writes_and_a_read_of_the_login() {
    let stage = Stage::start("by-login", issuer(COUNTED)).await;
    stage.apply(json!({"renewal": {"strategy": "Login"}})).await;
    stage.ready().await;
    let requests = requests_of_rotations(&stage, 2).await;

    let counts = stage.counts();
    assert_eq!((counts.logins_accepted, counts.refreshes_accepted + counts.refreshes_refused), (4, 0));
    let expected = [("get secrets", 2), ("patch secrets", 2), ("update idissuercredentials/status", 2)];
    assert_eq!(requests, counted(expected));
    let reads = stage.control_plane.audit().of_user_since(&stage.operator.user, Mark::START).unwrap();
    let targets = reads.iter().filter(|read| read.verb == "get" && read.name == NAME).count();
    assert_eq!(targets, 0, "the watch has shown that there is none");
}

#[tokio::test]
async fn a_rotation_costs_one_write_of_secret_and_status_each_and_own_writes_cause_no_work() {
    let stage = Stage::start("rotation-cost", issuer(COUNTED)).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    let requests = requests_of_rotations(&stage, 2).await;
    eprintln!("requests of two rotations: {requests:?}");
    assert_eq!(requests, counted([("patch secrets", 2), ("update idissuercredentials/status", 2)]));
}

#[tokio::test]
async fn nothing_is_asked_of_the_api_server_while_nothing_is_due() {
    let stage = Stage::start("quiet", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    wait::until("the Event", LIMIT, async || !stage.event_reasons(NAME).await.is_empty()).await;
    let mark = stage.mark().await;
    // Neither what others write beside it, nor applying the same again, is work.
    stage.write_secret("unrelated", &[("key", b"value")]).await;
    stage.apply(json!({})).await;
    let labels = json!({"metadata": {"labels": {"seen": "yes"}, "annotations": {"note": "mine"}}});
    let patch = kube::api::Patch::Merge(labels);
    stage.credentials().patch(NAME, &kube::api::PatchParams::default(), &patch).await.unwrap();
    stays("no request", Duration::from_secs(2), async || stage.requests_since(mark).is_empty()).await;

    let read = |user: &str| stage.control_plane.audit().of_user_since(user, Mark::START).unwrap();
    let all = count(&read(&stage.operator.user));
    let watches: Vec<_> = all.keys().filter(|(verb, _)| verb == "watch").map(|(_, what)| what).collect();
    assert_eq!(watches, ["idissuercredentials", "secrets"]);
}

#[tokio::test]
async fn a_login_secret_whose_metadata_is_edited_costs_a_read_and_nothing_more() {
    let stage = Stage::start("login-metadata", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    let before = stage.ready().await;
    let mark = stage.mark().await;
    let patch = kube::api::Patch::Merge(json!({"metadata": {"labels": {"seen": "yes"}}}));
    stage.secrets().patch(LOGIN, &kube::api::PatchParams::default(), &patch).await.unwrap();
    wait::until("the read", LIMIT, async || stage.requests_since(mark).contains_key("get secrets")).await;
    stays("no call", Duration::from_secs(1), async || stage.issuer_calls() == 1).await;
    assert_eq!(token_status(&stage.ready().await).fingerprint, token_status(&before).fingerprint);
}

#[tokio::test]
async fn a_requested_renewal_brings_one_new_token_and_the_same_request_again_brings_none() {
    let stage = Stage::start("on-request", issuer(Duration::from_secs(60))).await;
    stage.apply(json!({})).await;
    let first = stage.ready().await;
    // Sooner than this after the first, a request would be answered by that one.
    let spacing = Duration::from_secs(12);
    let issued = token_status(&first).issued_time.0;
    let is_spaced = || now().duration_since(issued).as_secs() > 12;
    wait::until("the least time between two tokens", spacing + LIMIT, async || is_spaced()).await;

    stage.request_renewal("once").await;
    let second = stage.renewed(token_status(&first)).await;
    assert_eq!(second.status.as_ref().unwrap().last_handled_renew_request.as_deref(), Some("once"));
    assert_eq!(stage.counts().refreshes_accepted, 1);
    assert_eq!(stage.present(&text(&stage.target().await, "token")).await, 200);

    let mark = stage.mark().await;
    stage.request_renewal("once").await;
    stays("no request", Duration::from_secs(1), async || stage.requests_since(mark).is_empty()).await;
    stage.request_renewal("so soon that the token just obtained answers it").await;
    stage
        .until(NAME, "the request handled", |credential| {
            let handled =
                credential.status.as_ref().and_then(|status| status.last_handled_renew_request.clone());
            handled.is_some_and(|handled| handled.starts_with("so soon"))
        })
        .await;
    assert_eq!(stage.counts().refreshes_accepted, 1);
    wait::until("the Event", LIMIT, async || {
        let reasons = stage.event_reasons(NAME).await;
        if reasons.iter().any(|it| it == "RenewRequestHandled") { Ok(()) } else { Err(reasons.join(", ")) }
    })
    .await;
}

#[tokio::test]
async fn a_suspended_credential_is_left_alone_until_it_is_resumed() {
    let stage = Stage::start("suspend", issuer(SHORT)).await;
    stage.apply(json!({"suspend": true})).await;
    stage.until_condition("Ready", "False", "Suspended").await;
    assert_eq!(stage.issuer_calls(), 0);
    assert!(stage.secrets().get_opt(NAME).await.unwrap().is_none());

    stage.apply(json!({})).await;
    stage.ready().await;
    stage.apply(json!({"suspend": true})).await;
    let suspended = stage.ready().await;
    let before = (stage.issuer_calls(), stage.target().await);
    // Ready stays True until the token expires.
    let expired = stage.until_condition("Ready", "False", "Expired").await;
    let expiry = token_status(&suspended).expiration_time.0.to_string();
    assert!(expired.contains(&expiry), "{expired}");
    assert_eq!((stage.issuer_calls(), stage.target().await), before);

    stage.apply(json!({})).await;
    stage.ready().await;
    assert_eq!(stage.present(&text(&stage.target().await, "token")).await, 200);
    assert_eq!(stage.issuer.counts().of(USER).refresh_tokens_reused, 0);
}

/// The operator's requests to the API server during this number of rotations.
async fn requests_of_rotations(stage: &Stage, number: usize) -> BTreeMap<String, usize> {
    rotations(stage, 1).await;
    let mark = stage.mark().await;
    rotations(stage, number).await;
    stage.settle().await;
    stage.requests_since(mark)
}

fn counted<const N: usize>(requests: [(&str, usize); N]) -> BTreeMap<String, usize> {
    requests.map(|(request, number)| (request.to_owned(), number)).into()
}
