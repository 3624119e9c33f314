//! Certificates for https.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    },
};

use crate::StartError;

/// What a server needs to speak https.
pub(crate) struct Identity {
    pub(crate) acceptor: TlsAcceptor,
    /// The authority, where it was made here.
    pub(crate) ca_pem: Option<String>,
}

/// A new authority, and a certificate of it for these names.
pub(crate) fn generated(names: Vec<String>) -> Result<Identity, StartError> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "idissuer-simulator CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate().map_err(StartError::Certificate)?;
    let ca_pem = authority.self_signed(&authority_key).map_err(StartError::Certificate)?.pem();

    let mut server = CertificateParams::new(names).map_err(StartError::Certificate)?;
    server.distinguished_name.push(DnType::CommonName, "idissuer-simulator");
    let server_key = KeyPair::generate().map_err(StartError::Certificate)?;
    let certificate = server
        .signed_by(&server_key, &Issuer::new(authority, authority_key))
        .map_err(StartError::Certificate)?;

    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
    let acceptor = acceptor(vec![certificate.der().clone()], key)?;
    Ok(Identity { acceptor, ca_pem: Some(ca_pem) })
}

pub(crate) fn given(certificate: &[u8], key: &[u8]) -> Result<Identity, StartError> {
    let chain =
        CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>().map_err(StartError::Pem)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(StartError::Pem)?;
    Ok(Identity { acceptor: acceptor(chain, key)?, ca_pem: None })
}

fn acceptor(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, StartError> {
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
        .map_err(StartError::Tls)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
