//! The one server that the proxy forwards to.

use std::error::Error;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, capture_connection};
use hyper_util::client::legacy::{Client, Error as ClientError, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::SignedDuration;
use rustls::ClientConfig;

use super::refusal::Refusal;
use super::{BUFFER, Body};
use crate::core::connection_failure::ConnectionFailure;
use crate::core::endpoint::Origin;
use crate::core::time::Moment;
use crate::issuer::{Trust, connect_failure};
use crate::ops::clock::Clock;

/// The time limit for connecting to the upstream, including TLS.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection without requests is kept. Many servers close theirs after a minute.
const POOL_IDLE_LIMIT: Duration = Duration::from_secs(50);
/// Between probes that find out whether the other end is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How long a connection to the upstream carries new requests: its name may point to another server meanwhile.
const LONGEST_USE: SignedDuration = SignedDuration::from_secs(300);
/// How long a connection is used at least, even if requests fail: a failing upstream does not cause a new connection
/// per request.
const SHORTEST_USE: SignedDuration = SignedDuration::from_secs(1);
/// The most header fields of an answer of the upstream.
const FIELDS: usize = 1000;
/// The most bytes of them with HTTP/2.
const FIELDS_SIZE: u32 = 64 * 1024;
/// What a stream of HTTP/2 brings before it is read: 5 MB a second from an upstream that is 50 ms away.
const WINDOW: u32 = 256 * 1024;
/// What all streams of a connection of HTTP/2 bring before it is read. All requests may share one, and those that nobody
/// reads must not hold up the others.
const WINDOW_OF_ALL: u32 = 128 * WINDOW;

type Connector = TimeoutConnector<HttpsConnector<HttpConnector>>;

/// The upstream, with connections that are kept for a while.
pub struct Upstream {
    origin: Origin,
    scheme: Scheme,
    authority: Authority,
    tls: ClientConfig,
    trust: Trust,
    clock: Arc<dyn Clock>,
    clients: RwLock<Arc<Clients>>,
}

/// Connections that new requests take. When others replace them, they end with the requests on them.
struct Clients {
    /// By the monotonic clock.
    since: SignedDuration,
    all: Client<Connector, Body>,
    /// For requests with an upgrade, which HTTP/2 does not support.
    upgrading: Client<Connector, Body>,
}

/// Why there was no answer.
pub(super) struct Failure {
    /// The response for the program.
    pub(super) refusal: Refusal,
    execution: Execution,
}

/// What the upstream has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Execution {
    /// It certainly did not carry the request out, and would perhaps if it were sent again.
    No,
    /// Unknown: it closed the connection.
    Unknown,
    /// To send it again is of no use.
    Hopeless,
}

impl Failure {
    fn permanent(refusal: Refusal) -> Self {
        Self { refusal, execution: Execution::Hopeless }
    }

    /// Whether the request may be repeated. `is_safe` says that it changes nothing.
    pub(super) fn is_retryable(&self, is_safe: bool) -> bool {
        self.execution == Execution::No || (is_safe && self.execution == Execution::Unknown)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::permanent(refusal)
    }
}

/// Why an upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The address is not valid for HTTP.
    #[error("not a server address")]
    Address,
    /// TLS cannot be set up.
    #[error("set up TLS: {0}")]
    Tls(#[source] rustls::Error),
}

