//! The way of one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tower_http::timeout::TimeoutBody;

use super::heads::{Head, admit, calls_expired, strip_hop_by_hop, wants_upgrade};
use super::refusal::Refusal;
use super::{Body, IDLE_LIMIT, Upstream};
use crate::core::sidecar::held::Held;
use crate::ops::clock::Clock;
use crate::ops::metrics::SidecarMetrics;
use crate::sidecar::source::Feed;

/// The largest body that is kept, so that the request can be sent once more.
const KEPT_BODY: u64 = 64 * 1024;
/// How long a request waits for a newer token of a source that does not ask the issuer itself.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(5);
/// How long it waits for a call to the issuer: a refresh that is refused, and a login.
const WAIT_FOR_ISSUER: Duration = Duration::from_secs(20);

/// What every request on its way through needs.
pub(in crate::sidecar) struct Proxy {
    /// Where it goes.
    pub(in crate::sidecar) upstream: Arc<Upstream>,
    /// The token.
    pub(in crate::sidecar) feed: Feed,
    /// Time.
    pub(in crate::sidecar) clock: Arc<dyn Clock>,
    /// What is counted.
    pub(in crate::sidecar) metrics: SidecarMetrics,
    /// Whether only this machine can reach it.
    pub(in crate::sidecar) is_local: bool,
}

/// A body on its way to the upstream.
enum Outgoing {
    /// Here as a whole.
    Kept(Bytes),
    /// Still on its way from the program. It can be sent once.
    Streamed(Incoming),
}

impl Proxy {
    /// Answers a request, by the upstream or by itself.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let outcome = self.forward(request).await;
        self.metrics.proxied(match &outcome {
            Ok(_) => "forwarded",
            Err(refusal) => refusal.reason(),
        });
        outcome.unwrap_or_else(|refusal| {
            tracing::debug!(reason = refusal.reason(), "request refused");
            refusal.answer()
        })
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let program = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        admit(&parts, self.is_local)?;
        self.token()?;
        let program = wants_upgrade(&parts).then_some(program);
        let is_upgrade = program.is_some();
        let head = Head::of(&parts, self.upstream.scheme(), self.upstream.authority())?;
        let (body, kept, is_cut) = Outgoing::of(body).await?.split();
        // The body may have taken longer than the token lived that was there before.
        let token = self.token()?;
        let first = self.send(&head, &token, body, is_upgrade).await;
        // What the client makes of a body that fails depends on the version of HTTP.
        let first =
            first.map_err(|refusal| if is_cut.load(Ordering::Relaxed) { Refusal::Body } else { refusal })?;
        if !calls_expired(first.status(), first.headers()) {
            return pass_on(first, program);
        }
        self.metrics.proxied("expired");
        let Some(kept) = kept else {
            self.feed.refuse(&token.fingerprint);
            return pass_on(first, program);
        };
        let limit = if self.feed.asks_issuer() { WAIT_FOR_ISSUER } else { WAIT_FOR_OTHERS };
        match self.feed.renew(&token.fingerprint, limit).await.filter(|newer| self.is_living(newer)) {
            Some(newer) => pass_on(self.send(&head, &newer, whole(kept), is_upgrade).await?, program),
            None => pass_on(first, program),
        }
    }

    /// Sends a request with this token, unless that dies before there is a connection.
    async fn send(
        &self,
        head: &Head,
        token: &Held,
        body: Body,
        is_upgrade: bool,
    ) -> Result<Response<Incoming>, Refusal> {
        let left = token.last_use().map(|last| last.remaining(self.clock.now()));
        let left = left.map(|left| Duration::try_from(left).unwrap_or(Duration::ZERO));
        self.upstream.send(head.request(&token.access, body)?, is_upgrade, left).await
    }

    /// The token to send, if it is certain to live until it arrives.
    fn token(&self) -> Result<Arc<Held>, Refusal> {
        let supply = self.feed.now();
        let living = supply.token.as_ref().filter(|token| self.is_living(token)).cloned();
        living.ok_or_else(|| Refusal::no_token(&supply, self.clock.now()))
    }

    fn is_living(&self, token: &Held) -> bool {
        !token.last_use().is_some_and(|last| last.has_come(self.clock.now()))
    }
}

impl Outgoing {
    /// Takes in a body whose size is known to be small; another one streams.
    async fn of(body: Incoming) -> Result<Self, Refusal> {
        if body.size_hint().exact().is_none_or(|size| size > KEPT_BODY) {
            return Ok(Self::Streamed(body));
        }
        let whole = TimeoutBody::new(IDLE_LIMIT, body).collect().await.map_err(|_| Refusal::Body)?;
        Ok(Self::Kept(whole.to_bytes()))
    }

    /// What is sent, what is kept to send it again, and whether the program failed to bring it to its end.
    fn split(self) -> (Body, Option<Bytes>, Arc<AtomicBool>) {
        let is_cut = Arc::new(AtomicBool::new(false));
        match self {
            Self::Kept(bytes) => (whole(bytes.clone()), Some(bytes), is_cut),
            Self::Streamed(body) => {
                let cut = Arc::clone(&is_cut);
                let body = TimeoutBody::new(IDLE_LIMIT, body).map_err(move |error| {
                    cut.store(true, Ordering::Relaxed);
                    error
                });
                (body.boxed_unsync(), None, is_cut)
            }
        }
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// What the program gets of the upstream's answer. `program` is its connection, if it asked for another protocol.
fn pass_on(mut answer: Response<Incoming>, program: Option<OnUpgrade>) -> Result<Response<Body>, Refusal> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upstream = hyper::upgrade::on(&mut answer);
        tokio::spawn(tunnel(program.ok_or(Refusal::UpstreamBroken)?, upstream));
    } else {
        strip_hop_by_hop(answer.headers_mut());
    }
    let (mut parts, body) = answer.into_parts();
    parts.extensions.clear();
    // It may be silent for as long as it likes: events come when there are any.
    Ok(Response::from_parts(parts, body.map_err(Into::into).boxed_unsync()))
}

/// Carries bytes both ways until both ends are done.
async fn tunnel(program: OnUpgrade, upstream: OnUpgrade) {
    let Ok((program, upstream)) = tokio::try_join!(program, upstream) else {
        tracing::debug!("the program or the upstream went away before it could go on in another protocol");
        return;
    };
    let (mut program, mut upstream) = (TokioIo::new(program), TokioIo::new(upstream));
    if let Err(error) = tokio::io::copy_bidirectional(&mut program, &mut upstream).await {
        tracing::debug!("a connection that went on in another protocol broke: {error}");
    }
}
