//! The address of an issuer, and whether this controller may log in there.

use std::fmt;
use std::sync::Arc;

use url::{Host, Url};

/// The documented issuer.
pub const DEFAULT_ISSUER: &str = "https://api.idissuer.pl";
/// The documented path of a login, without the trailing slash that only the page's prose has.
pub const DEFAULT_TOKEN_PATH: &str = "/v2/auth/token";
/// The documented path of a refresh.
pub const DEFAULT_REFRESH_PATH: &str = "/v2/auth/refreshtoken";

/// Scheme, host and port, normalised: the unit of trust (RFC 6454). Clones share the text: each account has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(Arc<Url>);

/// Why a text is not an issuer address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It cannot be parsed, or its scheme is neither https nor http.
    #[error("not an http or https URL")]
    NotHttp,
    /// It carries a user, a path, a query or a fragment.
    #[error("it has more than scheme, host and port")]
    MoreThanOrigin,
}

impl Origin {
    /// Parses `https://host[:port][/]`.
    ///
    /// # Errors
    /// When it is no http(s) URL, or holds anything beyond an origin.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        // URL parsers correct many mistakes, but people read the text as it is: reject it before it is corrected.
        let (_, rest) = text.split_once("://").ok_or(OriginError::NotHttp)?;
        if rest.starts_with('/') || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(OriginError::NotHttp);
        }
        if rest.strip_suffix('/').unwrap_or(rest).contains(['/', '\\', '@']) {
            return Err(OriginError::MoreThanOrigin);
        }
        let url = Url::parse(text).map_err(|_| OriginError::NotHttp)?;
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
            return Err(OriginError::NotHttp);
        }
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if is_bare { Ok(Self(Arc::new(url))) } else { Err(OriginError::MoreThanOrigin) }
    }

    /// Whether calls there are encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether calls there never leave this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// The port, which its scheme implies if it is not named.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.0.port_or_known_default()
    }

    /// The address of a path at this origin, unless setting the path led anywhere else.
    fn at(&self, path: &str) -> Option<Url> {
        let mut url = Url::clone(&self.0);
        url.set_path(path);
        let stayed = url.origin() == self.0.origin() && url.path() == path;
        (stayed && url.query().is_none() && url.fragment().is_none()).then_some(url)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.origin().ascii_serialization())
    }
}

/// The body of a refresh: the vendor's table and the vendor's example contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum RefreshShape {
    /// Two strings, as in the table of the documentation.
    #[default]
    Flat,
    /// The whole login answer, as the example shows.
    Nested,
}

/// The addresses of one issuer's calls and the shape of its refresh.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The unit of trust and of connection reuse.
    pub origin: Origin,
    /// Where to log in.
    pub token: Arc<Url>,
    /// Where to refresh.
    pub refresh: Arc<Url>,
    /// What a refresh looks like.
    pub refresh_shape: RefreshShape,
}

/// Which path of an endpoint is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// The URL of the login call.
    Token,
    /// The URL of the refresh call.
    Refresh,
}

impl Endpoint {
    /// Puts an endpoint together; absent paths are the documented ones.
    ///
    /// # Errors
    /// When a path is not of the form that the resource's rules allow, which the code refuses again.
    pub fn new(
        origin: Origin,
        token_path: Option<&str>,
        refresh_path: Option<&str>,
        refresh_shape: RefreshShape,
    ) -> Result<Self, PathError> {
        let at = |path: &str| is_safe_path(path).then(|| origin.at(path)).flatten().map(Arc::new);
        let token = at(token_path.unwrap_or(DEFAULT_TOKEN_PATH)).ok_or(PathError::Token)?;
        let refresh = at(refresh_path.unwrap_or(DEFAULT_REFRESH_PATH)).ok_or(PathError::Refresh)?;
        Ok(Self { origin, token, refresh, refresh_shape })
    }
}

/// The same rule as the resource's schema: `^/[A-Za-z0-9._~/-]{0,255}$` without `//` or `..`.
fn is_safe_path(path: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~/-".contains(&byte);
    path.starts_with('/')
        && path.len() <= 256
        && path.bytes().all(allowed)
        && !path.contains("//")
        && !path.contains("..")
}

/// An entry of the allow-list: an origin, and perhaps the only path at it that may be called, or what lies under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    origin: Origin,
    path: Option<String>,
}

