//! The proxy: it puts the token into the requests of a program that then never sees one.
//!
//! It forwards to one upstream, sends a token only while it is certainly valid, and otherwise reports why there is
//! none. When the upstream calls a token expired, one new token is requested for all waiting requests.
//!
//! ```text
//! program ──► listener ──► forward ──► upstream
//!                           │    ▲
//!                   headers ┘    └── TokenReceiver: the token, and a newer one
//! ```

mod buffered_body;
mod forward;
mod headers;
mod listener;
mod refusal;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

pub use super::callers::HostName;
pub(super) use forward::Proxy;
pub(super) use listener::serve;
pub use upstream::{Upstream, UpstreamError};

/// A body on its way through, in either direction.
type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The most requests to the proxy at once: each may need a connection to the upstream and about 300 KiB of buffers, and all
/// of them must fit into the memory of a small container.
const REQUESTS: usize = 256;
/// What is read ahead of a head or a body, and what waits to be written, of each connection of HTTP/1 and each stream of
/// HTTP/2. Heads have to fit in.
const BUFFER: usize = 64 * 1024;

/// How long the body of a request may stall before it is aborted.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// What the proxy is started with.
#[derive(Clone)]
pub struct ProxySettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it forwards to.
    pub upstream: Arc<Upstream>,
    /// By which names it goes, beside addresses and `localhost`.
    pub allowed_hosts: Vec<HostName>,
}
