//! Addresses of issuers: which ones the allow-list accepts, and how they are shown.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use idissuer::api::rules;
use idissuer::core::connection_failure::ConnectionFailure;
use idissuer::core::endpoint::{AllowList, Endpoint, Origin, RefreshShape};
use idissuer::issuer::{Answer, IssuerAddress, IssuerClient, Request, Transport, TransportError, Trust};
use idissuer::ops::clock::SystemClock;
use proptest::prelude::*;
use proptest::sample::select;
use regex_lite::Regex;

use super::answers::pair;

/// The origins of the tests' allow-list; the first is the default.
const LISTED: [&str; 4] = [
    "https://api.idissuer.pl",
    "http://127.0.0.1:8080",
    "https://[2001:db8::1]:8443",
    "https://xn--w-uga1v8h.example",
];

fn allow_list() -> AllowList {
    let mut origins = LISTED.map(|text| Origin::parse(text).unwrap()).into_iter();
    AllowList::new(origins.next().unwrap(), origins.map(Into::into).collect())
}

/// Hosts that are listed, nearly listed, or look listed.
fn hosts() -> impl Strategy<Value = String> {
    let alike = [
        "api.idissuer.pl",
        "API.IDISSUER.PL",
        "api.idissuer.pl.",
        "api.idissuer.pl.evil.example",
        "evil-api.idissuer.pl",
        "api%2eidissuer.pl",
        "api\u{3002}idissuer.pl",
        "\u{ff41}pi.idissuer.pl",
        "\u{430}pi.idissuer.pl",
        "api.idissuer.pl%00",
        "api.idissuer.pl%2f",
        "api.idissuer.pl:443",
        "api.idissuer.pl:80",
        "api.idissuer.pl:0443",
        "api.idissuer.pl:99999",
        "api.idissuer.pl:",
        "me@api.idissuer.pl",
        "api.idissuer.pl@evil.example",
        "api.idissuer.pl\\@evil.example",
        "api.idissuer.pl#@evil.example",
        "api.idissuer.pl?@evil.example",
        "api.idissuer.pl\t.evil.example",
        "127.0.0.1:8080",
        "127.1:8080",
        "0x7f.1:8080",
        "2130706433:8080",
        "0177.0.0.1:8080",
        "127.0.0.1.:8080",
        "[::ffff:127.0.0.1]:8080",
        "[2001:db8::1]:8443",
        "[2001:DB8:0:0::1]:8443",
        "[2001:db8::1%25eth0]:8443",
        "[2001:db8::1]",
        "żółw.example",
        "xn--w-uga1v8h.example",
        "ŻÓŁW.example",
        "xn--.example",
        "xn--a.example",
        "a_b.example",
        "a..b",
        ".",
        "",
        "-a-.b",
        "api.idissuer.pl\u{ad}",
        "api.idissuer.pl\u{200b}",
        "ap\u{2024}i.idissuer.pl",
        "localhost",
        "1.2.3.4.5",
        "256.1.1.1",
    ];
    prop_oneof![
        6 => select(alike.to_vec()).prop_map(str::to_owned),
        3 => r"[a-z0-9-]{1,5}(\.[a-z0-9-]{1,5}){0,3}(:[0-9]{1,5})?",
        2 => r"\[[0-9a-f:.]{2,20}\](:[0-9]{1,5})?",
        2 => "[a-z0-9.:@%\\[\\]\\\\/_-]{0,16}",
        1 => ".{0,12}",
    ]
}

/// Addresses, most of them with one thing wrong.
fn addresses() -> impl Strategy<Value = String> {
    let schemes = select(
        &[
            "https://",
            "http://",
            "HTTPS://",
            "hTTp://",
            "https:",
            "https:/",
            "https:///",
            "https:\\\\",
            "//",
            "",
            " https://",
            "ftp://",
            "file://",
            "javascript://",
            "ht\ttps://",
            "https://\u{0}",
            "blob:https://",
            "wss://",
        ][..],
    );
    let ends = prop_oneof![
        5 => Just(String::new()),
        3 => Just("/".to_owned()),
        2 => select(&["?", "#", "/?", "//", "/.", "/..", "\\", "/%2e", " ", "\n", "/\t", "/a", ";a"][..])
            .prop_map(str::to_owned),
        1 => "[ -~]{0,6}",
    ];
    (schemes, hosts(), ends).prop_map(|(scheme, host, end)| format!("{scheme}{host}{end}"))
}

const ODD_PIECES: [&str; 15] =
    [".", "..", "%2e%2e", "%2F", "\\", "@evil.example", ":8443", "?a", "#a", ";a", "\t", "\n", " ", "é", "%"];

fn paths() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        4 => "[A-Za-z0-9._~-]{0,8}",
        2 => select(&ODD_PIECES[..]).prop_map(str::to_owned),
    ];
    prop_oneof![
        8 => prop::collection::vec(pieces, 0..5).prop_map(|pieces| format!("/{}", pieces.join("/"))),
        1 => "[A-Za-z0-9._~-]{250,260}".prop_map(|text| format!("/{text}")),
        1 => ".{0,12}",
    ]
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).unwrap().is_match(text)
}

