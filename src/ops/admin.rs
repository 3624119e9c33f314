//! The admin endpoints: liveness, readiness, metrics.

mod scrapes;

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio_util::sync::CancellationToken;

use super::connections::{Connections, Limits};
use super::listener;
use super::liveness::Liveness;
use super::metrics::Metrics;
use super::readiness::Readiness;
use super::write_timeout::WriteTimeout;
pub use scrapes::Scrapes;

/// The limits for probes, scrapers, and everyone else who reaches the port.
const LIMITS: Limits = Limits { connections: 64, timeout: PATIENCE };
/// How long a client may take to read a response. Scrapers time out earlier by default.
const PATIENCE: WriteTimeout =
    WriteTimeout { idle: Duration::from_secs(10), whole: Some(Duration::from_secs(30)) };
/// How long the head of a request may take, and how long a connection may wait for one. Bodies are not read at all.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// The largest head of a request.
const HEAD_SIZE: usize = 16 * 1024;

/// What the admin endpoints of an operator show.
pub struct Pages {
    /// At `/readyz`.
    pub readiness: Readiness,
    /// At `/livez`.
    pub liveness: Liveness,
    /// At `/metrics`.
    pub metrics: Arc<Metrics>,
}

#[derive(Clone)]
struct Admin {
    readiness: Readiness,
    liveness: Liveness,
    scrapes: Scrapes,
}

/// Listens on `address`, and serves until `stop` is cancelled.
///
/// `/livez` fails once the queue has stopped, and ignores the issuer and the API server: a restart would help neither.
/// `/readyz` names closed gates, current problems, and the identity of this process; `/readyz?verbose` also what is well.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    pages: Pages,
    stop: CancellationToken,
) -> io::Result<(SocketAddr, impl Future<Output = ()>)> {
    let Pages { readiness, liveness, metrics } = pages;
    let router = Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route(
            "/metrics",
            get(async |State(admin): State<Admin>, headers: HeaderMap| admin.scrapes.answer(&headers)),
        )
        .with_state(Admin { readiness, liveness, scrapes: Scrapes::of(metrics) });
    listen(address, router, stop).await
}

/// `/livez` of a sidecar, which says only that the process serves.
pub fn liveness() -> Router {
    Router::new().route("/livez", get(async || "ok\n"))
}

/// Listens on `address`, and serves these routes by HTTP/1 until `stop` is cancelled.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn listen(
    address: SocketAddr,
    router: Router,
    stop: CancellationToken,
) -> io::Result<(SocketAddr, impl Future<Output = ()>)> {
    let listener = listener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((address, accept_loop(Connections::new(listener, LIMITS), router, stop)))
}

async fn accept_loop(mut connections: Connections, router: Router, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(HEAD_SIZE);
    loop {
        let (stream, place) = tokio::select! {
            () = stop.cancelled() => break,
            next = connections.next() => next,
        };
        // No connection counts as in use, so any of them may be closed to make room: a client that does not read is no better
        // than a silent one.
        let connection = server.serve_connection(stream, TowerToHyperService::new(router.clone()));
        tokio::spawn(place.serve(graceful.watch(connection)));
    }
    drop(connections);
    graceful.shutdown().await;
}

async fn alive(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.liveness.is_stuck() {
        let text = "the queue has begun no reconciliation for ten minutes although credentials wait\n";
        return (StatusCode::INTERNAL_SERVER_ERROR, text);
    }
    (StatusCode::OK, "ok\n")
}

