//! Through which proxy the API server is called: as kubectl has it.
//!
//! The `proxy-url` of the kubeconfig comes first, regardless of `NO_PROXY`. Otherwise `HTTPS_PROXY` or `HTTP_PROXY` is
//! used, by the scheme of the server, except for the hosts in `NO_PROXY`: hosts with their subdomains, addresses and
//! networks, each with or without a port. This machine is never called through a proxy.

use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::core::endpoint::Origin;

/// The variables of the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    http: String,
    https: String,
    none: String,
}

/// A proxy that cannot be used. The address is not reported: it may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProxyVariableError {
    #[error("SOCKS proxies are not supported; use http:// or https://")]
    Socks,
    #[error("not a proxy address; write it like http://proxy.example.com:3128")]
    NoAddress,
}

/// Refuses a proxy of the environment that issuers cannot be called through: nothing would ever get through it.
pub(in crate::cli) fn check_for_issuer(issuer: &Origin) -> Result<(), String> {
    refuse_socks(&Matcher::from_env(), issuer)
}

fn refuse_socks(proxies: &Matcher, issuer: &Origin) -> Result<(), String> {
    let proxy = issuer.to_string().parse::<Uri>().ok().and_then(|uri| proxies.intercept(&uri));
    let is_socks = |proxy: &Intercept| !matches!(proxy.uri().scheme_str(), Some("http" | "https"));
    proxy.filter(is_socks).map_or(Ok(()), |_| {
        let defect = ProxyVariableError::Socks;
        Err(format!("--use-environment-proxy: the proxy of the environment for {issuer} cannot be used: {defect}; name another one in HTTPS_PROXY, or the host in NO_PROXY"))
    })
}

#[expect(clippy::disallowed_methods, reason = "a convention of all programs, and no flag of this one")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Environment {
    pub(super) fn of_process() -> Self {
        Self::read(variable)
    }

    /// Whether `HTTPS_PROXY` is a valid address.
    pub(super) fn is_address_of_process() -> bool {
        let values = ["HTTPS_PROXY", "https_proxy"].into_iter().filter_map(variable);
        values.filter(|value| !value.is_empty()).all(|value| value.parse::<Uri>().is_ok())
    }

    /// Of upper and lower case the first that is not empty.
    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: [&str; 2]| {
            let mut values = names.into_iter().filter_map(&variable);
            values.find(|value| !value.trim().is_empty()).unwrap_or_default().trim().to_owned()
        };
        Self {
            http: first(["HTTP_PROXY", "http_proxy"]),
            https: first(["HTTPS_PROXY", "https_proxy"]),
            none: first(["NO_PROXY", "no_proxy"]),
        }
    }

    /// The proxy for this server, if it has one.
    pub(super) fn proxy_for(&self, server: &Uri) -> Result<Option<Intercept>, ProxyVariableError> {
        let named = if server.scheme_str() == Some("http") { &self.http } else { &self.https };
        if named.is_empty() || is_this_machine(server) {
            return Ok(None);
        }
        let excepted = exceptions(&self.none, port_of(server));
        if Matcher::builder().all("http://any.example.com").no(excepted).build().intercept(server).is_none() {
            return Ok(None);
        }
        parse(named, server).map(Some)
    }
}

/// A proxy as the kubeconfig or the environment names it; without a scheme it is one of http.
pub(super) fn parse(address: &str, server: &Uri) -> Result<Intercept, ProxyVariableError> {
    let proxy =
        Matcher::builder().all(address).build().intercept(server).ok_or(ProxyVariableError::NoAddress)?;
    match proxy.uri().scheme_str() {
        Some("http" | "https") => Ok(proxy),
        _ => Err(ProxyVariableError::Socks),
    }
}

/// The exceptions for a port, in the syntax of the matcher, which supports neither ports nor a leading `*.`.
fn exceptions(list: &str, port: u16) -> String {
    let entries = list.split(',').map(str::trim).filter_map(|entry| {
        let (host, of_port) = match entry.rsplit_once(':') {
            // More colons without brackets are an address of IPv6.
            Some((host, of_port)) if !host.contains(':') || host.ends_with(']') => (host, Some(of_port)),
            _ => (entry, None),
        };
        let holds = of_port.is_none_or(|of_port| of_port.parse() == Ok(port));
        let host = host.strip_prefix('*').filter(|domain| domain.starts_with('.')).unwrap_or(host);
        holds.then(|| host.trim_start_matches('[').trim_end_matches(']'))
    });
    entries.collect::<Vec<_>>().join(",")
}

fn port_of(server: &Uri) -> u16 {
    let of_scheme = if server.scheme_str() == Some("http") { 80 } else { 443 };
    server.port_u16().unwrap_or(of_scheme)
}

