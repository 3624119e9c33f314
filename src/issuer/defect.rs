//! What is wrong with a successful response: a closed set, because text from the server is never shown.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::core::token::TokenError;

/// What is wrong with a successful response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// Larger than 64 KiB, as sent or decompressed.
    TooLarge,
    /// Broken gzip or deflate.
    BadCompression,
    /// Brotli, which was not requested.
    Brotli,
    /// Zstandard, which was not requested.
    Zstandard,
    /// An unknown encoding, or several.
    UnknownEncoding,
    /// An empty body.
    Empty,
    /// A web page.
    Html,
    /// Not UTF-8.
    NotUtf8,
    /// Not JSON.
    NotJson,
    /// JSON, but not an object.
    NotAnObject,
    /// The object has no `access_token`.
    NoAccessToken,
    /// `access_token` is not an object.
    FlatAccessToken,
    /// `access_token` has no `token`.
    NoToken,
    /// `token` is not a string.
    TokenNotText,
    /// `access_token` has no `token_type`.
    NoTokenType,
    /// A `token_type` other than bearer.
    NotBearer,
    /// Not the JSON document that the API describes, for another reason.
    NotATokenAnswer,
    /// The token is empty, too long, or has characters that are not allowed in an HTTP header.
    UnusableToken(TokenError),
    /// The refresh token cannot be used, and the one before it is spent.
    UnusableRefreshToken,
    /// The response gives the token no lifetime.
    DeadOnArrival,
    /// The token's `exp` is before the response's `Date`.
    ExpiredOnArrival,
    /// Neither 200 nor an error status.
    WrongStatus,
}

impl AnswerError {
    /// All defects.
    #[cfg(test)]
    pub(super) const ALL: [Self; 24] = [
        Self::TooLarge,
        Self::BadCompression,
        Self::Brotli,
        Self::Zstandard,
        Self::UnknownEncoding,
        Self::Empty,
        Self::Html,
        Self::NotUtf8,
        Self::NotJson,
        Self::NotAnObject,
        Self::NoAccessToken,
        Self::FlatAccessToken,
        Self::NoToken,
        Self::TokenNotText,
        Self::NoTokenType,
        Self::NotBearer,
        Self::NotATokenAnswer,
        Self::UnusableToken(TokenError::Empty),
        Self::UnusableToken(TokenError::TooLong),
        Self::UnusableToken(TokenError::NotVisibleAscii),
        Self::UnusableRefreshToken,
        Self::DeadOnArrival,
        Self::ExpiredOnArrival,
        Self::WrongStatus,
    ];

