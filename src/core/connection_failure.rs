//! Why a call gets no response: a closed set of causes, each with its reason, message and cure.

/// Why no response came. Each kind of certificate problem has its own variant, because each has its own cure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionFailure {
    /// The host name does not resolve.
    NameUnresolved,
    /// The connection is refused, by the host or a firewall.
    Refused,
    /// There is no route to the host.
    NoRoute,
    /// The connection timed out.
    ConnectTimedOut,
    /// The connection closed during the TLS handshake.
    ClosedEarly,
    /// No response came in time.
    TimedOut,
    /// The connection broke before the response was complete.
    Lost,
    /// The response is not HTTP.
    NotHttp,
    /// This process has no file descriptors left.
    TooManyOpenFiles,
    /// The system has no trusted CA certificates.
    NoAuthorities,
    /// The server's certificate has expired.
    CertificateExpired,
    /// The server's certificate is not valid yet.
    CertificateNotYetValid,
    /// The server's certificate is for other hosts.
    CertificateWrongHost,
    /// The server's certificate names no host in a `subjectAltName`.
    CertificateWithoutName,
    /// No public CA issued the certificate.
    CertificateUntrusted,
    /// No CA of the bundle issued the certificate.
    CertificateNotInBundle,
    /// The server presents the certificate of a CA.
    CertificateOfAuthority,
    /// The certificate is invalid for another reason.
    CertificateInvalid,
    /// The server does not speak TLS.
    NoTls,
    /// No TLS version or cipher in common.
    TlsIncompatible,
    /// The server rejects the handshake without a reason.
    HandshakeRefused,
    /// The server does not know this host name.
    TlsNameUnknown,
    /// The server requires a client certificate.
    ClientCertificateWanted,
    /// TLS failed for another reason.
    TlsFailed,
    /// The configured proxy cannot be reached.
    ProxyUnreachable,
    /// The proxy requires a user name and password.
    ProxyWantsLogin,
    /// The proxy does not connect to the server.
    ProxyRefused,
}

/// The names that a message uses for the caller and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wording {
    /// The program that calls.
    pub caller: &'static str,
    /// The setting with the server's address.
    pub address: &'static str,
    /// The setting with the path of a login, if there is one.
    pub path: Option<&'static str>,
    /// The setting with the CA certificates to trust.
    pub bundle: &'static str,
}

impl Wording {
    /// For the user of a resource.
    pub const CONTROLLER: Self = Self {
        caller: "the controller",
        address: "spec.issuer.url",
        path: Some("spec.issuer.tokenPath"),
        bundle: "spec.issuer.caBundleRef",
    };
    /// For the user of a sidecar.
    pub const SIDECAR: Self =
        Self { caller: "the sidecar", address: "--issuer-url", path: None, bundle: "--issuer-ca-file" };
    /// For the user of a sidecar that forwards requests.
    pub const UPSTREAM: Self =
        Self { caller: "the sidecar", address: "--upstream", path: None, bundle: "--upstream-ca-file" };
}

