//! Bodies of requests that are kept, so that the request can be sent once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::Method;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::timeout::TimeoutBody;

use super::refusal::Refusal;
use super::{Body, IDLE_LIMIT};
use crate::ops::connections::RequestBody;

/// The largest body of a request that is kept, to repeat the request.
pub(super) const MAX_BUFFERED_BODY: usize = 64 * 1024;
/// The most that is kept of all bodies at once. Beyond it, they stream, and are sent once.
pub(super) const MAX_BUFFERED_TOTAL: usize = 4 * 1024 * 1024;
/// How long a body may take that is to be kept. Then it streams.
pub(super) const BUFFERING_TIMEOUT: Duration = Duration::from_secs(30);

/// A body as it comes from the program.
pub(super) type IncomingBody = RequestBody<Incoming>;

/// A body that is here as a whole, and the room that it takes.
pub(super) struct BufferedBody {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// A body on its way to the upstream.
pub(super) enum OutgoingBody {
    /// Here as a whole. It can be sent again.
    BufferedBody(BufferedBody),
    /// Still on its way from the program but for its beginning. It can be sent once.
    Streamed(Bytes, IncomingBody),
}

/// Takes in a body that is small, if there is room and it comes in time; another one streams.
pub(super) async fn take(
    method: &Method,
    mut body: IncomingBody,
    room: &Arc<Semaphore>,
) -> Result<OutgoingBody, Refusal> {
    let exact = body.size_hint().exact().map(usize::try_from);
    let size = match exact {
        Some(Ok(size)) if size <= MAX_BUFFERED_BODY => size,
        // Of unknown length it would be lost on its way to an upstream of HTTP/1, where it is not expected.
        None if [Method::GET, Method::HEAD].contains(method) => MAX_BUFFERED_BODY,
        _ => return Ok(OutgoingBody::Streamed(Bytes::new(), body)),
    };
    let room = match u32::try_from(size) {
        Ok(0) | Err(_) => None,
        Ok(size) => match Arc::clone(room).try_acquire_many_owned(size) {
            Ok(room) => Some(room),
            Err(_) if exact.is_none() => return Err(Refusal::KeptBodies),
            Err(_) => return Ok(OutgoingBody::Streamed(Bytes::new(), body)),
        },
    };
    let (mut begun, mut end) = (BytesMut::new(), std::pin::pin!(tokio::time::sleep(BUFFERING_TIMEOUT)));
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = &mut end => return if exact.is_some() {
                Ok(OutgoingBody::Streamed(begun.freeze(), body))
            } else {
                Err(Refusal::SlowBody)
            },
        };
        match frame.map(|frame| frame.map(Frame::into_data)) {
            None => {
                return Ok(OutgoingBody::BufferedBody(BufferedBody { bytes: begun.freeze(), _room: room }));
            }
            Some(Ok(Ok(data))) if begun.len() + data.len() <= size => begun.extend_from_slice(&data),
            Some(Ok(Ok(_))) => return Err(Refusal::Length),
            // Trailers of so small a body tell nothing.
            Some(Ok(Err(_))) => {}
            Some(Err(_)) => return Err(Refusal::Body),
        }
    }
}

impl BufferedBody {
    pub(super) fn body(&self) -> Body {
        Full::new(self.bytes.clone()).map_err(|never| match never {}).boxed_unsync()
    }
}

impl OutgoingBody {
    /// What is sent, what is kept to send it again, and whether the program failed to bring it to its end.
    pub(super) fn split(self) -> (Body, Option<BufferedBody>, Arc<AtomicBool>) {
        let is_cut = Arc::new(AtomicBool::new(false));
        match self {
            Self::BufferedBody(kept) => (kept.body(), Some(kept), is_cut),
            Self::Streamed(begun, body) => {
                let cut = Arc::clone(&is_cut);
                let body = TimeoutBody::new(IDLE_LIMIT, body).map_err(move |error| {
                    cut.store(true, Ordering::Relaxed);
                    error
                });
                if begun.is_empty() {
                    return (body.boxed_unsync(), None, is_cut);
                }
                let begun = futures::stream::iter([Ok(Frame::data(begun))]);
                let body = StreamBody::new(begun.chain(BodyStream::new(body)));
                (body.boxed_unsync(), None, is_cut)
            }
        }
    }
}
