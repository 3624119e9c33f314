//! The API server answers with errors, loses its answers or falls silent while tokens are renewed: no token is lost, none
//! dies in a target, and the issuer is not asked once more for any of it.

use std::time::Duration;

use idissuer_testbed::proxy::{Fault, ProxiedRequest, Proxy, Rule};
use idissuer_testbed::wait;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::operator::{HOUR, LIMIT, LOGIN, NAME, Stage, condition, holds, issuer, stays, text, token_status};
use crate::renewing::Reader;

/// Renewed when half of it is over, less a little jitter; so the trouble may last for ten seconds.
const LIFETIME: Duration = Duration::from_secs(20);

/// Any answer to the writes of the target, or of the status.
fn is_target_write(request: &ProxiedRequest) -> bool {
    request.is_write() && request.is_for("secrets/billing")
}

fn is_status_write(request: &ProxiedRequest) -> bool {
    request.is_write() && request.is_for("idissuercredentials/billing/status")
}

/// A published token, with a proxy that harms nothing yet.
async fn start(name: &str, lifetime: Duration) -> (Stage, Proxy) {
    let (stage, proxy) = Stage::start_through_proxy(name, issuer(lifetime)).await;
    stage.apply(json!({})).await;
    stage.until_correct(NAME).await;
    (stage, proxy)
}

/// One renewal whose writes meet this fault so many times before they come through.
async fn renews_through(
    name: &str,
    fault: Fault,
    times: usize,
    meets: impl Fn(&ProxiedRequest) -> bool + Copy + Send + 'static,
) {
    let (stage, proxy) = start(name, LIFETIME).await;
    let before = stage.ready().await;
    let reader = Reader::start(&stage);
    let asked = proxy.requests().len();
    proxy.inject(Rule::new(fault, meets).times(times));

    stage.renewed(token_status(&before)).await;
    // A write whose answer is lost shows before it is known to be done.
    wait::until("one write more than were refused", LIMIT, async || {
        let met = proxy.requests().into_iter().skip(asked).filter(meets).count();
        (met > times).then_some(()).ok_or_else(|| format!("{name}: {met} writes"))
    })
    .await;
    stage.until_correct(NAME).await;
    reader.stop().await;
    stage.assert_nothing_wasted();
    let counts = stage.counts();
    assert_eq!((counts.logins_accepted, counts.refreshes_accepted), (1, 1), "{name}: {counts:?}");
}

fn too_many() -> Fault {
    Fault::Answer { status: 429, retry_after: Some(1) }
}

#[tokio::test]
async fn a_renewal_whose_target_is_refused_with_409_429_or_500_costs_no_token_and_no_call() {
    tokio::join!(
        renews_through("target-409", Fault::status(409), 3, is_target_write),
        renews_through("target-429", too_many(), 2, is_target_write),
        renews_through("target-500", Fault::status(500), 2, is_target_write),
    );
}

#[tokio::test]
async fn a_renewal_whose_target_is_refused_with_410_or_413_once_costs_no_token_and_no_call() {
    tokio::join!(
        renews_through("target-410", Fault::status(410), 1, is_target_write),
        renews_through("target-413", Fault::status(413), 1, is_target_write),
    );
}

#[tokio::test]
async fn a_renewal_whose_status_is_refused_with_409_410_429_or_500_costs_no_token_and_no_call() {
    tokio::join!(
        renews_through("status-409", Fault::status(409), 2, is_status_write),
        renews_through("status-410", Fault::status(410), 2, is_status_write),
        renews_through("status-429", too_many(), 2, is_status_write),
        renews_through("status-500", Fault::status(500), 2, is_status_write),
    );
}

#[tokio::test]
async fn a_renewal_whose_writes_are_done_but_never_answered_costs_no_token_and_no_call() {
    tokio::join!(
        renews_through("target-lost", Fault::LoseAnswer, 2, is_target_write),
        renews_through("status-lost", Fault::LoseAnswer, 2, is_status_write),
    );
}

#[tokio::test]
async fn a_first_write_whose_answer_is_lost_is_known_again_as_the_operators_own() {
    let (stage, proxy) = Stage::start_through_proxy("first-lost", issuer(HOUR)).await;
    proxy.inject(Rule::new(Fault::LoseAnswer, is_target_write).times(1));
    stage.apply(json!({})).await;
    stage.ready().await;
    stage.until_correct(NAME).await;
    assert_eq!(stage.issuer_calls(), 1);
}

#[tokio::test]
async fn a_write_that_hangs_is_given_up_and_made_again() {
    let (stage, proxy) = start("hanging-write", LIFETIME).await;
    let before = stage.ready().await;
    let reader = Reader::start(&stage);
    proxy.inject(Rule::new(Fault::Silence, is_target_write));
    wait::until("a write that is given up", LIMIT, async || {
        stage.operator.output().contains("did not answer within")
    })
    .await;
    proxy.heal();
    stage.renewed(token_status(&before)).await;
    stage.until_correct(NAME).await;
    reader.stop().await;
    stage.assert_nothing_wasted();
    assert_eq!(stage.counts().logins_accepted, 1);
}

#[tokio::test]
async fn while_an_admission_webhook_hangs_the_failing_call_and_the_late_token_are_reported() {
    let (stage, proxy) = start("target-500-on", LIFETIME).await;
    proxy.inject(Rule::new(Fault::status(500), is_target_write));
    let message = stage.until_condition("Stalled", "True", "ApiServerCallFailed").await;
    assert!(message.contains("apply Secret") && message.contains("/billing"), "{message}");
    stage.until_condition("RenewalOverdue", "True", "RenewalOverdue").await;
    stage.until_condition("Ready", "False", "Expired").await;
    proxy.heal();
    let healed = stage.until(NAME, "that all is well", |it| {
        holds(it, "Ready", "True", "TokenPublished") && condition(it, "Stalled").is_none()
    });
    healed.await;
    stage.until_correct(NAME).await;
    assert_eq!(stage.counts().logins_accepted, 1);
}

