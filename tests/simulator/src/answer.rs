//! The answer: the model's result in HTTP, changed by a fault.

use std::{fmt, io::Read as _, time::Duration};

use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::{
    Answer, Compression, Fault, Grant, Missing, Personality, Reason, RetryAfter, generator::Generator,
    token::EXPIRED_CHALLENGE,
};

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SimulatedAnswer {
    /// This response, whole.
    Complete(Response),
    /// This response, with a `Content-Length` to fit; half of its body is sent, then the connection is closed.
    Cut(Response),
    /// This response, its body byte by byte with this time before each.
    Trickle(Response, Duration),
    /// Bytes that are not HTTP; then the connection is closed.
    NotHttp(Vec<u8>),
    /// The connection is closed without an answer.
    Lost,
    /// Nothing, for as long as the caller waits.
    Never,
}

impl SimulatedAnswer {
    /// The status, where there is one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Complete(response) | Self::Cut(response) | Self::Trickle(response, _) => {
                Some(response.status)
            }
            Self::NotHttp(_) | Self::Lost | Self::Never => None,
        }
    }

    /// The JSON of the body of a complete answer.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        match self {
            Self::Complete(response) => serde_json::from_slice(&response.body).ok(),
            _ => None,
        }
    }
}

/// An HTTP response.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its headers but for `Content-Length`, which follows from the body.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Response {
    /// Without the body, which holds tokens.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish()
    }
}

impl Response {
    /// The first value of a header, named in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::empty(status)
            .with("content-type", "application/json; charset=utf-8")
            .with_body(body.to_string().into_bytes())
    }

    pub(crate) fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((header, value.into()));
        self
    }

    /// With the `Date` of `other`: the issuer's clock does not change because of a fault.
    fn dated_as(self, other: &Self) -> Self {
        match other.header("date") {
            Some(date) => self.with("date", date),
            None => self,
        }
    }

    fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// The answer of the model to a login or a refresh.
    pub(crate) fn of(answer: &Answer, personality: &Personality) -> Self {
        match answer {
            Answer::Granted(grant) => Self::json(200, &grant_json(grant, personality)),
            // A refusal with 200 is the unusable answer that some issuers give.
            Answer::Refused(refusal) => {
                Self::json(refusal.status, &json!({"message": refusal.reason.sentence(), "succeeded": false}))
            }
        }
    }

    /// The answer of the authorized endpoint, as the vendor's page has it.
    pub(crate) fn of_use(result: Result<&str, Reason>) -> Self {
        match result {
            Ok(user) => Self::json(200, &json!({"user": user})),
            Err(Reason::Expired) => {
                Self::empty(401).with("www-authenticate", EXPIRED_CHALLENGE).with("token-expired", "true")
            }
            Err(_) => Self::empty(401).with("www-authenticate", "Bearer error=\"invalid_token\""),
        }
    }
}

fn grant_json(grant: &Grant, personality: &Personality) -> Value {
    let mut access_token = Map::new();
    access_token.insert("token_type".to_owned(), json!(personality.token.token_type));
    access_token.insert("token".to_owned(), json!(grant.access_token));
    if let Some(expires_in) = personality.token.expires_in.say(personality.token.lifetime) {
        access_token.insert("expires_in".to_owned(), expires_in);
    }
    let mut body = Map::new();
    body.insert("access_token".to_owned(), Value::Object(access_token));
    match (&grant.refresh_token, personality.refresh.missing) {
        (Some(refresh_token), _) => body.insert("refresh_token".to_owned(), json!(refresh_token)),
        (None, Missing::Omitted) => None,
        (None, Missing::Null) => body.insert("refresh_token".to_owned(), Value::Null),
        (None, Missing::Empty) => body.insert("refresh_token".to_owned(), json!("")),
    };
    Value::Object(body)
}

impl Fault {
    /// What this fault makes of `response`, which is empty where no work was done.
    pub(crate) fn apply(
        &self,
        response: Response,
        now: Timestamp,
        generator: &mut Generator,
    ) -> SimulatedAnswer {
        let whole = match self {
            Self::Status { status, retry_after, body } => {
                let body = body.clone().unwrap_or_default().into_bytes();
                let answer = Response::empty(*status).dated_as(&response).with_body(body);
                match retry_after {
                    Some(retry_after) => answer.with("retry-after", retry_after.header(now)),
                    None => answer,
                }
            }
            Self::Redirect { status, location } => {
                Response::empty(*status).dated_as(&response).with("location", location.clone())
            }
            Self::Lost => return SimulatedAnswer::Lost,
            Self::Hang => return SimulatedAnswer::Never,
            Self::NotHttp => return SimulatedAnswer::NotHttp(generator.bytes().to_vec()),
            Self::Cut => return SimulatedAnswer::Cut(response),
            Self::Trickle { interval } => return SimulatedAnswer::Trickle(response, *interval),
            Self::Garbage => {
                let garbage = generator.bytes().to_vec();
                response.with_body(garbage)
            }
            Self::Truncated => {
                let mut body = response.body.clone();
                body.truncate(body.len() / 2);
                response.with_body(body)
            }
            Self::Oversize { bytes } => {
                // Spaces before the end of JSON: a client without a limit could read it.
                let mut body = response.body.clone();
                let end = body.len().saturating_sub(1);
                body.splice(end..end, std::iter::repeat_n(b' ', bytes.saturating_sub(body.len())));
                response.with_body(body)
            }
            Self::ByteOrderMark => {
                let body = [b"\xef\xbb\xbf", &response.body[..]].concat();
                response.with_body(body)
            }
            Self::Compressed { by } => {
                let (name, body) = by.of(&response.body);
                response.with("content-encoding", name).with_body(body)
            }
        };
        SimulatedAnswer::Complete(whole)
    }
}

