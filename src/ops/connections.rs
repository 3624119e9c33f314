//! Connections from outside: never more of them at once than a limit.
//!
//! When all places are taken, a new connection replaces an idle one, or else one whose requests are all too slow. It
//! replaces one of the address with the most connections, and of these the one that was idle for longest. So an address
//! that opens many connections replaces its own, and probes still get answers.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::descriptors;
use super::transfer_rate::TransferRate;
use super::write_timeout::{WriteTimeout, WriteTimeoutStream};

/// How long to wait for a place, or for a descriptor, before room is made once more.
const ROOM_POLL: Duration = Duration::from_millis(50);

/// What a listener puts up with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most connections at once; no more than a third of the file descriptors in any case.
    pub connections: usize,
    /// How long the other end may take to read what is written to it.
    pub timeout: WriteTimeout,
}

/// A listener with a limited number of connections.
pub struct Connections {
    listener: TcpListener,
    limits: Limits,
    free: Arc<Semaphore>,
    table: Arc<Table>,
    /// Whether the lack of descriptors was already logged.
    is_told: bool,
}

impl Connections {
    /// Those of this listener.
    #[must_use]
    pub fn new(listener: TcpListener, limits: Limits) -> Self {
        let free = Arc::new(Semaphore::new(descriptors::share(limits.connections)));
        Self { listener, limits, free, table: Arc::default(), is_told: false }
    }

    /// Waits for the next connection.
    pub async fn next(&mut self) -> (TokioIo<WriteTimeoutStream>, Arc<ConnectionPermit>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.is_told = false;
                    let permit = self.acquire_permit().await;
                    let place = Table::enter(&self.table, peer.ip().to_canonical(), permit);
                    // If this fails, responses are only slower.
                    let _ = stream.set_nodelay(true);
                    return (TokioIo::new(WriteTimeoutStream::within(self.limits.timeout, stream)), place);
                }
                Err(error) => self.wait_after_error(&error).await,
            }
        }
    }

    /// Waits for a free place, and makes one.
    async fn acquire_permit(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                return permit;
            }
            self.table.evict_one();
            // The one that goes needs a moment. Where all are in use, the first that no longer is makes room.
            let waiting = tokio::time::timeout(ROOM_POLL, Arc::clone(&self.free).acquire_owned());
            if let Ok(Ok(permit)) = waiting.await {
                return permit;
            }
        }
    }

    async fn wait_after_error(&mut self, error: &io::Error) {
        if !descriptors::are_lacking(error) {
            tracing::debug!("a connection closed before it was accepted: {error}");
            return;
        }
        if !std::mem::replace(&mut self.is_told, true) {
            let allowed = descriptors::allowed();
            tracing::warn!(
                allowed,
                "raise the limit of open files; no file descriptors are left, so connections wait"
            );
        }
        let pause = if self.table.evict_one() { Duration::from_millis(1) } else { ROOM_POLL };
        tokio::time::sleep(pause).await;
    }
}

/// The connections, by place.
#[derive(Default)]
struct Table {
    places: Mutex<HashMap<u64, Entry>>,
    /// Counts what happened, so that one thing is known to be longer ago than another.
    events: AtomicU64,
}

struct Entry {
    peer: IpAddr,
    usage: Arc<Usage>,
}

/// How a connection is used.
struct Usage {
    /// The transfer rates of the requests in progress.
    requests: Mutex<HashMap<u64, Arc<TransferRate>>>,
    /// When it was made, or its last request ended.
    idle_since: AtomicU64,
    leave: Notify,
}

impl Table {
    fn enter(table: &Arc<Self>, peer: IpAddr, permit: OwnedSemaphorePermit) -> Arc<ConnectionPermit> {
        let id = table.now();
        let usage =
            Usage { requests: Mutex::default(), idle_since: AtomicU64::new(id), leave: Notify::new() };
        let usage = Arc::new(usage);
        table.lock().insert(id, Entry { peer, usage: Arc::clone(&usage) });
        Arc::new(ConnectionPermit { id, usage, table: Arc::clone(table), _permit: permit })
    }

