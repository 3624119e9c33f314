//! The issuer's answers, through the public client.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use idissuer::core::account::TokenResponse;
use idissuer::core::backoff::RandomFraction;
use idissuer::core::endpoint::{AllowList, DEFAULT_ISSUER, Endpoint, Origin, RefreshShape};
use idissuer::core::reason::Reason;
use idissuer::core::retry::{RetryClass, Sent};
use idissuer::core::time::Moment;
use idissuer::core::token::{Fingerprint, Grant, LONGEST_TOKEN, RefreshToken};
use idissuer::core::username_password::LoginPair;
use idissuer::issuer::{
    Answer, Exchange, IssuerAddress, IssuerClient, IssuerError, Request, Transport, TransportError, Trust,
};
use idissuer::ops::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Part of every token, to search texts for it.
const MARK: &str = "very-secret";

/// A client whose issuer gives one answer to everything.
pub(super) struct Caller {
    client: IssuerClient,
    address: IssuerAddress,
    requests: Arc<Requests>,
}

/// What was sent and what came of it.
pub(super) struct Call {
    pub(super) exchange: Exchange,
    pub(super) request: Vec<u8>,
}

struct Requests {
    answer: Box<dyn Fn() -> Answer + Send + Sync>,
    bodies: Mutex<Vec<Vec<u8>>>,
}

impl Transport for Requests {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, TransportError>> {
        self.bodies.lock().unwrap().push(request.body.to_vec());
        futures::future::ready(Ok((self.answer)())).boxed()
    }
}

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Moment {
        Moment {
            wall: Timestamp::from_second(1_800_000_000).unwrap(),
            monotonic: SignedDuration::from_secs(60),
        }
    }

    fn random_fraction(&self) -> RandomFraction {
        RandomFraction::new(0.5)
    }
}

pub(super) fn pair() -> LoginPair {
    LoginPair::parse(("username", Some(b"me@example.org")), ("password", Some(b"hunter2"))).unwrap()
}

impl Caller {
    pub(super) fn new(status: u16, retry_after: Option<String>, date: Option<String>, body: Vec<u8>) -> Self {
        let answer = move || Answer {
            status,
            retry_after: retry_after.clone(),
            date: date.clone(),
            body: Some(body.clone().into()),
            ..Answer::default()
        };
        let requests = Arc::new(Requests { answer: Box::new(answer), bodies: Mutex::default() });
        let origin = Origin::parse(DEFAULT_ISSUER).unwrap();
        let allowed = Arc::new(AllowList::new(origin.clone(), Vec::new()));
        let transport: Arc<dyn Transport> = Arc::<Requests>::clone(&requests);
        let endpoint = Endpoint::new(origin, None, None, RefreshShape::Flat).unwrap();
        Self {
            client: IssuerClient::new(transport, allowed, Arc::new(Stopped)),
            address: IssuerAddress { endpoint, trust: Trust::PublicRoots },
            requests,
        }
    }

    pub(super) fn log_in(&self, pair: &LoginPair) -> Call {
        let exchange = self.client.login(&self.address, pair, Duration::from_secs(1)).now_or_never().unwrap();
        self.called(exchange)
    }

    fn refresh(&mut self, shape: RefreshShape, presented: &TokenResponse) -> Call {
        self.address.endpoint.refresh_shape = shape;
        let refresh = presented.refresh.as_ref().unwrap();
        let limit = Duration::from_secs(1);
        let call = self.client.refresh(&self.address, &presented.token, refresh, limit);
        let exchange = call.now_or_never().unwrap();
        self.called(exchange)
    }

    fn called(&self, exchange: Exchange) -> Call {
        Call { exchange, request: self.requests.bodies.lock().unwrap().pop().unwrap() }
    }
}

fn log_in(body: &[u8]) -> Result<TokenResponse, IssuerError> {
    Caller::new(200, None, None, body.to_vec()).log_in(&pair()).exchange.result
}

/// A member of a struct, which may also be written as a list.
fn member<'a>(document: &'a Value, name: &str, index: usize) -> Option<&'a Value> {
    match document {
        Value::Object(members) => members.get(name),
        Value::Array(members) => members.get(index),
        _ => None,
    }
}

