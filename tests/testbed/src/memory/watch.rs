//! Watches: answers that go on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::Frame;
use serde_json::json;
use tokio::time::Sleep;

use super::object::{Object, View};
use super::request::{Selection, WatchRequest};
use super::resource::Resource;
use super::shared::Shared;
use super::status::{expired, render};
use super::store::Store;

/// When a client names no limit. The real one chooses at random between this and its double.
const DEFAULT_SECONDS: u64 = 1800;

/// An open watch, as the store knows it.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) user: String,
    pub(super) resource: Resource,
    selection: Selection,
    view: View,
    bookmarks: bool,
    /// Sent up to this version.
    told: u64,
    /// What it begins with.
    first: Option<Bytes>,
    pub(super) is_broken: bool,
    /// Set while it waits for changes.
    pub(super) waker: Option<Waker>,
}

/// The body of the answer to a watch.
#[derive(Debug)]
pub(super) struct WatchBody {
    shared: Arc<Shared>,
    number: u64,
    end: Pin<Box<Sleep>>,
}

impl WatchBody {
    pub(super) fn begin(shared: &Arc<Shared>, user: &str, request: WatchRequest, view: View) -> Self {
        let seconds = request.seconds.unwrap_or(DEFAULT_SECONDS);
        let mut store = shared.store();
        store.begun_watches += 1;
        let number = store.begun_watches;
        let first = request.version.is_none().then(|| initial_events(&store, &request, view));
        let watch = Watch {
            user: user.to_owned(),
            resource: request.resource,
            told: request.version.unwrap_or(store.version),
            selection: request.selection,
            view,
            bookmarks: request.bookmarks,
            first,
            is_broken: false,
            waker: None,
        };
        store.watches.insert(number, watch);
        drop(store);
        let end = Box::pin(tokio::time::sleep(Duration::from_secs(seconds)));
        Self { shared: Arc::clone(shared), number, end }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut store = self.shared.store();
        let is_silent = {
            let Some(watch) = store.watches.get(&self.number) else { return Poll::Ready(None) };
            if watch.is_broken {
                store.watches.remove(&self.number);
                return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::ConnectionReset))));
            }
            store.silent.contains(&watch.user)
        };
        let news = if is_silent { Bytes::new() } else { news(&mut store, self.number) };
        if !news.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(news))));
        }
        if self.end.as_mut().poll(context).is_ready() {
            let version = store.version;
            let watch = store.watches.remove(&self.number).filter(|watch| watch.bookmarks && !is_silent);
            let last = watch.map(|watch| bookmark(&watch.resource, watch.view, version));
            return Poll::Ready(last.map(|last| Ok(Frame::data(last))));
        }
        if let Some(watch) = store.watches.get_mut(&self.number) {
            watch.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for WatchBody {
    fn drop(&mut self) {
        self.shared.store().watches.remove(&self.number);
    }
}

/// The changes that a watch has not sent yet, encoded.
fn news(store: &mut Store, number: u64) -> Bytes {
    let newest = store.version;
    let Some(watch) = store.watches.get_mut(&number) else { return Bytes::new() };
    let mut lines = BytesMut::from(watch.first.take().unwrap_or_default());
    let collection = store.collections.entry(watch.resource).or_default();
    let Some(happenings) = collection.since(watch.told) else {
        let status = expired(watch.told, collection.forgotten);
        lines.put(event("ERROR", &render(&status).to_string().into()));
        store.watches.remove(&number);
        return lines.freeze();
    };
    for happening in happenings.filter(|happening| watch.selection.holds(&happening.key)) {
        lines.put(event(happening.kind, happening.object.json(watch.view)));
    }
    watch.told = newest.max(watch.told);
    lines.freeze()
}

fn initial_events(store: &Store, request: &WatchRequest, view: View) -> Bytes {
    let mut lines = BytesMut::new();
    for object in store.select(&request.resource, &request.selection) {
        lines.put(event("ADDED", object.json(view)));
    }
    lines.freeze()
}

fn bookmark(resource: &Resource, view: View, version: u64) -> Bytes {
    let metadata = json!({"resourceVersion": version.to_string()});
    let object = Object::new(
        json!({"kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata}),
    );
    event("BOOKMARK", object.json(view))
}

fn event(kind: &str, object: &Bytes) -> Bytes {
    let mut line = BytesMut::with_capacity(object.len() + kind.len() + 25);
    line.put_slice(b"{\"type\":\"");
    line.put_slice(kind.as_bytes());
    line.put_slice(b"\",\"object\":");
    line.put_slice(object);
    line.put_slice(b"}\n");
    line.freeze()
}