impl Allowed {
    /// Parses `https://host[:port][/path]`. A path that is more than `/` is the only one that may be called, together with
    /// those under it.
    ///
    /// # Errors
    /// When it is no http(s) URL, or its path is none that a credential could name.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let after_scheme = text.find("://").map(|at| at + 3).ok_or(OriginError::NotHttp)?;
        let path_at = text[after_scheme..].find('/').map_or(text.len(), |at| after_scheme + at);
        let (origin, path) = text.split_at(path_at);
        let path = Some(path).filter(|path| !matches!(*path, "" | "/"));
        if path.is_some_and(|path| !is_safe_path(path)) {
            return Err(OriginError::MoreThanOrigin);
        }
        Ok(Self { origin: Origin::parse(origin)?, path: path.map(str::to_owned) })
    }

    /// The origin of the issuer.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    fn permits(&self, path: &str) -> bool {
        self.path.as_deref().is_none_or(|allowed| {
            let under = path.strip_prefix(allowed.strip_suffix('/').unwrap_or(allowed));
            path == allowed || under.is_some_and(|rest| rest.starts_with('/'))
        })
    }
}

impl From<Origin> for Allowed {
    fn from(origin: Origin) -> Self {
        Self { origin, path: None }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.origin, self.path.as_deref().unwrap_or_default())
    }
}

/// The origins that this process may send a password to.
#[derive(Clone, Debug)]
pub struct AllowList {
    default: Origin,
    others: Vec<Allowed>,
}

impl AllowList {
    /// The default issuer is always allowed, at every path unless an entry names one of it. Plain http is allowed only for
    /// an origin that is listed as http.
    #[must_use]
    pub fn new(default: Origin, others: Vec<Allowed>) -> Self {
        Self { default, others }
    }

    /// The issuer of credentials that name none.
    #[must_use]
    pub fn default_issuer(&self) -> &Origin {
        &self.default
    }

    /// Everything that is allowed, the default first.
    pub fn entries(&self) -> impl Iterator<Item = Allowed> {
        let default = self.is_default_whole().then(|| Allowed::from(self.default.clone()));
        let others = self.others.iter().filter(|other| other.path.is_some() || other.origin != self.default);
        default.into_iter().chain(others.cloned())
    }

    /// Whether no entry names a path of the default issuer, or one names all of it.
    fn is_default_whole(&self) -> bool {
        let mut of_default = self.others.iter().filter(|other| other.origin == self.default).peekable();
        of_default.peek().is_none() || of_default.any(|other| other.path.is_none())
    }

    /// Whether calls to this origin are allowed, at some path at least.
    #[must_use]
    pub fn permits_origin(&self, origin: &Origin) -> bool {
        self.entries().any(|allowed| allowed.origin == *origin)
    }

