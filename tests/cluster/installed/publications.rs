//! When tokens were published, and how long they took from there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use idissuer_testbed::wait;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};

use super::place::LIFETIME;
use crate::operator::now;

/// When each token, by its fingerprint, was published: in milliseconds of the wall clock.
#[derive(Clone, Default)]
pub(super) struct Publications(Arc<Mutex<BTreeMap<String, u64>>>);

impl Publications {
    /// Notes those of a target, from now on.
    pub(super) fn watch(target: Api<Secret>, name: &str) -> (Self, tokio::task::JoinHandle<()>) {
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

    /// Waits until there were more than so many.
    pub(super) async fn reach(&self, number: usize) {
        wait::until("the next rotation", LIFETIME * (u32::try_from(number).unwrap() + 1), async || {
            let count = self.count();
            if count > number { Ok(()) } else { Err(format!("{count} tokens")) }
        })
        .await;
    }

    /// Prints how long tokens took from the API server to the files of a program, which has seen them at these times.
    pub(super) fn tell_delays(&self, place: &str, seen: &BTreeMap<String, u64>, expected: usize) {
        let published = self.0.lock().unwrap();
        // The first stood there before the program.
        let first = seen.values().min().copied().unwrap_or_default();
        let delay = |(fingerprint, at): (&String, &u64)| {
            let seen = seen.get(fingerprint).filter(|seen| **seen > first)?;
            Some(seen.saturating_sub(*at))
        };
        let mut delays: Vec<u64> = published.iter().filter_map(delay).collect();
        delays.sort_unstable();
        assert!(delays.len() >= expected, "{delays:?}");
        let seconds = |milliseconds: u64| Duration::from_millis(milliseconds).as_secs_f32();
        eprintln!(
            "published to visible in {place}: p50 {:.1} s, max {:.1} s, of {}",
            seconds(delays[delays.len() / 2]),
            seconds(delays[delays.len() - 1]),
            delays.len()
        );
    }
}
