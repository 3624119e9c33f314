//! The simulator on real sockets.
//!
//! ```text
//! Server ── task: accept loop of the API ── one task per connection (hyper, so that faults are real on the wire)
//!        └─ task: axum on the control address
//! ```
//!
//! All tasks end when the [`Server`] is dropped; calls in flight are cut off.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Deref,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::{Config, Simulator, Tls, control, tls, wire};

/// After a failure to accept: out of file descriptors, say, and connections that end free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A simulator that serves HTTP. It is a [`Simulator`] by dereference: `server.configure(…)`, `server.counts()`.
#[derive(Debug)]
pub struct Server {
    simulator: Simulator,
    api: SocketAddr,
    control: SocketAddr,
    https: bool,
    ca_pem: Option<Arc<str>>,
    accepting: JoinHandle<()>,
    /// Dropped to stop the control address.
    _controlling: oneshot::Sender<()>,
}

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Certificate(#[source] rcgen::Error),
    /// The given certificate or key is not PEM.
    #[error("the certificate or its key is not PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// The certificate and its key cannot be used.
    #[error("the certificate and its key cannot be used")]
    Tls(#[source] rustls::Error),
}

impl Server {
    pub(crate) async fn start(config: Config) -> Result<Self, StartError> {
        let identity = match &config.tls {
            Tls::Off => None,
            Tls::Generated { names } => Some(tls::generated(names.clone())?),
            Tls::Given { certificate, key } => Some(tls::given(certificate, key)?),
        };
        let (listener, api) = listen(config.listen).await?;
        let (control_listener, control) = listen(config.control_listen).await?;
        let simulator = Simulator::new(config);

        let https = identity.is_some();
        let (acceptor, ca_pem) = identity.map(|identity| (identity.acceptor, identity.ca_pem)).unzip();
        let ca_pem: Option<Arc<str>> = ca_pem.flatten().map(Arc::from);
        let accepting = tokio::spawn(accept(listener, acceptor, simulator.clone()));
        let (controlling, stopped) = oneshot::channel();
        tokio::spawn(control::serve(control_listener, simulator.clone(), ca_pem.clone(), stopped));
        Ok(Self { simulator, api, control, https, ca_pem, accepting, _controlling: controlling })
    }

    /// The origin of the API, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.api)
    }

    /// The origin of the control, without a slash at the end.
    #[must_use]
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control)
    }

    /// The authority that signed the certificate, in PEM, where one was made at start.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// The simulator itself, to be kept beyond the server.
    #[must_use]
    pub fn simulator(&self) -> &Simulator {
        &self.simulator
    }

    /// Stops and waits until the API's port is free. Calls in flight are cut off.
    pub async fn stop(mut self) {
        self.accepting.abort();
        // It ends by being cancelled.
        let _ = (&mut self.accepting).await;
    }
}

impl Deref for Server {
    type Target = Simulator;

    fn deref(&self) -> &Simulator {
        &self.simulator
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bind = async {
        let listener = match TcpListener::bind(address).await {
            // A machine without IPv6.
            Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && error.kind() != ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await?
            }
            outcome => outcome?,
        };
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bind.await.map_err(|source| StartError::Listen { address, source })
}

/// Ends only by being aborted, and takes the connections with it.
async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, simulator: Simulator) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, acceptor.clone(), simulator.clone()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => (),
        }
    }
}

async fn connection(stream: TcpStream, acceptor: Option<TlsAcceptor>, simulator: Simulator) {
    // Trickled bytes are to leave one by one; where that cannot be set, they leave in lumps.
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => wire::serve(stream, simulator).await,
        Some(acceptor) => {
            // A caller that does not trust the certificate ends the handshake: nothing to serve.
            if let Ok(stream) = acceptor.accept(stream).await {
                wire::serve(stream, simulator).await;
            }
        }
    }
}
