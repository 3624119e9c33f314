//! What keeps a call from being answered: a closed set, each with its reason, its sentence and its cure.

/// Why no answer came. Certificates are told apart: each kind has a cure of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionFailure {
    /// The name has no address.
    NameUnresolved,
    /// Nobody listens there, or a firewall says no.
    Refused,
    /// The network has no way there.
    NoRoute,
    /// No connection came about in time.
    ConnectTimedOut,
    /// The connection ended while TLS was being agreed on.
    ClosedEarly,
    /// No answer came in time.
    TimedOut,
    /// The connection ended before the answer was whole.
    Lost,
    /// What came back is no HTTP.
    NotHttp,
    /// This process may open no further connection.
    TooManyOpenFiles,
    /// The system has no certificate authorities to trust.
    NoAuthorities,
    /// The server's certificate has expired.
    CertificateExpired,
    /// The server's certificate is not valid yet.
    CertificateNotYetValid,
    /// The server's certificate is for other hosts.
    CertificateWrongHost,
    /// The server's certificate names no host in a `subjectAltName`.
    CertificateWithoutName,
    /// No public authority vouches for the certificate.
    CertificateUntrusted,
    /// No authority of the bundle vouches for the certificate.
    CertificateNotInBundle,
    /// The server shows the certificate of an authority.
    CertificateOfAuthority,
    /// The certificate cannot be used otherwise.
    CertificateInvalid,
    /// The server does not speak TLS.
    NoTls,
    /// No version or cipher that both sides speak.
    TlsIncompatible,
    /// The server ends the handshake without saying why.
    HandshakeRefused,
    /// The server knows no site of this name.
    TlsNameUnknown,
    /// The server wants a certificate of the caller.
    ClientCertificateWanted,
    /// TLS failed otherwise.
    TlsFailed,
    /// No connection to the proxy of the environment came about.
    ProxyUnreachable,
    /// The proxy wants a user name and password.
    ProxyWantsLogin,
    /// The proxy does not connect to the server.
    ProxyRefused,
}

/// The words of the one who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wording {
    /// The program that calls.
    pub caller: &'static str,
    /// Where it is told the server's address.
    pub address: &'static str,
    /// Where it is told whose certificates to accept.
    pub bundle: &'static str,
}

impl Wording {
    /// For the user of a resource.
    pub const CONTROLLER: Self =
        Self { caller: "the controller", address: "spec.issuer.url", bundle: "spec.issuer.caBundleRef" };
    /// For the user of a sidecar.
    pub const SIDECAR: Self =
        Self { caller: "the sidecar", address: "--issuer-url", bundle: "--issuer-ca-file" };
    /// For the user of a sidecar that forwards requests.
    pub const UPSTREAM: Self =
        Self { caller: "the sidecar", address: "--upstream", bundle: "--upstream-ca-file" };
}

impl ConnectionFailure {
    /// Every one.
    pub const ALL: [Self; 27] = [
        Self::NameUnresolved,
        Self::Refused,
        Self::NoRoute,
        Self::ConnectTimedOut,
        Self::ClosedEarly,
        Self::TimedOut,
        Self::Lost,
        Self::NotHttp,
        Self::TooManyOpenFiles,
        Self::NoAuthorities,
        Self::CertificateExpired,
        Self::CertificateNotYetValid,
        Self::CertificateWrongHost,
        Self::CertificateWithoutName,
        Self::CertificateUntrusted,
        Self::CertificateNotInBundle,
        Self::CertificateOfAuthority,
        Self::CertificateInvalid,
        Self::NoTls,
        Self::TlsIncompatible,
        Self::HandshakeRefused,
        Self::TlsNameUnknown,
        Self::ClientCertificateWanted,
        Self::TlsFailed,
        Self::ProxyUnreachable,
        Self::ProxyWantsLogin,
        Self::ProxyRefused,
    ];

