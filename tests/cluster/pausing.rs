//! A leader is paused while its calls to the issuer are in flight, and goes on when another leads.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use idissuer_simulator::{DurationRange, Fingerprint, Latency};
use idissuer_testbed::process::Signal;
use idissuer_testbed::wait;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::leading::set_with_standby;
use crate::operator::{LIMIT, Operator, Stage, issuer, now, text, token_status};
use crate::renewing::Reader;

/// Each is a credential with an account of its own.
const ACCOUNTS: [&str; 2] = ["first", "second"];
/// Renewed after half of it, and the other half outlasts a failover, on a busy machine too.
const LIFETIME: Duration = Duration::from_secs(28);
/// What an answer takes: as long as jitter can set two renewals apart, and less than it is waited for (2 s).
const SLOW: DurationRange = DurationRange::fixed(Duration::from_millis(1_400));

#[derive(Clone, Copy, Debug, PartialEq)]
enum Resumed {
    /// It could write first, and has the answer at hand.
    WhileTheOtherCalls,
    /// It could write over its successor.
    OnceTheOtherHasPublished,
}

#[tokio::test]
async fn a_leader_paused_during_calls_wastes_one_token_per_account_and_publishes_no_older_one() {
    let issuer = issuer(LIFETIME).personality(|it| it.latency = Latency::of(SLOW));
    let (stage, standby) = set_with_standby("pausing", issuer).await;
    for account in ACCOUNTS {
        stage.add_account(account, json!({})).await;
    }
    join_all(ACCOUNTS.map(|account| stage.ready_as(account))).await;
    let history = History::start(&stage);
    let readers = ACCOUNTS.map(|account| Reader::of(&stage, account));
    let (mut leader, mut other) = (&stage.operator, &standby);
    let mut pauses = Vec::new();
    for resumed in
        [Resumed::WhileTheOtherCalls, Resumed::OnceTheOtherHasPublished, Resumed::WhileTheOtherCalls]
    {
        pauses.push(fail_over(&stage, leader, resumed).await);
        std::mem::swap(&mut leader, &mut other);
    }

    for account in ACCOUNTS {
        stage.until_correct(account).await;
    }
    join_all(readers.map(Reader::stop)).await;
    assert_eq!(stage.assert_wasted_only_at(&pauses, now()), pauses.len(), "each pause met a call in flight");
    history.assert_ever_younger(&stage).await;
    let counts = stage.issuer.counts().total();
    assert_eq!((counts.logins_rejected, counts.refresh_tokens_reused), (0, 0), "{counts:?}");
}

/// Pauses the leader while calls of both accounts are in flight, until the other has taken over. Returns when that was.
async fn fail_over(stage: &Stage, leader: &Operator, resumed: Resumed) -> jiff::Timestamp {
    let (called, stood_by) = (calls(stage), times_stood_by(leader));
    let old = join_all(ACCOUNTS.map(|account| stage.ready_as(account))).await;
    let published = async || {
        let renewals = ACCOUNTS.iter().zip(&old);
        join_all(renewals.map(|(account, old)| stage.renewed_as(account, token_status(old)))).await;
    };
    until_called(stage, called.map(|number| number + 1)).await;
    leader.process().signal(Signal::Stop).unwrap();
    let paused = now();
    // It is paused, so these come from the other.
    until_called(stage, called.map(|number| number + 2)).await;
    if resumed == Resumed::OnceTheOtherHasPublished {
        published().await;
    }
    leader.process().signal(Signal::Continue).unwrap();
    published().await;
    wait::until("the paused one to stand by", LIMIT, async || times_stood_by(leader) > stood_by).await;
    paused
}

/// The calls for a token so far, of each account.
fn calls(stage: &Stage) -> [u64; ACCOUNTS.len()] {
    let counts = stage.issuer.counts();
    ACCOUNTS.map(|account| counts.of(account).logins_accepted + counts.of(account).refreshes_accepted)
}

async fn until_called(stage: &Stage, wanted: [u64; ACCOUNTS.len()]) {
    wait::until("a call of each account", LIMIT, async || {
        let called = calls(stage);
        let is_enough = called.iter().zip(wanted).all(|(called, wanted)| *called >= wanted);
        is_enough.then_some(()).ok_or_else(|| format!("{called:?} of {wanted:?}"))
    })
    .await;
}

fn times_stood_by(replica: &Operator) -> usize {
    replica.output().matches("standing by").count()
}

/// All that ever stood in the targets, however shortly.
struct History {
    stop: CancellationToken,
    seen: JoinHandle<Vec<Secret>>,
}

impl History {
    fn start(stage: &Stage) -> Self {
        let managed = watcher::Config::default().labels("app.kubernetes.io/managed-by=idissuer-operator");
        let (targets, stop) = (watcher(stage.secrets(), managed).applied_objects(), CancellationToken::new());
        let seen = targets.map(Result::unwrap).take_until(stop.clone().cancelled_owned()).collect();
        Self { stop, seen: tokio::spawn(seen) }
    }

    /// That no token was followed by one that had been issued before it.
    async fn assert_ever_younger(self, stage: &Stage) {
        self.stop.cancel();
        let calls = stage.issuer.calls_since(0);
        let issued: HashMap<_, _> =
            calls.iter().filter_map(|call| Some((call.issued?, call.sequence))).collect();
        let mut last = HashMap::new();
        for target in self.seen.await.unwrap() {
            let sequence = issued[&Fingerprint::of(&text(&target, "token"))];
            let before = last.insert(target.name_any(), sequence);
            assert!(before <= Some(sequence), "an older token over a younger: {before:?}, then {sequence}");
        }
        assert_eq!(last.len(), ACCOUNTS.len());
    }
}
