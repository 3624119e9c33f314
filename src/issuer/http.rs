//! The transport over HTTP.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{Certificate, Client, redirect};
use zeroize::Zeroizing;

use super::transport::{ANSWER_LIMIT, Answer, Request, Transport, TransportError, is_page};
use super::trust::{Trust, is_tls_failure};

/// The longest time that a connection may take to come about.
const LONGEST_CONNECT: Duration = Duration::from_secs(5);
/// Clients kept at once. Origins are few, as the allow-list names them; CA bundles come from users, so they are bounded.
const CLIENTS_LIMIT: usize = 256;

/// One HTTP client per origin and trust, so that connections are reused and never shared across trusts.
pub struct HttpTransport {
    clients: Mutex<HashMap<ClientKey, Client>>,
    use_environment_proxy: bool,
}

/// By origin, trust and connect limit; of the last there are five.
type ClientKey = (url::Origin, Trust, Duration);

impl HttpTransport {
    /// A transport. The proxy of the environment (`HTTPS_PROXY` and its kin) is used only on request: it would see
    /// where passwords go.
    #[must_use]
    pub fn new(use_environment_proxy: bool) -> Self {
        Self { clients: Mutex::default(), use_environment_proxy }
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<ClientKey, Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self, key: &ClientKey, request: &Request) -> Result<Client, TransportError> {
        let mut clients = self.clients();
        if let Some(client) = clients.get(key) {
            return Ok(client.clone());
        }
        let client = self.build(request).map_err(|_| TransportError::Tls)?;
        if clients.len() >= CLIENTS_LIMIT {
            clients.clear();
        }
        clients.insert(key.clone(), client.clone());
        Ok(client)
    }

    fn build(&self, request: &Request) -> reqwest::Result<Client> {
        let mut builder = Client::builder()
            .user_agent(concat!("idissuer/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .https_only(request.url.scheme() == "https")
            .connect_timeout(connect_limit(request.limit));
        if !self.use_environment_proxy {
            builder = builder.no_proxy();
        }
        if let Trust::Bundle(bundle) = &request.trust {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(bundle.pem())?);
        }
        builder.build()
    }

    async fn exchange(&self, request: Request) -> Result<Answer, TransportError> {
        let key = (request.url.origin(), request.trust.clone(), connect_limit(request.limit));
        let client = self.client(&key, &request)?;
        let answer = send(&client, request).await;
        if matches!(answer, Err(TransportError::TimedOut)) {
            // Perhaps a firewall forgot the connection. One of HTTP/2 would be used on and on, and each call time out.
            self.clients().remove(&key);
        }
        answer
    }
}

async fn send(client: &Client, request: Request) -> Result<Answer, TransportError> {
    let response = client
        .post(request.url)
        .header(CONTENT_TYPE, "application/json")
        .timeout(request.limit)
        // Sent from where it lies, and wiped once it was sent.
        .body(Bytes::from_owner(request.body))
        .send()
        .await
        .map_err(|error| classify(&error))?;
    let status = response.status().as_u16();
    let retry_after = text(response.headers(), &RETRY_AFTER);
    let date = text(response.headers(), &DATE);
    let (body, is_page) = match status {
        200 => (read(response).await?, false),
        400..=499 => (None, shows_page(response).await),
        _ => (None, false),
    };
    Ok(Answer { status, retry_after, date, body, is_page })
}

/// Whether a refusal is an HTML page. Of its body no more is looked at than how it begins, and nothing is kept.
async fn shows_page(mut response: reqwest::Response) -> bool {
    let content_type = text(response.headers(), &CONTENT_TYPE);
    let is_json = content_type.as_deref().is_some_and(|kind| kind.contains("json"));
    if is_json || is_page(content_type.as_deref(), b"") {
        return !is_json;
    }
    // One whose body does not come has said no all the same.
    let beginning = response.chunk().await.ok().flatten();
    is_page(content_type.as_deref(), beginning.as_deref().unwrap_or_default())
}

impl Transport for HttpTransport {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(self.exchange(request))
    }
}

/// Half of the call's limit, in whole seconds: a connection that does not come about ends before the call does, and
/// is told from a request whose answer is late. The refresh token in it stays good.
fn connect_limit(call_limit: Duration) -> Duration {
    Duration::from_secs(call_limit.as_secs() / 2).clamp(Duration::from_secs(1), LONGEST_CONNECT)
}

/// Reads a body up to the limit, into a buffer that never grows and is wiped.
async fn read(mut response: reqwest::Response) -> Result<Option<Zeroizing<Vec<u8>>>, TransportError> {
    let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_LIMIT));
    while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error))? {
        if body.len() + chunk.len() > ANSWER_LIMIT {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Whether the request was certainly not sent. What is not certain may have been carried out.
fn classify(error: &reqwest::Error) -> TransportError {
    if error.is_connect() && is_tls_failure(error) {
        TransportError::Tls
    } else if error.is_connect() || error.is_builder() {
        TransportError::Unreachable
    } else if error.is_timeout() {
        TransportError::TimedOut
    } else {
        TransportError::Broken
    }
}
