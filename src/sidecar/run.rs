//! Bringing the sidecar up, and taking it down.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::callers::Callers;
use super::endpoints::{Health, serve, serve_quit};
use super::hooks::{Hook, HookRunner, Programs};
use super::output_dir::OutputDir;
use super::proxy::{self, Proxy, ProxySettings};
use super::publisher::{Published, Publisher};
use super::record_file::RecordFile;
use super::source::{
    Directory, LoginFiles, LoginParts, LoginSource, SecretKeys, SecretName, SecretSource, TokenReceiver,
    TokenSender, channel,
};
use crate::account::{Accounts, KeyMaker};
use crate::core::account::Strategy;
use crate::core::endpoint::{AllowList, Endpoint};
use crate::core::sidecar::files::{Files, TOKEN, TOKEN_JSON};
use crate::core::sidecar::token::{HeldToken, TokenFields};
use crate::issuer::{HttpTransport, IssuerClient, Transport};
use crate::ops::clock::{Clock, SystemClock};
use crate::ops::listener;
use crate::ops::metrics::{Metrics, SidecarMetrics};
use crate::traces::{self, Tracer};

/// How long a stop may take after the shutdown delay: a login in progress is aborted before that.
const STOP_LIMIT: Duration = Duration::from_millis(4500);
/// How long a sidecar with a proxy may take to stop while requests are in progress: well within the 30 seconds that a pod
/// has by default.
const PROXY_STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long the endpoints may take to end.
const ENDPOINTS_STOP_LIMIT: Duration = Duration::from_millis(250);

/// What the sidecar is started with.
pub struct Settings {
    /// Where tokens come from.
    pub source: SourceSettings,
    /// Where they go, if there are to be files.
    pub output: Option<Output>,
    /// Where requests are forwarded with the token in them, if they are to be.
    pub proxy: Option<ProxySettings>,
    /// How to notify the program.
    pub hooks: Vec<Hook>,
    /// How long that may take each time.
    pub hook_limit: Duration,
    /// Where the endpoints for probes listen.
    pub admin_address: SocketAddr,
    /// The port of the loopback address at which the program can end the sidecar.
    pub quit_port: Option<u16>,
    /// Ends after the first token.
    pub once: bool,
    /// How much longer it works after a stop request, as the program beside it may do.
    pub shutdown_delay: Duration,
    /// Whether the proxy of the environment is used for calls to the issuer.
    pub use_environment_proxy: bool,
    /// Where traces go, if they are on.
    pub traces: Option<traces::Settings>,
}

/// The files.
#[derive(Clone)]
pub struct Output {
    /// The directory.
    pub output_dir: OutputDir,
    /// What is written into it.
    pub files: Files,
}

/// Where tokens come from.
#[derive(Clone)]
pub enum SourceSettings {
    /// Its own login.
    Login {
        /// User name and password.
        files: LoginFiles,
        /// Where the issuer is called.
        endpoint: Box<Endpoint>,
        /// The issuer's CA certificates, if they are private.
        ca_file: Option<PathBuf>,
        /// How new tokens are obtained.
        strategy: Strategy,
    },
    /// A directory that another writer fills.
    Directory {
        /// The directory.
        path: PathBuf,
        /// The names of its files.
        keys: SecretKeys,
    },
    /// A Secret at the API server.
    Secret {
        /// The name of the Secret.
        name: SecretName,
        /// Its keys.
        keys: SecretKeys,
        /// The API server.
        client: Client,
    },
}

impl SourceSettings {
    /// For people.
    fn describe(&self) -> String {
        match self {
            Self::Login { files, endpoint, .. } => {
                format!("login at {} with {}", endpoint.origin, files.directory.display())
            }
            Self::Directory { path, .. } => format!("directory {}", path.display()),
            Self::Secret { name, .. } => format!("Secret {name}"),
        }
    }
}

/// Why the sidecar could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address is not available.
    #[error("listen on {address}: {source}; choose another {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No secret for account keys could be generated.
    #[error("generate a random secret: the system's random number generator failed")]
    Random,
    /// Stopped before the first token, with `--once`.
    #[error("stopped before there was a token, which --once waits for")]
    Unfinished,
}

