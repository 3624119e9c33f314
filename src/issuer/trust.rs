//! Whose certificates are accepted.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use sha2::{Digest, Sha256};

/// The certificates of a private CA, in PEM.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CaBundle {
    pem: Arc<[u8]>,
    digest: [u8; 32],
}

/// A bundle without a usable certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no PEM certificate that can be used")]
pub struct CaBundleDefect;

impl CaBundle {
    /// Accepts PEM with at least one certificate, all of which can be trust anchors.
    ///
    /// # Errors
    /// [`CaBundleDefect`].
    pub fn parse(pem: &[u8]) -> Result<Self, CaBundleDefect> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|_| CaBundleDefect)?).map_err(|_| CaBundleDefect)?;
        }
        if roots.is_empty() {
            return Err(CaBundleDefect);
        }
        Ok(Self { pem: pem.into(), digest: Sha256::digest(pem).into() })
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
    pub(super) fn kept_in(self, pem: Arc<[u8]>) -> Self {
        Self { pem, ..self }
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

    /// A digest that tells bundles apart.
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

/// Whether it was TLS that kept a connection from coming about, as with a certificate that nobody vouches for.
#[must_use]
pub fn is_tls_failure(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(error.source(), |&cause| beneath(cause)).any(<dyn Error>::is::<rustls::Error>)
}

/// The next cause. An I/O error hides what it wraps from `source`, which goes on beneath that: here, the TLS
/// library's error inside of two I/O errors.
fn beneath<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
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