    /// Whether the final address of a call stays at what is allowed.
    #[must_use]
    pub fn permits(&self, url: &Url) -> bool {
        self.entries().any(|allowed| allowed.origin.0.origin() == url.origin() && allowed.permits(url.path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn origin(text: &str) -> Origin {
        Origin::parse(text).unwrap()
    }

    #[test]
    fn an_origin_is_normalised_and_holds_nothing_else() {
        for text in ["https://API.idissuer.pl", "https://api.idissuer.pl:443/", "HTTPS://api.idissuer.pl/"] {
            assert_eq!(origin(text).to_string(), "https://api.idissuer.pl", "{text}");
            assert_eq!(origin(text), origin(DEFAULT_ISSUER), "{text}");
        }
        let refused = [
            ("ftp://api.idissuer.pl", OriginError::NotHttp),
            ("api.idissuer.pl", OriginError::NotHttp),
            ("https://", OriginError::NotHttp),
            ("https:///api.idissuer.pl", OriginError::NotHttp),
            ("https://api.idissuer.pl ", OriginError::NotHttp),
            ("https://me@api.idissuer.pl", OriginError::MoreThanOrigin),
            ("https://@api.idissuer.pl", OriginError::MoreThanOrigin),
            ("https://api.idissuer.pl/v2", OriginError::MoreThanOrigin),
            ("https://api.idissuer.pl?x", OriginError::MoreThanOrigin),
            ("https://api.idissuer.pl#x", OriginError::MoreThanOrigin),
        ];
        for (text, defect) in refused {
            assert_eq!(Origin::parse(text).err(), Some(defect), "{text}");
        }
    }

    #[test]
    fn an_origin_says_how_and_where_calls_go() {
        for (text, expected) in [
            ("https://api.idissuer.pl", (true, false, Some(443))),
            ("http://api.idissuer.pl:8080", (false, false, Some(8080))),
            ("http://localhost", (false, true, Some(80))),
            ("https://127.0.0.2:1", (true, true, Some(1))),
            ("http://10.0.0.1", (false, false, Some(80))),
            ("http://[::1]", (false, true, Some(80))),
        ] {
            let origin = origin(text);
            assert_eq!((origin.is_https(), origin.is_loopback(), origin.port()), expected, "{text}");
        }
    }

    #[test]
    fn paths_stay_at_their_origin() {
        let build = |path| Endpoint::new(origin(DEFAULT_ISSUER), Some(path), None, RefreshShape::Flat);
        assert_eq!(
            build("/v2/auth/token/").unwrap().token.as_str(),
            "https://api.idissuer.pl/v2/auth/token/"
        );
        for path in ["//evil.example/x", "/a/../b", "v2", "/a?b", "/a#b", "/a b", "/\\evil", "/./a/", ""] {
            assert_eq!(build(path).err(), Some(PathError::Token), "{path:?}");
        }
    }

    #[test]
    fn plain_http_is_allowed_only_where_it_is_listed_as_http() {
        let allowed = AllowList::new(origin(DEFAULT_ISSUER), vec![origin("http://127.0.0.1:8080").into()]);
        let permits = |text: &str| allowed.permits(&Url::parse(text).unwrap());
        for (text, expected) in
            [(DEFAULT_ISSUER, true), ("http://127.0.0.1:8080", true), ("http://10.0.0.1", false)]
        {
            assert_eq!(allowed.permits_origin(&origin(text)), expected, "{text}");
        }
        assert!(permits("https://api.idissuer.pl/v2/auth/token"));
        assert!(permits("http://127.0.0.1:8080/v2/auth/token"));
        assert!(!permits("http://api.idissuer.pl/v2/auth/token"));
        assert!(!permits("https://127.0.0.1:8080/"));
        assert!(!permits("https://api.idissuer.pl:8443/"));
        assert!(!permits("https://api.idissuer.pl.evil.example/"));
    }

    #[test]
    fn an_entry_with_a_path_allows_that_and_what_lies_under_it_only() {
        let other = "https://issuer.example";
        let permits = |entries: &[&str], url: &str| {
            let entries = entries.iter().map(|entry| Allowed::parse(entry).unwrap()).collect();
            AllowList::new(origin(DEFAULT_ISSUER), entries).permits(&Url::parse(url).unwrap())
        };
        for pinned in ["https://issuer.example/v2/auth", "https://issuer.example/v2/auth/"] {
            for (path, expected) in [
                ("/v2/auth/token", true),
                ("/v2/auth/", true),
                ("/v2/auth", pinned.ends_with("auth")),
                ("/v2/authorize", false),
                ("/slow", false),
                ("/", false),
            ] {
                assert_eq!(permits(&[pinned], &format!("{other}{path}")), expected, "{pinned} {path}");
                assert!(permits(&[pinned, other], &format!("{other}{path}")), "named as a whole as well");
                assert!(permits(&[pinned], &format!("{DEFAULT_ISSUER}{path}")), "nobody pinned the default");
            }
        }
        let pinned = [&*format!("{DEFAULT_ISSUER}/v2/auth/")];
        assert!(permits(&pinned, "https://api.idissuer.pl/v2/auth/token"));
        assert!(!permits(&pinned, "https://api.idissuer.pl/slow"));
        assert!(!permits(&pinned, "https://issuer.example/v2/auth/token"));
        assert_eq!(Allowed::parse("https://A:443/b/").unwrap().to_string(), "https://a/b/");
        for text in ["https://a.example//b", "https://a.example/b?c", "https://a.example/../b", "a.example/b"]
        {
            assert!(Allowed::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leads_away_from_the_allowed_origin(path in "[/.\\\\a-z%?#@:~-]{0,40}") {
            let allowed = AllowList::new(origin(DEFAULT_ISSUER), Vec::new());
            if let Ok(endpoint) = Endpoint::new(origin(DEFAULT_ISSUER), Some(&path), Some(&path), RefreshShape::Flat) {
                prop_assert!(allowed.permits(&endpoint.token));
                prop_assert_eq!(endpoint.token.path(), path);
            }
        }
    }
}
