//! Programs of the honest namespaces: each token is presented to the issuer twice a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use idissuer_simulator::Simulator;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use tokio::task::JoinHandle;

use super::setup::Setup;
use crate::soak::Accepts as _;

const PERIOD: Duration = Duration::from_millis(500);

/// What became of the tokens that were presented.
#[derive(Default)]
pub(super) struct Reads {
    pub(super) accepted: AtomicUsize,
    pub(super) refused: AtomicUsize,
}

/// One task for each honest namespace. They end by being aborted.
pub(super) fn start(setup: &Arc<Setup>, reads: &Arc<Reads>) -> Vec<JoinHandle<()>> {
    let start = |namespace: &String| {
        let secrets: Api<Secret> = Api::namespaced(setup.client.clone(), namespace);
        let (issuer, reads) = (setup.issuer.simulator().clone(), Arc::clone(reads));
        tokio::spawn(present_all(secrets, issuer, reads))
    };
    setup.honest.iter().map(start).collect()
}

async fn present_all(secrets: Api<Secret>, issuer: Simulator, reads: Arc<Reads>) {
    let managed = ListParams::default().labels("app.kubernetes.io/managed-by=idissuer-operator");
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // What is mounted in a pod, so to speak: while the API server does not answer, the old ones are used.
    let mut targets = Vec::new();
    loop {
        period.tick().await;
        if let Ok(list) = secrets.list(&managed).await {
            targets = list.items;
        }
        for target in &targets {
            let token = target.data.as_ref().and_then(|data| data.get("token"));
            let token = token.and_then(|value| std::str::from_utf8(&value.0).ok()).unwrap_or_default();
            let count = if issuer.accepts(token) { &reads.accepted } else { &reads.refused };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
