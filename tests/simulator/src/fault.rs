//! Faults: which, how often and for which user.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Operation;

/// A fault, and the calls that meet it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FaultRule {
    /// The calls.
    #[serde(default)]
    pub on: Calls,
    /// Only the calls of this user; none: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What happens to them.
    pub fault: Fault,
    /// How likely, from 0 to 1.
    #[serde(default = "always")]
    pub chance: f64,
    /// How many times; then the rule is gone. None: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Whether the issuer still does its work: logs in, spends the refresh token, revokes. None: as the fault has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_work: Option<bool>,
}

fn always() -> f64 {
    1.0
}

impl FaultRule {
    /// For each login and refresh.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self { on: Calls::Both, user: None, fault, chance: always(), times: None, after_work: None }
    }

    /// For each login.
    #[must_use]
    pub fn on_login(fault: Fault) -> Self {
        Self { on: Calls::Login, ..Self::new(fault) }
    }

    /// For each refresh.
    #[must_use]
    pub fn on_refresh(fault: Fault) -> Self {
        Self { on: Calls::Refresh, ..Self::new(fault) }
    }

    /// Only for the calls of `user`.
    #[must_use]
    pub fn of_user(self, user: &str) -> Self {
        Self { user: Some(user.to_owned()), ..self }
    }

    /// Only for the next call that it applies to.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Only for the next `times` calls that it applies to.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// At random, with this chance from 0 to 1.
    #[must_use]
    pub fn chance(self, chance: f64) -> Self {
        Self { chance, ..self }
    }

    /// The issuer does nothing: the request never came to it.
    #[must_use]
    pub fn before_work(self) -> Self {
        Self { after_work: Some(false), ..self }
    }

    /// The issuer does its work, and only the answer suffers.
    #[must_use]
    pub fn after_work(self) -> Self {
        Self { after_work: Some(true), ..self }
    }

    pub(crate) fn applies_to(&self, operation: Operation, user: &str) -> bool {
        let called = match operation {
            Operation::Login => matches!(self.on, Calls::Login | Calls::Both | Calls::All),
            Operation::Refresh => matches!(self.on, Calls::Refresh | Calls::Both | Calls::All),
            Operation::Authorized => matches!(self.on, Calls::Authorized | Calls::All),
            Operation::Other => self.on == Calls::All,
        };
        called && self.times != Some(0) && self.user.as_deref().is_none_or(|only| only == user)
    }

    pub(crate) fn works(&self) -> bool {
        self.after_work.unwrap_or_else(|| self.fault.works())
    }
}

/// The calls that a rule is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Calls {
    /// Logins.
    Login,
    /// Refreshes.
    Refresh,
    /// Logins and refreshes.
    #[default]
    Both,
    /// Calls of the authorized endpoint.
    Authorized,
    /// All calls, wrong paths among them.
    All,
}

/// What happens to a call.
///
/// By default the issuer still does its work, and only the answer suffers, with all but `Status`, `Redirect` and
/// `Hang`; [`FaultRule::before_work`] and [`FaultRule::after_work`] say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Fault {
    /// Another status: 429, 500, 503, …
    Status {
        /// Which.
        status: u16,
        /// The header `Retry-After`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<RetryAfter>,
        /// The body; none: empty.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
    /// Sent elsewhere.
    Redirect {
        /// A status of 3xx.
        #[serde(default = "temporary_redirect")]
        status: u16,
        /// The header `Location`.
        location: String,
    },
    /// The connection is closed without an answer.
    Lost,
    /// No answer ever comes.
    Hang,
    /// A good status, and a body of random bytes.
    Garbage,
    /// Random bytes in place of HTTP; then the connection is closed.
    NotHttp,
    /// Whole by `Content-Length`, but half of the JSON.
    Truncated,
    /// Half of the body that `Content-Length` promised; then the connection is closed.
    Cut,
    /// The right answer, blown up to this many bytes. It stays good JSON.
    Oversize {
        /// How many.
        #[serde(default = "one_mebibyte")]
        bytes: usize,
    },
    /// The right answer with a byte order mark in front.
    ByteOrderMark,
    /// The right answer, compressed without a request for it.
    Compressed {
        /// How.
        #[serde(default)]
        by: Compression,
    },
    /// The right answer, byte by byte.
    Trickle {
        /// The time before each byte.
        #[serde(
            with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required",
            default = "one_second"
        )]
        interval: Duration,
    },
}

