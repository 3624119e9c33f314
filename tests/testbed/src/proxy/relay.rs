//! One connection of the client, from its first request to its end.

use std::fmt;
use std::sync::Arc;

use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::Shared;
use super::rule::{Fault, ProxiedRequest};
use super::upstream::Line;

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// Serves until either side ends the connection, or it is cut.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Events of a watch are to leave one by one; where that cannot be set, they leave in lumps.
    let _ = stream.set_nodelay(true);
    let (line, mut cut) = (Line::default(), shared.cut.subscribe());
    let service = service_fn(|request| answer(request, &shared, &line));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // An error is the client's end, or an answer that was lost on purpose.
        _ = connection => {}
        _ = cut.changed() => {}
    }
}

/// There is no answer. To hyper it is an error of the service: the one way in which it closes a connection without one.
#[derive(Debug)]
struct Lost;

impl fmt::Display for Lost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("there is no answer")
    }
}

impl std::error::Error for Lost {}

async fn answer(
    request: Request<Incoming>,
    shared: &Arc<Shared>,
    line: &Line,
) -> Result<Response<Body>, Lost> {
    let mut seen = ProxiedRequest::of(&request);
    let fault = shared.receive(&mut seen);
    let made_up = match fault {
        Some(Fault::Answer { status, retry_after }) => Some(refusal(status, retry_after)),
        Some(Fault::EndWatch { status }) => Some(ended_watch(status)),
        Some(Fault::LoseAnswer | Fault::Silence) | None => None,
    };
    if let Some(answer) = made_up {
        // The connection can be used again only if the request was read to its end.
        let _ = request.into_body().collect().await;
        shared.answered(seen.number, answer.status().as_u16());
        return Ok(answer);
    }
    let answer = line.send(&shared.upstream, request).await.map_err(|_| Lost)?;
    shared.answered(seen.number, answer.status().as_u16());
    let (head, body) = answer.into_parts();
    if fault == Some(Fault::LoseAnswer) {
        // By its end the work is done.
        let _ = body.collect().await;
        return Err(Lost);
    }
    Ok(Response::from_parts(head, relay(body, seen, Arc::clone(shared))))
}

/// The body as it comes, while no rule holds it back.
fn relay(body: Incoming, request: ProxiedRequest, shared: Arc<Shared>) -> Body {
    let frames = stream::unfold((body, request, shared), |(mut body, request, shared)| async move {
        let frame = body.frame().await;
        shared.while_silent(&request).await;
        frame.map(|frame| (frame, (body, request, shared)))
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

/// What the API server says when it refuses.
fn status_object(status: u16) -> Value {
    let reason = match status {
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        _ => "Unknown",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "refused by the proxy of the testbed", "reason": reason, "code": status,
    })
}

fn refusal(status: u16, retry_after: Option<u32>) -> Response<Body> {
    let mut answer = json_answer(&status_object(status));
    *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}

fn ended_watch(status: u16) -> Response<Body> {
    json_answer(&json!({"type": "ERROR", "object": status_object(status)}))
}

fn json_answer(value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(format!("{value}\n"))).map_err(|never| match never {});
    let mut answer = Response::new(BodyExt::boxed_unsync(body));
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    answer
}