/// The lifetime that the claims of a token state, if they do.
fn claimed(token: &str) -> Option<f64> {
    let parts: Vec<&str> = token.split('.').collect();
    let [_, payload, _] = parts[..] else { return None };
    let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&json).ok()?;
    // A time beyond the year 9999 counts as none, and so do 0 and what comes before it.
    let time = |name: &str| claims.get(name)?.as_f64().filter(|seconds| *seconds > 0.0 && *seconds < 2.5e11);
    Some(time("exp")? - time("iat")?)
}

/// What is accepted stands in the document just so, can be used, lives, and shows itself nowhere.
fn assert_usable(body: &[u8], obtained: &TokenResponse) -> Result<(), TestCaseError> {
    let shown = format!("{obtained:?}");
    prop_assert!(!shown.contains(MARK));
    // Unknown members are ignored, even if JSON parsers disagree on their values.
    let Ok(document) = serde_json::from_slice::<Value>(body) else { return Ok(()) };
    let access = member(&document, "access_token", 0).unwrap();
    let text = obtained.token.access.expose();
    prop_assert_eq!(member(access, "token", 1).and_then(Value::as_str), Some(text));
    prop_assert!(!text.is_empty() && text.len() <= LONGEST_TOKEN);
    prop_assert!(text.bytes().all(|byte| (b'!'..=b'~').contains(&byte)));
    let kind = member(access, "token_type", 0).and_then(Value::as_str).unwrap();
    prop_assert!(kind.eq_ignore_ascii_case("bearer"));
    prop_assert_eq!(&obtained.token.fingerprint, &Fingerprint::of(text.as_bytes()));
    let validity = obtained.token.validity;
    prop_assert_eq!(validity.issued, Stopped.now());
    prop_assert!(validity.lifetime > SignedDuration::ZERO);
    let stated = member(access, "expires_in", 2).and_then(Value::as_f64);
    for limit in [stated, claimed(text)].into_iter().flatten() {
        // Times of a JWT fall on nanoseconds.
        prop_assert!(validity.lifetime.as_secs_f64() <= limit + limit.abs() * 1e-9 + 1e-6);
    }
    let refresh = member(&document, "refresh_token", 1).and_then(Value::as_str).unwrap_or_default();
    let held = obtained.refresh.as_ref().map_or("", RefreshToken::expose);
    prop_assert!(held == refresh || (held.is_empty() && refresh.len() > LONGEST_TOKEN));
    Ok(())
}

/// A refused body is unusable for a login, and a refusal for a refresh; nothing of it is shown.
fn assert_judged(body: &[u8]) -> Result<(), TestCaseError> {
    match log_in(body) {
        Ok(obtained) => assert_usable(body, &obtained)?,
        Err(error) => {
            prop_assert_eq!(error.class(), RetryClass::Malformed);
            let origin = Origin::parse(DEFAULT_ISSUER).unwrap();
            let reason = Reason::of_call(&error.failure(false), "login", &origin);
            let shown = format!("{error:?} {error} {reason:?}");
            prop_assert!(!shown.contains(MARK));
        }
    }
    Ok(())
}