impl ConnectionFailure {
    /// All causes.
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
            Self::ConnectTimedOut => "the connection timed out",
            Self::ClosedEarly => "it closed the connection during the TLS handshake",
            Self::TimedOut => "it did not answer in time",
            Self::Lost => "the connection broke before the response was complete",
            Self::NotHttp => "the response is not HTTP",
            Self::TooManyOpenFiles => "there is no file descriptor left for a connection",
            Self::NoAuthorities => "the system has no trusted CA certificates",
            Self::CertificateExpired => "its certificate has expired",
            Self::CertificateNotYetValid => "its certificate is not valid yet",
            Self::CertificateWrongHost => "its certificate is for another host",
            Self::CertificateWithoutName => {
                "its certificate has no subjectAltName (the common name is ignored)"
            }
            Self::CertificateUntrusted => "its certificate is not signed by a CA of the system",
            Self::CertificateNotInBundle => "its certificate is not signed by a CA of the configured bundle",
            Self::CertificateOfAuthority => "its certificate is that of a CA (CA:TRUE)",
            Self::CertificateInvalid => "its certificate is not for a server, or is malformed",
            Self::NoTls => "it does not speak TLS on this port",
            Self::TlsIncompatible => "it offers no secure TLS version or cipher",
            Self::HandshakeRefused => "it rejects the TLS handshake",
            Self::TlsNameUnknown => "it does not know this host name",
            Self::ClientCertificateWanted => "it requires a client certificate",
            Self::TlsFailed => "TLS failed",
            Self::ProxyUnreachable => "the configured proxy cannot be reached",
            Self::ProxyWantsLogin => "the configured proxy requires a login",
            Self::ProxyRefused => "the configured proxy refuses to connect to it",
        }
    }

    /// The cure.
    fn cure(self, Wording { caller, address, bundle, .. }: Wording) -> String {
        match self {
            Self::NameUnresolved => {
                format!("correct the host in {address}, or allow DNS for {caller} in network policies")
            }
            Self::Refused => format!("check that it runs, and check host and port in {address}"),
            Self::NoRoute | Self::ConnectTimedOut => {
                format!(
                    "check that it runs, and that network policies and firewalls allow {caller} to reach it"
                )
            }
            Self::ClosedEarly => format!("check host and port in {address}, and firewalls in between"),
            Self::TimedOut => "check why it is slow".into(),
            Self::Lost | Self::TlsFailed => "check its log, and the network in between".into(),
            Self::NotHttp | Self::NoTls => format!("correct scheme and port in {address}"),
            Self::TooManyOpenFiles => format!(
                "raise the limit of open files of {caller} (`ulimit -n`), and check which clients hold connections to its ports"
            ),
            Self::NoAuthorities => format!(
                "give {caller} the CA certificates of the system (SSL_CERT_FILE), or set the right CA in {bundle}"
            ),
            Self::CertificateExpired => {
                format!("renew it, and check the clock of {caller}")
            }
            Self::CertificateNotYetValid => {
                format!("check the clock of {caller}, or replace the certificate")
            }
            Self::CertificateWrongHost => {
                format!("correct the host in {address}, or get a certificate for it")
            }
            Self::CertificateWithoutName => "get one with the host as subjectAltName".into(),
            Self::CertificateUntrusted => format!(
                "if a private CA issued it, set that CA in {bundle}; otherwise configure the server to send its intermediate certificates"
            ),
            Self::CertificateNotInBundle => format!(
                "put the CA that issued it into {bundle}, and configure the server to send its intermediate certificates"
            ),
            Self::CertificateOfAuthority => {
                format!("get a server certificate from that CA (CA:FALSE), and set the CA in {bundle}")
            }
            Self::CertificateInvalid => "get one for a server (extended key usage serverAuth)".into(),
            Self::TlsIncompatible => {
                "enable TLS 1.3 at the server, or 1.2 with ECDHE and AES-GCM or ChaCha20".into()
            }
            Self::HandshakeRefused => format!(
                "usual causes are no TLS version (1.2 or 1.3) or cipher in common, a host in {address} that it does not know (SNI), or a required client certificate, which {caller} does not have"
            ),
            Self::TlsNameUnknown => format!("correct the host in {address}, or configure the server for it"),
            Self::ClientCertificateWanted => {
                format!("disable that at the server: {caller} has no client certificate")
            }
            Self::ProxyUnreachable => "correct HTTPS_PROXY, or add the host to NO_PROXY".into(),
            Self::ProxyWantsLogin => {
                "put its user name and password into HTTPS_PROXY, or add the host to NO_PROXY".into()
            }
            Self::ProxyRefused => {
                "allow the host at the proxy, check that the proxy can reach it, or add the host to NO_PROXY"
                    .into()
            }
        }
    }

    /// The message for a call to `origin`.
    #[must_use]
    pub fn message(self, origin: &str, terms: Wording) -> String {
        format!("{}. It is retried", self.problem(origin, terms))
    }

    /// The message for a call that is not retried.
    #[must_use]
    pub fn problem(self, origin: &str, terms: Wording) -> String {
        format!("No answer from {origin}: {}; {}", self.phrase(), self.cure(terms))
    }

    /// Whether TLS failed; other trusted certificates may fix it.
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

    /// Whether the certificate was rejected.
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
            "No answer from https://issuer.example: its certificate has expired; renew it, and check the clock of \
             the sidecar. It is retried"
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
