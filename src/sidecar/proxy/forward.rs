//! Forwards one request.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;

use super::buffered_body::{BufferedBody, IncomingBody, MAX_BUFFERED_TOTAL, take};
use super::headers::{RequestHead, admit, is_encoded, says_token_expired, strip_hop_by_hop, wants_upgrade};
use super::refusal::Refusal;
use super::upstream::Failure;
use super::{Body, REQUESTS, Upstream};
use crate::core::sidecar::token::HeldToken;
use crate::ops::clock::Clock;
use crate::ops::connections::{ConnectionPermit, RequestGuard, ResponseBody};
use crate::ops::descriptors;
use crate::ops::metrics::SidecarMetrics;
use crate::sidecar::callers::Callers;
use crate::sidecar::source::TokenReceiver;

/// How long a request waits for a newer token of a source that does not ask the issuer itself.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(5);
/// How long a request waits for a call to the issuer: a refresh that is refused, and a login.
const WAIT_FOR_ISSUER: Duration = Duration::from_secs(20);

/// What every request on its way through needs.
pub(in crate::sidecar) struct Proxy {
    upstream: Arc<Upstream>,
    receiver: TokenReceiver,
    clock: Arc<dyn Clock>,
    metrics: SidecarMetrics,
    callers: Callers,
    /// The bytes of bodies that may still be kept.
    room: Arc<Semaphore>,
    /// The limit of requests in progress.
    requests: Arc<Semaphore>,
}

impl Proxy {
    /// Forwards to this upstream, with tokens from this receiver, for these callers.
    pub(in crate::sidecar) fn new(
        upstream: Arc<Upstream>,
        receiver: TokenReceiver,
        clock: Arc<dyn Clock>,
        metrics: SidecarMetrics,
        callers: Callers,
    ) -> Self {
        let room = Arc::new(Semaphore::new(MAX_BUFFERED_TOTAL));
        let requests = Arc::new(Semaphore::new(descriptors::share(REQUESTS)));
        Self { upstream, receiver, clock, metrics, callers, room, requests }
    }

    /// Answers a request, by the upstream or by itself.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        place: Arc<ConnectionPermit>,
    ) -> Response<ResponseBody<Body>> {
        let permit = place.permit(&self.requests).await;
        let is_busy = permit.is_none();
        let in_use = place.request(permit);
        let outcome = if is_busy { Err(Refusal::Busy) } else { self.forward(request, &in_use).await };
        self.metrics.proxied(match &outcome {
            Ok(_) => "forwarded",
            Err(refusal) => refusal.reason(),
        });
        let answer = outcome.unwrap_or_else(|refusal| {
            tracing::debug!(reason = refusal.reason(), "request rejected");
            refusal.answer()
        });
        answer.map(|body| in_use.with_body(body))
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        in_use: &RequestGuard,
    ) -> Result<Response<Body>, Refusal> {
        let program = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        admit(&parts, &self.callers)?;
        self.token()?;
        let program = wants_upgrade(&parts).then(|| (program, in_use.clone()));
        let is_upgrade = program.is_some();
        let head = RequestHead::of(&parts, self.upstream.scheme(), self.upstream.authority())?;
        let body: IncomingBody = in_use.with_request_body(body);
        let (body, kept, is_cut) = take(&parts.method, body, &self.room).await?.split();
        // The body may have taken longer than the token lived that was there before.
        let token = self.token()?;
        let first = self.send(&head, &token, body, kept.as_ref(), is_upgrade).await;
        // What the client makes of a body that fails depends on the version of HTTP.
        let first =
            first.map_err(|refusal| if is_cut.load(Ordering::Relaxed) { Refusal::Body } else { refusal })?;
        if !says_token_expired(first.status(), first.headers()) {
            return relay_response(first, program);
        }
        self.metrics.proxied("expired");
        let Some(kept) = kept else {
            self.receiver.report_expired(&token.fingerprint);
            return relay_response(first, program);
        };
        let limit = if self.receiver.asks_issuer() { WAIT_FOR_ISSUER } else { WAIT_FOR_OTHERS };
        match self.receiver.renew(&token.fingerprint, limit).await.filter(|newer| self.is_living(newer)) {
            Some(newer) => {
                let again = self.send(&head, &newer, kept.body(), Some(&kept), is_upgrade).await;
                relay_response(again?, program)
            }
            None => relay_response(first, program),
        }
    }

    /// Sends a request, and once more if that does no harm: the upstream did not carry it out, or it changes nothing.
    async fn send(
        &self,
        head: &RequestHead,
        token: &HeldToken,
        body: Body,
        kept: Option<&BufferedBody>,
        is_upgrade: bool,
    ) -> Result<Response<Incoming>, Refusal> {
        let failure = match self.send_once(head, token, body, is_upgrade).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        match kept {
            Some(kept) if failure.is_retryable(head.is_safe()) => {
                self.metrics.proxied("repeated");
                self.send_once(head, token, kept.body(), is_upgrade).await.map_err(|failure| failure.refusal)
            }
            _ => Err(failure.refusal),
        }
    }

    /// Sends a request with this token, unless it expires before there is a connection.
    async fn send_once(
        &self,
        head: &RequestHead,
        token: &HeldToken,
        body: Body,
        is_upgrade: bool,
    ) -> Result<Response<Incoming>, Failure> {
        let left = token.last_use().map(|last| last.remaining(self.clock.now()));
        let left = left.map(|left| Duration::try_from(left).unwrap_or(Duration::ZERO));
        self.upstream.send(head.request(&token.access, body)?, is_upgrade, left).await
    }

    /// The token to send, if it is certainly valid when it arrives.
    fn token(&self) -> Result<Arc<HeldToken>, Refusal> {
        let state = self.receiver.now();
        let living = state.token.as_ref().filter(|token| self.is_living(token)).cloned();
        living.ok_or_else(|| Refusal::no_token(&state, self.clock.now()))
    }

    fn is_living(&self, token: &HeldToken) -> bool {
        !token.last_use().is_some_and(|last| last.is_reached(self.clock.now()))
    }
}

/// The response for the program. `program` is its connection, if it requested an upgrade.
fn relay_response(
    mut answer: Response<Incoming>,
    program: Option<(OnUpgrade, RequestGuard)>,
) -> Result<Response<Body>, Refusal> {
    // The program would get the bytes, and not the name of the encoding, which ends here.
    if is_encoded(answer.headers()) {
        return Err(Refusal::UpstreamMalformed);
    }
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upstream = hyper::upgrade::on(&mut answer);
        let (program, in_use) = program.ok_or(Refusal::UpstreamBroken)?;
        tokio::spawn(async move {
            tunnel(program, upstream).await;
            drop(in_use);
        });
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
        tracing::debug!("the program or the upstream closed the connection before the protocol upgrade");
        return;
    };
    let (mut program, mut upstream) = (TokioIo::new(program), TokioIo::new(upstream));
    if let Err(error) = tokio::io::copy_bidirectional(&mut program, &mut upstream).await {
        tracing::debug!("an upgraded connection broke: {error}");
    }
}
