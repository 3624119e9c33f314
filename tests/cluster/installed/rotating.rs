//! Token after token in a running pod, while everything around it goes and comes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use idissuer_testbed::{Program, wait};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use kube::api::DeleteParams;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::time::Instant;

use super::place::{HOME, ISSUER, LIFETIME, Place, SHOP};
use crate::operator::now;

/// New tokens that the consumer lives through.
const ROTATIONS: usize = 10;
/// How long the consumer, which calls each second, may be silent on a machine that does much else. A token that is dead for
/// longer is seen.
const GAP: Duration = Duration::from_secs(10);
/// A rotation takes less than a lifetime.
const LIMIT: Duration = Duration::from_secs(LIFETIME.as_secs() * (ROTATIONS as u64 + 1));

/// When each token, by its fingerprint, was published: in milliseconds of the wall clock.
#[derive(Clone, Default)]
struct Publications(Arc<Mutex<BTreeMap<String, u64>>>);

impl Publications {
    /// Notes those of a target, from now on.
    fn watch(target: Api<Secret>, name: &str) -> (Self, tokio::task::JoinHandle<()>) {
        let publications = Self::default();
        let noted = publications.clone();
        let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let task = tokio::spawn(async move {
            let targets = watcher(target, only).default_backoff().applied_objects();
            let mut targets = std::pin::pin!(targets);
            while let Some(target) = targets.next().await {
                let Ok(target) = target else { continue };
                let Some(fingerprint) =
                    target.metadata.annotations.and_then(|mut it| it.remove("idissuer.pl/fingerprint"))
                else {
                    continue;
                };
                let at = u64::try_from(now().as_millisecond()).unwrap();
                noted.0.lock().unwrap().entry(fingerprint).or_insert(at);
            }
        });
        (publications, task)
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    async fn reach(&self, number: usize) {
        wait::until("the next rotation", LIMIT, async || {
            let count = self.count();
            if count > number { Ok(()) } else { Err(format!("{count} tokens")) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and a node: make installed runs it"]
async fn a_pod_that_mounts_the_target_lives_through_ten_rotations_without_one_401() {
    let Some(place) = Place::set(Program::Helm).await else { return };
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
    let (publications, watching) = Publications::watch(place.api(SHOP), "billing");
    let consumer = place.has_consumer("billing").await;

    publications.reach(3).await;
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
    wait::until("the last token in the pod", LIFETIME, async || {
        place.seen_by(&consumer).await.tokens.len() > ROTATIONS
    })
    .await;

    let seen = place.seen_by(&consumer).await;
    watching.abort();
    assert_eq!(seen.bad, Vec::<String>::new());
    let gap = seen.longest_gap();
    assert!(gap < GAP, "no call for {gap:?} among {} calls", seen.good.len());
    tell_delays(&publications, &seen.tokens);
}

/// How long tokens took from the API server to the pod's files.
fn tell_delays(publications: &Publications, seen: &BTreeMap<String, u64>) {
    let published = publications.0.lock().unwrap();
    // The first stood there before the pod.
    let first = seen.values().min().copied().unwrap_or_default();
    let delay = |(fingerprint, at): (&String, &u64)| {
        let seen = seen.get(fingerprint).filter(|seen| **seen > first)?;
        Some(seen.saturating_sub(*at))
    };
    let mut delays: Vec<u64> = published.iter().filter_map(delay).collect();
    delays.sort_unstable();
    assert!(delays.len() >= ROTATIONS, "{delays:?}");
    let seconds = |milliseconds: u64| Duration::from_millis(milliseconds).as_secs_f32();
    eprintln!(
        "published to visible in the pod: p50 {:.1} s, max {:.1} s, of {}",
        seconds(delays[delays.len() / 2]),
        seconds(delays[delays.len() - 1]),
        delays.len()
    );
}
