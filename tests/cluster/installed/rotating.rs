//! Pods use one token after the other while everything around them restarts: one that its namespace's login brings, and one
//! that a follower shares.

use std::time::Duration;

use idissuer_testbed::{Program, wait};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use tokio::time::Instant;

use super::place::{HOME, ISSUER, LIFETIME, OPERATOR, Place, SHOP};
use super::publications::Publications;

const ROTATIONS: usize = 10;
/// How long the consumer, which calls each second, may be silent on a machine that does much else. A token that is dead for
/// longer is seen.
const GAP: Duration = Duration::from_secs(10);
/// The namespace of a credential that the shop may follow.
const PLATFORM: &str = "platform";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and a node: make installed runs it"]
async fn pods_that_mount_a_target_and_a_followers_one_live_through_ten_rotations_without_one_401() {
    let Some(place) = Place::start(Program::Helm).await else { return };
    let begin = Instant::now();
    place.release("install", &[&format!("issuer.url={ISSUER}")]).await;
    let installed = begin.elapsed();
    place.has_credential(SHOP, "billing", "").await;
    place.ready(SHOP, "billing").await;
    eprintln!(
        "installed after {:.1} s, ready after {:.1} s",
        installed.as_secs_f32(),
        begin.elapsed().as_secs_f32()
    );
    place.has_namespace(PLATFORM, "restricted").await;
    place.has_credential(PLATFORM, "owner", &format!(", allowedNamespaces: {{names: [{SHOP}]}}")).await;
    place.has_follower("follower", (PLATFORM, "owner")).await;
    place.ready(SHOP, "follower").await;
    let (publications, watching) = Publications::watch(place.api(SHOP), "billing");
    let consumers = [place.has_consumer("billing").await, place.has_consumer("follower").await];

    publications.reach(3).await;
    the_plugin_shows_the_log(&place).await;
    let leader = place.leader().await;
    place.api::<Pod>(HOME).delete(&leader, &DeleteParams::default()).await.unwrap();
    publications.reach(4).await;
    assert_ne!(place.leader().await, leader, "another pod leads");
    place.cluster.node().restart_kubelet().await.unwrap();
    publications.reach(6).await;
    let control_plane = place.cluster.control_plane();
    control_plane.api_server().kill().await.unwrap();
    control_plane.api_server().start().unwrap();
    control_plane.ready().await.unwrap();
    publications.reach(ROTATIONS).await;
    for consumer in &consumers {
        wait::until("the last token in the pod", LIFETIME, async || {
            place.seen_by(consumer).await.tokens.len() > ROTATIONS
        })
        .await;
        let seen = place.seen_by(consumer).await;
        assert_eq!(seen.bad, Vec::<String>::new(), "{consumer}");
        let gap = seen.longest_gap();
        assert!(gap < GAP, "no call of {consumer} for {gap:?} among {} calls", seen.good.len());
    }
    watching.abort();
    let tokens = &place.seen_by(&consumers[0]).await.tokens;
    publications.tell_delays("the pod, which mounts it", tokens, ROTATIONS);
}

/// That `kubectl idissuer logs` shows the lines of the pods, with a name only those about the credential.
async fn the_plugin_shows_the_log(place: &Place) {
    let pods = place.pods(HOME, OPERATOR).await;
    let all = place.plugin(&["logs", "--operator-namespace", HOME]).await;
    all.assert(0, &["idissuer controller starts", "token published"]);
    for pod in &pods {
        assert!(all.out.contains(&format!("{}  ", pod.name_any())), "{all:?}");
    }
    let billing = place.plugin(&["logs", "billing", "--since", "10m"]).await;
    let published = billing.out.lines().filter(|line| line.contains("token published")).count();
    // The line of the third may not have reached the file yet.
    assert!(published >= 2, "{billing:?}");
    assert!(billing.out.lines().all(|line| line.contains("billing")), "{billing:?}");
    let last = place.plugin(&["logs", "--tail", "1"]).await;
    last.assert(0, &[]);
    assert_eq!(last.out.lines().count(), pods.len(), "{last:?}");
}
