//! Starts and stops the operator.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use kube::api::ListParams;
use kube::runtime::events::Reporter;
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::api_call::{CallError, call};
use super::api_server::{ApiServer, FIELD_MANAGER};
use super::context::Context;
use super::events::{self, EventPublisher, PendingEvent, Recorder};
use super::handover;
use super::large_reads::LargeReads;
use super::leader_election::LeaderElection;
use super::operator_state::StateSource;
use super::peer_watch::PeerWatch;
use super::permissions::Permissions;
use super::registry::Registry;
use super::settings::{Settings, host};
use super::sharing::index::SharingIndex;
use super::sharing::namespaces::watch_namespaces;
use super::waker::{self, Waker};
use super::watch_metrics::WatchMetrics;
use super::watchdog::Watchdog;
use super::watches;
use super::write_limits::NamespaceWrites;
use crate::account::call_limiters::CallLimiters;
use crate::account::{Accounts, KeyMaker, Member};
use crate::api::IdIssuerCredential;
use crate::core::call_limiter::Capacity;
use crate::issuer::{Bundles, HttpTransport, IssuerClient, Transport};
use crate::ops::admin::{self, Pages};
use crate::ops::clock::{Clock, SystemClock};
use crate::ops::liveness::Liveness;
use crate::ops::metrics::Metrics;
use crate::ops::readiness::Readiness;
use crate::traces::{self, Tracer};

/// How often to check whether the API server serves our resource yet.
const CRD_POLL: Duration = Duration::from_secs(2);
/// How long one such question may take at first, and how long where the API server takes long.
const CRD_LIMIT: Duration = Duration::from_secs(10);
const LONGEST_CRD_LIMIT: Duration = Duration::from_secs(60);
/// How long the admin endpoints may take to end.
const ADMIN_STOP_LIMIT: Duration = Duration::from_millis(250);
/// How long the operator may take to stop; a pod has 30 s by default.
pub const STOP_LIMIT: Duration = Duration::from_millis(4500);
/// How much of it is reserved to release the lease, if work does not finish before.
const RELEASE_LIMIT: Duration = Duration::from_millis(300);

/// Why the operator could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The admin address is not available.
    #[error("listen on {address}: {source}; choose another --admin-addr")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No secret for account keys could be generated.
    #[error("generate a random secret: the system's random number generator failed")]
    Random,
}

/// The external dependencies of the operator. A simulation brings its own.
pub struct Dependencies {
    /// The API server.
    pub client: Client,
    /// Carries requests to issuers.
    pub transport: Arc<dyn Transport>,
    /// Clocks and random numbers.
    pub clock: Arc<dyn Clock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What `/livez` shows.
    pub liveness: Liveness,
    /// Names accounts; new for each process.
    pub keys: KeyMaker,
    /// Traces renewals.
    pub tracer: Tracer,
}

/// Runs the operator with real clocks, HTTP and admin endpoints, until `stop` is cancelled.
///
/// # Errors
/// When it cannot start. Once it runs, it survives all faults.
pub async fn run(settings: Settings, client: Client, stop: CancellationToken) -> Result<(), RunError> {
    let keys = KeyMaker::random().ok_or(RunError::Random)?;
    let (scope, lease) = (settings.scope(), settings.lease_name());
    let readiness = Readiness::of([("namespaces", scope.clone()), ("lease", lease.clone())]);
    let metrics = Arc::new(Metrics::new());
    metrics.set_scope(&scope, &lease);
    if !settings.credential_metrics {
        metrics.show_totals_only();
    }
    let address = settings.admin_address;
    // The admin endpoints outlive the work, so that probes succeed while it drains.
    let admin_stop = CancellationToken::new();
    let liveness = Liveness::default();
    let pages =
        Pages { readiness: readiness.clone(), liveness: liveness.clone(), metrics: Arc::clone(&metrics) };
    let (address, admin) = admin::serve(address, pages, admin_stop.clone())
        .await
        .map_err(|source| RunError::Admin { address, source })?;
    let admin = tokio::spawn(admin);
    log_start(&settings, address);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let (tracer, exporting) = traces::start(settings.traces.clone(), &clock);
    let dependencies = Dependencies {
        client,
        transport: Arc::new(HttpTransport::new(settings.use_environment_proxy)),
        clock,
        metrics,
        liveness,
        keys,
        tracer,
    };
    operate(&settings, dependencies, &readiness, stop).await;
    exporting.stop().await;
    admin_stop.cancel();
    // A client that does not read must not delay the exit.
    let _ = tokio::time::timeout(ADMIN_STOP_LIMIT, admin).await;
    tracing::info!("stopped");
    Ok(())
}