/// A normalised origin: nothing in it can be read as a user, a path or another scheme.
const SHOWN: &str = r#"^https?://([a-z0-9_.!$&'()*+,;=~`{}"-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$"#;

/// What the resource's rules say of a path. One more is refused: `/./` and the like, of which a URL makes another path.
fn is_path_by_the_rules(path: &str) -> bool {
    let is_allowed = matches(rules::PATH_PATTERN, path) && !matches(rules::UNSAFE_PATH_PATTERN, path);
    is_allowed && !path.split('/').any(|piece| piece == ".")
}

#[derive(Default)]
struct Addressed(Mutex<Vec<String>>);

impl Transport for Addressed {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, TransportError>> {
        self.0.lock().unwrap().push(request.url.to_string());
        futures::future::ready(Err(TransportError::perhaps_sent(ConnectionFailure::Lost))).boxed()
    }
}

/// The address that a login at this endpoint is sent to; none if it is not sent.
fn address_of_login(endpoint: Endpoint) -> Option<String> {
    let addressed = Arc::new(Addressed::default());
    let transport: Arc<dyn Transport> = Arc::<Addressed>::clone(&addressed);
    let client = IssuerClient::new(transport, Arc::new(allow_list()), Arc::new(SystemClock::start()));
    let address = IssuerAddress { endpoint, trust: Trust::PublicRoots };
    let _ = client.login(&address, &pair(), Duration::from_secs(1)).now_or_never().unwrap();
    addressed.0.lock().unwrap().pop()
}

proptest! {
    #[test]
    fn an_origin_is_what_it_shows_and_shows_what_was_written(text in addresses()) {
        let Ok(origin) = Origin::parse(&text) else { return Ok(()) };
        let shown = origin.to_string();
        prop_assert!(matches(SHOWN, &shown), "{}", shown);
        prop_assert_eq!(Origin::parse(&shown), Ok(origin.clone()));
        prop_assert_eq!(origin.is_https(), text.to_ascii_lowercase().starts_with("https://"));
        // Of plain names a reader sees the very host.
        let (_, authority) = text.split_once("://").unwrap();
        let name = authority.trim_end_matches('/').split(':').next().unwrap().to_ascii_lowercase();
        if matches(r"^([a-z][a-z0-9-]*\.)*[a-z][a-z0-9-]*$", &name) {
            let (_, host) = shown.split_once("://").unwrap();
            prop_assert_eq!(host.split(':').next(), Some(name.as_str()));
        }
    }

    #[test]
    fn a_password_is_sent_to_a_listed_origin_or_nowhere(text in addresses(), path in paths()) {
        let Ok(origin) = Origin::parse(&text) else { return Ok(()) };
        let shown = origin.to_string();
        let Ok(endpoint) = Endpoint::new(origin, Some(&path), None, RefreshShape::Flat) else { return Ok(()) };
        let allowed = allow_list();
        let is_listed = LISTED.contains(&shown.as_str());
        prop_assert_eq!(allowed.permits(&endpoint.token), is_listed);
        prop_assert_eq!(allowed.permits(&endpoint.refresh), is_listed);
        prop_assert_eq!(address_of_login(endpoint), is_listed.then(|| format!("{shown}{path}")));
    }

    #[test]
    fn a_path_is_accepted_as_the_rules_of_the_resource_say_and_stays_as_it_is(
        path in paths(), listed in select(&LISTED[..]),
    ) {
        let origin = Origin::parse(listed).unwrap();
        let built = Endpoint::new(origin.clone(), Some(&path), Some(&path), RefreshShape::Nested);
        prop_assert_eq!(built.is_ok(), is_path_by_the_rules(&path));
        if let Ok(endpoint) = built {
            prop_assert_eq!(endpoint.token.as_str(), format!("{listed}{path}"));
            prop_assert_eq!(endpoint.token, endpoint.refresh);
        }
    }

    #[test]
    fn of_names_that_dns_knows_the_rule_of_the_resource_and_the_parser_say_the_same(
        scheme in select(&["https://", "HTTP://", "ftp://", "https:/"][..]),
        name in r"[A-Za-z](-?[A-Za-z0-9]){0,5}(\.[A-Za-z](-?[A-Za-z0-9]){0,5}){0,3}",
        end in select(&["", "/", ":443", ":80/", ":65535", "//", "/a", "?", "#", "@", " ", ":a", "/?x", "\\", "\n"][..]),
    ) {
        let text = format!("{scheme}{name}{end}");
        let by_rule = matches(rules::URL_PATTERN, &text) && text.len() <= rules::URL_MAX_LENGTH;
        prop_assert_eq!(Origin::parse(&text).is_ok(), by_rule, "{}", text);
    }
}
