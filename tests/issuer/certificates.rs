//! Servers whose TLS is wrong: nothing is ever sent to them.

use std::sync::Arc;

use idissuer::core::connection_failure::ConnectionFailure;
use idissuer::issuer::{IssuerError, TransportError};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs};

use crate::support::{AMPLE, Caller, RawServer, TRANSIENT_NOT_SENT, drain, good_answer, within};

const fn because(obstacle: ConnectionFailure) -> IssuerError {
    IssuerError::Transport(TransportError::not_sent(obstacle))
}

/// A certificate, its key, and the authority that signed it.
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pub(crate) ca_pem: String,
}

impl Identity {
    /// For these names, by a new authority; `change` spoils it.
    pub(crate) fn make(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (authority, ca_pem) = make_authority();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        Self { chain: vec![certificate.der().clone()], key: private_key(&key), ca_pem }
    }

    pub(crate) fn self_signed(names: &[&str]) -> Self {
        let (_, ca_pem) = make_authority();
        Self { ca_pem, ..Self::authority(names, IsCa::NoCa) }
    }

    /// As `openssl req -x509` makes it by default, where it is a CA: trusted itself.
    pub(crate) fn authority(names: &[&str], is_ca: IsCa) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = is_ca;
        let certificate = params.self_signed(&key).unwrap();
        Self { chain: vec![certificate.der().clone()], key: private_key(&key), ca_pem: certificate.pem() }
    }

    pub(crate) fn server(&self) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .unwrap()
    }
}

fn make_authority() -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "authority of a test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

fn private_key(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

pub(crate) async fn serve(identity: &Identity) -> RawServer {
    let acceptor = TlsAcceptor::from(Arc::new(identity.server()));
    RawServer::start(move |stream, requests| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while requests.read(&mut stream).await.is_some() {
                stream.write_all(good_answer().as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_certificate_that_is_not_good_is_not_trusted_and_its_fault_is_named() {
    let here = &["127.0.0.1"];
    let good = Identity::make(here, |_| ());
    let server = serve(&good).await;
    assert!(Caller::of(&server.https_url()).trusting(&good.ca_pem).login().await.is_ok(), "the good one");
    let purpose = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    };
    let past = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let future = |params: &mut CertificateParams| params.not_before = rcgen::date_time_ymd(2999, 1, 1);
    let authority = IsCa::Ca(BasicConstraints::Unconstrained);
    let bad = [
        (Identity::make(here, past), ConnectionFailure::CertificateExpired),
        (Identity::make(here, future), ConnectionFailure::CertificateNotYetValid),
        (Identity::make(&["localhost", "127.0.0.2"], |_| ()), ConnectionFailure::CertificateWrongHost),
        (Identity::make(&[], |_| ()), ConnectionFailure::CertificateWithoutName),
        (Identity::self_signed(here), ConnectionFailure::CertificateNotInBundle),
        (Identity::authority(here, authority), ConnectionFailure::CertificateOfAuthority),
        (Identity::make(here, purpose), ConnectionFailure::CertificateInvalid),
    ];
    for (identity, obstacle) in bad {
        let server = serve(&identity).await;
        let caller = Caller::of(&server.https_url()).trusting(&identity.ca_pem);
        let error = within(AMPLE, caller.login_error()).await;
        assert_eq!((error, error.class()), (because(obstacle), TRANSIENT_NOT_SENT));
        assert_eq!(server.requests().len(), 0, "{obstacle:?}");
        assert_eq!(server.connections(), 1, "{obstacle:?}: tried once");
    }
}

/// A TLS record: its type, the version that it claims, and its content.
fn record(kind: u8, version: [u8; 2], content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind], &version[..], &length, content].concat()
}

/// The hello of a server that speaks TLS 1.1 and nothing newer (RFC 4346 §7.4.1.3).
fn hello_of_tls_1_1() -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // No session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
    hello.extend([0, 0x00, 0x2f, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    record(22, [3, 2], &[&[2, 0, 0, length], &hello[..]].concat())
}

#[tokio::test]
async fn what_is_no_modern_tls_gets_no_request() {
    let alert = |description| record(21, [3, 1], &[2, description]);
    let cases = [
        ("TLS 1.1 only", hello_of_tls_1_1(), ConnectionFailure::TlsIncompatible),
        ("an alert: protocol version", alert(70), ConnectionFailure::TlsIncompatible),
        ("an alert: handshake failure", alert(40), ConnectionFailure::HandshakeRefused),
        ("an alert: bad certificate", alert(42), ConnectionFailure::HandshakeRefused),
        ("an alert: unrecognised name", alert(112), ConnectionFailure::TlsNameUnknown),
        ("an alert: internal error", alert(80), ConnectionFailure::TlsFailed),
        ("plain http", http_error().into_bytes(), ConnectionFailure::NoTls),
        ("garbage", (0..=255).rev().cycle().take(5000).collect(), ConnectionFailure::NoTls),
        ("closed at once", Vec::new(), ConnectionFailure::ClosedEarly),
        ("closed within a record", vec![22, 3, 3], ConnectionFailure::ClosedEarly),
    ];
    for (name, answer, expected) in cases {
        let answer: Arc<[u8]> = answer.into();
        let server = RawServer::start(move |mut stream, _| {
            let answer = Arc::clone(&answer);
            async move {
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
                drain(&mut stream).await;
            }
        })
        .await;
        let identity = Identity::make(&["127.0.0.1"], |_| ());
        let caller = Caller::of(&server.https_url()).trusting(&identity.ca_pem);
        let error = within(AMPLE, caller.login_error()).await;
        assert_eq!((error, error.class()), (because(expected), TRANSIENT_NOT_SENT), "{name}");
    }
}

fn http_error() -> String {
    crate::support::http("400 Bad Request", "", "the plain http request was sent to an https port")
}

#[tokio::test]
async fn an_https_request_is_never_sent_in_the_clear() {
    let server = RawServer::answering(good_answer()).await;
    let error = Caller::of(&server.https_url()).limit(crate::support::SHORT).login_error().await;
    assert!(matches!(error, IssuerError::Transport(_)), "{error:?}");
    assert!(server.requests().is_empty());
}
