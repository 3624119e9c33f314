//! Why a call failed, from what the libraries beneath say.

use std::error::Error;
use std::fs::File;
use std::io::{self, ErrorKind};

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::transport::TransportError;
use super::trust::{Trust, beneath};
use crate::core::obstacle::Obstacle;
use crate::ops::descriptors;

/// What kept a connection from coming about, as far as the error tells.
#[must_use]
pub fn obstacle_to_connecting(error: &(dyn Error + 'static), trust: &Trust) -> Obstacle {
    match obstacle_of(error, trust) {
        Obstacle::Lost => Obstacle::ClosedEarly,
        other => other,
    }
}

fn obstacle_of(error: &(dyn Error + 'static), trust: &Trust) -> Obstacle {
    let causes = || std::iter::successors(Some(error), |&cause| beneath(cause));
    let lacks_descriptors =
        |cause: &(dyn Error + 'static)| cause.downcast_ref().is_some_and(descriptors::are_lacking);
    // A proxy may itself be one that speaks TLS, so its failures come first.
    (causes().any(lacks_descriptors).then_some(Obstacle::TooManyOpenFiles))
        .or_else(|| causes().find_map(of_proxy))
        .or_else(|| causes().find_map(|cause| Some(of_tls(cause.downcast_ref()?, trust))))
        .or_else(|| causes().find_map(|cause| of_io(cause.downcast_ref()?)))
        .or_else(|| causes().find_map(of_resolver))
        .or_else(|| causes().find_map(of_http))
        .unwrap_or(Obstacle::Lost)
}

/// Why a call of the HTTP client failed, and whether its request was certainly not sent. What is not certain may have
/// been carried out.
pub(super) fn diagnose(error: &reqwest::Error, trust: &Trust, is_proxied: bool) -> TransportError {
    if !error.is_connect() && !error.is_builder() {
        let obstacle = obstacle_of(error, trust);
        let is_late = error.is_timeout() || obstacle == Obstacle::ConnectTimedOut;
        return TransportError::perhaps_sent(if is_late { Obstacle::TimedOut } else { obstacle });
    }
    let obstacle = match obstacle_to_connecting(error, trust) {
        Obstacle::ClosedEarly if error.is_timeout() => Obstacle::ConnectTimedOut,
        other => other,
    };
    TransportError::not_sent(if is_proxied { by_way_of_a_proxy(obstacle) } else { obstacle })
}

/// With a proxy in between, a connection that does not come about is one to the proxy.
fn by_way_of_a_proxy(obstacle: Obstacle) -> Obstacle {
    match obstacle {
        Obstacle::NameUnresolved | Obstacle::Refused | Obstacle::NoRoute | Obstacle::ConnectTimedOut => {
            Obstacle::ProxyUnreachable
        }
        other => other,
    }
}

/// Why TLS cannot even be set up: the system's authorities are not there, or cannot be opened.
pub(super) fn without_tls() -> TransportError {
    let obstacle = if lacks_descriptors() { Obstacle::TooManyOpenFiles } else { Obstacle::NoAuthorities };
    TransportError::not_sent(obstacle)
}

/// The resolver and the loader of certificates do not say that it was this.
fn lacks_descriptors() -> bool {
    File::open("/dev/null").is_err_and(|error| descriptors::are_lacking(&error))
}

/// The connector tells its own errors apart by their text alone.
fn of_resolver(cause: &(dyn Error + 'static)) -> Option<Obstacle> {
    (cause.to_string() == "dns error")
        .then(|| if lacks_descriptors() { Obstacle::TooManyOpenFiles } else { Obstacle::NameUnresolved })
}

/// The library keeps the type of this error to itself; its text is all there is.
fn of_proxy(cause: &(dyn Error + 'static)) -> Option<Obstacle> {
    let text = cause.to_string();
    Some(match text.strip_prefix("tunnel error: ")? {
        "failed to create underlying connection" => Obstacle::ProxyUnreachable,
        "proxy authorization required" => Obstacle::ProxyWantsLogin,
        _ => Obstacle::ProxyRefused,
    })
}

fn of_tls(error: &TlsError, trust: &Trust) -> Obstacle {
    match error {
        TlsError::InvalidCertificate(error) => of_certificate(error, trust),
        TlsError::NoCertificatesPresented | TlsError::UnsupportedNameType => Obstacle::CertificateInvalid,
        TlsError::InvalidMessage(_) => Obstacle::NoTls,
        TlsError::PeerIncompatible(_) => Obstacle::TlsIncompatible,
        TlsError::AlertReceived(alert) => of_alert(*alert),
        _ => Obstacle::TlsFailed,
    }
}

fn of_certificate(error: &CertificateError, trust: &Trust) -> Obstacle {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
        NotValidYetContext, Other, UnknownIssuer,
    };
    match error {
        Expired | ExpiredContext { .. } => Obstacle::CertificateExpired,
        NotValidYet | NotValidYetContext { .. } => Obstacle::CertificateNotYetValid,
        NotValidForNameContext { presented, .. } if presented.is_empty() => Obstacle::CertificateWithoutName,
        NotValidForName | NotValidForNameContext { .. } => Obstacle::CertificateWrongHost,
        // An authority may have got a new key, and kept its name.
        UnknownIssuer | BadSignature if *trust == Trust::PublicRoots => Obstacle::CertificateUntrusted,
        UnknownIssuer | BadSignature => Obstacle::CertificateNotInBundle,
        // The verifier's own error, whose type belongs to another library.
        Other(other) if other.0.to_string() == "CaUsedAsEndEntity" => Obstacle::CertificateOfAuthority,
        _ => Obstacle::CertificateInvalid,
    }
}

fn of_alert(alert: AlertDescription) -> Obstacle {
    match alert {
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
            Obstacle::TlsIncompatible
        }
        // Up to TLS 1.2 there is no alert of its own for a client certificate that is wanted: servers send one of these.
        AlertDescription::HandshakeFailure | AlertDescription::BadCertificate => Obstacle::HandshakeRefused,
        AlertDescription::UnrecognisedName => Obstacle::TlsNameUnknown,
        AlertDescription::CertificateRequired => Obstacle::ClientCertificateWanted,
        _ => Obstacle::TlsFailed,
    }
}

fn of_io(error: &io::Error) -> Option<Obstacle> {
    Some(match error.kind() {
        ErrorKind::ConnectionRefused => Obstacle::Refused,
        ErrorKind::NetworkUnreachable
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable
        | ErrorKind::PermissionDenied => Obstacle::NoRoute,
        ErrorKind::TimedOut => Obstacle::ConnectTimedOut,
        _ => return None,
    })
}

fn of_http(cause: &(dyn Error + 'static)) -> Option<Obstacle> {
    cause
        .downcast_ref::<hyper::Error>()
        .filter(|error| error.is_parse() && !error.is_parse_too_large())
        .map(|_| Obstacle::NotHttp)
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
            (TlsError::InvalidCertificate(CertificateError::Expired), Obstacle::CertificateExpired),
            (TlsError::InvalidCertificate(CertificateError::NotValidYet), Obstacle::CertificateNotYetValid),
            (TlsError::InvalidCertificate(CertificateError::BadSignature), Obstacle::CertificateUntrusted),
            (TlsError::InvalidCertificate(CertificateError::UnknownIssuer), Obstacle::CertificateUntrusted),
            (TlsError::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), Obstacle::TlsIncompatible),
            (TlsError::AlertReceived(AlertDescription::UnrecognisedName), Obstacle::TlsNameUnknown),
            (TlsError::AlertReceived(AlertDescription::HandshakeFailure), Obstacle::HandshakeRefused),
            (TlsError::AlertReceived(AlertDescription::BadCertificate), Obstacle::HandshakeRefused),
            (
                TlsError::AlertReceived(AlertDescription::CertificateRequired),
                Obstacle::ClientCertificateWanted,
            ),
            (TlsError::AlertReceived(AlertDescription::InternalError), Obstacle::TlsFailed),
            (TlsError::Other(OtherError(Arc::new(io::Error::other("odd")))), Obstacle::TlsFailed),
        ];
        for (error, expected) in cases {
            assert_eq!(obstacle_of(&wrapped(error.clone()), &Trust::PublicRoots), expected, "{error:?}");
        }
    }

    #[test]
    fn an_error_of_the_system_is_told_by_its_number() {
        let cases = [
            (Errno::MFILE, Obstacle::TooManyOpenFiles),
            (Errno::NFILE, Obstacle::TooManyOpenFiles),
            (Errno::CONNREFUSED, Obstacle::Refused),
            (Errno::NETUNREACH, Obstacle::NoRoute),
            (Errno::HOSTUNREACH, Obstacle::NoRoute),
            (Errno::ACCESS, Obstacle::NoRoute),
            (Errno::TIMEDOUT, Obstacle::ConnectTimedOut),
            (Errno::CONNRESET, Obstacle::Lost),
        ];
        for (number, expected) in cases {
            assert_eq!(obstacle_of(&io::Error::from(number), &Trust::PublicRoots), expected, "{number:?}");
        }
    }
}