/// Runs the sidecar until it is stopped, by `signalled` or by the program beside it, or has done its work.
///
/// # Errors
/// When it cannot start. Once it runs, it survives all faults.
pub async fn run(settings: Settings, signalled: CancellationToken) -> Result<(), RunError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let (all_metrics, metrics) = Metrics::of_sidecar();
    let all_metrics = Arc::new(all_metrics);
    let transport: Arc<dyn Transport> = Arc::new(HttpTransport::new(settings.use_environment_proxy));
    let (tracer, exporting) = traces::start(settings.traces.clone(), &clock);
    let stop = CancellationToken::new();

    let held = settings.output.as_ref().and_then(|output| load(&output.output_dir, &*clock));
    let (sender, receiver) = channel(held, matches!(settings.source, SourceSettings::Login { .. }));
    let means = Shared { clock, transport, metrics, all_metrics, tracer };
    let source = means.source(&settings, sender, stop.clone())?;
    let (publishing, published) = means.publishing(settings.output.clone(), &receiver);
    let proxying = means.proxying(settings.proxy.clone(), &receiver, stop.clone()).await?;
    let Shared { clock, metrics, all_metrics, .. } = means.clone();
    let health = Health::new(receiver, published.clone(), clock, metrics, all_metrics);

    let endpoints_stop = CancellationToken::new();
    let mut endpoints = listen(&settings, health.clone(), &stop, &endpoints_stop).await?;
    let mut hooks = means.hooks(&settings, published.as_ref());
    let working = async { tokio::join!(source, publishing, proxying) };
    tokio::select! {
        _ = working => {}
        () = end(&settings, &health, signalled, stop) => tracing::warn!("stopped before all work finished"),
    }
    exporting.stop().await;
    endpoints_stop.cancel();
    // A client that does not read must not delay the exit.
    let ending = async {
        hooks.shutdown().await;
        while endpoints.join_next().await.is_some() {}
    };
    let _ = tokio::time::timeout(ENDPOINTS_STOP_LIMIT, ending).await;
    tracing::info!("stopped");
    if settings.once && !health.has_started() { Err(RunError::Unfinished) } else { Ok(()) }
}

/// How long the sidecar takes at most to stop.
#[must_use]
pub fn stop_limit(has_proxy: bool, shutdown_delay: Duration) -> Duration {
    let limit = if has_proxy { PROXY_STOP_LIMIT } else { STOP_LIMIT };
    shutdown_delay + limit + ENDPOINTS_STOP_LIMIT
}

