//! Identifies callers: a program, or a web page in a browser. Pure functions of headers.
//!
//! A web page in a browser on this machine could point its own name to our address (DNS rebinding), send requests whose
//! responses it must not read (CSRF), and open sockets. Browsers mark such requests; programs have no reason to. Over
//! plain HTTP, browsers do not mark reads from a page's own name: these need a list of names.

use std::net::IpAddr;

use http::header::{HOST, HeaderName, HeaderValue, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Version};

/// The header that says from which kind of page a request comes (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whose requests a listener takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Callers {
    is_loopback: bool,
    allowed: Vec<HostName>,
}

/// A name by which a listener may be called, and whose pages may call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// A name or an address, without a port.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let authority = Authority::try_from(text).ok()?;
        let is_alone = authority.host() == text && !text.is_empty();
        is_alone.then(|| Self(text.to_ascii_lowercase()))
    }
}

impl Callers {
    /// Of a listener that only this machine reaches, or others as well; `allowed` adds to its names.
    pub(super) fn new(is_loopback: bool, allowed: Vec<HostName>) -> Self {
        Self { is_loopback, allowed }
    }

    /// Programs of this machine.
    pub(super) fn of_this_machine() -> Self {
        Self::new(true, Vec::new())
    }

    /// Whether a request calls us by one name, which is ours. A listener that others reach goes by any, unless some are
    /// listed; but not for a page in a browser, whose own name a foreign name server may have given our address.
    pub(super) fn is_known_host(&self, head: &Parts) -> bool {
        let Ok(hosts) = hosts(head) else { return false };
        let any_will_do =
            !self.is_loopback && self.allowed.is_empty() && !comes_from_a_browser(&head.headers);
        // Browsers do not use HTTP/1.0, which has no Host.
        let may_be_silent = any_will_do || head.version == Version::HTTP_10;
        if hosts.is_empty() {
            may_be_silent
        } else {
            any_will_do || hosts.iter().all(|host| self.is_own_host(host))
        }
    }

    /// Whether a browser marks this as a request from another site.
    pub(super) fn are_foreign_pages(&self, head: &Parts) -> bool {
        let own =
            if self.is_loopback { None } else { hosts(head).ok().and_then(|hosts| hosts.into_iter().next()) };
        let origins: Vec<_> = head.headers.get_all(ORIGIN).iter().map(origin).collect();
        let is_taken = |origin: &Option<Authority>| {
            origin.as_ref().is_some_and(|origin| {
                is_this_machine(origin) || self.is_listed(origin) || own.as_ref() == Some(origin)
            })
        };
        if !origins.iter().all(is_taken) {
            return true;
        }
        let is_listed = |origin: &Option<Authority>| origin.as_ref().is_some_and(|it| self.is_listed(it));
        let are_listed = !origins.is_empty() && origins.iter().all(is_listed);
        !are_listed && comes_from_elsewhere(&head.headers)
    }

    fn is_own_host(&self, host: &Authority) -> bool {
        is_this_machine(host) || is_address(host) || self.is_listed(host)
    }

    fn is_listed(&self, host: &Authority) -> bool {
        self.allowed.iter().any(|allowed| allowed.0.eq_ignore_ascii_case(host.host()))
    }
}

/// What a head calls us: with HTTP/1 in `Host`, with HTTP/2 in `:authority`, which some send beside a `Host`.
fn hosts(head: &Parts) -> Result<Vec<Authority>, ()> {
    let named = head.headers.get_all(HOST).iter().map(|host| authority(host.as_bytes()).ok_or(()));
    let mut hosts = named.collect::<Result<Vec<_>, ()>>()?;
    if hosts.len() > 1 {
        return Err(());
    }
    if let Some(target) = head.uri.authority() {
        hosts.push(authority(target.as_str().as_bytes()).ok_or(())?);
    }
    Ok(hosts)
}

/// A host and perhaps a port, without a user.
fn authority(bytes: &[u8]) -> Option<Authority> {
    Authority::try_from(bytes).ok().filter(|it| !it.as_str().contains('@') && !it.host().is_empty())
}

