//! The behaviour of the issuer: every question that the vendor's page leaves open, with possible answers.
//!
//! The JSON of the control address and the values of the binary's flags use the same words.

use std::{str::FromStr, time::Duration};

use clap::ValueEnum;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{FaultRule, Latency};

/// All that can be chosen. The default is the issuer that the vendor's page describes, at its kindest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Personality {
    /// The access tokens.
    pub token: TokenPersonality,
    /// The login.
    pub login: LoginPersonality,
    /// The refresh.
    pub refresh: RefreshPersonality,
    /// Whether too many wrong passwords lock a user.
    pub lockout: Option<Lockout>,
    /// What a path with one slash too many or too few gets.
    pub trailing_slash: TrailingSlash,
    /// How far the issuer's clock is ahead of (or, negative, behind) the true time: its `Date` header, the times in its
    /// tokens, and when it thinks that they expire. A test without sleeps moves this forward to expire tokens.
    #[serde(serialize_with = "jiff::fmt::serde::duration::friendly::compact::required")]
    pub clock_offset: SignedDuration,
    /// How long answers take.
    pub latency: Latency,
    /// What goes wrong. The first rule that applies to a call and whose chance comes up is the call's fault.
    pub faults: Vec<FaultRule>,
}

impl Personality {
    /// Changes some of it by a JSON merge patch (RFC 7396), in which `null` means the default.
    ///
    /// # Errors
    ///
    /// The result is no personality; then nothing has changed.
    pub fn patch(&mut self, patch: &Value) -> Result<(), serde_json::Error> {
        let mut json = serde_json::to_value(&*self)?;
        merge(&mut json, patch);
        *self = serde_json::from_value(json)?;
        Ok(())
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = target else {
        return;
    };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.as_str()).or_insert(Value::Null), change);
        }
    }
}

/// Access tokens: how long they live, what they look like and what is said about them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct TokenPersonality {
    /// How long a token is accepted. A JWT says so in whole seconds.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub lifetime: Duration,
    /// What a token looks like.
    pub format: TokenFormat,
    /// The text of `token_type`.
    pub token_type: String,
    /// What `expires_in` says, true or not.
    pub expires_in: ExpiresIn,
}

impl Default for TokenPersonality {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(60 * 60),
            format: TokenFormat::default(),
            token_type: "bearer".to_owned(),
            expires_in: ExpiresIn::default(),
        }
    }
}

/// What an access token looks like. All but the first two are for tests of a client's parser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TokenFormat {
    /// A JWT with `sub`, `jti`, `iat` and `exp`. Its signature has the form of HS256, made up.
    #[default]
    Jwt,
    /// Random text that says nothing.
    Opaque,
    /// A JWT without `iat` and `exp`.
    JwtWithoutTimes,
    /// A JWT with `exp` and without `iat`.
    JwtWithoutIat,
    /// A JWT that says that it was issued an hour ago, as one out of a cache.
    JwtOfAnHourAgo,
    /// With a line break and a control character in it.
    ControlCharacters,
    /// With a space in it.
    Whitespace,
    /// With letters outside ASCII.
    NonAscii,
    /// More than 16 KiB.
    Oversize,
    /// The empty text. The authorized endpoint never accepts it.
    Empty,
}

/// What `expires_in` says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpiresIn {
    /// The true lifetime in whole seconds.
    #[default]
    Exact,
    /// The field is missing.
    Absent,
    /// `0`.
    Zero,
    /// `-3600`.
    Negative,
    /// The true lifetime as a string: `"3600"`.
    Text,
    /// The true lifetime as a float: `3600.5` for an hour.
    Float,
    /// 2⁶⁴ − 1.
    Huge,
    /// Exactly this JSON value: another number (a lie), `null`, a list, …
    #[serde(untagged)]
    Json(Value),
}

impl FromStr for ExpiresIn {
    type Err = serde_json::Error;

    /// One of the words, or any JSON.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
        match serde_json::from_value(value)? {
            Self::Json(Value::String(_)) => {
                Err(serde::de::Error::custom("neither one of the words nor JSON"))
            }
            expires_in => Ok(expires_in),
        }
    }
}

/// The login call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct LoginPersonality {
    /// Where it is.
    pub path: String,
    /// Whether a login ends the user's earlier session.
    pub session: Session,
    /// Status for a wrong user name or password.
    pub rejected_status: u16,
    /// Status for a user without the "API Access" authorization.
    pub no_access_status: u16,
}

impl Default for LoginPersonality {
    fn default() -> Self {
        Self {
            path: "/v2/auth/token".to_owned(),
            session: Session::default(),
            rejected_status: 401,
            no_access_status: 403,
        }
    }
}

/// How long a session lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Session {
    /// Each login opens one more.
    #[default]
    PerLogin,
    /// One per user: a login kills the refresh tokens of the user's earlier logins.
    PerUser,
}

