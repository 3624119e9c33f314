//! Shared by the tests: a client of one origin, a login, and a server whose every byte a test decides.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idissuer::account::Tenant;
use idissuer::core::account::TokenResponse;
use idissuer::core::endpoint::{AllowList, Endpoint, Origin, RefreshShape};
use idissuer::core::reason::Reason;
use idissuer::core::retry::{RetryClass, Sent};
use idissuer::core::username_password::LoginPair;
use idissuer::issuer::{CaBundle, Exchange, HttpTransport, IssuerAddress, IssuerClient, IssuerError, Trust};
use idissuer::ops::clock::SystemClock;
use idissuer_simulator::{Config, Personality, Server, Simulator};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub(crate) const USER: &str = "demo@idissuer.pl";
pub(crate) const PASSWORD: &str = "demo";

/// A limit that is not reached unless something is broken.
pub(crate) const AMPLE: Duration = Duration::from_secs(10);
/// A limit that a test waits for.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

pub(crate) const TRANSIENT_NOT_SENT: RetryClass = RetryClass::Transient { sent: Sent::No, retry_after: None };
pub(crate) const TRANSIENT_MAYBE_SENT: RetryClass =
    RetryClass::Transient { sent: Sent::Maybe, retry_after: None };

/// A good answer to a login or a refresh.
pub(crate) const GOOD_BODY: &str =
    r#"{"access_token":{"token_type":"bearer","token":"abc","expires_in":3600},"refresh_token":"def"}"#;

/// What people read of a failed login with the Secret `billing-login`.
pub(crate) fn reason_of(error: &IssuerError, origin: &Origin) -> Reason {
    Reason::of_call(&error.failure(false), "billing-login", origin)
}

/// One issuer as a caller sees it: its client, where it is, and who logs in.
#[derive(Clone)]
pub(crate) struct Caller {
    client: IssuerClient,
    address: IssuerAddress,
    pair: LoginPair,
    limit: Duration,
}

impl Caller {
    pub(crate) fn of(url: &str) -> Self {
        Self::over(HttpTransport::new(false), url)
    }

    pub(crate) fn over(transport: HttpTransport, url: &str) -> Self {
        let origin = Origin::parse(url).unwrap();
        let allowed = Arc::new(AllowList::new(origin.clone(), Vec::new()));
        Self {
            client: IssuerClient::new(Arc::new(transport), allowed, Arc::new(SystemClock::start())),
            address: make_address(origin, None, None, RefreshShape::Flat),
            pair: make_pair(USER, PASSWORD),
            limit: AMPLE,
        }
    }

    pub(crate) fn paths(mut self, token: &str, refresh: &str, shape: RefreshShape) -> Self {
        self.address = make_address(self.address.endpoint.origin, Some(token), Some(refresh), shape);
        self
    }

    pub(crate) fn pair(self, username: &str, password: &str) -> Self {
        Self { pair: make_pair(username, password), ..self }
    }

    pub(crate) fn trusting(mut self, ca_pem: &str) -> Self {
        self.address.trust = Trust::Bundle(CaBundle::parse(ca_pem.as_bytes()).unwrap());
        self
    }

    pub(crate) fn public_roots(mut self) -> Self {
        self.address.trust = Trust::PublicRoots;
        self
    }

    /// The same client, sent elsewhere.
    pub(crate) fn at(mut self, url: &str) -> Self {
        self.address = make_address(Origin::parse(url).unwrap(), None, None, RefreshShape::Flat);
        self
    }

    pub(crate) fn origin(&self) -> Origin {
        self.address.endpoint.origin.clone()
    }

    pub(crate) fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    pub(crate) async fn login_exchange(&self) -> Exchange {
        self.client.login(&self.address, &self.pair, self.limit).await
    }

    pub(crate) async fn login(&self) -> Result<TokenResponse, IssuerError> {
        self.login_exchange().await.result
    }

    pub(crate) async fn login_error(&self) -> IssuerError {
        self.login().await.err().unwrap()
    }

    /// What people read of a login that fails.
    pub(crate) async fn login_reason(&self) -> Reason {
        reason_of(&self.login_error().await, &self.origin())
    }

    pub(crate) async fn refresh(&self, pair: &TokenResponse) -> Result<TokenResponse, IssuerError> {
        let refresh = pair.refresh.as_ref().unwrap();
        self.client.refresh(&self.address, &pair.token, refresh, self.limit).await.result
    }
}

pub(crate) fn make_address(
    origin: Origin,
    token: Option<&str>,
    refresh: Option<&str>,
    refresh_shape: RefreshShape,
) -> IssuerAddress {
    let endpoint = Endpoint::new(origin, token, refresh, refresh_shape).unwrap();
    IssuerAddress { endpoint, trust: Trust::PublicRoots }
}

pub(crate) fn tenant() -> Tenant {
    "shop".into()
}

pub(crate) fn make_pair(username: &str, password: &str) -> LoginPair {
    LoginPair::parse(("username", Some(username.as_bytes())), ("password", Some(password.as_bytes())))
        .unwrap()
}

pub(crate) async fn start_simulator(change: impl FnOnce(&mut Personality)) -> Server {
    Simulator::start(Config::default().personality(change)).await.unwrap()
}

/// A server on a free port that does with each connection what the test says.
pub(crate) struct RawServer {
    pub(crate) address: std::net::SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Requests,
    accepting: JoinHandle<()>,
}

/// The requests that arrived, whole, over all connections.
#[derive(Clone, Default)]
pub(crate) struct Requests(Arc<Mutex<Vec<String>>>);

impl Requests {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Reads the next request of a connection; none at its end.
    pub(crate) async fn read(&self, stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
        let mut received = Vec::new();
        loop {
            if let Some(length) = length_of_request(&received)
                && received.len() >= length
            {
                let request = String::from_utf8_lossy(&received).into_owned();
                self.0.lock().unwrap().push(request.clone());
                return Some(request);
            }
            if stream.read_buf(&mut received).await.ok()? == 0 {
                return None;
            }
        }
    }
}

/// Head and body together, once the head is there.
fn length_of_request(received: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(received);
    let head = text.find("\r\n\r\n")?;
    let length = text[..head]
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned));
    Some(head + 4 + length.map_or(0, |length| length.trim().parse().unwrap()))
}

impl RawServer {
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream, Requests) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Requests::default());
        let (count, log) = (Arc::clone(&connections), requests.clone());
        let accepting = tokio::spawn(async move {
            let mut serving = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                serving.spawn(serve(stream, log.clone()));
            }
        });
        Self { address, connections, requests, accepting }
    }

    /// Answers every request on every connection with these bytes, and leaves the connection open.
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::answering_each(move |_| answer.clone()).await
    }

    /// Answers every request with what this makes of it, and leaves the connection open.
    pub(crate) async fn answering_each(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::start(move |mut stream, requests| {
            let answer = Arc::clone(&answer);
            async move {
                while let Some(request) = requests.read(&mut stream).await {
                    if stream.write_all(&answer(&request)).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn https_url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.all()
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

pub(crate) fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

pub(crate) fn good_answer() -> String {
    http("200 OK", "content-type: application/json\r\n", GOOD_BODY)
}

/// Takes in what comes until the other side closes.
pub(crate) async fn drain(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let mut sink = vec![0; 4096];
    while stream.read(&mut sink).await.is_ok_and(|length| length > 0) {}
}

/// Fails unless it came to an end within `limit` and a margin for a busy machine.
pub(crate) async fn within<T: Debug>(limit: Duration, what: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit + Duration::from_secs(3), what).await.unwrap()
}