/// The host and the port of an `Origin`; `null` and lists have none.
fn origin(value: &HeaderValue) -> Option<Authority> {
    let text = value.to_str().ok()?;
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    // Some libraries for WebSocket send a whole address.
    authority(rest.strip_suffix('/').unwrap_or(rest).as_bytes())
}

/// `localhost`, or an address of this machine alone.
fn is_this_machine(host: &Authority) -> bool {
    host.host().eq_ignore_ascii_case("localhost")
        || address(host).is_some_and(|address| address.is_loopback())
}

/// An address, which no foreign name server can have given a meaning. Those are left out that mean this machine by another
/// spelling: for them, browsers do not say where a page comes from.
fn is_address(host: &Authority) -> bool {
    address(host).is_some_and(|it| !it.is_unspecified() && it.to_canonical() == it)
}

fn address(host: &Authority) -> Option<IpAddr> {
    let host = host.host();
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inside) => inside.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

/// Whether a browser marks this as its request.
fn comes_from_a_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
}

fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    let is_elsewhere =
        |site: &HeaderValue| !["same-origin", "none"].iter().any(|here| site.as_bytes() == here.as_bytes());
    headers.get_all(SEC_FETCH_SITE).iter().any(is_elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn head(version: Version, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let builder = Request::builder().version(version).uri(uri);
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        builder.body(()).unwrap().into_parts().0
    }

    fn first(headers: &[(&str, &str)]) -> Parts {
        head(Version::HTTP_11, "/", headers)
    }

    /// Reached by others, too, and called by this name.
    fn listed() -> Callers {
        Callers::new(false, vec![HostName::parse("reports.shop").unwrap()])
    }

    #[test]
    fn on_this_machine_we_go_by_addresses_and_localhost_and_by_no_other_spelling() {
        let callers = Callers::of_this_machine();
        for host in ["127.0.0.1", "LOCALHOST:80", "[::1]:9441", "10.1.2.3:9441", "127.8.9.10"] {
            assert!(callers.is_known_host(&first(&[("host", host)])), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:80",
            "localhost.",
            "127.0.0.1.",
            "127.0.0.1.evil.example",
            "user@localhost",
            "localhost:9441@evil.example",
            "0.0.0.0:9441",
            "[::]",
            "[::ffff:127.0.0.1]:9441",
            "2130706433",
            "0177.0.0.1",
            "0x7f.1",
            "127.1",
            "::1",
            "localhost, localhost",
            "localhost/x",
            "",
            "a b",
        ] {
            assert!(!callers.is_known_host(&first(&[("host", host)])), "{host}");
        }
        assert!(!callers.is_known_host(&first(&[])));
        assert!(callers.is_known_host(&head(Version::HTTP_10, "/", &[])), "it knows no Host");
        assert!(!callers.is_known_host(&first(&[("host", "localhost"), ("host", "localhost")])));
        let second = |target, headers: &[_]| callers.is_known_host(&head(Version::HTTP_2, target, headers));
        assert!(second("http://localhost:9441/", &[]));
        assert!(!second("http://user@localhost:9441/", &[]));
        assert!(!second("http://localhost/", &[("host", "evil.example")]));
        assert!(!second("http://evil.example/", &[("host", "localhost")]));
    }

    #[test]
    fn where_others_call_we_go_by_any_name_until_some_are_listed() {
        let any = Callers::new(false, Vec::new());
        assert!(any.is_known_host(&first(&[("host", "reports.shop")])) && any.is_known_host(&first(&[])));
        for host in ["user@reports.shop", ""] {
            assert!(!any.is_known_host(&first(&[("host", host)])), "{host}");
        }
        for (host, is_own_host) in [
            ("Reports.Shop:8443", true),
            ("localhost", true),
            ("10.1.2.3", true),
            ("rebound.example", false),
            ("x.reports.shop", false),
        ] {
            assert_eq!(listed().is_known_host(&first(&[("host", host)])), is_own_host, "{host}");
        }
        assert!(!listed().is_known_host(&first(&[])));
    }

    #[test]
    fn a_page_from_elsewhere_differs_from_one_of_this_machine_and_from_a_program() {
        let callers = Callers::of_this_machine();
        let is_foreign =
            |name, value| callers.are_foreign_pages(&first(&[("host", "localhost:9441"), (name, value)]));
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "http://203.0.113.5"),
            ("origin", "http://10.1.2.3:9441"),
            ("origin", "http://localhost.evil.example"),
            ("origin", "http://localhost@evil.example"),
            ("origin", "http://evil.example@localhost"),
            ("origin", "http://0.0.0.0"),
            ("origin", "http://[::ffff:127.0.0.1]"),
            ("origin", "http://2130706433"),
            ("origin", "http://localhost http://evil.example"),
            ("origin", "http://localhost/evil"),
            ("origin", "file://localhost"),
            ("origin", "chrome-extension://localhost"),
            ("origin", "localhost"),
            ("origin", "null"),
            ("origin", ""),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "else"),
        ] {
            assert!(is_foreign(name, value), "{name}: {value}");
        }
        for (name, value) in [
            ("origin", "http://127.0.0.1:3000"),
            ("origin", "https://127.8.9.10"),
            ("origin", "http://localhost"),
            ("origin", "http://localhost/"),
            ("origin", "http://[::1]:9441"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
            ("referer", "https://evil.example/"),
        ] {
            assert!(!is_foreign(name, value), "{name}: {value}");
        }
        let two = [("origin", "http://localhost"), ("origin", "https://evil.example")];
        assert!(callers.are_foreign_pages(&first(&two)));
    }

    #[test]
    fn where_others_call_a_page_may_not_call_us_by_a_name_until_that_is_listed() {
        let any = Callers::new(false, Vec::new());
        let knows = |callers: &Callers, headers: &[_]| callers.is_known_host(&first(headers));
        for mark in [
            ("origin", "http://reports.shop:9441"),
            ("origin", "null"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "navigate"),
        ] {
            assert!(!knows(&any, &[("host", "reports.shop:9441"), mark]), "{mark:?}");
            assert!(!knows(&any, &[mark]), "{mark:?}");
            for host in ["10.1.2.3:9441", "[fd00::1]:9441", "localhost"] {
                assert!(knows(&any, &[("host", host), mark]), "{host}: {mark:?}");
            }
            assert!(knows(&listed(), &[("host", "reports.shop:9441"), mark]), "{mark:?}");
        }
    }

    #[test]
    fn where_others_call_the_pages_of_our_own_address_and_of_listed_names_may_call() {
        let any = Callers::new(false, Vec::new());
        let is_foreign = |callers: &Callers, headers: &[_]| callers.are_foreign_pages(&first(headers));
        let address = [("host", "10.1.2.3:9441"), ("origin", "http://10.1.2.3:9441")];
        assert!(any.is_known_host(&first(&address)) && !is_foreign(&any, &address));
        let host = ("host", "reports.shop:9441");
        assert!(!is_foreign(&any, &[host]));
        assert!(is_foreign(&any, &[host, ("origin", "http://reports.shop:9442")]));
        assert!(is_foreign(&any, &[host, ("origin", "http://203.0.113.5")]));
        let cross = ("sec-fetch-site", "cross-site");
        assert!(is_foreign(&any, &[host, cross]));
        let listed = listed();
        assert!(!is_foreign(&listed, &[host, ("origin", "https://reports.shop"), cross]));
        assert!(is_foreign(&listed, &[host, ("origin", "https://evil.example"), cross]));
        assert!(is_foreign(&listed, &[host, cross]));
    }

    #[test]
    fn a_listed_name_is_a_host_and_nothing_else() {
        for text in ["", "a:80", "user@a", "http://a", "a/b", "a b"] {
            assert_eq!(HostName::parse(text), None, "{text}");
        }
        assert_eq!(HostName::parse("Reports.Shop"), Some(HostName("reports.shop".into())));
        assert!(HostName::parse("[::1]").is_some());
    }
}