impl Upstream {
    /// At this address, with a certificate that these vouch for.
    ///
    /// # Errors
    /// [`UpstreamError`].
    pub fn new(origin: Origin, trust: &Trust, clock: Arc<dyn Clock>) -> Result<Self, UpstreamError> {
        let parts = origin.to_string().parse::<Uri>().map(Uri::into_parts).ok();
        let Some((Some(scheme), Some(authority))) = parts.map(|parts| (parts.scheme, parts.authority)) else {
            return Err(UpstreamError::Address);
        };
        let tls = tls(trust).map_err(UpstreamError::Tls)?;
        let clients = RwLock::new(Arc::new(Clients::new(&tls, clock.now())));
        Ok(Self { origin, scheme, authority, tls, trust: trust.clone(), clock, clients })
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

    /// Sends a request, and waits for the response headers. A request is repeated only if it certainly was not sent;
    /// and nothing is sent if there is no connection `within` this time.
    ///
    /// One that is taken from the pool in the very moment in which the upstream closes it is replaced by another, and how
    /// long that one takes is not looked at.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
        is_upgrade: bool,
        within: Option<Duration>,
    ) -> Result<Response<Incoming>, Failure> {
        let clients = self.clients();
        let client = if is_upgrade { &clients.upgrading } else { &clients.all };
        let connection = capture_connection(&mut request);
        let outcome = exchange(client.request(request), &connection, &self.trust, within).await;
        let is_good = outcome.as_ref().is_ok_and(|answer| {
            !answer.status().is_server_error() && answer.status() != StatusCode::MISDIRECTED_REQUEST
        });
        if !is_good {
            // Perhaps the upstream's name has moved, and this is a server that is no longer it.
            connection.connection_metadata().as_ref().inspect(|connection| connection.poison());
            if self.age(&clients) >= SHORTEST_USE {
                self.replace(&clients);
            }
        }
        outcome
    }

    fn clients(&self) -> Arc<Clients> {
        let clients = Arc::clone(&self.clients.read().unwrap_or_else(PoisonError::into_inner));
        if self.age(&clients) < LONGEST_USE { clients } else { self.replace(&clients) }
    }

    fn age(&self, clients: &Clients) -> SignedDuration {
        self.clock.now().monotonic.saturating_sub(clients.since)
    }

    /// Makes new requests resolve the name and reconnect, unless that already happened.
    fn replace(&self, old: &Arc<Clients>) -> Arc<Clients> {
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&clients, old) {
            *clients = Arc::new(Clients::new(&self.tls, self.clock.now()));
        }
        Arc::clone(&clients)
    }

    /// Whether it answers, and its time; the request contains no token.
    ///
    /// # Errors
    /// For people: what is wrong, and the cure.
    pub(in crate::sidecar) async fn probe(&self) -> Result<Option<String>, String> {
        use http_body_util::BodyExt as _;
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        let uri = uri.path_and_query("/").build().map_err(|error| error.to_string())?;
        let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::head(uri).body(body).map_err(|error| error.to_string())?;
        let answer = self.send(request, false, None).await.map_err(|failure| failure.refusal.message())?;
        // An answer out of a cache has the date of when it was put there.
        let is_of_now = !answer.headers().contains_key(http::header::AGE);
        let date = answer.headers().get(http::header::DATE).filter(|_| is_of_now);
        Ok(date.and_then(|date| date.to_str().ok()).map(str::to_owned))
    }
}

impl Clients {
    fn new(tls: &ClientConfig, now: Moment) -> Self {
        let (all, upgrading) = (client(tls, Versions::All), client(tls, Versions::Upgradable));
        Self { since: now.monotonic, all, upgrading }
    }
}

/// Waits for an answer, if there is a connection `within` this time.
async fn exchange(
    answer: ResponseFuture,
    connection: &CaptureConnection,
    trust: &Trust,
    within: Option<Duration>,
) -> Result<Response<Incoming>, Failure> {
    let mut answer = std::pin::pin!(answer);
    if let Some(within) = within {
        tokio::select! {
            biased;
            answer = &mut answer => return answer.map_err(|error| classify(&error, trust)),
            () = tokio::time::sleep(within) => {}
        }
        if connection.connection_metadata().is_none() {
            return Err(Refusal::ConnectedTooLate.into());
        }
    }
    answer.await.map_err(|error| classify(&error, trust))
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
    /// HTTP/1.1, which supports upgrades.
    Upgradable,
}