    /// Closes an idle connection, or one that is too slow, if there is one.
    fn evict_one(&self) -> bool {
        self.close_one(Usage::is_idle) || self.close_one(Usage::is_slow)
    }

    /// Closes one of these connections, if there is one.
    fn close_one(&self, may_go: fn(&Usage) -> bool) -> bool {
        let mut places = self.lock();
        let mut numbers: HashMap<IpAddr, usize> = HashMap::new();
        for entry in places.values() {
            *numbers.entry(entry.peer).or_default() += 1;
        }
        let these = places.iter().filter(|(_, entry)| may_go(&entry.usage));
        let goes = these.min_by_key(|(_, entry)| {
            (Reverse(numbers.get(&entry.peer).copied()), entry.usage.idle_since.load(Ordering::Relaxed))
        });
        let goes = goes.map(|(id, _)| *id).and_then(|id| places.remove(&id));
        goes.inspect(|entry| entry.usage.leave.notify_one()).is_some()
    }

    /// A number for what happens now.
    fn now(&self) -> u64 {
        self.events.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Usage {
    fn is_idle(&self) -> bool {
        self.requests().is_empty()
    }

    fn is_slow(&self) -> bool {
        let requests = self.requests();
        !requests.is_empty() && requests.values().all(|transfer_rate| transfer_rate.is_slow())
    }

    fn requests(&self) -> MutexGuard<'_, HashMap<u64, Arc<TransferRate>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a connection. It is free again once the connection is over, and all requests on it.
pub struct ConnectionPermit {
    id: u64,
    usage: Arc<Usage>,
    table: Arc<Table>,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionPermit {
    /// Serves the connection to its end, or until it has to make room.
    pub async fn serve<E: Display>(self: Arc<Self>, connection: impl Future<Output = Result<(), E>>) {
        tokio::select! {
            ended = connection => if let Err(error) = ended {
                tracing::debug!("a connection ended: {error}");
            },
            () = self.usage.leave.notified() => tracing::debug!("closed a connection to accept another one"),
        }
    }

    /// A permit for a request, if there is one, or a connection goes whose requests are too slow.
    pub async fn permit(&self, free: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(free).try_acquire_owned() {
            return Some(permit);
        }
        if !self.table.close_one(Usage::is_slow) {
            return None;
        }
        tokio::time::timeout(ROOM_POLL, Arc::clone(free).acquire_owned()).await.ok()?.ok()
    }

    /// Starts a request, which holds its own permit if it needs one. The connection is in use until all of that is
    /// dropped.
    #[must_use]
    pub fn request(self: Arc<Self>, permit: Option<OwnedSemaphorePermit>) -> RequestGuard {
        let (id, transfer_rate) = (self.table.now(), Arc::new(TransferRate::new()));
        self.usage.requests().insert(id, Arc::clone(&transfer_rate));
        RequestGuard { request: Arc::new(Request { id, transfer_rate, place: self, _permit: permit }) }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.table.lock().remove(&self.id);
    }
}

/// A request in progress: its connection is not closed for others.
#[derive(Clone)]
pub struct RequestGuard {
    request: Arc<Request>,
}

struct Request {
    id: u64,
    transfer_rate: Arc<TransferRate>,
    place: Arc<ConnectionPermit>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl RequestGuard {
    /// The request's body, which the other end has to bring.
    pub fn with_request_body<B>(&self, body: B) -> RequestBody<B> {
        RequestBody { body, transfer_rate: Arc::clone(&self.request.transfer_rate) }
    }

    /// The answer's body, which is part of the request, and which the other end has to take.
    pub fn with_body<B>(self, body: B) -> ResponseBody<B> {
        ResponseBody { body, given: 0, in_use: self }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let usage = &self.place.usage;
        usage.idle_since.store(self.place.table.now(), Ordering::Relaxed);
        usage.requests().remove(&self.id);
    }
}

/// The body of a request in progress.
pub struct RequestBody<B> {
    body: B,
    transfer_rate: Arc<TransferRate>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let outcome = Pin::new(&mut self.body).poll_frame(context);
        match &outcome {
            Poll::Pending => self.transfer_rate.waits(),
            Poll::Ready(frame) => self.transfer_rate.moved(size(frame.as_ref())),
        }
        outcome
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for RequestBody<B> {
    fn drop(&mut self) {
        self.transfer_rate.moved(0);
    }
}

fn size<E>(frame: Option<&Result<Frame<Bytes>, E>>) -> usize {
    frame.and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len)
}

/// The body of a response in progress.
pub struct ResponseBody<B> {
    body: B,
    /// The bytes that were passed on last. The other side has received them when it asks for more.
    given: usize,
    in_use: RequestGuard,
}

impl<B: Body<Data = Bytes> + Unpin> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let given = std::mem::take(&mut self.given);
        if given > 0 {
            self.in_use.request.transfer_rate.moved(given);
        }
        let outcome = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(frame @ Some(_)) = &outcome {
            self.given = size(frame.as_ref());
            self.in_use.request.transfer_rate.waits();
        }
        outcome
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::ops::transfer_rate;
    use tokio::task::JoinHandle;

    struct TestTable {
        table: Arc<Table>,
        free: Arc<Semaphore>,
    }

    type Served = (Arc<ConnectionPermit>, JoinHandle<()>);

    impl TestTable {
        fn new() -> Self {
            Self { table: Arc::default(), free: Arc::new(Semaphore::new(100)) }
        }

        /// A connection from this address that says nothing.
        fn enter(&self, last: u8) -> Served {
            let permit = Arc::clone(&self.free).try_acquire_owned().unwrap();
            let place = Table::enter(&self.table, Ipv4Addr::new(10, 0, 0, last).into(), permit);
            let silent = std::future::pending::<Result<(), Infallible>>();
            (Arc::clone(&place), tokio::spawn(Arc::clone(&place).serve(silent)))
        }

        /// Which of these goes where one has to.
        async fn goes(&self, served: &[Served]) -> Option<usize> {
            self.table.evict_one();
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            served.iter().position(|(_, task)| task.is_finished())
        }
    }

    #[tokio::test]
    async fn the_peer_with_most_connections_loses_the_one_that_is_idle_for_longest() {
        let table = TestTable::new();
        let served = [table.enter(1), table.enter(2), table.enter(2), table.enter(2)];
        drop(Arc::clone(&served[1].0).request(None));
        assert_eq!(table.goes(&served).await, Some(2), "the first of the three had a request since");
    }

    #[tokio::test(start_paused = true)]
    async fn where_none_is_idle_one_makes_room_whose_requests_are_all_too_slow() {
        let table = TestTable::new();
        let served = [table.enter(1), table.enter(1), table.enter(1)];
        let request = |number: usize| Arc::clone(&served[number].0).request(None);
        let requests = [request(0), request(1), request(1), request(2)];
        assert_eq!(table.goes(&served).await, None);
        // The first waits for the upstream, the second is too slow with one of two only.
        for slow in [1, 3] {
            requests[slow].request.transfer_rate.waits();
        }
        tokio::time::sleep(transfer_rate::GRACE).await;
        assert_eq!(table.goes(&served).await, Some(2));
    }

    #[tokio::test]
    async fn a_connection_in_use_makes_no_room_and_keeps_its_place_until_its_last_request_is_over() {
        let table = TestTable::new();
        let (place, task) = table.enter(1);
        let request = Arc::clone(&place).request(None);
        let served = [(place, task)];
        assert_eq!(table.goes(&served).await, None);
        let [(place, task)] = served;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        drop(place);
        assert_eq!(table.free.available_permits(), 99, "a connection that went on in another protocol");
        drop(request);
        assert_eq!(table.free.available_permits(), 100);
        assert!(table.table.lock().is_empty());
    }
}
