//! The admin endpoints: liveness, readiness, metrics.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use super::listener;
use super::metrics::Metrics;
use super::readiness::Readiness;

#[derive(Clone)]
struct Admin {
    readiness: Readiness,
    metrics: Arc<Metrics>,
}

/// Listens on `address`, and serves until `stop` is cancelled.
///
/// `/livez` says that the process serves, and nothing of the issuer or the API server: a restart would cure neither.
/// `/readyz` names the gates that are still closed, and what tells this process from others.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> io::Result<(SocketAddr, impl Future<Output = io::Result<()>>)> {
    let router = Router::new()
        .route("/readyz", get(ready))
        .route("/metrics", get(async |State(admin): State<Admin>| metrics_answer(&admin.metrics)))
        .with_state(Admin { readiness, metrics })
        .merge(liveness());
    listen(address, router, stop).await
}

/// `/livez`, which says no more than that the process serves.
pub fn liveness() -> Router {
    Router::new().route("/livez", get(async || "ok\n"))
}

/// Listens on `address`, and serves these routes until `stop` is cancelled.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn listen(
    address: SocketAddr,
    router: Router,
    stop: CancellationToken,
) -> io::Result<(SocketAddr, impl Future<Output = io::Result<()>>)> {
    let listener = listener::bind(address).await?;
    let address = listener.local_addr()?;
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    Ok((address, serving.into_future()))
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    let closed = admin.readiness.closed();
    let (status, mut text) = if closed.is_empty() {
        (StatusCode::OK, String::from("ok\n"))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, String::from("not ready\n"))
    };
    // Writing to a String cannot fail.
    for (gate, waits_for) in closed {
        let _ = writeln!(text, "{gate}: waiting for {waits_for}");
    }
    for (name, value) in admin.readiness.facts() {
        let _ = writeln!(text, "{name}: {value}");
    }
    (status, text)
}

/// What is answered to a scrape.
pub type MetricsAnswer = (StatusCode, [(HeaderName, &'static str); 1], String);

/// The text of a scrape.
#[must_use]
pub fn metrics_answer(metrics: &Metrics) -> MetricsAnswer {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics.render() {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], String::new()),
    }
}
