//! A namespace goes away in the middle of a renewal.

use std::time::Duration;

use idissuer::api::IdIssuerCredential;
use idissuer_simulator::{DurationRange, Operation, User};
use idissuer_testbed::{TestNamespace, wait};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use crate::CLUSTER;
use crate::operator::{LIMIT, NAME, Stage, apply_in, holds, issuer, token_status};
use crate::renewing::Reader;

const OTHER: &str = "other@example.org";
/// Its half outlasts the end of a namespace, on a busy machine too.
const LIFETIME: Duration = Duration::from_secs(24);
/// A call is on its way for so long: time enough to delete a namespace meanwhile.
const LATENCY: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn a_namespace_deleted_during_a_renewal_leaves_no_errors_and_others_are_renewed() {
    let doomed = TestNamespace::create(CLUSTER.control_plane().await.unwrap(), "doomed").await.unwrap();
    let issuer = issuer(LIFETIME).user(User::new(OTHER, "secret"));
    let stage = Stage::start_with("survivor", issuer, |operator, _| {
        operator.arguments.extend(["--namespace".into(), doomed.name().into()]);
    })
    .await;
    stage.apply(json!({})).await;
    let there = apply_in(&doomed, NAME, OTHER, "secret").await;
    let ready = |it: &IdIssuerCredential| holds(it, "Ready", "True", "TokenPublished");
    wait::object(&there, NAME, "Ready", LIMIT, ready).await;
    let before = stage.ready().await;
    let reader = Reader::start(&stage);

    stage.issuer.configure(|it| it.latency.refresh = DurationRange::fixed(LATENCY));
    let is_renewing = async || {
        let calls = stage.issuer.calls_since(0);
        calls.iter().any(|call| call.operation == Operation::Refresh && call.user == OTHER)
    };
    wait::until("its renewal under way", LIMIT, is_renewing).await;
    let mark = stage.control_plane.audit().mark().unwrap();
    let namespaces: Api<Namespace> = Api::all(doomed.client().clone());
    namespaces.delete(doomed.name(), &DeleteParams::default()).await.unwrap();
    // That takes the API server several rounds.
    wait::gone(&namespaces, doomed.name(), 3 * LIMIT).await;

    let last = stage.renewed(token_status(&before)).await;
    stage.renewed(token_status(&last)).await;
    stage.until_correct(NAME).await;
    reader.stop().await;
    let requests = stage.control_plane.audit().of_user_since(&stage.operator.user, mark).unwrap();
    let there: Vec<_> = requests.iter().filter(|request| request.namespace == doomed.name()).collect();
    assert!(there.len() <= 12, "nothing is tried over and over: {there:#?}");
    assert!(!stage.operator.output().contains("panicked"), "{}", stage.operator.output());
    let counts = stage.issuer.counts().of(OTHER);
    assert_eq!((counts.logins_accepted, counts.refreshes_accepted), (1, 1), "{counts:?}");
}