/// The refresh call and refresh tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RefreshPersonality {
    /// When a refresh is accepted.
    pub accepted: RefreshAccepted,
    /// Status of a refused refresh. With 200 it has an unusable body.
    pub refused_status: u16,
    /// The shape of the request.
    pub request: RefreshRequest,
    /// Where it is. Unset: where the vendor's page has it for this shape.
    pub path: Option<String>,
    /// Whether refresh tokens can be used again, or exist at all.
    pub tokens: RefreshTokens,
    /// Whether the use of a spent refresh token revokes all that came from the same login.
    pub reuse_revokes_family: bool,
    /// Whether a refresh answers a new refresh token. If not, the old one stays good, single-use or not.
    pub answers_new: bool,
    /// How an answer without a refresh token says so.
    pub missing: Missing,
    /// Whether the access token that was presented lives on until its expiry.
    pub old_token_lives: bool,
}

impl Default for RefreshPersonality {
    fn default() -> Self {
        Self {
            accepted: RefreshAccepted::default(),
            refused_status: 400,
            request: RefreshRequest::default(),
            path: None,
            tokens: RefreshTokens::default(),
            reuse_revokes_family: true,
            answers_new: true,
            missing: Missing::default(),
            old_token_lives: true,
        }
    }
}

/// When a refresh is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RefreshAccepted {
    /// At any time.
    #[default]
    Early,
    /// Only once the access token has expired. A refresh that came too early spends nothing.
    AfterExpiry,
    /// Never.
    Never,
}

/// The shape of a refresh request: the vendor's page shows both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RefreshRequest {
    /// Two strings, as in the page's table, at `/v2/auth/refreshtoken`.
    #[default]
    Flat,
    /// The whole answer of the login, as in the page's example, at the login's own path.
    Nested,
}

/// Whether refresh tokens can be used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RefreshTokens {
    /// Each can be used once; using one again is noticed, and punished if so configured.
    #[default]
    SingleUse,
    /// Each can be used for ever.
    Reusable,
    /// There are none.
    Absent,
}

/// How an answer without a refresh token says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// The field is left out.
    #[default]
    Omitted,
    /// `null`.
    Null,
    /// The empty string.
    Empty,
}

/// Too many wrong passwords in a row lock the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Lockout {
    /// How many.
    pub after: u32,
    /// For how long. Logins meanwhile do not prolong it.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    pub duration: Duration,
    /// Status for a locked user, also with the right password.
    pub status: u16,
}

impl Default for Lockout {
    fn default() -> Self {
        Self { after: 5, duration: Duration::from_secs(15 * 60), status: 423 }
    }
}

/// What a path gets that differs from a known one in its trailing slash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TrailingSlash {
    /// It is served all the same.
    #[default]
    Ignored,
    /// With the slash: 301 to the path without.
    Removed,
    /// Without the slash: 301 to the path with it.
    Added,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_default_personality_survives_json() {
        let personality = Personality { lockout: Some(Lockout::default()), ..Personality::default() };
        let json = serde_json::to_value(&personality).unwrap();
        assert_eq!(json["token"]["lifetime"], "1h");
        assert_eq!(json["clockOffset"], "0s");
        assert_eq!(serde_json::from_value::<Personality>(json).unwrap(), personality);
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        assert!(serde_json::from_value::<Personality>(json!({"refresh": {"accept": "never"}})).is_err());
    }

    #[test]
    fn a_patch_changes_what_it_names_and_null_means_the_default() {
        let mut personality = Personality::default();
        personality.refresh.refused_status = 404;
        let patch = json!({"token": {"lifetime": "20s"}, "lockout": {"after": 3}, "refresh": {"refusedStatus": null}});
        personality.patch(&patch).unwrap();
        assert_eq!(personality.token.lifetime, Duration::from_secs(20));
        assert_eq!(personality.token.token_type, "bearer");
        assert_eq!(personality.lockout, Some(Lockout { after: 3, ..Lockout::default() }));
        assert_eq!(personality.refresh.refused_status, 400);
        personality.patch(&json!({"lockout": null})).unwrap();
        assert_eq!(personality, Personality { token: personality.token.clone(), ..Personality::default() });
    }

    #[test]
    fn a_patch_that_makes_no_sense_changes_nothing() {
        let mut personality = Personality::default();
        for patch in [json!({"refresh": {"accepted": "sometimes"}}), json!(17), json!({"tokens": {}})] {
            assert!(personality.patch(&patch).is_err(), "{patch}");
        }
        assert_eq!(personality, Personality::default());
    }

    #[test]
    fn expires_in_is_a_word_or_any_json() {
        for (text, expected) in [
            ("exact", ExpiresIn::Exact),
            ("huge", ExpiresIn::Huge),
            ("17", ExpiresIn::Json(json!(17))),
            ("null", ExpiresIn::Json(Value::Null)),
            ("[1]", ExpiresIn::Json(json!([1]))),
        ] {
            assert_eq!(text.parse::<ExpiresIn>().unwrap(), expected, "{text}");
        }
        assert!("exakt".parse::<ExpiresIn>().is_err());
    }
}