fn client(tls: &ClientConfig, versions: Versions) -> Client<Connector, Body> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEP_ALIVE));
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http();
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
        .http1_max_headers(FIELDS)
        .http1_max_buf_size(BUFFER)
        .http2_max_header_list_size(FIELDS_SIZE)
        .http2_initial_stream_window_size(WINDOW)
        .http2_initial_connection_window_size(WINDOW_OF_ALL)
        .http2_max_send_buf_size(BUFFER)
        .build(connector)
}

fn classify(error: &ClientError, trust: &Trust) -> Failure {
    if error.is_connect() {
        return Failure::permanent(match connect_failure(error, trust) {
            ConnectionFailure::TooManyOpenFiles => Refusal::Descriptors,
            connection_failure if connection_failure.is_tls() => Refusal::UpstreamTls(connection_failure),
            connection_failure => Refusal::UpstreamUnreachable(connection_failure),
        });
    }
    if causes(error).any(|cause| cause.downcast_ref().is_some_and(hyper::Error::is_parse)) {
        return Failure::permanent(Refusal::UpstreamMalformed);
    }
    Failure { refusal: Refusal::UpstreamBroken, execution: execution(error) }
}

/// What the upstream has done that did not answer.
fn execution(error: &ClientError) -> Execution {
    let is_refusal = |error: &h2::Error| {
        // Only streams above the last processed one see a GOAWAY (RFC 9113 §6.8).
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    };
    if causes(error).any(|cause| cause.downcast_ref().is_some_and(is_refusal))
        || causes(error).any(|cause| cause.downcast_ref().is_some_and(hyper::Error::is_canceled))
    {
        Execution::No
    } else if causes(error).any(is_closing) {
        Execution::Unknown
    } else {
        Execution::Hopeless
    }
}

/// Whether the other end closed the connection.
fn is_closing(cause: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    let kinds = [BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof];
    cause.downcast_ref().is_some_and(hyper::Error::is_incomplete_message)
        || cause.downcast_ref().is_some_and(|error: &io::Error| kinds.contains(&error.kind()))
        || cause.downcast_ref().and_then(h2::Error::get_io).is_some_and(|error| kinds.contains(&error.kind()))
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::{BodyExt as _, Empty};
    use jiff::Timestamp;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::core::backoff::RandomFraction;

    /// The runtime's clock, which passes only when everyone waits.
    struct RuntimeClock(Instant);

    impl Clock for RuntimeClock {
        fn now(&self) -> Moment {
            let monotonic = SignedDuration::try_from(self.0.elapsed()).unwrap();
            Moment { wall: Timestamp::UNIX_EPOCH + monotonic, monotonic }
        }

        fn random_fraction(&self) -> RandomFraction {
            RandomFraction::new(0.5)
        }
    }

    /// A server that keeps connections, with their number.
    async fn server() -> (Upstream, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let number = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&number);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut bytes = vec![0; 4096];
                    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                    }
                });
            }
        });
        let (origin, clock) = (Origin::parse(&origin).unwrap(), Arc::new(RuntimeClock(Instant::now())));
        (Upstream::new(origin, &Trust::PublicRoots, clock).unwrap(), number)
    }

    async fn ask(upstream: &Upstream) {
        let uri = format!("{}/", upstream.origin());
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let answer = upstream.send(Request::get(uri).body(body).unwrap(), false, None).await;
        assert_eq!(answer.map_err(|failure| failure.refusal).unwrap().status(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_carries_new_requests_for_five_minutes_and_no_longer() {
        let (upstream, connections) = server().await;
        let begin = Instant::now();
        while begin.elapsed() < 3 * LONGEST_USE.unsigned_abs() {
            ask(&upstream).await;
            tokio::time::sleep(POOL_IDLE_LIMIT / 2).await;
        }
        assert_eq!(connections.load(Ordering::SeqCst), 3);
    }
}