/// Something that may stand where another value is expected.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "-?[0-9]{1,25}(e[+-]?[0-9]{1,4})?"
            .prop_map(|text| { serde_json::from_str(&text).unwrap_or(Value::String(text)) }),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("(exp|iat|token|[a-z]{1,3})", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// An access token: opaque, or a JWT that is broken in some way.
fn tokens() -> impl Strategy<Value = String> {
    let encoded = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let claims = (values(), values(), values())
        .prop_map(|(iat, exp, sub)| json!({"iat": iat, "exp": exp, "sub": sub}));
    let times = (-5_000_000_000_i64..5_000_000_000, -10_000_i64..10_000_000)
        .prop_map(|(iat, lifetime)| json!({"iat": iat, "exp": iat + lifetime}));
    let parts = prop_oneof![
        claims.prop_map(encoded),
        times.prop_map(encoded),
        values().prop_map(encoded),
        Just(URL_SAFE_NO_PAD.encode("[".repeat(3000))),
        "[A-Za-z0-9_=-]{0,60}",
    ];
    prop_oneof![
        2 => "[!-~]{0,60}".prop_map(|text| format!("{MARK}{text}")),
        6 => (parts, "[.=]{0,2}").prop_map(|(payload, end)| format!("{MARK}.{payload}.c2ln{end}")),
        1 => ".{0,20}".prop_map(|text| format!("{MARK}{text}")),
        1 => (LONGEST_TOKEN - 20..LONGEST_TOKEN + 5).prop_map(|length| format!("{MARK}{}", "x".repeat(length))),
        1 => Just(String::new()),
    ]
}

/// A document that is nearly the documented one: any member may be of another type, missing or not expected.
fn documents() -> impl Strategy<Value = Value> {
    let kinds = prop_oneof![4 => "[Bb][Ee][Aa][Rr][Ee][Rr]".prop_map(Value::from), 1 => values()];
    let lifetimes = prop_oneof![
        3 => (1_i64..100_000).prop_map(Value::from),
        1 => (1_i64..100_000).prop_map(|seconds| Value::from(seconds.to_string())),
        2 => values(),
    ];
    let tokens = prop_oneof![6 => tokens().prop_map(Value::from), 1 => values()];
    let refresh = prop_oneof![4 => tokens_to_refresh().prop_map(Value::from), 1 => values()];
    let (present, shape) = (any::<[bool; 8]>(), 0..8_usize);
    (kinds, tokens, lifetimes, refresh, values(), present, shape).prop_map(
        |(kind, token, lifetime, refresh, extra, rare, shape)| {
            let mut access =
                json!({"token_type": kind, "token": token, "expires_in": lifetime, "more": extra});
            for (name, _) in
                ["token_type", "token"].iter().zip(0..).filter(|(_, index)| rare[*index] && rare[2])
            {
                access.as_object_mut().unwrap().remove(*name);
            }
            if rare[3] && rare[4] {
                access.as_object_mut().unwrap().remove("expires_in");
            }
            match shape {
                // The table of the page has the tokens side by side.
                0 => {
                    json!({"access_token": access["token"], "refresh_token": refresh, "expires_in": lifetime})
                }
                1 => json!([access, refresh]),
                2 => json!({"data": {"access_token": access, "refresh_token": refresh}}),
                _ => json!({"access_token": access, "refresh_token": refresh, "more": extra}),
            }
        },
    )
}

fn tokens_to_refresh() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[!-~]{0,40}".prop_map(|text| format!("{MARK}{text}")),
        2 => ".{0,10}",
        1 => (LONGEST_TOKEN - 20..LONGEST_TOKEN + 5).prop_map(|length| "r".repeat(length)),
    ]
}

/// A change to the bytes of a document.
#[derive(Clone, Debug)]
enum Change {
    Cut,
    Remove,
    Put(Vec<u8>),
    Double(usize),
    Nest(u16),
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, Change)>> {
    let change = prop_oneof![
        1 => Just(Change::Cut),
        3 => Just(Change::Remove),
        3 => prop::collection::vec(any::<u8>(), 1..4).prop_map(Change::Put),
        3 => r#"[\[\]{}:,"0-9eE.+-]|\\u[dD][89a-f]00|\\u0000|null|"token":"x",|"token_type":1,"#
            .prop_map(|text| Change::Put(text.into_bytes())),
        2 => (1..60_usize).prop_map(Change::Double),
        1 => (1..5_000_u16).prop_map(Change::Nest),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), change), 1..4)
}

fn apply(mut body: Vec<u8>, changes: Vec<(prop::sample::Index, Change)>) -> Vec<u8> {
    for (index, change) in changes {
        let at = index.index(body.len() + 1);
        let put = match change {
            Change::Cut => {
                body.truncate(at);
                Vec::new()
            }
            Change::Remove => {
                body.drain(at..(at + 1).min(body.len()));
                Vec::new()
            }
            Change::Put(bytes) => bytes,
            Change::Double(length) => body[at..(at + length).min(body.len())].to_vec(),
            Change::Nest(depth) => vec![if depth % 2 == 0 { b'[' } else { b'{' }; usize::from(depth)],
        };
        body.splice(at..at, put);
    }
    body
}

