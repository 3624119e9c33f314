//! Connections to the API server: how a dead connection is detected and replaced.
//!
//! *Watches*, and the lists before them, share an HTTP/2 connection, as in kubectl and all Go controllers: after 30
//! seconds of silence the server is pinged, and 15 seconds later the connection counts as dead. This works through
//! proxies, where TCP keepalives end at the next hop. *Calls* have their own HTTP/1.1 connections. A call that timed
//! out or failed may have met a dead connection; then other pooled connections may be dead too, and the next call
//! reconnects.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::Body;
use tower::{BoxError, Service};

/// How many idle connections are kept, and for how long. A burst of calls opens a hundred, and each takes 50 KiB.
const MOST_IDLE: usize = 16;
const LONGEST_IDLE: Duration = Duration::from_secs(15);

/// What connects to the API server.
pub(super) trait Connector: Connect + Clone + Send + Sync + 'static {}

impl<C: Connect + Clone + Send + Sync + 'static> Connector for C {}

/// How a connection of HTTP/2 is known to be alive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pings {
    /// After how long without a frame the server is pinged.
    pub(super) after: Duration,
    /// How long it may take to answer.
    pub(super) limit: Duration,
}

impl Default for Pings {
    /// As client-go has them.
    fn default() -> Self {
        Self { after: Duration::from_secs(30), limit: Duration::from_secs(15) }
    }
}

/// Sends requests to the API server.
pub(super) struct Connections<C> {
    watches: Arc<Pool<C>>,
    calls: Arc<Pool<C>>,
}

impl<C: Connector> Connections<C> {
    /// By a connector that may agree on HTTP/2, for watches, and one that does not, for calls.
    pub(super) fn new(watches: C, calls: C, pings: Pings) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new());
        builder.pool_idle_timeout(LONGEST_IDLE).pool_max_idle_per_host(MOST_IDLE);
        let calls = Arc::new(Pool::new(builder.clone(), calls));
        builder.http2_keep_alive_interval(pings.after).http2_keep_alive_timeout(pings.limit);
        // hyper counts a connection as idle once the pool has let it go, although a watch still goes over it.
        builder.http2_keep_alive_while_idle(true);
        Self { watches: Arc::new(Pool::new(builder, watches)), calls }
    }
}

impl<C> Clone for Connections<C> {
    fn clone(&self) -> Self {
        Self { watches: Arc::clone(&self.watches), calls: Arc::clone(&self.calls) }
    }
}

impl<C: Connector> Service<Request<Body>> for Connections<C> {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let pool = if is_watch(&request) { &self.watches } else { &self.calls };
        let exchange = Exchange { pool: Arc::clone(pool), is_answered: false };
        Box::pin(exchange.send_request(request))
    }
}

/// A watch, or a list before a watch: neither has its own timeout. Kube marks each request.
fn is_watch(request: &Request<Body>) -> bool {
    let operation = request.extensions().get::<&'static str>();
    operation.is_some_and(|operation| operation.starts_with("watch") || operation.starts_with("list"))
}

/// Connections that are used again and again.
struct Pool<C> {
    builder: Builder,
    connector: C,
    client: Mutex<Client<C, Body>>,
}

impl<C: Connector> Pool<C> {
    fn new(builder: Builder, connector: C) -> Self {
        let client = Mutex::new(builder.build(connector.clone()));
        Self { builder, connector, client }
    }

    fn client(&self) -> Client<C, Body> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// New calls use new connections; calls in progress finish on the old ones.
    fn reconnect(&self) {
        let fresh = self.builder.build(self.connector.clone());
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
    }
}

/// A request on its way to its answer.
struct Exchange<C: Connector> {
    pool: Arc<Pool<C>>,
    is_answered: bool,
}

impl<C: Connector> Exchange<C> {
    async fn send_request(mut self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let answer = self.pool.client().request(request).await?;
        self.is_answered = true;
        Ok(answer)
    }
}

impl<C: Connector> Drop for Exchange<C> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.pool.reconnect();
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::client::legacy::connect::HttpConnector;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tower::ServiceExt as _;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// Answers so many requests, and then is silent.
    async fn serve(mut stream: TcpStream, mut answers: usize) {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
            if answers == 0 {
                return std::future::pending().await;
            }
            answers -= 1;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    }

    async fn ask(connections: &Connections<HttpConnector>, address: &str, limit: Duration) -> bool {
        let request = Request::get(format!("http://{address}/")).body(Body::empty()).unwrap();
        let asked = connections.clone().oneshot(request);
        tokio::time::timeout(limit, asked).await.is_ok_and(|answer| answer.is_ok())
    }

    #[tokio::test]
    async fn after_a_call_was_hung_up_on_no_connection_of_before_is_used() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            // Two connections that break after their first response, as with a firewall that dropped its state.
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, if connection < 2 { 1 } else { usize::MAX }));
            }
        });
        let connector = HttpConnector::new();
        let connections = Connections::new(connector.clone(), connector, Pings::default());
        let both = futures::join!(ask(&connections, &address, LIMIT), ask(&connections, &address, LIMIT));
        assert_eq!(both, (true, true));
        assert!(!ask(&connections, &address, Duration::from_millis(50)).await, "it has died");
        assert!(ask(&connections, &address, LIMIT).await, "the other one is not tried");
    }

    #[tokio::test]
    async fn watches_and_lists_differ_from_calls() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let service = tower::service_fn(move |request: Request<Body>| {
            seen.lock().unwrap().push(is_watch(&request));
            std::future::ready(Err::<Response<Body>, _>(std::io::Error::other("nothing is served")))
        });
        let api: kube::Api<k8s_openapi::api::core::v1::Secret> =
            kube::Api::default_namespaced(kube::Client::new(service, "default"));
        assert!(api.list(&kube::api::ListParams::default()).await.is_err());
        assert!(api.list_metadata(&kube::api::ListParams::default()).await.is_err());
        assert!(api.watch(&kube::api::WatchParams::default(), "0").await.is_err());
        assert!(api.watch_metadata(&kube::api::WatchParams::default(), "0").await.is_err());
        assert!(api.get("billing").await.is_err());
        assert!(api.get_metadata("billing").await.is_err());
        assert_eq!(*asked.lock().unwrap(), [true, true, true, true, false, false]);
    }
}