fn temporary_redirect() -> u16 {
    307
}

fn one_mebibyte() -> usize {
    1024 * 1024
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

impl Fault {
    /// Another status, without headers or a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None, body: None }
    }

    /// Another status with `Retry-After`.
    #[must_use]
    pub fn retry_after(status: u16, retry_after: RetryAfter) -> Self {
        Self::Status { status, retry_after: Some(retry_after), body: None }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Redirect { .. } => "redirect",
            Self::Lost => "lost",
            Self::Hang => "hang",
            Self::Garbage => "garbage",
            Self::NotHttp => "not-http",
            Self::Truncated => "truncated",
            Self::Cut => "cut",
            Self::Oversize { .. } => "oversize",
            Self::ByteOrderMark => "byte-order-mark",
            Self::Compressed { .. } => "compressed",
            Self::Trickle { .. } => "trickle",
        }
    }

    fn works(&self) -> bool {
        match self {
            Self::Status { .. } | Self::Redirect { .. } | Self::Hang => false,
            Self::Lost
            | Self::Garbage
            | Self::NotHttp
            | Self::Truncated
            | Self::Cut
            | Self::Oversize { .. }
            | Self::ByteOrderMark
            | Self::Compressed { .. }
            | Self::Trickle { .. } => true,
        }
    }
}

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// As `gzip`.
    #[default]
    Gzip,
    /// As `deflate`, which means zlib.
    Deflate,
    /// As `deflate`, without what zlib puts around it.
    BareDeflate,
}

/// What the header `Retry-After` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryAfter {
    /// A number of seconds.
    Seconds(u32),
    /// The HTTP date that lies this many seconds ahead by the issuer's clock.
    Date(u32),
    /// This text, of any form.
    Text(String),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_needs_no_more_than_a_fault() {
        let rule: FaultRule = serde_json::from_value(json!({"fault": {"kind": "lost"}})).unwrap();
        assert_eq!(rule, FaultRule::new(Fault::Lost));
    }

    #[test]
    fn every_fault_is_called_by_its_name_in_json() {
        for fault in [
            Fault::retry_after(429, RetryAfter::Date(3)),
            Fault::Redirect { status: 301, location: "/".to_owned() },
            Fault::Lost,
            Fault::Hang,
            Fault::Garbage,
            Fault::NotHttp,
            Fault::Truncated,
            Fault::Cut,
            Fault::Oversize { bytes: 3 },
            Fault::ByteOrderMark,
            Fault::Compressed { by: Compression::BareDeflate },
            Fault::Trickle { interval: Duration::from_millis(20) },
        ] {
            let json = serde_json::to_value(&fault).unwrap();
            assert_eq!(json["kind"], fault.name());
            assert_eq!(serde_json::from_value::<Fault>(json).unwrap(), fault);
        }
    }

    #[test]
    fn a_rule_applies_to_its_calls_and_its_user_until_it_is_used_up() {
        let rule = FaultRule::on_login(Fault::Lost).of_user("a");
        assert!(rule.applies_to(Operation::Login, "a"));
        assert!(!rule.applies_to(Operation::Login, "b"));
        assert!(!rule.applies_to(Operation::Refresh, "a"));
        assert!(!rule.times(0).applies_to(Operation::Login, "a"));
        assert!(!FaultRule::new(Fault::Lost).applies_to(Operation::Authorized, "a"));
    }
}
