//! The way to the API server below HTTP: a relay that can fall silent, and a proxy that is asked for tunnels.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::control_plane::ControlPlane;
use crate::error::{Error, Result};

/// After a failure to accept: out of file descriptors, say, and connections that end free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The head of a request for a tunnel is shorter.
const HEAD_LIMIT: usize = 8 * 1024;

/// A relay of bytes to the API server. It ends when it is dropped, and its connections with it.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    server: String,
    /// Whether each connection begins with a request for a tunnel, which leads to the API server whatever it names.
    is_proxy: bool,
    /// The heads of these requests.
    asked: Mutex<Vec<String>>,
    /// Sends when the connections of now are to fall silent.
    silence: watch::Sender<()>,
}

impl Wire {
    /// A relay. It runs on the tokio runtime in which it is started, as the next.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(control_plane: &ControlPlane) -> Result<Self> {
        Self::start_as(control_plane, false)
    }

    /// A proxy of HTTP for tunnels (`CONNECT`).
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start_proxy(control_plane: &ControlPlane) -> Result<Self> {
        Self::start_as(control_plane, true)
    }

    fn start_as(control_plane: &ControlPlane, is_proxy: bool) -> Result<Self> {
        let failed = |error: io::Error| Error::Proxy(error.into());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let server = control_plane.server().trim_start_matches("https://").to_owned();
        let (asked, silence) = (Mutex::default(), watch::Sender::new(()));
        let shared = Arc::new(Shared { server, is_proxy, asked, silence });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A copy of a kubeconfig, beside it, that names this server instead.
    ///
    /// # Errors
    /// When the file cannot be read, or its copy not be written.
    pub fn kubeconfig(&self, of: &Path, server: &str) -> Result<PathBuf> {
        let text = fs::read(of).map_err(Error::file("read", of))?;
        let mut kubeconfig: Value =
            serde_json::from_slice(&text).map_err(|error| Error::Proxy(error.into()))?;
        let cluster = &mut kubeconfig["clusters"][0]["cluster"];
        cluster["server"] = server.into();
        cluster["tls-server-name"] = "localhost".into();
        let path = of.with_extension(format!("{}.kubeconfig", self.address.port()));
        fs::write(&path, kubeconfig.to_string()).map_err(Error::file("write", &path))?;
        Ok(path)
    }

    /// From now on nothing passes on the connections of now, in either direction, and none of them ends. New ones pass.
    pub fn falls_silent(&self) {
        self.shared.silence.send_replace(());
    }

    /// The heads of all requests for tunnels.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Ends only by being aborted, and takes the connections with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let silence = shared.silence.subscribe();
                    connections.spawn(pass(stream, Arc::clone(&shared), silence));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Until either side ends it. What ends with an error is a connection that broke.
async fn pass(
    mut client: TcpStream,
    shared: Arc<Shared>,
    mut silence: watch::Receiver<()>,
) -> io::Result<()> {
    if shared.is_proxy {
        let head = tunnel(&mut client).await?;
        shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    }
    let mut server = TcpStream::connect(&shared.server).await?;
    tokio::select! {
        passed = tokio::io::copy_bidirectional(&mut client, &mut server) => passed.map(drop),
        _ = silence.changed() => std::future::pending().await,
    }
}

/// Grants a tunnel. Returns the head of the request.
async fn tunnel(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_LIMIT {
        head.push(client.read_u8().await?);
    }
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}
