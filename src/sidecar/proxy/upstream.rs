//! The one server that the proxy forwards to.

use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

use super::Body;
use super::refusal::Refusal;
use crate::core::endpoint::Origin;
use crate::issuer::{Trust, is_tls_failure};

/// How long a connection, with its TLS, may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection without requests is kept. Many servers close theirs after a minute.
const POOL_IDLE_LIMIT: Duration = Duration::from_secs(50);
/// Between probes that find out whether the other end is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

type Connector = TimeoutConnector<HttpsConnector<HttpConnector>>;

/// The upstream, with connections that are kept.
pub struct Upstream {
    origin: Origin,
    scheme: Scheme,
    authority: Authority,
    client: Client<Connector, Body>,
    /// For requests that go on in another protocol: HTTP/2 knows no such thing.
    upgrading: Client<Connector, Body>,
}

/// Why there can be no upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamDefect {
    /// The address is none that HTTP can use.
    #[error("no address of a server")]
    Address,
    /// TLS cannot be set up.
    #[error("set up TLS: {0}")]
    Tls(#[source] rustls::Error),
}

impl Upstream {
    /// At this address, with a certificate that these vouch for.
    ///
    /// # Errors
    /// [`UpstreamDefect`].
    pub fn new(origin: Origin, trust: &Trust) -> Result<Self, UpstreamDefect> {
        let parts = origin.to_string().parse::<Uri>().map(Uri::into_parts).ok();
        let Some((Some(scheme), Some(authority))) = parts.map(|parts| (parts.scheme, parts.authority)) else {
            return Err(UpstreamDefect::Address);
        };
        let tls = tls(trust).map_err(UpstreamDefect::Tls)?;
        let (client, upgrading) = (client(tls.clone(), Versions::All), client(tls, Versions::Upgradable));
        Ok(Self { origin, scheme, authority, client, upgrading })
    }

    /// Its scheme.
    pub(super) fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Its host and port.
    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Its address, for people.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Sends a request, and waits for the head of the answer. Nothing is sent twice, unless it certainly was not sent; and
    /// nothing at all if there is no connection `within` this time.
    ///
    /// One that is taken from the pool in the very moment in which the upstream closes it is replaced by another, and how
    /// long that one takes is not looked at.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
        is_upgrade: bool,
        within: Option<Duration>,
    ) -> Result<Response<Incoming>, Refusal> {
        let client = if is_upgrade { &self.upgrading } else { &self.client };
        let connection = capture_connection(&mut request);
        let mut answer = std::pin::pin!(client.request(request));
        if let Some(within) = within {
            tokio::select! {
                biased;
                answer = &mut answer => return answer.map_err(|error| classify(&error)),
                () = tokio::time::sleep(within) => {}
            }
            if connection.connection_metadata().is_none() {
                return Err(Refusal::ConnectedTooLate);
            }
        }
        answer.await.map_err(|error| classify(&error))
    }

    /// Whether it answers, and what time it says it is; the request holds no token.
    ///
    /// # Errors
    /// For people: what is wrong, and the cure.
    pub(in crate::sidecar) async fn probe(&self) -> Result<Option<String>, String> {
        use http_body_util::BodyExt as _;
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        let uri = uri.path_and_query("/").build().map_err(|error| error.to_string())?;
        let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::head(uri).body(body).map_err(|error| error.to_string())?;
        let answer = self.send(request, false, None).await.map_err(|refusal| refusal.message())?;
        // An answer out of a cache has the date of when it was put there.
        let is_of_now = !answer.headers().contains_key(http::header::AGE);
        let date = answer.headers().get(http::header::DATE).filter(|_| is_of_now);
        Ok(date.and_then(|date| date.to_str().ok()).map(str::to_owned))
    }
}

fn tls(trust: &Trust) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder();
    Ok(match trust {
        Trust::PublicRoots => builder.try_with_platform_verifier()?.with_no_client_auth(),
        Trust::Bundle(bundle) => builder.with_root_certificates(bundle.roots()).with_no_client_auth(),
    })
}

/// What a client speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Versions {
    /// HTTP/2 where the server offers it, else HTTP/1.1.
    All,
    /// HTTP/1.1, which can go on in another protocol.
    Upgradable,
}

fn client(tls: ClientConfig, versions: Versions) -> Client<Connector, Body> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEP_ALIVE));
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let connector = match versions {
        Versions::All => builder.enable_all_versions().wrap_connector(tcp),
        Versions::Upgradable => builder.enable_http1().wrap_connector(tcp),
    };
    let mut connector = TimeoutConnector::new(connector);
    connector.set_connect_timeout(Some(CONNECT_LIMIT));
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_LIMIT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .build(connector)
}

fn classify(error: &ClientError) -> Refusal {
    if !error.is_connect() {
        Refusal::UpstreamBroken
    } else if is_tls_failure(error) {
        Refusal::UpstreamTls
    } else {
        Refusal::UpstreamUnreachable
    }
}
