//! The proxy as programs use it: the real sidecar between raw or ordinary clients and an upstream whose every answer a test
//! decides.

mod carrying;
mod expiry;
mod hostile;
mod load;
mod pages;
mod repeating;
mod second_version;
mod streaming;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{LIMIT, Sidecar};

/// An upstream that answers as a test says, and keeps the heads of all requests.
struct Recorder {
    address: SocketAddr,
    heads: Heads,
}

type Heads = Arc<Mutex<Vec<(String, http::HeaderMap)>>>;

impl Recorder {
    /// Every path is answered by this handler.
    async fn start(answer: fn(Request) -> futures::future::BoxFuture<'static, Response>) -> Self {
        let heads = Heads::default();
        let record = async move |State(heads): State<Heads>, request: Request| {
            let line = format!("{} {}", request.method(), request.uri());
            heads.lock().unwrap().push((line, request.headers().clone()));
            answer(request).await
        };
        let router = Router::new().fallback(record).with_state(Arc::clone(&heads));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { address, heads }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn lines(&self) -> Vec<String> {
        self.heads.lock().unwrap().iter().map(|(line, _)| line.clone()).collect()
    }
}

/// A sidecar that logs in and forwards to this upstream, with its address.
async fn forwarding(lifetime: Duration, upstream: &str) -> (Sidecar, SocketAddr) {
    let mut sidecar = Sidecar::prepare(lifetime).await;
    let upstream = if upstream.is_empty() { sidecar.issuer.url() } else { upstream.to_owned() };
    sidecar.add(&["--proxy-listen", "0", "--upstream", &upstream]);
    started(sidecar).await
}

/// The same, of a sidecar whose arguments are set.
async fn started(mut sidecar: Sidecar) -> (Sidecar, SocketAddr) {
    sidecar.start().await;
    let address = sidecar.logged_address("address").await;
    assert!(address.ip().is_loopback());
    sidecar.until_answered("/startup", 200).await;
    (sidecar, address)
}

/// The frames of a request's body, and the answer.
type Asked = (UnboundedSender<Frame<Bytes>>, JoinHandle<hyper::Result<http::Response<Incoming>>>);

/// Asks over HTTP/2 without TLS, as a program does with gRPC: frames of the body come one by one.
async fn ask_with_http_2(proxy: SocketAddr, target: &str) -> Asked {
    let stream = TcpStream::connect(proxy).await.unwrap();
    let (io, executor) = (TokioIo::new(stream), TokioExecutor::new());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let (send, receive) = unbounded();
    let body = StreamBody::new(receive.map(Ok::<_, std::io::Error>));
    let request = http::Request::post(format!("http://{proxy}{target}")).header("te", "trailers");
    let answering = tokio::spawn(sender.send_request(request.body(body).unwrap()));
    (send, answering)
}

async fn within_limit<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what).await.unwrap()
}

/// Sends these bytes, and returns all that comes back until the proxy closes the connection.
async fn exchange(proxy: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A connection that is reset has said all that it will.
    let _ = tokio::time::timeout(LIMIT, read).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