proptest! {
    #[test]
    fn of_random_bytes_only_a_usable_token_is_accepted(
        body in prop_oneof![any::<Vec<u8>>(), "[\\[\\]{}:,\"a-z_0-9. e+-]{0,120}".prop_map(String::into_bytes)],
    ) {
        assert_judged(&body)?;
    }

    #[test]
    fn of_documents_that_are_nearly_right_only_a_usable_token_is_accepted(document in documents()) {
        assert_judged(document.to_string().as_bytes())?;
    }

    #[test]
    fn of_damaged_documents_only_a_usable_token_is_accepted(document in documents(), changes in changes()) {
        assert_judged(&apply(document.to_string().into_bytes(), changes))?;
    }

    #[test]
    fn the_documented_answer_is_accepted_however_it_is_written(
        kind in "[Bb][Ee][Aa][Rr][Ee][Rr]", token in "[!-~]{1,80}", refresh in "[!-~]{1,80}",
        lifetime in 1_i64..300_000_000, as_text in any::<bool>(), pretty in any::<bool>(), more in values(),
        depth in 0..9_000_usize,
    ) {
        prop_assume!(claimed(&token).is_none());
        let stated = if as_text { Value::from(lifetime.to_string()) } else { Value::from(lifetime) };
        let access = json!({"token_type": kind, "token": token, "expires_in": stated, "scope": more});
        let document = json!({"access_token": access, "refresh_token": refresh, "a_new_member": more});
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
        // Unknown members are ignored, however deep they are.
        let deep = format!("{{\"deep\":{}{},", "[".repeat(depth), "]".repeat(depth));
        let text = if depth > 0 { text.unwrap().replacen('{', &deep, 1) } else { text.unwrap() };
        let obtained = log_in(text.as_bytes()).unwrap();
        prop_assert_eq!(obtained.token.access.expose(), token);
        prop_assert_eq!(obtained.refresh.as_ref().map(RefreshToken::expose), Some(refresh.as_str()));
        prop_assert_eq!(obtained.token.validity.lifetime.as_secs(), lifetime);
        prop_assert_eq!(obtained.token.grant, Grant::Login);
    }

    #[test]
    fn every_accepted_pair_is_presented_unchanged_in_both_shapes(document in documents()) {
        let mut caller = Caller::new(200, None, None, document.to_string().into_bytes());
        let Ok(obtained) = caller.log_in(&pair()).exchange.result else { return Ok(()) };
        let Some(refresh) = &obtained.refresh else { return Ok(()) };
        for shape in [RefreshShape::Flat, RefreshShape::Nested] {
            let call = caller.refresh(shape, &obtained);
            let sent: Value = serde_json::from_slice(&call.request).unwrap();
            let token = match shape {
                RefreshShape::Flat => &sent["access_token"],
                RefreshShape::Nested => &sent["access_token"]["token"],
            };
            prop_assert_eq!(token.as_str(), Some(obtained.token.access.expose()));
            prop_assert_eq!(sent["refresh_token"].as_str(), Some(refresh.expose()));
            prop_assert!(call.exchange.result.is_ok_and(|next| next.token.grant == Grant::Refresh));
        }
    }

    #[test]
    fn only_a_200_brings_a_token_and_no_header_brings_anything_down(
        status in prop_oneof![3 => 100..600_u16, 1 => any::<u16>()],
        retry_after in prop::option::of(headers()), date in prop::option::of(headers()),
    ) {
        let body = json!({"access_token": {"token_type": "bearer", "token": MARK, "expires_in": 60}});
        let caller = Caller::new(status, retry_after, date, body.to_string().into_bytes());
        match caller.log_in(&pair()).exchange.result.map_err(|error| error.class()) {
            Ok(_) => prop_assert_eq!(status, 200),
            Err(RetryClass::Rejected) => {
                let has_its_own_meaning =
                    matches!(status, 404 | 405 | 407 | 408 | 415 | 421 | 425 | 429 | 451);
                prop_assert!(matches!(status, 400..=499) && !has_its_own_meaning);
            }
            Err(RetryClass::Misconfigured) => prop_assert!(matches!(status, 300..=399 | 404 | 405 | 415)),
            Err(RetryClass::Inconclusive { sent }) => {
                prop_assert!(sent == Sent::No && matches!(status, 407 | 421 | 451));
            }
            Err(RetryClass::Transient { sent, retry_after }) => {
                prop_assert_eq!(sent == Sent::No, matches!(status, 408 | 425 | 429));
                prop_assert!(retry_after.is_none_or(|wait| !wait.is_negative()));
            }
            Err(RetryClass::Malformed) => prop_assert!(!matches!(status, 200 | 300..=599)),
            Err(RetryClass::Refused | RetryClass::Blocked) => prop_assert!(false, "by status {}", status),
        }
    }
}

fn headers() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{0,30}",
        ".{0,30}",
        "(Sun|Mon|Xyz), [0-9]{1,3} (Jan|Nov|Foo) [0-9]{1,5} [0-9]{2}:[0-9]{2}:[0-9]{2} (GMT|UTC)",
        "(Sunday|Monday), [0-9]{2}-(Jan|Nov)-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        "(Sun|Mon) (Jan|Nov) [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}",
    ]
}
