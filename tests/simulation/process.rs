//! Replicas of the operator: machines that run one process after the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idissuer::account::KeyMaker;
use idissuer::controller::{Dependencies, LeaseSettings, Settings, TargetPolicy, operate};
use idissuer::core::lease::Timings;
use idissuer::issuer::Transport;
use idissuer::ops::liveness::Liveness;
use idissuer::ops::metrics::Metrics;
use idissuer::ops::readiness::Readiness;
use idissuer::traces::Tracer;
use idissuer_testbed::memory::MemoryApi;
use jiff::SignedDuration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::issuers::Issuers;
use crate::ledger::Ledger;
use crate::link::{Carrier, Link, Wire};
use crate::time::{Machine, ProcessClock, TrueTime};

pub(crate) const LEASE_NAMESPACE: &str = "operator";

/// Stretched, so that days stay cheap; in the proportions of the default.
pub(crate) fn stretched() -> Timings {
    Timings {
        duration: SignedDuration::from_secs(150),
        renew_deadline: SignedDuration::from_secs(100),
        retry_period: SignedDuration::from_secs(20),
    }
}

/// The wires of all processes there ever were, by name.
#[derive(Clone, Default)]
pub(crate) struct Links(Arc<Mutex<Wires>>);

#[derive(Default)]
struct Wires {
    by_name: BTreeMap<String, Arc<Link>>,
    newest: Option<Arc<Link>>,
}

impl Links {
    pub(crate) fn get(&self, process: &str) -> Option<Arc<Link>> {
        self.0.lock().unwrap().by_name.get(process).cloned()
    }

    /// Of the process that was started last.
    pub(crate) fn newest(&self) -> Option<Arc<Link>> {
        self.0.lock().unwrap().newest.clone()
    }

    fn add(&self, process: &str, link: &Arc<Link>) {
        let mut wires = self.0.lock().unwrap();
        wires.by_name.insert(process.to_owned(), Arc::clone(link));
        wires.newest = Some(Arc::clone(link));
    }
}

/// Puts something between processes and the wire of their calls.
pub(crate) type Carry = Arc<dyn Fn(Carrier) -> Arc<dyn Transport>>;

pub(crate) struct Environment {
    pub(crate) time: TrueTime,
    pub(crate) api: MemoryApi,
    pub(crate) issuers: Arc<Issuers>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) links: Links,
    /// The lease that replicas share, if there is to be one.
    pub(crate) lease: Option<Timings>,
    pub(crate) seed: u64,
    /// The namespaces that processes work in, each in an area of its own; none: in all.
    pub(crate) namespaces: Vec<String>,
    /// How many credentials of each namespace are worked on.
    pub(crate) max_credentials_per_namespace: usize,
    pub(crate) target_policy: TargetPolicy,
    /// What stands between processes and the wire of their calls, if anything does.
    pub(crate) carry: Option<Carry>,
}

pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) link: Arc<Link>,
    pub(crate) metrics: Arc<Metrics>,
    readiness: Readiness,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// A machine, and the process that runs on it.
pub(crate) struct Replica {
    name: &'static str,
    /// Where its lease lies: replicas that share one are one controller.
    lease_namespace: &'static str,
    pub(crate) machine: Machine,
    starts: u64,
    pub(crate) process: Option<Process>,
}

impl Replica {
    pub(crate) fn new(name: &'static str) -> Self {
        Self::of_another(name, LEASE_NAMESPACE)
    }

    /// One of another controller over the same namespaces.
    pub(crate) fn of_another(name: &'static str, lease_namespace: &'static str) -> Self {
        Self { name, lease_namespace, machine: Machine::default(), starts: 0, process: None }
    }

    /// Starts a process; one that still runs is stopped before.
    pub(crate) fn start(&mut self, environment: &Environment) {
        self.stop();
        self.starts += 1;
        let name = format!("{}-{}", self.name, self.starts);
        let link = Arc::new(Link::new(&name, &environment.issuers, &environment.ledger, &environment.time));
        environment.links.add(&name, &link);
        let seed =
            name.bytes().fold(environment.seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let clock = ProcessClock::start(environment.time.clone(), self.machine.clone(), seed);
        let metrics = Arc::new(Metrics::new());
        let means = Dependencies {
            client: environment.api.client(&name),
            transport: match &environment.carry {
                None => Arc::new(Carrier(Arc::clone(&link))),
                Some(carry) => carry(Carrier(Arc::clone(&link))),
            },
            clock: Arc::new(clock),
            metrics: Arc::clone(&metrics),
            liveness: Liveness::default(),
            keys: KeyMaker::new([seed.to_le_bytes(); 8].concat().try_into().unwrap()),
            tracer: Tracer::default(),
        };
        // Without a lease, this identifies a controller.
        let port = self.name.bytes().fold(1024, |port, byte| port + u16::from(byte));
        let settings = Settings {
            admin_address: ([127, 0, 0, 1], port).into(),
            ..settings(environment, self.lease_namespace, &name)
        };
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let (gates, token) = (readiness.clone(), stop.clone());
        let task = tokio::spawn(async move {
            operate(&settings, means, &gates, token).await;
        });
        self.process = Some(Process { name, link, metrics, readiness, stop, task });
    }

    /// Begins to stop the process, as SIGTERM does.
    pub(crate) fn stop(&mut self) -> Option<JoinHandle<()>> {
        let process = self.process.take()?;
        process.link.stops();
        process.stop.cancel();
        Some(process.task)
    }

    /// Ends the process at once: its tasks reach nothing any more.
    pub(crate) fn crash(&mut self, api: &MemoryApi) {
        if let Some(process) = self.process.take() {
            process.link.set(Wire::Dead);
            api.silence_watches(&process.name, true);
            process.stop.cancel();
        }
    }

    pub(crate) fn stall(&self, duration: Duration) {
        if let Some(process) = &self.process {
            process.link.set(Wire::Stalled(Instant::now() + duration));
        }
    }
}

/// When a world ends while its runtime goes on, so does its process.
impl Drop for Replica {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

impl Process {
    pub(crate) fn is_ready(&self) -> bool {
        self.readiness.closed().is_empty()
    }
}

fn settings(environment: &Environment, lease_namespace: &str, name: &str) -> Settings {
    Settings {
        namespaces: environment.namespaces.clone(),
        namespace_selectors: true,
        target_policy: environment.target_policy.clone(),
        max_credentials_per_namespace: environment.max_credentials_per_namespace,
        lease: environment.lease.map(|timings| LeaseSettings {
            namespace: lease_namespace.into(),
            name: "idissuer-operator".into(),
            identity: name.to_owned(),
            timings,
        }),
        ..Settings::new(environment.issuers.allow_list(), ([127, 0, 0, 1], 0).into())
    }
}