fn is_this_machine(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "http://proxy.example.com:3128";

    fn through(environment: &[(&str, &str)], server: &str) -> Result<Option<String>, ProxyVariableError> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let proxy = Environment::read(variable).proxy_for(&server.parse().unwrap());
        proxy.map(|proxy| proxy.map(|proxy| proxy.uri().to_string()))
    }

    #[test]
    fn the_proxy_of_the_environment_is_taken_by_the_scheme_of_the_server() {
        let (server, plain) = ("https://kube.example.com:6443", "http://kube.example.com:8001");
        let told = Ok(Some(format!("{PROXY}/")));
        assert_eq!(through(&[("HTTPS_PROXY", PROXY)], server), told);
        assert_eq!(through(&[("https_proxy", PROXY)], server), told);
        assert_eq!(through(&[("HTTPS_PROXY", ""), ("https_proxy", PROXY)], server), told);
        assert_eq!(through(&[("HTTPS_PROXY", "proxy.example.com:3128")], server), told);
        assert_eq!(through(&[("HTTPS_PROXY", "http://user:pass@proxy.example.com:3128")], server), told);
        assert_eq!(through(&[("HTTPS_PROXY", PROXY)], plain), Ok(None));
        assert_eq!(through(&[("HTTP_PROXY", PROXY)], plain), told);
        assert_eq!(through(&[("HTTP_PROXY", PROXY), ("ALL_PROXY", PROXY)], server), Ok(None));
        assert_eq!(through(&[], server), Ok(None));
    }

    #[test]
    fn what_no_proxy_names_is_called_directly() {
        let cases = [
            ("https://kube.example.com:6443", "kube.example.com", true),
            ("https://kube.example.com:6443", "example.com", true),
            ("https://kube.example.com:6443", ".example.com", true),
            ("https://kube.example.com:6443", "*.example.com", true),
            ("https://kube.example.com:6443", "other.test, example.com:6443", true),
            ("https://kube.example.com:6443", "example.com:443", false),
            ("https://kube.example.com", "example.com:443", true),
            ("https://kube.example.com:6443", "ample.com", false),
            ("https://kube.example.com:6443", "*", true),
            ("https://kube.example.com:6443", "not a host, ,", false),
            ("https://10.1.2.3:6443", "10.0.0.0/8", true),
            ("https://10.1.2.3:6443", "10.1.2.3", true),
            ("https://10.1.2.3:6443", "10.1.2.3:6443", true),
            ("https://10.1.2.3:6443", "192.168.0.0/16,172.16.0.0/12", false),
            ("https://[fd00::1]:6443", "fd00::/8", true),
            ("https://[fd00::1]:6443", "[fd00::1]:6443", true),
            ("https://[fd00::1]:6443", "fd01::1", false),
        ];
        for (server, none, is_direct) in cases {
            let proxy = through(&[("HTTPS_PROXY", PROXY), ("NO_PROXY", none)], server).unwrap();
            assert_eq!(proxy.is_none(), is_direct, "{server} with {none}");
        }
    }

    #[test]
    fn a_socks_proxy_for_an_issuer_is_refused_unless_its_host_is_excepted() {
        let issuer = Origin::parse("https://issuer.example.com").unwrap();
        let checked = |proxy: &str, none: &str| {
            refuse_socks(&Matcher::builder().https(proxy).no(none.to_owned()).build(), &issuer)
        };
        for proxy in ["socks5://proxy.example.com:1080", "socks5h://user:pass@proxy.example.com:1080"] {
            let told = checked(proxy, "").unwrap_err();
            assert!(told.contains("SOCKS proxies are not supported") && !told.contains("pass"), "{told}");
            assert_eq!(checked(proxy, "example.com"), Ok(()), "{proxy}");
        }
        assert_eq!(checked(PROXY, ""), Ok(()));
    }

    #[test]
    fn this_machine_is_never_called_through_the_proxy_of_the_environment() {
        for server in ["https://localhost:6443", "https://127.0.0.1:6443", "https://[::1]:6443"] {
            assert_eq!(through(&[("HTTPS_PROXY", PROXY)], server), Ok(None), "{server}");
        }
    }

    #[test]
    fn what_is_no_proxy_of_http_is_named_and_stops_nothing_else() {
        let server = "https://kube.example.com:6443";
        for (proxy, defect) in [
            ("socks5://proxy.example.com:1080", ProxyVariableError::Socks),
            ("socks5h://user:pass@proxy.example.com", ProxyVariableError::Socks),
            ("ftp://proxy.example.com", ProxyVariableError::NoAddress),
            ("not a proxy", ProxyVariableError::NoAddress),
            ("http://", ProxyVariableError::NoAddress),
        ] {
            assert_eq!(through(&[("HTTPS_PROXY", proxy)], server), Err(defect), "{proxy}");
            let excepted = [("HTTPS_PROXY", proxy), ("NO_PROXY", "example.com")];
            assert_eq!(through(&excepted, server), Ok(None), "{proxy}");
            assert!(!defect.to_string().contains("pass"));
        }
    }
}
