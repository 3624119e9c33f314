//! The transport over HTTP.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Client;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, RETRY_AFTER};
use url::Url;
use zeroize::Zeroizing;

use super::clients::Clients;
use super::diagnosis::diagnose;
use super::encoding::GZIP;
use super::page::{first_byte, is_page};
use super::transport::{ANSWER_LIMIT, Answer, Request, Transport, TransportError};
use super::trust::Trust;
use crate::core::connection_failure::ConnectionFailure;
use crate::ops::clock::{Clock, SystemClock};

/// Only a proxy sends this status.
const PROXY_WANTS_LOGIN: u16 = 407;

/// Sends over connections that are kept while they serve.
pub struct HttpTransport {
    clients: Clients,
    /// The proxies of the environment, where they are used.
    proxies: Option<Matcher>,
}

impl HttpTransport {
    /// A transport. The proxy variables (`HTTPS_PROXY`, …) are used only on request: the proxy sees the destinations of
    /// passwords.
    #[must_use]
    pub fn new(use_environment_proxy: bool) -> Self {
        Self::on_clock(use_environment_proxy, Arc::new(SystemClock::start()))
    }

    /// The same, with another clock for the age of connections.
    #[must_use]
    pub fn on_clock(use_environment_proxy: bool, clock: Arc<dyn Clock>) -> Self {
        let proxies = use_environment_proxy.then(Matcher::from_env);
        Self { clients: Clients::new(use_environment_proxy, clock), proxies }
    }

    async fn exchange(&self, request: Request) -> Result<Answer, TransportError> {
        let (client, number) = self.clients.of(&request)?;
        let (origin, trust) = (request.url.origin(), request.trust.clone());
        let is_proxied = self.is_proxied(&request.url);
        let answer = send(&client, request, &trust, is_proxied).await;
        if let Err(error) = &answer {
            // The name may have moved, and the server that is left behind would be asked on and on.
            self.clients.retire(&origin, &trust, number);
            if error.connection_failure.is_certificate() {
                self.clients.reload_authorities(&trust);
            }
        }
        answer.map(|answer| Answer { connection: number, ..answer })
    }

    fn is_proxied(&self, url: &Url) -> bool {
        let uri = url.as_str().parse::<http::Uri>();
        let proxy = self.proxies.as_ref().zip(uri.ok());
        proxy.is_some_and(|(proxies, uri)| proxies.intercept(&uri).is_some())
    }
}

async fn send(
    client: &Client,
    request: Request,
    trust: &Trust,
    is_proxied: bool,
) -> Result<Answer, TransportError> {
    let failed = |error: reqwest::Error| diagnose(&error, trust, is_proxied);
    let is_plain = request.url.scheme() == "http";
    let response = client
        .post(request.url)
        .headers(request.headers)
        .header(CONTENT_TYPE, "application/json")
        .timeout(request.limit)
        // Sent from where it lies, and wiped once it was sent.
        .body(Bytes::from_owner(request.body))
        .send()
        .await
        .map_err(failed)?;
    let status = response.status().as_u16();
    if status == PROXY_WANTS_LOGIN && is_plain && is_proxied {
        return Err(TransportError::not_sent(ConnectionFailure::ProxyWantsLogin));
    }
    let headers = response.headers();
    let retry_after = text(headers, &RETRY_AFTER);
    let date = text(headers, &DATE);
    let content_encoding = text(headers, &CONTENT_ENCODING);
    let mut answer = Answer { status, retry_after, date, content_encoding, ..Answer::default() };
    match status {
        // With the headers, the issuer has answered: the lost body may contain a rejection.
        200 => match read(response).await {
            Ok(body) => answer.body = body,
            Err(error) => answer.broken = Some(failed(error).connection_failure),
        },
        400..=499 => answer.is_page = shows_page(response, answer.content_encoding.as_deref()).await,
        _ => {}
    }
    Ok(answer)
}

/// Whether a rejection is a web page. Only the beginning of its body is read, unless it is compressed, and nothing is
/// kept.
async fn shows_page(mut response: reqwest::Response, content_encoding: Option<&str>) -> bool {
    let content_type = text(response.headers(), &CONTENT_TYPE);
    let mut beginning = Vec::new();
    let is_enough = |beginning: &[u8]| {
        beginning.len() > ANSWER_LIMIT
            || content_encoding.is_none() && first_byte(beginning).is_some_and(|first| first != GZIP[0])
    };
    // A rejection whose body does not arrive is still a rejection.
    while !is_enough(&beginning)
        && let Ok(Some(chunk)) = response.chunk().await
    {
        beginning.extend_from_slice(&chunk);
    }
    is_page(content_type.as_deref(), content_encoding, &beginning)
}

impl Transport for HttpTransport {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(self.exchange(request))
    }

    fn retire(&self, url: &Url, trust: &Trust, connection: u64) {
        self.clients.retire(&url.origin(), trust, connection);
    }
}

/// Reads a body up to the limit, into a buffer that never grows and is wiped.
async fn read(mut response: reqwest::Response) -> reqwest::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_LIMIT));
    while let Some(chunk) = response.chunk().await? {
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
