//! The API as a service that a kube client calls.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use kube::client::Body as KubeBody;
use kube::core::Status;
use serde_json::{Value, json};

use super::fault::Fault;
use super::object::View;
use super::request::{Request, Selection, Task};
use super::resource::{Nature, Resource};
use super::shared::Shared;
use super::status::{not_found, refusal, render};
use super::store::Stored;
use super::watch::WatchBody;
use super::write::{Deed, Written};

pub(super) enum AnswerBody {
    Whole(Option<Bytes>),
    Watch(WatchBody),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Watch(watch) => watch.poll(context),
        }
    }
}

type Answer = Response<AnswerBody>;

/// Answers a request, unless a fault keeps it from that.
pub(super) async fn answer(
    shared: Arc<Shared>,
    user: Arc<str>,
    request: http::Request<KubeBody>,
) -> io::Result<Answer> {
    let (head, body) = request.into_parts();
    let body = body.collect_bytes().await.map_err(io::Error::other)?;
    let request = match Request::parse(&user, &head, &body) {
        Ok(request) => request,
        // No resource: then it is not the API that answers.
        Err(status) if status.code == 404 => {
            return Ok(whole(StatusCode::NOT_FOUND, Bytes::from_static(b"404 page not found\n")));
        }
        Err(status) => return Ok(refused(&status)),
    };
    shared.count(&request.facts);
    match shared.fault(&request.facts) {
        None => Ok(carry_out(&shared, request)),
        Some(Fault::Refuse { code, reason, message }) => Ok(refused(&refusal(code, &reason, &message))),
        Some(Fault::Unreachable) => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
        Some(Fault::Lost) => {
            drop(carry_out(&shared, request));
            pending().await
        }
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            Ok(carry_out(&shared, request))
        }
        Some(Fault::Late(time)) => {
            let late = async move {
                tokio::time::sleep(time).await;
                carry_out(&shared, request)
            };
            tokio::spawn(late).await.map_err(io::Error::other)
        }
    }
}

fn carry_out(shared: &Arc<Shared>, request: Request) -> Answer {
    let view = request.view;
    let answer = match request.task {
        Task::Get { resource, key } => shared
            .store()
            .find(&resource, &key)
            .map(|stored| whole(StatusCode::OK, read(stored, &resource, view)))
            .ok_or_else(|| not_found(&resource, &key.name)),
        Task::List { resource, selection } => Ok(list(shared, &resource, &selection, view)),
        Task::Watch(watch) => {
            let body = WatchBody::begin(shared, &request.facts.user, watch, view);
            Ok(response(StatusCode::OK, AnswerBody::Watch(body)))
        }
        Task::Write(write) => shared.write(&write).map(|written| match write.deed {
            Deed::Delete if written.is_gone => whole(StatusCode::OK, deleted(&write.resource, &written)),
            _ if written.is_new => whole(StatusCode::CREATED, written.object.json(view).clone()),
            _ => whole(StatusCode::OK, written.object.json(view).clone()),
        }),
    };
    answer.unwrap_or_else(|status| refused(&status))
}

/// An object that is read alone; a Secret with who owns what of it.
fn read(stored: &Stored, resource: &Resource, view: View) -> Bytes {
    if view != View::Whole || resource.nature != Nature::Secret {
        return stored.object.json(view).clone();
    }
    let mut object = Value::clone(&stored.object.value);
    object["metadata"]["managedFields"] = stored.managers.shown(&resource.api_version());
    object.to_string().into()
}

fn list(shared: &Shared, resource: &Resource, selection: &Selection, view: View) -> Answer {
    let store = shared.store();
    let (kind, api_version) = match view {
        View::Whole => (format!("{}List", resource.kind), resource.api_version()),
        View::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
    };
    let head = json!({"kind": kind, "apiVersion": api_version, "metadata": {"resourceVersion": store.version.to_string()}});
    let mut body = head.to_string().into_bytes();
    body.pop();
    body.extend_from_slice(b",\"items\":[");
    for (number, object) in store.select(resource, selection).enumerate() {
        if number > 0 {
            body.push(b',');
        }
        body.extend_from_slice(object.json(view));
    }
    body.extend_from_slice(b"]}");
    whole(StatusCode::OK, body.into())
}

fn deleted(resource: &Resource, written: &Written) -> Bytes {
    let details = json!({
        "name": written.object.metadata("name"),
        "group": resource.group,
        "kind": resource.plural,
        "uid": written.object.metadata("uid"),
    });
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
        .to_string()
        .into()
}

fn refused(status: &Status) -> Answer {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    whole(code, render(status).to_string().into())
}

fn whole(code: StatusCode, body: Bytes) -> Answer {
    response(code, AnswerBody::Whole(Some(body)))
}

fn response(code: StatusCode, body: AnswerBody) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