    /// The description for people, after "the response": with a cure of its own where there is one.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::TooLarge => "it is larger than 64 KiB",
            Self::BadCompression => {
                "it is compressed (gzip or deflate) and cannot be decompressed; disable compression at the issuer, or at the proxy in front of it"
            }
            Self::Brotli => {
                "it is compressed with Brotli (Content-Encoding: br), which was not requested; disable that at the issuer, or at the proxy in front of it"
            }
            Self::Zstandard => {
                "it is compressed with Zstandard (Content-Encoding: zstd), which was not requested; disable that at the issuer, or at the proxy in front of it"
            }
            Self::UnknownEncoding => {
                "it has a Content-Encoding that was not requested; disable that at the issuer, or at the proxy in front of it"
            }
            Self::Empty => "it is empty",
            Self::Html => "it is a web page (HTML), not JSON",
            Self::NotUtf8 => "it is not UTF-8 text",
            Self::NotJson => "it is not JSON",
            Self::NotAnObject => "it is JSON, but not an object",
            Self::NoAccessToken => "it has no access_token",
            Self::FlatAccessToken => "its access_token is not an object with token_type and token",
            Self::NoToken => "its access_token has no token",
            Self::TokenNotText => "the token in its access_token is not a string",
            Self::NoTokenType => "its access_token has no token_type",
            Self::NotBearer => "its token_type is not bearer",
            Self::NotATokenAnswer => "it is not a token response as the API describes it",
            Self::UnusableToken(TokenError::Empty) => "its token is empty",
            Self::UnusableToken(TokenError::TooLong) => "its token is longer than 16 KiB",
            Self::UnusableToken(TokenError::NotVisibleAscii) => {
                "its token is not allowed in an HTTP header (white space, control or non-ASCII characters)"
            }
            Self::UnusableRefreshToken => "its refresh token cannot be used",
            Self::DeadOnArrival => "it gives the token no lifetime; correct the token lifetime at the issuer",
            Self::WrongStatus => "its status is neither 200 nor an error",
            Self::ExpiredOnArrival => {
                "its token had expired when it was sent: its exp is earlier than the Date header; correct the clocks of the issuer's servers"
            }
        }
    }

    /// The defect of a body that is not a token response.
    pub(super) fn of_body(body: &[u8]) -> Self {
        let text = body.trim_ascii();
        if text.is_empty() {
            return Self::Empty;
        }
        if text.starts_with(b"<") {
            return Self::Html;
        }
        if std::str::from_utf8(text).is_err() {
            return Self::NotUtf8;
        }
        match serde_json::from_slice(text) {
            Err(_) => return Self::NotJson,
            Ok(Shape::Object) => {}
            Ok(_) => return Self::NotAnObject,
        }
        match serde_json::from_slice(text) {
            Ok(Outer { access_token: None | Some(Shape::Null) }) => Self::NoAccessToken,
            Ok(Outer { access_token: Some(Shape::Object) }) => Self::of_access_token(text),
            Ok(Outer { access_token: Some(_) }) => Self::FlatAccessToken,
            Err(_) => Self::NotATokenAnswer,
        }
    }

    fn of_access_token(text: &[u8]) -> Self {
        match serde_json::from_slice::<Outer<Inner>>(text).ok().and_then(|outer| outer.access_token) {
            Some(Inner { token: None | Some(Shape::Null), .. }) => Self::NoToken,
            Some(Inner { token: Some(Shape::Text), token_type: None | Some(Shape::Null) }) => {
                Self::NoTokenType
            }
            Some(Inner { token: Some(Shape::Text), token_type: Some(Shape::Text) }) | None => {
                Self::NotATokenAnswer
            }
            Some(Inner { token: Some(Shape::Text), .. }) => Self::NotBearer,
            Some(_) => Self::TokenNotText,
        }
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.describe())
    }
}

impl std::error::Error for AnswerError {}

#[derive(serde::Deserialize)]
struct Outer<T> {
    access_token: Option<T>,
}

#[derive(serde::Deserialize)]
struct Inner {
    #[serde(default)]
    token: Option<Shape>,
    #[serde(default)]
    token_type: Option<Shape>,
}

/// The JSON type of a value. Its content is neither checked nor copied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Null,
    Text,
    Object,
    Other,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Shape::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Shape, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Shape::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_no_answer_with_a_token_names_what_it_is_or_lacks() {
        use AnswerError as Defect;
        let cases: [(&[u8], Defect); 20] = [
            (b"", Defect::Empty),
            (b" \r\n", Defect::Empty),
            (b"<!DOCTYPE html><html>", Defect::Html),
            (b"\n <html>", Defect::Html),
            (b"\xff\xfe{\0}\0", Defect::NotUtf8),
            (b"ok", Defect::NotJson),
            (br#"{"access_token":{"token""#, Defect::NotJson),
            (b"[]", Defect::NotAnObject),
            (b"null", Defect::NotAnObject),
            (br#""eyJ""#, Defect::NotAnObject),
            (b"{}", Defect::NoAccessToken),
            (br#"{"success": false}"#, Defect::NoAccessToken),
            (br#"{"access_token":null}"#, Defect::NoAccessToken),
            (br#"{"access_token":"flat","token_type":"bearer"}"#, Defect::FlatAccessToken),
            (br#"{"access_token":{}}"#, Defect::NoToken),
            (br#"{"access_token":{"token":7}}"#, Defect::TokenNotText),
            (br#"{"access_token":{"token":"t"}}"#, Defect::NoTokenType),
            (br#"{"access_token":{"token":"t","token_type":null}}"#, Defect::NoTokenType),
            (br#"{"access_token":{"token":"t","token_type":["bearer"]}}"#, Defect::NotBearer),
            (br#"{"access_token":{"token":"t"},"access_token":{}}"#, Defect::NotATokenAnswer),
        ];
        for (body, expected) in cases {
            assert_eq!(AnswerError::of_body(body), expected, "{}", String::from_utf8_lossy(body));
        }
    }
}
