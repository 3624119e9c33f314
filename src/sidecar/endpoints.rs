//! The endpoints for probes and people, and the one by which a program stops its sidecar.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::callers::Callers;
use super::publisher::Published;
use super::source::TokenReceiver;
use crate::core::sidecar::token::HeldToken;
use crate::ops::admin::{self, Scrapes};
use crate::ops::clock::Clock;
use crate::ops::metrics::{Metrics, SidecarMetrics};

/// How the sidecar does. Every clone sees the same.
#[derive(Clone)]
pub(super) struct Health {
    receiver: TokenReceiver,
    /// The content of the output directory, if there is one.
    published: Option<watch::Receiver<Published>>,
    clock: Arc<dyn Clock>,
    metrics: SidecarMetrics,
    scrapes: Scrapes,
}

impl Health {
    pub(super) fn new(
        receiver: TokenReceiver,
        published: Option<watch::Receiver<Published>>,
        clock: Arc<dyn Clock>,
        metrics: SidecarMetrics,
        all_metrics: Arc<Metrics>,
    ) -> Self {
        Self { receiver, published, clock, metrics, scrapes: Scrapes::of(all_metrics) }
    }

    /// The token that programs get from this sidecar: the published one; without files, the one that is held.
    fn token(&self) -> Option<Arc<HeldToken>> {
        match &self.published {
            Some(published) => published.borrow().token.clone(),
            None => self.receiver.now().token,
        }
    }

    /// The same, unless it has died.
    fn valid_token(&self) -> Option<Arc<HeldToken>> {
        self.token().filter(|token| !token.is_expired(self.clock.now()))
    }

    /// Whether there has been a valid token since this process started: none is taken or published that is dead.
    pub(super) fn has_started(&self) -> bool {
        self.token().is_some()
    }

    /// Waits for the first valid token.
    pub(super) async fn started(&self) {
        let mut state = self.receiver.watch();
        let mut published = self.published.clone();
        while !self.has_started() {
            let is_over = match &mut published {
                Some(published) => published.changed().await.is_err(),
                None => state.changed().await.is_err(),
            };
            if is_over {
                return;
            }
        }
    }

    /// The state as text: the token by its fingerprint, and why there is no newer one.
    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        if let Some(token) = self.token() {
            let expiry = token.expiry.map_or_else(|| "unknown".to_owned(), |expiry| expiry.wall.to_string());
            let _ = writeln!(text, "token: {}, expires {expiry}", token.fingerprint);
        }
        if let Some(error) = self.receiver.now().error {
            let _ = writeln!(text, "source: {}: {}", error.name(), error.message());
        }
        if let Some(failure) =
            self.published.as_ref().and_then(|published| published.borrow().failure.clone())
        {
            let _ = writeln!(text, "files: {failure}");
        }
        text
    }

    fn answer(&self, is_good: bool) -> (StatusCode, String) {
        let (status, first) = if is_good {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "no valid token")
        };
        (status, format!("{first}\n{}", self.text()))
    }
}

/// Listens on `address`, and serves until `stop` is cancelled.
///
/// `/startup` delays a program until the first valid token. `/livez` says that the process serves, and ignores the
/// issuer: a restart would not help. `/readyz` fails while the published token is expired.
pub(super) async fn serve(
    address: SocketAddr,
    health: Health,
    stop: CancellationToken,
) -> io::Result<(SocketAddr, impl Future<Output = ()>)> {
    let router = Router::new()
        .route("/startup", get(async |State(health): State<Health>| health.answer(health.has_started())))
        .route(
            "/readyz",
            get(async |State(health): State<Health>| health.answer(health.valid_token().is_some())),
        )
        .route("/metrics", get(metrics))
        .with_state(health)
        .merge(admin::liveness());
    admin::listen(address, router, stop).await
}

async fn metrics(State(health): State<Health>, headers: HeaderMap) -> Response {
    let expiry = health.token().and_then(|token| token.expiry);
    health.metrics.set_expiration(expiry.map(|expiry| expiry.wall));
    health.scrapes.answer(&headers)
}

/// Serves `POST /quitquitquit` on this port of the loopback address, which other pods and the kubelet cannot reach: the
/// program of a Job calls it when it is done. It cancels `stop`. A page in a browser of this machine cannot use it.
pub(super) async fn serve_quit(
    port: u16,
    stop: CancellationToken,
) -> io::Result<(SocketAddr, impl Future<Output = ()>)> {
    let (quit, callers) = (stop.clone(), Callers::of_this_machine());
    let quit = async move |request: Request| {
        let (head, _) = request.into_parts();
        if head.uri.authority().is_some() || !callers.is_known_host(&head) || callers.are_foreign_pages(&head)
        {
            return (
                StatusCode::FORBIDDEN,
                "only for programs on this machine that call 127.0.0.1 or localhost\n",
            );
        }
        tracing::info!("stopping: quit requested");
        quit.cancel();
        (StatusCode::OK, "ok\n")
    };
    let address = (Ipv4Addr::LOCALHOST, port).into();
    admin::listen(address, Router::new().route("/quitquitquit", post(quit)), stop).await
}