/// Does the operator's work by these means until `stop` is cancelled, through any trouble.
pub async fn operate(
    settings: &Settings,
    dependencies: Dependencies,
    readiness: &Readiness,
    stop: CancellationToken,
) {
    let (clock, metrics) = (Arc::clone(&dependencies.clock), Arc::clone(&dependencies.metrics));
    let client = Permissions::watch_client(dependencies.client, readiness, clock, metrics);
    let dependencies = Dependencies { client, ..dependencies };
    let crd_gate = readiness.gate("crd", "the API server to serve idissuercredentials.idissuer.pl");
    let watch_gate = readiness.gate("watches", "the first lists of credentials and Secrets");
    tokio::select! {
        () = crd_is_served(&dependencies.client, settings.namespaces.first().map(String::as_str)) => {
            tracing::info!("the API server serves idissuercredentials.idissuer.pl");
            crd_gate.open();
        }
        () = stop.cancelled() => return,
    }
    let client = dependencies.client.clone();
    let operator = Operator::new(settings, dependencies, stop.clone());
    let leader_election = Arc::clone(&operator.leader_election);
    let work_limit = STOP_LIMIT.saturating_sub(RELEASE_LIMIT);
    let is_done = tokio::select! {
        () = operator.work(watch_gate) => true,
        () = async { stop.cancelled().await; tokio::time::sleep(work_limit).await } => false,
    };
    if !is_done {
        tracing::warn!("stopped before all work finished");
        if tokio::time::timeout(RELEASE_LIMIT, leader_election.give_up(client)).await.is_err() {
            tracing::warn!("release the lease: timed out; the next leader waits until it expires");
        }
    }
}

fn log_start(settings: &Settings, admin: SocketAddr) {
    let allowed: Vec<String> = settings.allow_list.entries().map(|entry| entry.to_string()).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespaces = settings.scope(),
        lease = settings.lease_name(),
        issuer = %settings.allow_list.default_issuer(),
        allowed_issuers = allowed.join(","),
        targets = %settings.target_policy,
        %admin,
        "idissuer controller starts"
    );
}

/// Waits until the resource is served where we work: the CRD may be installed after us.
async fn crd_is_served(client: &Client, namespace: Option<&str>) {
    let api: Api<IdIssuerCredential> = watches::api(client, namespace);
    let one = ListParams::default().limit(1);
    let (mut logged_cause, mut limit) = ("", CRD_LIMIT);
    loop {
        // Any other error means that the resource exists; the watches report it repeatedly.
        let asked = call(limit, api.list_metadata(&one)).await;
        limit = if matches!(asked, Err(CallError::TimedOut(_))) { LONGEST_CRD_LIMIT } else { CRD_LIMIT };
        let cause = match asked {
            Err(CallError::Refused { code: 404, .. }) => {
                "the CRD is not installed; apply the manifest in crds/"
            }
            Ok(_) | Err(CallError::Refused { .. }) => return,
            Err(_) => "the API server cannot be reached, or does not answer",
        };
        if logged_cause != cause {
            tracing::warn!("wait for idissuercredentials.idissuer.pl: {cause}");
            logged_cause = cause;
        }
        tokio::time::sleep(CRD_POLL).await;
    }
}

/// The parts that work together.
struct Operator {
    client: Client,
    accounts: Arc<Accounts>,
    ended: tokio::sync::mpsc::UnboundedReceiver<Member>,
    recorder: Recorder,
    events: tokio::sync::mpsc::Receiver<PendingEvent>,
    leader_election: Arc<LeaderElection>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    liveness: Liveness,
    areas: Vec<(Option<String>, Arc<Context>)>,
    watching: watcher::Config,
    stop: CancellationToken,
}

