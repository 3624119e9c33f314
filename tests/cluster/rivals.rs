//! Two controllers for one namespace, each with its own lease.

use std::time::Duration;

use idissuer_testbed::{Mark, wait};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use crate::operator::{HOUR, LIMIT, NAME, Stage, issuer};

/// The time of a handover, and some for a machine that does much else.
const HANDOVER: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_second_controller_names_the_first_writes_nothing_and_goes_on_when_that_has_ended() {
    let mut stage = Stage::start_with("rivals", issuer(HOUR), |operator, _| {
        let namespace = operator.arguments[2].clone();
        let lease = ["--leader-elect", "--lease-namespace", &namespace, "--lease-name", "first"];
        operator.arguments.extend(lease.map(str::to_owned));
    })
    .await;
    stage.apply(json!({})).await;
    stage.ready().await;
    let mut rival = stage.prepare_replica("rival");
    "second".clone_into(rival.arguments.last_mut().unwrap());
    rival.start(stage.control_plane).await;
    rival.until_ready().await;

    let controller = format!("{}/first", stage.namespace.name());
    let told = wait::until("the Event", LIMIT, async || {
        let events = stage.namespace.api::<Event>().list(&ListParams::default()).await.unwrap().items;
        events
            .into_iter()
            .find(|event| event.reason.as_deref() == Some("ManagedByAnotherController"))
            .ok_or("no such Event")
    })
    .await;
    assert!(told.note.as_ref().is_some_and(|note| note.contains(&controller)), "{told:?}");
    // The test's host stands for the pod's.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(told.reporting_instance.as_deref(), Some(host.trim()));
    let named = format!("with the lease {}/second", stage.namespace.name());
    wait::until("the first one's line", LIMIT, async || stage.operator.output().contains(&named)).await;

    stage.secrets().delete(NAME, &DeleteParams::default()).await.unwrap();
    stage.until_correct(NAME).await;
    assert_eq!(stage.issuer_calls(), 1);
    let requests = stage.control_plane.audit().of_user_since(&rival.user, Mark::START).unwrap();
    let writes: Vec<_> =
        requests.iter().filter(|it| it.resource == "secrets" && it.verb == "patch").collect();
    assert!(writes.is_empty(), "{writes:?}");

    stage.operator.stop().await;
    let successor = format!("{}/second", stage.namespace.name());
    wait::object(&stage.credentials(), NAME, "the second controller", HANDOVER, |credential| {
        let status = credential.status.as_ref().unwrap();
        status.controller.as_deref() == Some(&successor) && status.claimed_by.is_none()
    })
    .await;
    stage.secrets().delete(NAME, &DeleteParams::default()).await.unwrap();
    stage.until_correct(NAME).await;
    rival.stop().await;
}
