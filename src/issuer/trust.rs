//! Whose certificates are accepted.

use std::error::Error;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt as _;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};

/// The certificates of a private CA, in PEM.
#[derive(Clone)]
pub struct CaBundle {
    pem: Arc<[u8]>,
    digest: [u8; 32],
    /// The tenant that brought it; not part of its identity.
    tenant: Option<Arc<str>>,
}

/// By its digest: bundles are compared at each call, and may be large.
impl PartialEq for CaBundle {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for CaBundle {}

impl Hash for CaBundle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

/// A bundle without a usable certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no valid PEM certificate")]
pub struct CaBundleError;

impl CaBundle {
    /// Accepts PEM with at least one certificate, all of which can be trust anchors.
    ///
    /// # Errors
    /// [`CaBundleError`].
    pub fn parse(pem: &[u8]) -> Result<Self, CaBundleError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|_| CaBundleError)?).map_err(|_| CaBundleError)?;
        }
        if roots.is_empty() {
            return Err(CaBundleError);
        }
        Ok(Self { pem: pem.into(), digest: Sha256::digest(pem).into(), tenant: None })
    }

    /// Its certificates as trust anchors.
    #[must_use]
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        // All of them can be anchors: `parse` accepted them.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&self.pem).flatten());
        roots
    }

    /// The same bundle, with its text kept where an equal one is.
    #[must_use]
    pub(super) fn interned(self, pem: Arc<[u8]>) -> Self {
        Self { pem, ..self }
    }

    /// The same bundle, brought by this tenant.
    #[must_use]
    pub(super) fn of_tenant(self, tenant: &str) -> Self {
        Self { tenant: Some(tenant.into()), ..self }
    }

    /// The tenant that brought it, if known.
    pub(super) fn tenant(&self) -> Option<&Arc<str>> {
        self.tenant.as_ref()
    }

    /// The PEM text as it is shared.
    pub(super) fn shared(&self) -> &Arc<[u8]> {
        &self.pem
    }

    /// The PEM text.
    #[must_use]
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// A digest that identifies the bundle.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl fmt::Debug for CaBundle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CaBundle").field("bytes", &self.pem.len()).finish_non_exhaustive()
    }
}

/// Whose certificate an issuer may show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// One that the system's roots vouch for.
    #[default]
    PublicRoots,
    /// One that this bundle vouches for, and no other.
    Bundle(CaBundle),
}

impl Trust {
    /// TLS 1.2 or newer with a server whose certificate is accepted, for HTTP/2 where the server speaks it, else HTTP/1.1.
    ///
    /// # Errors
    /// The system has no certificate authorities, or they cannot be read.
    pub fn tls(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = match self {
            Self::PublicRoots => builder.try_with_platform_verifier()?.with_no_client_auth(),
            Self::Bundle(bundle) => builder.with_root_certificates(bundle.roots()).with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// The next cause. `source` of an I/O error skips the error that it wraps: here, the TLS error inside two I/O errors.
pub(super) fn next_cause<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inside) => Some(inside),
        None => cause.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_needs_at_least_one_certificate_and_no_broken_one() {
        let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        let pem = authority.cert.pem();
        assert!(CaBundle::parse(pem.as_bytes()).is_ok());
        assert!(CaBundle::parse(format!("# a comment\n{pem}{pem}").as_bytes()).is_ok());
        for bad in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(CaBundle::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let broken = format!("{pem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(CaBundle::parse(broken.as_bytes()).is_err(), "one good and one broken");
    }
}