    /// The reason, where the server is the issuer.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NameUnresolved
            | Self::Refused
            | Self::NoRoute
            | Self::ConnectTimedOut
            | Self::ClosedEarly
            | Self::TimedOut
            | Self::Lost
            | Self::NotHttp => "IssuerUnreachable",
            Self::TooManyOpenFiles => "TooManyOpenFiles",
            Self::NoAuthorities => "NoCertificateAuthorities",
            Self::CertificateExpired => "IssuerCertificateExpired",
            Self::CertificateNotYetValid => "IssuerCertificateNotYetValid",
            Self::CertificateWrongHost => "IssuerCertificateWrongHost",
            Self::CertificateWithoutName => "IssuerCertificateWithoutName",
            Self::CertificateUntrusted | Self::CertificateNotInBundle => "IssuerCertificateUntrusted",
            Self::CertificateOfAuthority => "IssuerCertificateIsCA",
            Self::CertificateInvalid => "IssuerCertificateInvalid",
            Self::NoTls => "IssuerWithoutTls",
            Self::TlsIncompatible | Self::HandshakeRefused => "IssuerTlsIncompatible",
            Self::TlsNameUnknown => "IssuerTlsNameUnknown",
            Self::ClientCertificateWanted => "IssuerRequiresClientCertificate",
            Self::TlsFailed => "IssuerTlsFailed",
            Self::ProxyUnreachable => "IssuerProxyUnreachable",
            Self::ProxyWantsLogin => "IssuerProxyAuthenticationRequired",
            Self::ProxyRefused => "IssuerProxyRefused",
        }
    }

    /// What happened, for a log line that names the server.
    #[must_use]
    pub fn phrase(self) -> &'static str {
        match self {
            Self::NameUnresolved => "its name does not resolve",
            Self::Refused => "the connection is refused",
            Self::NoRoute => "the network has no route to it",
            Self::ConnectTimedOut => "no connection came about in time",
            Self::ClosedEarly => "it ended the connection before TLS was agreed on",
            Self::TimedOut => "it did not answer in time",
            Self::Lost => "the connection broke before the answer was whole",
            Self::NotHttp => "what answers does not speak proper HTTP",
            Self::TooManyOpenFiles => "there is no file descriptor left for a connection",
            Self::NoAuthorities => "the system has no certificate authorities to trust",
            Self::CertificateExpired => "its certificate has expired",
            Self::CertificateNotYetValid => "its certificate is not valid yet",
            Self::CertificateWrongHost => "its certificate is for other hosts",
            Self::CertificateWithoutName => {
                "its certificate names no host (subjectAltName; a common name does not count)"
            }
            Self::CertificateUntrusted => "no authority of the system vouches for its certificate",
            Self::CertificateNotInBundle => "no authority of the named CA bundle vouches for its certificate",
            Self::CertificateOfAuthority => "it shows the certificate of an authority (CA:TRUE) as its own",
            Self::CertificateInvalid => "its certificate is not made for a server, or is malformed",
            Self::NoTls => "it does not speak TLS there",
            Self::TlsIncompatible => "it offers no TLS version or cipher that is safe",
            Self::HandshakeRefused => "it refuses the TLS handshake",
            Self::TlsNameUnknown => "it serves no site of that name",
            Self::ClientCertificateWanted => "it wants a client certificate",
            Self::TlsFailed => "TLS failed",
            Self::ProxyUnreachable => "the proxy of the environment cannot be reached",
            Self::ProxyWantsLogin => "the proxy of the environment wants a login",
            Self::ProxyRefused => "the proxy of the environment refuses to connect to it",
        }
    }

    /// What a person does about it.
    fn cure(self, Wording { caller, address, bundle }: Wording) -> String {
        match self {
            Self::NameUnresolved => format!(
                "correct the host in {address}, or see that network policies let {caller} ask the DNS"
            ),
            Self::Refused => format!("see that it runs, and that host and port in {address} are right"),
            Self::NoRoute | Self::ConnectTimedOut => {
                format!("see that it runs, and that network policies and firewalls let {caller} out to it")
            }
            Self::ClosedEarly => format!(
                "see that port and host in {address} are right, and that no firewall in between ends connections"
            ),
            Self::TimedOut => "see what keeps it busy".into(),
            Self::Lost | Self::TlsFailed => "see its log, and what stands between".into(),
            Self::NotHttp | Self::NoTls => format!("correct scheme and port in {address}"),
            Self::TooManyOpenFiles => format!(
                "raise the limit of open files of {caller} (`ulimit -n`), and see who holds connections to its ports"
            ),
            Self::NoAuthorities => format!(
                "mount the system's authorities where {caller} finds them (SSL_CERT_FILE), or name the right one in {bundle}"
            ),
            Self::CertificateExpired => {
                format!("renew it there, and see that the clock of {caller} is right")
            }
            Self::CertificateNotYetValid => {
                format!("see that the clock of {caller} is right, or have the certificate issued anew")
            }
            Self::CertificateWrongHost => {
                format!("correct the host in {address}, or have a certificate issued for it")
            }
            Self::CertificateWithoutName => "have one issued with the host as subjectAltName".into(),
            Self::CertificateUntrusted => format!(
                "if it comes from a private CA, name that in {bundle}; otherwise let the server send its intermediate certificates"
            ),
            Self::CertificateNotInBundle => format!(
                "put the CA that it really comes from into {bundle}, and let the server send its intermediate certificates"
            ),
            Self::CertificateOfAuthority => format!(
                "have that authority issue a certificate for the server (CA:FALSE), and name the authority in {bundle}"
            ),
            Self::CertificateInvalid => "have one issued for a server (extended key usage serverAuth)".into(),
            Self::TlsIncompatible => {
                "let the server speak TLS 1.3, or 1.2 with ECDHE and AES-GCM or ChaCha20".into()
            }
            Self::HandshakeRefused => format!(
                "the usual causes are no TLS version (1.2 or 1.3) or cipher in common, a host in {address} that it does not know (SNI), and a client certificate that it demands and {caller} does not have"
            ),
            Self::TlsNameUnknown => format!("correct the host in {address}, or let the server know it"),
            Self::ClientCertificateWanted => format!("let the server do without: {caller} has none to show"),
            Self::ProxyUnreachable => "correct HTTPS_PROXY, or name the host in NO_PROXY".into(),
            Self::ProxyWantsLogin => {
                "put its user name and password into HTTPS_PROXY, or name the host in NO_PROXY".into()
            }
            Self::ProxyRefused => {
                "allow the host there, see that the proxy can reach it, or name the host in NO_PROXY".into()
            }
        }
    }

    /// What a person reads of a call to `origin`.
    #[must_use]
    pub fn message(self, origin: &str, terms: Wording) -> String {
        format!("{}. It is retried", self.problem(origin, terms))
    }

    /// The same of a call that is not repeated.
    #[must_use]
    pub fn problem(self, origin: &str, terms: Wording) -> String {
        format!("No answer from {origin}: {}; {}", self.phrase(), self.cure(terms))
    }

    /// Whether TLS kept the connection from coming about; the certificates that are accepted may have changed since.
    #[must_use]
    pub fn is_tls(self) -> bool {
        self.is_certificate()
            || matches!(
                self,
                Self::NoTls
                    | Self::TlsIncompatible
                    | Self::HandshakeRefused
                    | Self::TlsNameUnknown
                    | Self::ClientCertificateWanted
                    | Self::TlsFailed
            )
    }

    /// Whether the certificate was refused.
    #[must_use]
    pub fn is_certificate(self) -> bool {
        matches!(
            self,
            Self::NoAuthorities
                | Self::CertificateExpired
                | Self::CertificateNotYetValid
                | Self::CertificateWrongHost
                | Self::CertificateWithoutName
                | Self::CertificateUntrusted
                | Self::CertificateNotInBundle
                | Self::CertificateOfAuthority
                | Self::CertificateInvalid
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_has_a_sentence_of_its_own_that_names_the_server_and_the_cure() {
        for terms in [Wording::CONTROLLER, Wording::SIDECAR, Wording::UPSTREAM] {
            let messages: BTreeSet<_> = ConnectionFailure::ALL
                .iter()
                .map(|connection_failure| connection_failure.message("https://issuer.example", terms))
                .collect();
            assert_eq!(messages.len(), ConnectionFailure::ALL.len());
            for message in messages {
                assert!(message.contains("https://issuer.example: "), "{message}");
                assert!(message.contains("; ") && !message.ends_with('.'), "{message}");
            }
        }
        assert_eq!(
            ConnectionFailure::CertificateExpired.message("https://issuer.example", Wording::SIDECAR),
            "No answer from https://issuer.example: its certificate has expired; renew it there, and see that the clock of \
             the sidecar is right. It is retried"
        );
    }

    #[test]
    fn a_ca_bundle_is_the_cure_only_where_it_can_be() {
        for connection_failure in ConnectionFailure::ALL {
            let message = connection_failure.message("https://issuer.example", Wording::CONTROLLER);
            let is_cured_by_a_bundle = matches!(
                connection_failure,
                ConnectionFailure::NoAuthorities
                    | ConnectionFailure::CertificateUntrusted
                    | ConnectionFailure::CertificateNotInBundle
                    | ConnectionFailure::CertificateOfAuthority
            );
            assert_eq!(message.contains("caBundleRef"), is_cured_by_a_bundle, "{message}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_wrong_with_tls() {
        for connection_failure in ConnectionFailure::ALL {
            let name = connection_failure.name();
            assert_eq!(
                name.contains("Certificate") || name.contains("Tls"),
                connection_failure.is_tls(),
                "{name}"
            );
        }
    }
}