impl Operator {
    fn new(settings: &Settings, dependencies: Dependencies, stop: CancellationToken) -> Self {
        let Dependencies { client, transport, clock, metrics, liveness, keys, tracer } = dependencies;
        let allow_list = Arc::new(settings.allow_list.clone());
        let issuer = IssuerClient::new(transport, Arc::clone(&allow_list), Arc::clone(&clock));
        let (ended_sender, ended) = tokio::sync::mpsc::unbounded_channel();
        let leader_election = Arc::new(LeaderElection::new(settings.lease.clone(), Arc::clone(&clock)));
        let leads = Arc::clone(&leader_election);
        let accounts = Arc::new(Accounts::new(
            issuer,
            Arc::clone(&clock),
            Arc::clone(&metrics),
            keys,
            ended_sender.clone(),
            move || leads.term().is_some(),
            stop.clone(),
        ));
        let reconcile_limiter = Arc::new(CallLimiters::new(Capacity::of(settings.concurrency)));
        // Identifies the replica, and the controller.
        let instance = Some(host()).filter(|host| !host.is_empty());
        let reporter = Reporter { controller: FIELD_MANAGER.into(), instance };
        let recorder = Recorder::new(client.clone(), reporter);
        let (publisher, events) = EventPublisher::new(Arc::clone(&clock), Arc::clone(&metrics));
        let (publisher, peers) = (Arc::new(publisher), Arc::new(PeerWatch::new(settings.controller_name())));
        let namespaces: Vec<Option<String>> = if settings.namespaces.is_empty() {
            vec![None]
        } else {
            settings.namespaces.iter().cloned().map(Some).collect()
        };
        let limit = settings.max_credentials_per_namespace;
        let sharing = Arc::new(SharingIndex::new(ended_sender, settings.namespace_selectors));
        let register = |it: &Option<String>| Registry::new(it.clone(), limit, Arc::clone(&sharing));
        let registries: Arc<[Arc<Registry>]> = namespaces.iter().map(|it| Arc::new(register(it))).collect();
        let (bundles, large_reads) = (Arc::new(Bundles::default()), Arc::new(LargeReads::default()));
        let writes = Arc::new(NamespaceWrites::default());
        let context = |registry: &Arc<Registry>| {
            Arc::new(Context {
                api_server: ApiServer::new(client.clone()),
                accounts: Arc::clone(&accounts),
                allow_list: Arc::clone(&allow_list),
                bundles: Arc::clone(&bundles),
                large_reads: Arc::clone(&large_reads),
                writes: Arc::clone(&writes),
                reads_namespace_labels: settings.namespace_selectors,
                target_policy: settings.target_policy.clone(),
                registry: Arc::clone(registry),
                registries: Arc::clone(&registries),
                publisher: Arc::clone(&publisher),
                clock: Arc::clone(&clock),
                leader_election: Arc::clone(&leader_election),
                stop: stop.clone(),
                peers: Arc::clone(&peers),
                metrics: Arc::clone(&metrics),
                tracer: tracer.clone(),
                reconcile_limiter: Arc::clone(&reconcile_limiter),
            })
        };
        let areas = namespaces.into_iter().zip(registries.iter().map(context)).collect();
        let watching = watcher::Config::default().timeout(settings.watch_timeout_seconds);
        Self {
            client,
            accounts,
            ended,
            recorder,
            events,
            leader_election,
            clock,
            metrics,
            liveness,
            areas,
            watching,
            stop,
        }
    }

    /// Works until stopped. Then current reconciliations finish, calls are drained and pending Events are flushed.
    async fn work(self, watch_gate: crate::ops::readiness::ReadinessGate) {
        let mut wakers: Vec<(Arc<Registry>, Waker)> = Vec::new();
        let mut reconciling = Vec::new();
        let mut watching = Vec::new();
        let areas = self.areas;
        for (namespace, context) in &areas {
            let (waker, woken) = tokio::sync::mpsc::unbounded_channel();
            let registry = Arc::clone(&context.registry);
            wakers.push((Arc::clone(&registry), waker.clone()));
            reconciling.push(watches::reconcile_all(
                self.client.clone(),
                namespace.clone(),
                Arc::clone(context),
                woken,
                self.watching.clone(),
                self.stop.clone(),
            ));
            watching.push(tokio::spawn(watches::watch_secrets(
                self.client.clone(),
                namespace.clone(),
                (registry, WatchMetrics::of(context)),
                waker,
                self.watching.clone(),
                self.stop.clone(),
            )));
        }
        let labels = (self.client.clone(), self.watching.clone(), self.stop.clone());
        watching
            .extend(areas.first().map(|(_, context)| watch_namespaces(context, labels)).map(tokio::spawn));
        let registries: Vec<Arc<Registry>> =
            wakers.iter().map(|(registry, _)| Arc::clone(registry)).collect();
        tokio::spawn(async move {
            join_all(registries.iter().map(|registry| registry.secrets.synced())).await;
            tracing::info!("ready: the first lists of credentials and Secrets are complete");
            watch_gate.open();
        });
        tokio::spawn(waker::forward_ended_calls(self.ended, wakers.clone()));
        let metrics = Arc::clone(&self.metrics);
        StateSource::new(&self.accounts, &self.leader_election, &wakers, &self.clock).show_in(&metrics);
        let leader_election = Arc::clone(&self.leader_election);
        let watchdog = Watchdog { clock: self.clock, metrics: self.metrics, liveness: self.liveness };
        let leads = move || leader_election.term().is_some();
        tokio::spawn(watchdog.watch(wakers.clone(), leads, self.stop.clone()));
        let done = CancellationToken::new();
        let (has_gained, gains) = watch::channel(());
        let (api_server, leads) = (ApiServer::new(self.client.clone()), Arc::clone(&self.leader_election));
        tokio::spawn(handover::take_over(api_server, leads, wakers.clone(), gains, self.stop.clone()));
        let gained = || has_gained.send_modify(|()| ());
        let forget = || {
            self.accounts.forget_all();
            metrics.forget_credentials();
        };
        let leading =
            self.leader_election.hold(self.client.clone(), forget, gained, self.stop.clone(), done.clone());
        let working = async {
            let credentials = join_all(reconciling).await;
            self.accounts.drain().await;
            let finishing = credentials.into_iter().zip(&areas);
            join_all(finishing.map(|(credentials, (_, context))| watches::finish_all(credentials, context)))
                .await;
            done.cancel();
            // When the last sender is gone, there are no more Events.
            drop(areas);
        };
        futures::join!(leading, working, events::publish_all(self.recorder, self.events));
        join_all(watching).await;
    }
}
