//! Connections of programs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::forward::Proxy;

/// How long the head of a request may take, and how long a connection may wait for one.
const HEAD_LIMIT: Duration = Duration::from_secs(60);
/// The largest head of a request, and what is read ahead of a body.
const BUFFER: usize = 64 * 1024;
/// The largest list of headers of HTTP/2.
const HEADERS: u32 = 64 * 1024;
/// How many requests of one connection of HTTP/2 may be under way at once.
const STREAMS: u32 = 200;
/// How often a connection of HTTP/2 is asked whether its program is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Serves until `stop` is cancelled, and then until the requests under way are answered.
pub(in crate::sidecar) async fn serve(mut listener: TcpListener, proxy: Proxy, stop: CancellationToken) {
    let (proxy, server, graceful) = (Arc::new(proxy), server(), GracefulShutdown::new());
    loop {
        let (stream, _) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = Listener::accept(&mut listener) => accepted,
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("a connection went away before it was served: {error}");
            continue;
        }
        let proxy = Arc::clone(&proxy);
        let service = service_fn(move |request| {
            let proxy = Arc::clone(&proxy);
            async move { Ok::<_, Infallible>(proxy.answer(request).await) }
        });
        let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection to the proxy ended: {error}");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

fn server() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADERS)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(KEEP_ALIVE);
    builder
}
