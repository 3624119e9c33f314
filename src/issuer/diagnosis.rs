//! Why a call failed, from the errors of the libraries.

use std::error::Error;
use std::fs::File;
use std::io::{self, ErrorKind};

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::transport::TransportError;
use super::trust::{Trust, next_cause};
use crate::core::connection_failure::ConnectionFailure;
use crate::ops::descriptors;

/// Why a connection failed, from its error.
#[must_use]
pub fn connect_failure(error: &(dyn Error + 'static), trust: &Trust) -> ConnectionFailure {
    match failure_of(error, trust) {
        ConnectionFailure::Lost => ConnectionFailure::ClosedEarly,
        other => other,
    }
}

fn failure_of(error: &(dyn Error + 'static), trust: &Trust) -> ConnectionFailure {
    let causes = || std::iter::successors(Some(error), |&cause| next_cause(cause));
    let lacks_descriptors =
        |cause: &(dyn Error + 'static)| cause.downcast_ref().is_some_and(descriptors::are_lacking);
    // A proxy may itself be one that speaks TLS, so its failures come first.
    (causes().any(lacks_descriptors).then_some(ConnectionFailure::TooManyOpenFiles))
        .or_else(|| causes().find_map(of_proxy))
        .or_else(|| causes().find_map(|cause| Some(of_tls(cause.downcast_ref()?, trust))))
        .or_else(|| causes().find_map(|cause| of_io(cause.downcast_ref()?)))
        .or_else(|| causes().find_map(of_resolver))
        .or_else(|| causes().find_map(of_http))
        .unwrap_or(ConnectionFailure::Lost)
}

/// Why a call of the HTTP client failed, and whether its request was certainly not sent. What is not certain may have
/// been carried out.
pub(super) fn diagnose(error: &reqwest::Error, trust: &Trust, is_proxied: bool) -> TransportError {
    if !error.is_connect() && !error.is_builder() {
        let connection_failure = failure_of(error, trust);
        let is_late = error.is_timeout() || connection_failure == ConnectionFailure::ConnectTimedOut;
        return TransportError::perhaps_sent(if is_late {
            ConnectionFailure::TimedOut
        } else {
            connection_failure
        });
    }
    let connection_failure = match connect_failure(error, trust) {
        ConnectionFailure::ClosedEarly if error.is_timeout() => ConnectionFailure::ConnectTimedOut,
        other => other,
    };
    TransportError::not_sent(if is_proxied { via_proxy(connection_failure) } else { connection_failure })
}

/// With a proxy, a failed connection is one to the proxy.
fn via_proxy(connection_failure: ConnectionFailure) -> ConnectionFailure {
    match connection_failure {
        ConnectionFailure::NameUnresolved
        | ConnectionFailure::Refused
        | ConnectionFailure::NoRoute
        | ConnectionFailure::ConnectTimedOut => ConnectionFailure::ProxyUnreachable,
        other => other,
    }
}

/// Why TLS cannot even be set up: the system's authorities are not there, or cannot be opened.
pub(super) fn without_tls() -> TransportError {
    let connection_failure = if lacks_descriptors() {
        ConnectionFailure::TooManyOpenFiles
    } else {
        ConnectionFailure::NoAuthorities
    };
    TransportError::not_sent(connection_failure)
}

/// The resolver and the certificate loader do not report this cause.
fn lacks_descriptors() -> bool {
    File::open("/dev/null").is_err_and(|error| descriptors::are_lacking(&error))
}

/// Only the text of the connector's errors distinguishes them.
fn of_resolver(cause: &(dyn Error + 'static)) -> Option<ConnectionFailure> {
    (cause.to_string() == "dns error").then(|| {
        if lacks_descriptors() {
            ConnectionFailure::TooManyOpenFiles
        } else {
            ConnectionFailure::NameUnresolved
        }
    })
}

/// The library keeps the type of this error to itself; its text is all there is.
fn of_proxy(cause: &(dyn Error + 'static)) -> Option<ConnectionFailure> {
    let text = cause.to_string();
    Some(match text.strip_prefix("tunnel error: ")? {
        "failed to create underlying connection" => ConnectionFailure::ProxyUnreachable,
        "proxy authorization required" => ConnectionFailure::ProxyWantsLogin,
        _ => ConnectionFailure::ProxyRefused,
    })
}

fn of_tls(error: &TlsError, trust: &Trust) -> ConnectionFailure {
    match error {
        TlsError::InvalidCertificate(error) => of_certificate(error, trust),
        TlsError::NoCertificatesPresented | TlsError::UnsupportedNameType => {
            ConnectionFailure::CertificateInvalid
        }
        TlsError::InvalidMessage(_) => ConnectionFailure::NoTls,
        TlsError::PeerIncompatible(_) => ConnectionFailure::TlsIncompatible,
        TlsError::AlertReceived(alert) => of_alert(*alert),
        _ => ConnectionFailure::TlsFailed,
    }
}

fn of_certificate(error: &CertificateError, trust: &Trust) -> ConnectionFailure {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
        NotValidYetContext, Other, UnknownIssuer,
    };
    match error {
        Expired | ExpiredContext { .. } => ConnectionFailure::CertificateExpired,
        NotValidYet | NotValidYetContext { .. } => ConnectionFailure::CertificateNotYetValid,
        NotValidForNameContext { presented, .. } if presented.is_empty() => {
            ConnectionFailure::CertificateWithoutName
        }
        NotValidForName | NotValidForNameContext { .. } => ConnectionFailure::CertificateWrongHost,
        // An authority may have got a new key, and kept its name.
        UnknownIssuer | BadSignature if *trust == Trust::PublicRoots => {
            ConnectionFailure::CertificateUntrusted
        }
        UnknownIssuer | BadSignature => ConnectionFailure::CertificateNotInBundle,
        // The verifier's own error, whose type belongs to another library.
        Other(other) if other.0.to_string() == "CaUsedAsEndEntity" => {
            ConnectionFailure::CertificateOfAuthority
        }
        _ => ConnectionFailure::CertificateInvalid,
    }
}

fn of_alert(alert: AlertDescription) -> ConnectionFailure {
    match alert {
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
            ConnectionFailure::TlsIncompatible
        }
        // TLS 1.2 has no specific alert for a required client certificate: servers send one of these.
        AlertDescription::HandshakeFailure | AlertDescription::BadCertificate => {
            ConnectionFailure::HandshakeRefused
        }
        AlertDescription::UnrecognisedName => ConnectionFailure::TlsNameUnknown,
        AlertDescription::CertificateRequired => ConnectionFailure::ClientCertificateWanted,
        _ => ConnectionFailure::TlsFailed,
    }
}

fn of_io(error: &io::Error) -> Option<ConnectionFailure> {
    Some(match error.kind() {
        ErrorKind::ConnectionRefused => ConnectionFailure::Refused,
        ErrorKind::NetworkUnreachable
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable
        | ErrorKind::PermissionDenied => ConnectionFailure::NoRoute,
        ErrorKind::TimedOut => ConnectionFailure::ConnectTimedOut,
        _ => return None,
    })
}

fn of_http(cause: &(dyn Error + 'static)) -> Option<ConnectionFailure> {
    cause
        .downcast_ref::<hyper::Error>()
        .filter(|error| error.is_parse() && !error.is_parse_too_large())
        .map(|_| ConnectionFailure::NotHttp)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::io::Errno;
    use rustls::{OtherError, PeerIncompatible};

    use super::*;

    #[test]
    fn the_cause_is_found_beneath_what_wraps_it() {
        let wrapped = |inner: TlsError| io::Error::other(io::Error::other(inner));
        let cases = [
            (TlsError::InvalidCertificate(CertificateError::Expired), ConnectionFailure::CertificateExpired),
            (
                TlsError::InvalidCertificate(CertificateError::NotValidYet),
                ConnectionFailure::CertificateNotYetValid,
            ),
            (
                TlsError::InvalidCertificate(CertificateError::BadSignature),
                ConnectionFailure::CertificateUntrusted,
            ),
            (
                TlsError::InvalidCertificate(CertificateError::UnknownIssuer),
                ConnectionFailure::CertificateUntrusted,
            ),
            (
                TlsError::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                ConnectionFailure::TlsIncompatible,
            ),
            (TlsError::AlertReceived(AlertDescription::UnrecognisedName), ConnectionFailure::TlsNameUnknown),
            (
                TlsError::AlertReceived(AlertDescription::HandshakeFailure),
                ConnectionFailure::HandshakeRefused,
            ),
            (TlsError::AlertReceived(AlertDescription::BadCertificate), ConnectionFailure::HandshakeRefused),
            (
                TlsError::AlertReceived(AlertDescription::CertificateRequired),
                ConnectionFailure::ClientCertificateWanted,
            ),
            (TlsError::AlertReceived(AlertDescription::InternalError), ConnectionFailure::TlsFailed),
            (TlsError::Other(OtherError(Arc::new(io::Error::other("odd")))), ConnectionFailure::TlsFailed),
        ];
        for (error, expected) in cases {
            assert_eq!(failure_of(&wrapped(error.clone()), &Trust::PublicRoots), expected, "{error:?}");
        }
    }

    #[test]
    fn an_error_of_the_system_is_recognised_by_its_number() {
        let cases = [
            (Errno::MFILE, ConnectionFailure::TooManyOpenFiles),
            (Errno::NFILE, ConnectionFailure::TooManyOpenFiles),
            (Errno::CONNREFUSED, ConnectionFailure::Refused),
            (Errno::NETUNREACH, ConnectionFailure::NoRoute),
            (Errno::HOSTUNREACH, ConnectionFailure::NoRoute),
            (Errno::ACCESS, ConnectionFailure::NoRoute),
            (Errno::TIMEDOUT, ConnectionFailure::ConnectTimedOut),
            (Errno::CONNRESET, ConnectionFailure::Lost),
        ];
        for (number, expected) in cases {
            assert_eq!(failure_of(&io::Error::from(number), &Trust::PublicRoots), expected, "{number:?}");
        }
    }
}
