//! The client of the API server, as every command of this program has it.
//!
//! ```text
//! kubeconfig or pod ── configuration ── proxy ── connections ── kube::Client
//! ```

mod configuration;
mod connections;
mod kubeconfig;
pub(super) mod proxy;
mod reload;

use std::time::Duration;

use configuration::ApiServerAddress;
use connections::{Connections, Pings};
use http::Uri;
use hyper::rt::{Read, Write};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Intercept;
use kube::Config;
use kube::client::retry::RetryPolicy;
use kube::client::{AuthError, ConfigExt as _};
pub(super) use kubeconfig::KubeconfigChoice;
use tower::retry::RetryLayer;
use tower::util::option_layer;
use tower::{BoxError, Layer as _, Service};

use crate::plugin::{Failure, FailureKind};

/// How much longer than a watch a connection may be silent that cannot be pinged.
const SILENCE_BEYOND_WATCH: Duration = Duration::from_secs(5);
/// After this silence, the kernel probes the other machine, and closes the connection as soon as pings would.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// The client for the API server of the kubeconfig, or else of the pod. No watch is longer than `longest_watch`:
/// without pings, which need HTTP/2, a dead connection is detected then. Changed configuration files are reloaded.
///
/// # Errors
/// When there is no cluster, or its configuration cannot be used; with the cure.
pub(super) async fn client(longest_watch: Duration) -> Result<kube::Client, String> {
    let find = move || async move {
        make(KubeconfigChoice::default(), longest_watch).await.map_err(|failure| failure.message)
    };
    let client = find().await?;
    Ok(reload::following(client, find))
}

/// The client for the API server of a kubeconfig that the command line chooses, for a command that soon ends.
///
/// # Errors
/// See [`client`].
pub(super) async fn client_of(choice: KubeconfigChoice, silence: Duration) -> Result<kube::Client, Failure> {
    make(choice, silence).await
}

/// The client for the current configuration.
async fn make(choice: KubeconfigChoice, longest_watch: Duration) -> Result<kube::Client, Failure> {
    let ApiServerAddress { mut config, proxy } = configuration::find(&choice).await?;
    config.read_timeout = Some(longest_watch + SILENCE_BEYOND_WATCH);
    let mut direct = HttpConnector::new();
    direct.enforce_http(false);
    direct.set_nodelay(true);
    direct.set_keepalive(Some(KEEPALIVE));
    direct.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    direct.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    direct.set_tcp_user_timeout(Some(KEEPALIVE));
    let client = match proxy {
        None => assemble(&config, direct),
        Some(proxy) if proxy.uri().scheme_str() == Some("https") => secured(&config, direct, Versions::Http1)
            .and_then(|secured| assemble(&config, tunnel(&proxy, secured))),
        Some(proxy) => assemble(&config, tunnel(&proxy, direct)),
    };
    client.map_err(|error| unusable(&error, &config.cluster_url))
}

/// The output of a command that logs in may hold a token, so it is not repeated.
fn unusable(error: &kube::Error, server: &Uri) -> Failure {
    let (kind, message) = match error {
        kube::Error::Auth(AuthError::ReadTokenFile(error, path)) => (
            FailureKind::Forbidden,
            format!("the token file {} of the kubeconfig cannot be read: {error}", path.display()),
        ),
        kube::Error::Auth(_) => (
            FailureKind::Forbidden,
            format!("the kubeconfig's user cannot log in to {server}; `kubectl auth whoami` shows why"),
        ),
        error => (FailureKind::Failed, format!("use the configuration of the cluster at {server}: {error}")),
    };
    Failure { kind, message }
}

fn tunnel<C>(proxy: &Intercept, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.uri().clone(), connector);
    match proxy.basic_auth() {
        Some(login) => tunnel.with_auth(login.clone()),
        None => tunnel,
    }
}

/// What kube builds of a configuration, but for the connections.
fn assemble<C>(config: &Config, connector: C) -> kube::Result<kube::Client>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError> + Send + Sync,
    TimeoutConnector<HttpsConnector<C>>: connections::Connector,
{
    let watches = limited(config, secured(config, connector.clone(), Versions::All)?);
    let calls = limited(config, secured(config, connector, Versions::Http1)?);
    let service = Connections::new(watches, calls, Pings::default());
    let service = config.extra_headers_layer()?.layer(service);
    let service = option_layer(config.auth_layer()?).layer(service);
    let retries = config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry()));
    let service = config.base_uri_layer().layer(option_layer(retries).layer(service));
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}

/// The limits of the configuration for connecting, reading and writing.
fn limited<C>(config: &Config, connector: HttpsConnector<C>) -> TimeoutConnector<HttpsConnector<C>>
where
    C: Send,
    HttpsConnector<C>:
        Service<Uri, Response: Read + Write + Send + Unpin, Future: Send + 'static, Error: Into<BoxError>>,
{
    let mut connector = TimeoutConnector::new(connector);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    // The silence of a connection before a call says nothing about the call.
    connector.set_reset_reader_on_write(true);
    connector
}

/// The versions of HTTP that TLS may agree on.
#[derive(Clone, Copy)]
enum Versions {
    Http1,
    All,
}

/// TLS by the configuration, where the address wants it.
fn secured<C>(config: &Config, connector: C, versions: Versions) -> kube::Result<HttpsConnector<C>> {
    let builder =
        HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_or_http();
    let name = config.tls_server_name.clone().and_then(|name| name.try_into().ok());
    let builder = match name {
        Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name)),
        None => builder,
    };
    Ok(match versions {
        Versions::Http1 => builder.enable_http1().wrap_connector(connector),
        Versions::All => builder.enable_all_versions().wrap_connector(connector),
    })
}
