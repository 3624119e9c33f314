//! The way from the proxy to the API server.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certificates::Identity;
use crate::control_plane::{ControlPlane, install_crypto_provider};
use crate::error::{Error, Result};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where the API server is, and as whom it is called.
pub(super) struct Upstream {
    address: String,
    connector: TlsConnector,
}

impl Upstream {
    pub(super) fn new(control_plane: &ControlPlane, user: &str, group: Option<&str>) -> Result<Self> {
        install_crypto_provider();
        let identity = control_plane.identity(user, group)?;
        let config = config(&control_plane.authority(), &identity).map_err(Error::Proxy)?;
        let server = control_plane.server();
        let address = server.trim_start_matches("https://").to_owned();
        Ok(Self { address, connector: Arc::new(config).into() })
    }

    async fn connect(&self) -> Result<SendRequest<Incoming>, Failure> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.connector.connect(ServerName::try_from("localhost")?, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the sender and the body of the last answer.
        tokio::spawn(connection);
        Ok(sender)
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Upstream").field("address", &self.address).finish_non_exhaustive()
    }
}

/// HTTP/1.1 only: one request of a connection at a time, so that each can be cut off by itself.
fn config(authority: &str, identity: &Identity) -> Result<rustls::ClientConfig, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    Ok(config.with_client_auth_cert(vec![certificate], key)?)
}

/// The connection to the API server that belongs to one of the client's.
#[derive(Default)]
pub(super) struct Line(tokio::sync::Mutex<Option<SendRequest<Incoming>>>);

impl Line {
    /// Sends a request, over a new connection where the last one has ended.
    pub(super) async fn send(
        &self,
        upstream: &Upstream,
        request: Request<Incoming>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut slot = self.0.lock().await;
        let is_open = match slot.as_mut() {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            *slot = None;
        }
        let sender = match slot.as_mut() {
            Some(sender) => sender,
            None => slot.insert(upstream.connect().await?),
        };
        Ok(sender.send_request(request).await?)
    }
}