impl Compression {
    /// What the header calls it, and these bytes compressed so.
    fn of(self, bytes: &[u8]) -> (&'static str, Vec<u8>) {
        let mut compressed = Vec::new();
        let level = flate2::Compression::default();
        let (name, outcome) = match self {
            Self::Gzip => ("gzip", GzEncoder::new(bytes, level).read_to_end(&mut compressed)),
            Self::Deflate => ("deflate", ZlibEncoder::new(bytes, level).read_to_end(&mut compressed)),
            Self::BareDeflate => ("deflate", DeflateEncoder::new(bytes, level).read_to_end(&mut compressed)),
        };
        debug_assert!(outcome.is_ok(), "memory does not fail");
        (name, compressed)
    }
}

impl RetryAfter {
    fn header(&self, now: Timestamp) -> String {
        match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::Date(seconds) => {
                let date =
                    now.checked_add(SignedDuration::from_secs(i64::from(*seconds))).unwrap_or(Timestamp::MAX);
                httpdate::fmt_http_date(date.into())
            }
            Self::Text(text) => text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExpiresIn;

    fn whole() -> Response {
        Response::json(200, &json!({"refresh_token": "a refresh token"}))
    }

    fn applied(fault: &Fault) -> SimulatedAnswer {
        fault.apply(whole(), Timestamp::UNIX_EPOCH, &mut Generator::new(1))
    }

    #[test]
    fn debug_shows_no_body() {
        assert!(!format!("{:?}", SimulatedAnswer::Complete(whole())).contains("a refresh token"));
    }

    #[test]
    fn a_truncated_answer_is_no_json_and_garbage_is_no_text() {
        assert_eq!(applied(&Fault::Truncated).json(), None);
        assert_eq!(applied(&Fault::Truncated).status(), Some(200));
        assert_eq!(applied(&Fault::Garbage).json(), None);
    }

    #[test]
    fn an_oversize_answer_is_good_json_of_the_wanted_size() {
        let answer = applied(&Fault::Oversize { bytes: 5000 });
        assert_eq!(answer.json(), Some(json!({"refresh_token": "a refresh token"})));
        let SimulatedAnswer::Complete(response) = answer else { panic!("complete") };
        assert_eq!(response.body.len(), 5000);
    }

    #[test]
    fn a_fault_keeps_the_date_of_the_issuers_clock() {
        let dated = whole().with("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for fault in [Fault::status(429), Fault::Redirect { status: 307, location: "/".to_owned() }] {
            let answer = fault.apply(dated.clone(), Timestamp::UNIX_EPOCH, &mut Generator::new(1));
            let SimulatedAnswer::Complete(response) = answer else { panic!("complete") };
            assert_eq!(response.header("date"), dated.header("date"), "{fault:?}");
        }
    }

    #[test]
    fn retry_after_is_seconds_a_date_or_nonsense() {
        let now = Timestamp::from_second(784_111_747).unwrap();
        for (retry_after, header) in [
            (RetryAfter::Seconds(30), "30"),
            (RetryAfter::Date(30), "Sun, 06 Nov 1994 08:49:37 GMT"),
            (RetryAfter::Text("soon".to_owned()), "soon"),
        ] {
            assert_eq!(retry_after.header(now), header);
        }
    }

    #[test]
    fn expires_in_has_the_configured_value() {
        let lifetime = Duration::from_secs(3600);
        for (expires_in, said) in [
            (ExpiresIn::Exact, Some(json!(3600))),
            (ExpiresIn::Absent, None),
            (ExpiresIn::Zero, Some(json!(0))),
            (ExpiresIn::Negative, Some(json!(-3600))),
            (ExpiresIn::Text, Some(json!("3600"))),
            (ExpiresIn::Float, Some(json!(3600.5))),
            (ExpiresIn::Huge, Some(json!(u64::MAX))),
            (ExpiresIn::Json(Value::Null), Some(Value::Null)),
        ] {
            assert_eq!(expires_in.say(lifetime), said, "{expires_in:?}");
        }
    }

    #[test]
    fn a_missing_refresh_token_is_left_out_null_or_empty() {
        let grant = |missing| {
            let mut personality = Personality::default();
            personality.refresh.missing = missing;
            let grant = Grant {
                user: "u".to_owned(),
                access_token: "a".to_owned(),
                refresh_token: None,
                expires: Timestamp::UNIX_EPOCH,
            };
            grant_json(&grant, &personality).get("refresh_token").cloned()
        };
        assert_eq!(grant(Missing::Omitted), None);
        assert_eq!(grant(Missing::Null), Some(Value::Null));
        assert_eq!(grant(Missing::Empty), Some(json!("")));
    }
}