/// Waits for a stop request, and cancels `stop`; then waits for as long as the work may take to finish.
async fn end(settings: &Settings, health: &Health, signalled: CancellationToken, stop: CancellationToken) {
    let is_done = async {
        if settings.once {
            health.started().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let is_told = async {
        signalled.cancelled().await;
        tokio::time::sleep(settings.shutdown_delay).await;
    };
    tokio::select! {
        () = is_done => {}
        () = is_told => {}
        () = stop.cancelled() => {}
    }
    stop.cancel();
    let limit = if settings.proxy.is_some() { PROXY_STOP_LIMIT } else { STOP_LIMIT };
    tokio::time::sleep(limit).await;
}

/// Opens the endpoints, and logs their addresses.
async fn listen(
    settings: &Settings,
    health: Health,
    stop: &CancellationToken,
    endpoints_stop: &CancellationToken,
) -> Result<JoinSet<()>, RunError> {
    let error = |address, flag| move |source| RunError::Listen { address, flag, source };
    let mut endpoints = JoinSet::new();
    let address = settings.admin_address;
    let (admin, serving) =
        serve(address, health, endpoints_stop.clone()).await.map_err(error(address, "--admin-addr"))?;
    endpoints.spawn(serving);
    let mut quit = None;
    if let Some(port) = settings.quit_port {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let (address, serving) =
            serve_quit(port, stop.clone()).await.map_err(error(address, "--quit-port"))?;
        quit = Some(address);
        endpoints.spawn(serving);
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        source = settings.source.describe(),
        output = settings.output.as_ref().map(|output| output.output_dir.path().display().to_string()),
        quit = quit.map(|address| address.to_string()),
        %admin,
        "idissuer sidecar starts"
    );
    Ok(endpoints)
}

/// The token that an earlier process published, if it is still valid: it costs no login.
fn load(output_dir: &OutputDir, clock: &dyn Clock) -> Option<HeldToken> {
    let now = clock.now();
    let read = |name| {
        let content = output_dir.read(name);
        content.inspect_err(|error| tracing::warn!("{error}")).ok().flatten()
    };
    let (token, json) = (read(TOKEN)?, read(TOKEN_JSON)?);
    let found = TokenFields { token: Some(&token), json: Some(&json), ..TokenFields::default() };
    HeldToken::found(found, now).ok().filter(|held| !held.is_expired(now))
}

/// What the parts share.
#[derive(Clone)]
struct Shared {
    clock: Arc<dyn Clock>,
    transport: Arc<dyn Transport>,
    metrics: SidecarMetrics,
    all_metrics: Arc<Metrics>,
    tracer: Tracer,
}

impl Shared {
    /// The work of the source, until `stop` is cancelled.
    fn source(
        &self,
        settings: &Settings,
        sender: TokenSender,
        stop: CancellationToken,
    ) -> Result<futures::future::BoxFuture<'static, ()>, RunError> {
        let clock = Arc::clone(&self.clock);
        Ok(match settings.source.clone() {
            SourceSettings::Directory { path, keys } => {
                Box::pin(Directory::new(path, keys, clock, sender).run(stop))
            }
            SourceSettings::Secret { name, keys, client } => {
                Box::pin(SecretSource::new(name, keys, client, clock, sender).run(stop))
            }
            SourceSettings::Login { files, endpoint, ca_file, strategy } => {
                let allow_list = Arc::new(AllowList::new(endpoint.origin.clone(), Vec::new()));
                let issuer = IssuerClient::new(Arc::clone(&self.transport), allow_list, Arc::clone(&clock));
                let (tell, ended) = tokio::sync::mpsc::unbounded_channel();
                let keys = KeyMaker::random().ok_or(RunError::Random)?;
                let (time, metrics) = (Arc::clone(&clock), Arc::clone(&self.all_metrics));
                let accounts = Accounts::new(issuer, time, metrics, keys, tell, || true, stop.clone());
                let record = RecordFile::of(settings.output.as_ref().map(|output| output.output_dir.path()));
                let parts = LoginParts {
                    files,
                    endpoint: *endpoint,
                    ca_file,
                    strategy,
                    accounts,
                    ended,
                    record,
                    clock,
                    tracer: self.tracer.clone(),
                };
                Box::pin(LoginSource::new(parts, sender).run(stop))
            }
        })
    }

    /// The task that publishes files, if any, and its notifications.
    fn publishing(
        &self,
        output: Option<Output>,
        receiver: &TokenReceiver,
    ) -> (futures::future::BoxFuture<'static, ()>, Option<watch::Receiver<Published>>) {
        let Some(Output { output_dir, files }) = output else {
            return (Box::pin(std::future::ready(())), None);
        };
        let (told, published) = watch::channel(Published::default());
        let (clock, metrics) = (Arc::clone(&self.clock), self.metrics.clone());
        let tracer = self.tracer.clone();
        let work = Publisher { output_dir, files, clock, metrics, tracer, published: told };
        (Box::pin(work.run(receiver.clone())), Some(published))
    }

    /// The work of the proxy, if there is to be one, until `stop` is cancelled and all requests are answered.
    async fn proxying(
        &self,
        settings: Option<ProxySettings>,
        receiver: &TokenReceiver,
        stop: CancellationToken,
    ) -> Result<futures::future::BoxFuture<'static, ()>, RunError> {
        let Some(ProxySettings { address, upstream, allowed_hosts }) = settings else {
            return Ok(Box::pin(std::future::ready(())));
        };
        let error = |source| RunError::Listen { address, flag: "--proxy-listen", source };
        let listener = listener::bind(address).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        let is_local = address.ip().is_loopback();
        tracing::info!(%address, upstream = %upstream.origin(), "proxy listening");
        if !is_local {
            tracing::warn!(%address, "everyone who reaches this address uses the token; listen on 127.0.0.1 unless this is intended");
        }
        let (clock, metrics) = (Arc::clone(&self.clock), self.metrics.clone());
        let callers = Callers::new(is_local, allowed_hosts);
        let proxy = Proxy::new(upstream, receiver.clone(), clock, metrics, callers);
        Ok(Box::pin(proxy::serve(listener, proxy, stop)))
    }

    /// The task that notifies the program of publications, and reaps the processes that it leaves behind.
    fn hooks(&self, settings: &Settings, published: Option<&watch::Receiver<Published>>) -> JoinSet<()> {
        let (mut tasks, programs) = (JoinSet::new(), Programs::default());
        tasks.spawn(programs.clone().reap_orphans());
        for (hook, published) in
            published.into_iter().flat_map(|it| settings.hooks.iter().zip(std::iter::repeat(it)))
        {
            let runner = HookRunner {
                hook: hook.clone(),
                limit: settings.hook_limit,
                // Without the proxy variables: the program is local, and a proxy would see the secret in its address.
                transport: Arc::new(HttpTransport::new(false)),
                programs: programs.clone(),
                clock: Arc::clone(&self.clock),
                metrics: self.metrics.clone(),
            };
            tasks.spawn(runner.run(published.clone()));
        }
        tasks
    }
}