#[tokio::test]
async fn watches_that_end_with_410_begin_anew_and_what_happened_meanwhile_is_seen() {
    let (stage, proxy) = start("watch-410", HOUR).await;
    let token = text(&stage.target().await, "token");
    // Both watches are cut, refused once with a status and once with an event, and what is edited meanwhile is repaired.
    for resource in ["secrets", "idissuercredentials"] {
        for fault in [Fault::status(410), Fault::EndWatch { status: 410 }] {
            proxy.inject(Rule::new(fault, move |it| it.is_watch() && it.is_for(resource)).times(1));
        }
    }
    let asked = proxy.requests().len();
    proxy.cut();
    stage.edit_target(json!({"data": {"token": "Zm9yZ2Vk"}})).await;
    stage.target_until("its repair", |target| text(target, "token") == token).await;
    stage.until_correct(NAME).await;
    let lists = |resource: &'static str| {
        move |request: &ProxiedRequest| {
            !request.is_watch() && !request.is_write() && request.path.ends_with(resource)
        }
    };
    wait::until("new lists and new watches", LIMIT, async || {
        let since: Vec<_> = proxy.requests().into_iter().skip(asked).collect();
        let watching = since.iter().filter(|it| it.is_watch() && it.status == Some(200)).count();
        let listed = ["/secrets", "/idissuercredentials"].map(|it| since.iter().any(lists(it)));
        (watching >= 4 && listed == [true, true]).then_some(()).ok_or_else(|| format!("{since:#?}"))
    })
    .await;
    assert_eq!(stage.issuer_calls(), 1);
}

#[tokio::test]
async fn what_wakes_a_credential_is_heard_at_once_although_a_watch_fails_over_and_over() {
    let (stage, proxy) = start("failing-watch", HOUR).await;
    proxy.inject(Rule::new(Fault::status(500), |it| it.is_watch() && it.is_for("idissuercredentials")));
    proxy.cut();
    // Any pause after a failure has begun when this returns, and by the fourth it has grown to seconds.
    wait::until("four failed watches", 2 * LIMIT, async || {
        proxy.requests().iter().filter(|it| it.is_watch() && it.status == Some(500)).count() >= 4
    })
    .await;
    let asked = proxy.requests().len();
    // A change of the login Secret wakes a credential, as an answer of the issuer does.
    let patch = json!({"metadata": {"labels": {"changed": "yes"}}});
    stage.secrets().patch(LOGIN, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    wait::until("a look at the login Secret", Duration::from_secs(2), async || {
        let is_read = |it: &ProxiedRequest| !it.is_write() && it.is_for("secrets/billing-login");
        proxy.requests().iter().skip(asked).any(is_read)
    })
    .await;
}

/// A published token of an operator whose watches last for two seconds.
async fn set_with_short_watches(name: &str) -> (Stage, Proxy) {
    let (stage, proxy) = Stage::start_through_proxy_with(name, issuer(HOUR), |operator| {
        operator.arguments.extend(["--watch-timeout-seconds".into(), "2".into()]);
    })
    .await;
    stage.apply(json!({})).await;
    stage.until_correct(NAME).await;
    (stage, proxy)
}

#[tokio::test]
async fn a_watch_that_falls_silent_is_replaced_when_its_time_is_over_and_shows_what_was_missed() {
    let (stage, proxy) = set_with_short_watches("watch-silent").await;
    let token = text(&stage.target().await, "token");
    let asked = proxy.requests().len();
    proxy.inject(Rule::new(Fault::Silence, move |request| request.is_watch() && request.number < asked));
    stage.edit_target(json!({"data": {"token": "Zm9yZ2Vk"}})).await;
    stage.target_until("its repair", |target| text(target, "token") == token).await;
    stage.until_correct(NAME).await;
    assert_eq!(stage.issuer_calls(), 1);
}

#[tokio::test]
async fn a_list_that_falls_silent_is_given_up_and_made_again() {
    let (stage, proxy) = set_with_short_watches("list-silent").await;
    let token = text(&stage.target().await, "token");
    proxy.inject(Rule::new(Fault::EndWatch { status: 410 }, ProxiedRequest::is_watch).times(2));
    // The lists that follow the watches.
    let is_list = |request: &ProxiedRequest| !request.is_write() && !request.is_watch();
    proxy.inject(Rule::new(Fault::Silence, is_list).times(2));
    proxy.cut();
    stage.edit_target(json!({"data": {"token": "Zm9yZ2Vk"}})).await;
    stage.target_until("its repair", |target| text(target, "token") == token).await;
    assert_eq!(stage.issuer_calls(), 1);
}

#[tokio::test]
async fn refusals_that_go_on_are_retried_at_the_pace_of_the_tokens_lifetime() {
    // Of 20 s, two minutes are eight seconds: for so long at most may the writes have been possible, and no new token be
    // there.
    let (_stage, proxy) = start("refusal-pace", LIFETIME).await;
    let asked = proxy.requests().len();
    proxy.inject(Rule::new(Fault::status(422), is_target_write));
    let refused = async || proxy.requests().into_iter().skip(asked).filter(is_target_write).count();
    wait::until("the first refusal", LIMIT, async || refused().await > 0).await;
    let mut last = (refused().await, tokio::time::Instant::now());
    stays("retries", Duration::from_secs(30), async || {
        let count = refused().await;
        if count > last.0 {
            last = (count, tokio::time::Instant::now());
        }
        last.1.elapsed() < Duration::from_secs(8)
    })
    .await;
}