async fn ready(State(admin): State<Admin>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let (closed, findings) = (admin.readiness.closed(), admin.readiness.findings());
    let (status, mut text) = if closed.is_empty() && findings.is_empty() {
        (StatusCode::OK, String::from("ok\n"))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, String::from("not ready\n"))
    };
    // Writing to a String cannot fail.
    if query.is_some_and(|query| query.split('&').any(|it| it == "verbose" || it.starts_with("verbose="))) {
        for name in admin.readiness.passed() {
            let _ = writeln!(text, "{name}: ok");
        }
    }
    for (gate, waits_for) in closed {
        let _ = writeln!(text, "{gate}: waiting for {waits_for}");
    }
    for (check, finding) in findings {
        let _ = writeln!(text, "{check}: {finding}");
    }
    for (name, value) in admin.readiness.facts() {
        let _ = writeln!(text, "{name}: {value}");
    }
    (status, text)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpSocket, TcpStream};
    use tokio::time::Instant;

    use super::*;
    use crate::ops::metrics::CredentialSample;

    /// For the format whose end can be seen.
    const ACCEPT: &str = "accept: application/openmetrics-text\r\n";

    /// The endpoints of a process with so many credentials.
    async fn served(credentials: u32) -> SocketAddr {
        served_with(credentials, Liveness::default()).await
    }

    async fn served_with(credentials: u32, liveness: Liveness) -> SocketAddr {
        let metrics = Arc::new(Metrics::new());
        for number in 0..credentials {
            let facts = CredentialSample {
                namespace: "shop".into(),
                name: format!("{}-{number}", "n".repeat(240)).into(),
                expiration: Some(Timestamp::UNIX_EPOCH),
                renewal: Some(Timestamp::UNIX_EPOCH),
                ..CredentialSample::default()
            };
            metrics.show_credential(&number.to_string(), facts);
        }
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let pages = Pages { readiness: Readiness::default(), liveness, metrics };
        let serving = serve(address, pages, CancellationToken::new()).await;
        let (address, serving) = serving.unwrap();
        tokio::spawn(serving);
        address
    }

    /// A connection on which this was said.
    async fn said(address: SocketAddr, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may have had to make room already.
        let _ = stream.write_all(bytes).await;
        stream
    }

    /// All that is answered until the other end closes the connection.
    async fn asked(address: SocketAddr, path: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{ACCEPT}connection: close\r\n\r\n");
        let (mut stream, mut answer) = (said(address, head.as_bytes()).await, Vec::new());
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_scrape_is_in_the_format_that_its_accept_header_prefers() {
        let address = served(1).await;
        let open_metrics = asked(address, "/metrics").await;
        assert!(open_metrics.contains("content-type: application/openmetrics-text; version=1.0.0"));
        assert!(open_metrics.contains("# TYPE idissuer_renewals counter"), "{open_metrics}");
        let plain = said(address, b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let mut answer = String::new();
        { plain }.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
        assert!(answer.contains("# TYPE idissuer_renewals_total counter"), "{answer}");
        assert!(
            answer.contains("idissuer_renewals_total{grant=\"login\",outcome=\"published\"} 0\n"),
            "{answer}"
        );
        assert!(answer.contains("\nprocess_resident_memory_bytes "), "{answer}");
    }

    #[tokio::test]
    async fn a_process_whose_work_stands_still_is_restarted_and_says_why() {
        let liveness = Liveness::default();
        let address = served_with(0, liveness.clone()).await;
        for (is_stuck, status) in [(false, "HTTP/1.1 200"), (true, "HTTP/1.1 500"), (false, "HTTP/1.1 200")] {
            liveness.set_stuck(is_stuck);
            let answer = asked(address, "/livez").await;
            assert!(answer.starts_with(status), "{answer}");
            assert_eq!(answer.contains("begun no reconciliation for ten minutes"), is_stuck, "{answer}");
        }
    }

    #[tokio::test]
    async fn a_probe_is_answered_however_many_connections_there_are_that_say_nothing_or_do_not_read() {
        let address = served(0).await;
        let mut crowd = Vec::new();
        for number in 0..10 * LIMITS.connections {
            let beginnings: [&[u8]; 3] = [b"", b"GET /livez HT", b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"];
            crowd.push(said(address, beginnings[number % 3]).await);
            if number % LIMITS.connections == 0 {
                assert!(asked(address, "/livez").await.starts_with("HTTP/1.1 200"), "after {number}");
            }
        }
        assert!(asked(address, "/livez").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_complete_request_is_closed_in_time() {
        let address = served(0).await;
        let idle = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
        for beginning in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nx: y\r\n", idle] {
            let (mut stream, begin) = (said(address, beginning).await, Instant::now());
            let limit = 2 * HEAD_LIMIT;
            let read = tokio::time::timeout(limit, stream.read_to_end(&mut Vec::new())).await;
            assert!(read.is_ok(), "{beginning:?}");
            assert!(begin.elapsed() >= HEAD_LIMIT / 2, "{beginning:?}: {:?}", begin.elapsed());
        }
    }

    #[tokio::test]
    async fn large_heads_and_the_second_version_of_http_are_refused() {
        let address = served(0).await;
        let long = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(2 * HEAD_SIZE));
        for (bytes, refusal) in [(long.as_bytes(), "HTTP/1.1 431"), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "")]
        {
            let (mut stream, mut answer) = (said(address, bytes).await, Vec::new());
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.starts_with(refusal) && !answer.contains("200"), "{answer}");
        }
    }

    /// A scrape that has begun to be read, through a small window.
    async fn scraped(address: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let head = format!("GET /metrics HTTP/1.1\r\nhost: x\r\n{ACCEPT}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.read_u8().await.unwrap();
        stream
    }

    #[tokio::test(start_paused = true)]
    async fn scrapes_that_are_read_little_by_little_keep_no_other_from_its_own_and_end_in_time() {
        // More than what the kernel takes in.
        let address = served(20_000).await;
        let (mut slow, begin) = (Vec::new(), Instant::now());
        for _ in 0..LIMITS.connections / 2 {
            slow.push(scraped(address).await);
        }
        let limit = PATIENCE.whole.unwrap();
        while begin.elapsed() < limit {
            let answer = asked(address, "/metrics").await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("# EOF\n"));
            assert!(asked(address, "/livez").await.starts_with("HTTP/1.1 200"));
            tokio::time::sleep(PATIENCE.idle * 9 / 10).await;
            for stream in &mut slow {
                // Enough for the other end to write some more.
                let _ = stream.read_exact(&mut vec![0; 16 * 1024]).await;
            }
        }
        for stream in &mut slow {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            assert!(!rest.ends_with(b"# EOF\n"), "it was given up");
        }
    }
}
