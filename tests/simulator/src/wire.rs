//! Writes answers to the socket: whole, cut, byte by byte, not as HTTP, or not at all.

use std::{fmt, future, io};

use axum::body::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Request as HttpRequest, Response as HttpResponse, StatusCode,
    body::{Frame, Incoming},
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use crate::{Exchange, Request, Response, SimulatedAnswer, Simulator};

/// The longest request that is read; a login is a hundredth of it, a refresh with an ugly token a quarter.
const REQUEST_LIMIT: usize = 64 * 1024;

type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(crate) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    simulator: Simulator,
) {
    let service = service_fn(|request| answer(request, simulator.clone()));
    let mut connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    let Err(error) = (&mut connection).await else {
        return;
    };
    let hang_up = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<HangUp>());
    if let Some(HangUp(bytes)) = hang_up {
        let mut stream = connection.into_parts().io.into_inner();
        // The caller may be gone, and then has seen a lost answer.
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
    }
}

/// The connection is to be closed after these bytes, which are not HTTP. To hyper it is an error of the service: the one
/// way in which hyper closes a connection without an answer.
#[derive(Debug)]
struct HangUp(Vec<u8>);

impl fmt::Display for HangUp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the answer is lost on purpose")
    }
}

impl std::error::Error for HangUp {}

async fn answer(request: HttpRequest<Incoming>, simulator: Simulator) -> Result<HttpResponse<Body>, HangUp> {
    let request = match read(request).await {
        Ok(request) => request,
        Err(status) => return Ok(whole(Response::empty(status.as_u16()))),
    };
    let mut exchange = simulator.call(&request, Timestamp::now());
    tokio::time::sleep(exchange.delay).await;
    match std::mem::replace(&mut exchange.answer, SimulatedAnswer::Never) {
        SimulatedAnswer::Complete(response) => Ok(whole(response)),
        SimulatedAnswer::Cut(response) => Ok(cut(response)),
        SimulatedAnswer::Trickle(response, interval) => Ok(trickle(response, interval, exchange)),
        SimulatedAnswer::NotHttp(bytes) => Err(HangUp(bytes)),
        SimulatedAnswer::Lost => Err(HangUp(Vec::new())),
        // hyper drops this future when the caller goes away.
        SimulatedAnswer::Never => future::pending().await,
    }
}

async fn read(request: HttpRequest<Incoming>) -> Result<Request, StatusCode> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, REQUEST_LIMIT).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST }
    })?;
    let mut request = Request::new(head.method.as_str(), head.uri.path());
    request.content_type = text(&head.headers, &CONTENT_TYPE);
    request.authorization = text(&head.headers, &AUTHORIZATION);
    request.body = body.to_bytes().to_vec();
    Ok(request)
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn whole(response: Response) -> HttpResponse<Body> {
    let (mut head, body) = head(response);
    head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    head.map(|()| Full::new(body).map_err(|never| match never {}).boxed_unsync())
}

/// hyper closes the connection when a body ends in an error; the pause before lets it send what came first.
fn cut(response: Response) -> HttpResponse<Body> {
    let (mut head, body) = head(response);
    head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let half = body.slice(..body.len() / 2);
    let frames = stream::iter([Ok(Frame::data(half))]).chain(stream::once(async {
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    }));
    head.map(|()| BodyExt::boxed_unsync(StreamBody::new(frames)))
}

fn trickle(response: Response, interval: std::time::Duration, exchange: Exchange) -> HttpResponse<Body> {
    let (mut head, body) = head(response);
    head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let frames = stream::unfold((0, exchange), move |(sent, exchange)| {
        let next = (sent < body.len()).then(|| body.slice(sent..=sent));
        async move {
            let byte = next?;
            tokio::time::sleep(interval).await;
            Some((Ok(Frame::data(byte)), (sent + 1, exchange)))
        }
    });
    head.map(|()| BodyExt::boxed_unsync(StreamBody::new(frames)))
}

fn head(response: Response) -> (HttpResponse<()>, Bytes) {
    let mut head = HttpResponse::new(());
    *head.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &response.headers {
        // A configured value that no header can hold is left out.
        if let Ok(value) = HeaderValue::from_str(value) {
            head.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    (head, Bytes::from(response.body))
}
