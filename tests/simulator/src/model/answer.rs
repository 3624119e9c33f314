//! The issuer's answer to a login or a refresh.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::Fingerprint;

/// The issuer's answer to a login or a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A new access token.
    Granted(Grant),
    /// None.
    Refused(Refusal),
}

impl Answer {
    /// The grant, if it is one.
    #[must_use]
    pub fn granted(self) -> Option<Grant> {
        match self {
            Self::Granted(grant) => Some(grant),
            Self::Refused(_) => None,
        }
    }

    /// Why not, if it is a refusal.
    #[must_use]
    pub fn refused(&self) -> Option<Reason> {
        match self {
            Self::Granted(_) => None,
            Self::Refused(refusal) => Some(refusal.reason),
        }
    }
}

/// What was granted.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// To whom.
    pub user: String,
    /// The access token.
    pub access_token: String,
    /// The refresh token, where one is answered.
    pub refresh_token: Option<String>,
    /// When the access token expires, by the issuer's clock.
    pub expires: Timestamp,
}

impl fmt::Debug for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Grant")
            .field("user", &self.user)
            .field("access_token", &Fingerprint::of(&self.access_token))
            .field("refresh_token", &self.refresh_token.as_deref().map(Fingerprint::of))
            .field("expires", &self.expires)
            .finish()
    }
}

/// A refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The status that this personality gives for it.
    pub status: u16,
}

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// There is no such user.
    UnknownUser,
    /// The password is wrong.
    WrongPassword,
    /// The user does not have "API Access".
    NoApiAccess,
    /// Too many wrong passwords came before.
    Locked,
    /// Refreshes are never accepted.
    NeverAccepted,
    /// The access token has not expired yet.
    TooEarly,
    /// The token was never issued, or the access token and the refresh token do not belong together.
    UnknownToken,
    /// The refresh token is spent.
    Spent,
    /// The token was revoked: by a later login, by the use of a spent one, or by hand.
    Revoked,
    /// The access token has expired.
    Expired,
    /// A wrong path, method or body.
    Misdirected,
}

impl Reason {
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::UnknownUser | Self::WrongPassword => "The user name or password is incorrect",
            Self::NoApiAccess => "The user has no API Access authorization",
            Self::Locked => "The user is locked",
            Self::NeverAccepted => "A refresh is not possible",
            Self::TooEarly => "This token has not expired yet",
            Self::UnknownToken => "This token does not exist",
            Self::Spent => "This refresh token has been used",
            Self::Revoked => "This token has been invalidated",
            Self::Expired => "The token is expired",
            Self::Misdirected => "The request cannot be read",
        }
    }
}
