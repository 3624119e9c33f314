//! Connections of programs.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::forward::Proxy;
use super::{BUFFER, IDLE_LIMIT};
use crate::ops::connections::{Connections, Limits};
use crate::ops::write_timeout::WriteTimeout;

/// How long the head of a request to the proxy may take, and how long a connection may wait for one.
const HEAD_LIMIT: Duration = Duration::from_secs(60);
/// The largest list of headers of HTTP/2, and what a stream brings before it is read.
const WINDOW: u32 = 64 * 1024;
/// What all streams of a connection of HTTP/2 bring before it is read: some may stand still, and others pass.
const WINDOW_OF_ALL: u32 = 16 * WINDOW;
/// How many concurrent requests one HTTP/2 connection may have.
const STREAMS: u32 = 200;
/// How often a connection of HTTP/2 is asked whether its program is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The most connections to the proxy at once.
const CONNECTIONS: usize = 512;

/// Serves until `stop` is cancelled, and then until the requests in progress are answered.
pub(in crate::sidecar) async fn serve(listener: TcpListener, proxy: Proxy, stop: CancellationToken) {
    let timeout = WriteTimeout { idle: IDLE_LIMIT, whole: None };
    let limits = Limits { connections: CONNECTIONS, timeout };
    let mut connections = Connections::new(listener, limits);
    let (proxy, server, graceful) = (Arc::new(proxy), server(), GracefulShutdown::new());
    loop {
        let (stream, place) = tokio::select! {
            () = stop.cancelled() => break,
            next = connections.next() => next,
        };
        let (proxy, is_used) = (Arc::clone(&proxy), Arc::new(AtomicBool::new(false)));
        let (uses, its_place) = (Arc::clone(&is_used), Arc::clone(&place));
        let service = service_fn(move |request| {
            uses.store(true, Ordering::Relaxed);
            let (proxy, place) = (Arc::clone(&proxy), Arc::clone(&its_place));
            async move { Ok::<_, Infallible>(proxy.answer(request, place).await) }
        });
        let connection = server.serve_connection_with_upgrades(stream, service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(place.serve(async move {
            tokio::select! {
                ended = connection => ended,
                () = silence(&is_used) => Err("there was no request in time".into()),
            }
        }));
    }
    drop(connections);
    graceful.shutdown().await;
}

/// Ends if there was no request in time. The server itself waits forever to detect the HTTP version.
async fn silence(is_used: &AtomicBool) {
    tokio::time::sleep(HEAD_LIMIT).await;
    if is_used.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

fn server() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(WINDOW)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW_OF_ALL)
        .max_send_buf_size(BUFFER)
        .keep_alive_interval(KEEP_ALIVE);
    builder
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::buffered_body::{BUFFERING_TIMEOUT, MAX_BUFFERED_BODY, MAX_BUFFERED_TOTAL};
    use super::super::{REQUESTS, Upstream};
    use super::*;
    use crate::core::endpoint::Origin;
    use crate::core::sidecar::token::HeldToken;
    use crate::core::testing::token;
    use crate::issuer::Trust;
    use crate::ops::clock::{Clock, SystemClock};
    use crate::ops::descriptors;
    use crate::ops::metrics::Metrics;
    use crate::sidecar::callers::Callers;
    use crate::sidecar::source::channel;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    /// Serves at the address that comes back, with a token that lives for a day of the machine's own time.
    async fn served(upstream: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let origin = Origin::parse(&format!("http://{upstream}")).unwrap();
        let clock = Arc::new(SystemClock::start());
        let held = HeldToken::issued(&token("t", clock.now(), 86_400));
        let upstream =
            Arc::new(Upstream::new(origin, &Trust::PublicRoots, Arc::<SystemClock>::clone(&clock)).unwrap());
        let (receiver, metrics) = (channel(Some(held), false).1, Metrics::of_sidecar().1);
        let proxy = Proxy::new(upstream, receiver, clock, metrics, Callers::of_this_machine());
        tokio::spawn(serve(listener, proxy, CancellationToken::new()));
        address
    }

    /// All that the other end says until it closes.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        String::from_utf8(said).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_make_no_request_are_closed() {
        let address = served(([127, 0, 0, 1], 9).into()).await;
        // Nothing; a beginning that both versions have; one of HTTP/2; one of HTTP/1.
        for beginning in ["", "P", "PRI * HT", "GET / HT"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(beginning.as_bytes()).await.unwrap();
            let start = tokio::time::Instant::now();
            let read = tokio::time::timeout(2 * HEAD_LIMIT, stream.read_to_end(&mut Vec::new())).await;
            assert!(
                read.is_ok() && start.elapsed() >= HEAD_LIMIT / 2,
                "{beginning:?}: {:?}",
                start.elapsed()
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_given_up_and_one_that_is_only_slow_is_not() {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = served(upstream.local_addr().unwrap()).await;
        // One that is kept, and reaches the upstream as a whole; and one that streams.
        for (length, is_kept) in [(100, true), (1_000_000, false)] {
            let mut program = TcpStream::connect(address).await.unwrap();
            let head = format!(
                "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
            );
            program.write_all(head.as_bytes()).await.unwrap();
            let begin = tokio::time::Instant::now();
            for _ in 0..3 {
                program.write_all(b"part").await.unwrap();
                tokio::time::sleep(IDLE_LIMIT * 9 / 10).await;
            }
            let mut at_upstream = if is_kept { None } else { Some(upstream.accept().await.unwrap().0) };
            let answer = rest(&mut program).await;
            let took = begin.elapsed();
            assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("BodyIncomplete"), "{answer}");
            let expected = IDLE_LIMIT * 28 / 10;
            assert!(took >= expected && took < expected + Duration::from_secs(5), "{took:?}");
            if let Some(stream) = &mut at_upstream {
                let request = rest(stream).await;
                assert!(request.ends_with("partpartpart"), "{request}");
            }
        }
    }

    /// An upstream that reads all, and answers a GET at once.
    async fn answering() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut bytes = vec![0; 4096];
                    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
                        if bytes.starts_with(b"GET") {
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                        }
                    }
                });
            }
        });
        address
    }

    async fn said(address: SocketAddr, words: &[&str]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(words.concat().as_bytes()).await.unwrap();
        stream
    }

    #[tokio::test(start_paused = true)]
    async fn slow_bodies_occupy_the_buffer_for_half_a_minute_and_others_get_the_reason() {
        let address = served(answering().await).await;
        let head =
            "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut slow = Vec::new();
        for _ in 0..MAX_BUFFERED_TOTAL / MAX_BUFFERED_BODY {
            slow.push(said(address, &[head, "1\r\nx\r\n"]).await);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let other = async || rest(&mut said(address, &[head, "1\r\nx\r\n0\r\n\r\n"]).await).await;
        let answer = other().await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("TooManyBodies"), "{answer}");
        for stream in &mut slow {
            let answer = tokio::time::timeout(BUFFERING_TIMEOUT, rest(stream)).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("BodyTooSlow"), "{answer}");
        }
        let answer = other().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn bodies_that_hardly_come_make_room_for_a_request_that_needs_a_place() {
        descriptors::raise_limit();
        let address = served(answering().await).await;
        let mut slow = Vec::new();
        for _ in 0..descriptors::share(REQUESTS) {
            let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n";
            slow.push(said(address, &[head, "x"]).await);
        }
        // Not before: paused time jumps ahead while all wait for the kernel.
        tokio::time::pause();
        for seconds in [25, 25, 1] {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            for stream in &mut slow {
                stream.write_all(b"x").await.unwrap();
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let head = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let asking = async { rest(&mut said(address, &[head]).await).await };
        let answer = tokio::time::timeout(Duration::from_secs(5), asking).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
