//! Programs that use the tokens: they present the token of each target to the issuer, repeatedly.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use idissuer_simulator::{Fingerprint, Simulator};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use tokio::task::JoinHandle;

use super::fleet::{Accepts, CREDENTIALS, Fleet, SoakCluster, name_of, namespace_of};
use super::ledger::{Answer, Ledger, Read, Renewal, Scope, margin};
use crate::operator::now;

const PERIOD: Duration = Duration::from_millis(500);
/// How long the API server may take to show the targets; while it does not, the tokens that it showed last are used. One
/// that takes longer is not there, whatever the reason, and would not have taken a write in time.
const LIMIT: Duration = Duration::from_secs(2);

/// One task for each namespace. They end by being aborted.
pub(super) fn start(fleet: &Fleet, ledger: &Arc<Ledger>) -> Vec<JoinHandle<()>> {
    let start = |namespace| {
        let reader = Reader {
            namespace,
            cluster: fleet.cluster.clone(),
            issuer: fleet.issuer.simulator().clone(),
            ledger: Arc::clone(ledger),
            seen: HashMap::new(),
        };
        tokio::spawn(reader.read())
    };
    (0..fleet.cluster.names.len()).map(start).collect()
}

struct Reader {
    namespace: usize,
    cluster: SoakCluster,
    issuer: Simulator,
    ledger: Arc<Ledger>,
    seen: HashMap<usize, LastSeen>,
}

impl Reader {
    async fn read(mut self) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // What is mounted in a pod, so to speak.
        let mut targets = HashMap::new();
        loop {
            period.tick().await;
            let asked = self.ledger.now();
            let shown = tokio::time::timeout(LIMIT, self.cluster.targets(self.namespace)).await;
            if let Ok(Ok(shown)) = shown {
                targets = shown.into_iter().map(|target| (target.name_any(), target)).collect();
            } else {
                self.ledger.broke(Scope::All, asked, self.ledger.now());
            }
            let namespace = self.namespace;
            for credential in (0..CREDENTIALS).filter(|it| namespace_of(*it) == namespace) {
                self.use_target(credential, targets.get(&name_of(credential)));
            }
        }
    }

    fn use_target(&mut self, credential: usize, target: Option<&Secret>) {
        let token = target.and_then(|target| {
            let value = target.data.as_ref()?.get("token")?;
            String::from_utf8(value.0.clone()).ok()
        });
        let at = self.ledger.now();
        let answer = token.map_or_else(|| Answer::Refused("no token".into()), |token| self.present(&token));
        let is_good = !matches!(answer, Answer::Refused(_));
        self.ledger.read(Read { credential, at, answer });
        if is_good && let Some(target) = target {
            self.note_renewal(credential, at, target);
        }
    }

    fn present(&self, token: &str) -> Answer {
        if !self.issuer.accepts(token) {
            return Answer::Refused(Fingerprint::of(token).to_string());
        }
        let end = now() + margin();
        let is_to_last = self.issuer.inspect(|issuer| issuer.check(token, end).is_ok());
        if is_to_last { Answer::Accepted } else { Answer::AboutToExpire }
    }

    fn note_renewal(&mut self, credential: usize, at: Duration, target: &Secret) {
        let Some(seen) = LastSeen::of(target) else { return };
        let before = self.seen.insert(credential, seen.clone());
        let Some(before) = before.filter(|before| before.fingerprint != seen.fingerprint) else { return };
        self.ledger.changed(credential, at);
        if seen.issued < before.issued {
            self.ledger.went_back(credential, at);
        }
        // A new password brings a token before its time.
        if let Ok(lateness) = Duration::try_from(now().duration_since(before.due)) {
            self.ledger.renewed(Renewal { credential, at, lateness });
        }
    }
}

/// What a target's annotations say of its token.
#[derive(Clone)]
struct LastSeen {
    fingerprint: String,
    issued: Timestamp,
    due: Timestamp,
}

impl LastSeen {
    fn of(target: &Secret) -> Option<Self> {
        let annotation = |name: &str| target.annotations().get(&format!("idissuer.pl/{name}"));
        Some(Self {
            fingerprint: annotation("fingerprint")?.clone(),
            issued: annotation("issued-time")?.parse().ok()?,
            due: annotation("renewal-time")?.parse().ok()?,
        })
    }
}
