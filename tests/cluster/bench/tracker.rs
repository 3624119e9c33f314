//! What the credentials of a field said, and when: a watch of their status, as a user would have it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use idissuer::api::IdIssuerCredential;
use idissuer_testbed::wait;
use jiff::Timestamp;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::operator::{holds, now};

/// A token as status names it.
#[derive(PartialEq)]
struct Token {
    fingerprint: String,
    renewal: Timestamp,
}

/// What is known of one credential.
#[derive(Default)]
struct Seen {
    created: Option<Instant>,
    ready: Option<Instant>,
    token: Option<Token>,
}

/// A token that replaced another one.
struct Renewal {
    at: Instant,
    /// How long after the wanted time the new token was recorded, in seconds.
    lateness: f64,
}

#[derive(Default)]
struct Record {
    seen: BTreeMap<String, Seen>,
    renewals: Vec<Renewal>,
}

impl Record {
    fn see(&mut self, credential: &IdIssuerCredential) {
        let seen = self.seen.entry(credential.name_any()).or_default();
        if seen.ready.is_none() && holds(credential, "Ready", "True", "TokenPublished") {
            seen.ready = Some(Instant::now());
        }
        let Some(status) = credential.status.as_ref().and_then(|status| status.token.as_ref()) else {
            return;
        };
        let token = Token { fingerprint: status.fingerprint.clone(), renewal: status.renewal_time.0 };
        let old = seen.token.replace(token);
        if let Some(old) = old.filter(|old| old.fingerprint != status.fingerprint) {
            let lateness = now().duration_since(old.renewal).as_secs_f64();
            self.renewals.push(Renewal { at: Instant::now(), lateness });
        }
    }
}

pub(super) struct Tracker {
    record: Arc<Mutex<Record>>,
    task: JoinHandle<()>,
}

impl Tracker {
    /// Watches all of these from now on.
    pub(super) fn start(apis: Vec<Api<IdIssuerCredential>>) -> Self {
        let record = Arc::new(Mutex::new(Record::default()));
        let shown = Arc::clone(&record);
        let streams =
            apis.into_iter().map(|api| watcher(api, watcher::Config::default()).applied_objects().boxed());
        let mut objects = stream::select_all(streams);
        let task = tokio::spawn(async move {
            while let Some(object) = objects.next().await {
                if let Ok(credential) = object {
                    shown.lock().unwrap().see(&credential);
                }
            }
        });
        Self { record, task }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    /// Notes that a credential is being created now.
    pub(super) fn creating(&self, name: &str) {
        self.record().seen.insert(name.to_owned(), Seen { created: Some(Instant::now()), ..Seen::default() });
    }

    /// Forgets credentials that were deleted.
    pub(super) fn forget(&self) {
        *self.record() = Record::default();
    }

    /// Waits until so many have been ready.
    pub(super) async fn until_ready(&self, count: usize, limit: Duration) {
        wait::until("all to be ready", limit, async || {
            let ready = self.record().seen.values().filter(|seen| seen.ready.is_some()).count();
            if ready >= count { Ok(()) } else { Err(format!("{ready} of {count}")) }
        })
        .await;
    }

    /// How long each credential waited for its first token, in seconds, in order.
    pub(super) fn waits(&self) -> Vec<f64> {
        let record = self.record();
        let wait = |seen: &Seen| Some((seen.ready? - seen.created?).as_secs_f64());
        let mut waits: Vec<f64> = record.seen.values().filter_map(wait).collect();
        waits.sort_by(f64::total_cmp);
        waits
    }

    /// The lateness of each renewal since then, in seconds, in order.
    pub(super) fn lateness_since(&self, start: Instant) -> Vec<f64> {
        let record = self.record();
        let renewals = record.renewals.iter().filter(|renewal| renewal.at >= start);
        let mut lateness: Vec<f64> = renewals.map(|renewal| renewal.lateness).collect();
        lateness.sort_by(f64::total_cmp);
        lateness
    }

    /// How long the renewals since then took from the first to the last, in seconds.
    pub(super) fn span_of_renewals_since(&self, start: Instant) -> f64 {
        let record = self.record();
        let times = record.renewals.iter().map(|renewal| renewal.at).filter(|at| *at >= start);
        let (first, last) = (times.clone().min(), times.max());
        first.zip(last).map_or(f64::NAN, |(first, last)| (last - first).as_secs_f64())
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.task.abort();
    }
}
