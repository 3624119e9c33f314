//! Why a call to the issuer brought no token: what happened, without names and words for people.
//! [`crate::core::reason::Reason::of_call`] makes of it what people read.

use super::connection_failure::ConnectionFailure;

/// What happened to a call to the issuer that brought no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The issuer rejected user name and password.
    LoginRejected {
        /// With 403: the user may lack the "API Access" authorization.
        forbidden: bool,
    },
    /// The issuer answered a login that it never accepted without a token, and without rejecting it. That counts as a
    /// rejection.
    LoginNotAccepted(UnclearAnswer),
    /// An earlier process started a login, and the result is unknown.
    LoginOutcomeUnknown,
    /// The issuer rejected the refresh token.
    RefreshRejected,
    /// No answer of the issuer came.
    NoAnswer(ConnectionFailure),
    /// The issuer asked to retry later, or failed.
    IssuerUnavailable {
        /// The status of its answer.
        status: u16,
    },
    /// An answer that neither accepts nor rejects.
    Unclear(UnclearAnswer),
}

/// An answer that neither accepts a login nor rejects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnclearAnswer {
    /// A redirect.
    Redirect,
    /// The issuer does not know the path or the method.
    PathWrong,
    /// Something in front of the issuer answered.
    Blocked,
    /// A server answered that does not serve the issuer.
    Misdirected,
    /// An answer of success broke off, or did not end.
    Incomplete,
    /// An answer of success cannot be used.
    Invalid {
        /// What is wrong with it, from a closed set.
        defect: &'static str,
    },
}

impl CallFailure {
    /// The same for a login that was never accepted: an unclear answer counts as a rejection.
    #[must_use]
    pub fn of_unproven_login(self) -> Self {
        match self {
            Self::Unclear(answer) => Self::LoginNotAccepted(answer),
            other => other,
        }
    }

    /// Whether a person has to act before this can get better.
    #[must_use]
    pub fn needs_user_action(self) -> bool {
        match self {
            Self::LoginRejected { .. } | Self::LoginNotAccepted(_) => true,
            Self::Unclear(answer) => answer.needs_user_action(),
            Self::LoginOutcomeUnknown
            | Self::RefreshRejected
            | Self::NoAnswer(_)
            | Self::IssuerUnavailable { .. } => false,
        }
    }

    /// Whether other certificate authorities to accept could make this better.
    #[must_use]
    pub fn is_of_tls(self) -> bool {
        matches!(self, Self::NoAnswer(connection_failure) if connection_failure.is_tls())
    }

    /// Whether it rejects a login, in words or by counting as a rejection.
    #[must_use]
    pub fn is_rejection(self) -> bool {
        matches!(self, Self::LoginRejected { .. } | Self::LoginNotAccepted(_))
    }
}

impl UnclearAnswer {
    /// One of each kind, with this defect.
    #[cfg(test)]
    pub(in crate::core) fn each(defect: &'static str) -> [Self; 6] {
        let invalid = Self::Invalid { defect };
        [Self::Redirect, Self::PathWrong, Self::Blocked, Self::Misdirected, Self::Incomplete, invalid]
    }

    /// Whether a person has to act before this can get better.
    pub(in crate::core) fn needs_user_action(self) -> bool {
        match self {
            Self::Redirect | Self::PathWrong | Self::Invalid { .. } => true,
            Self::Blocked | Self::Misdirected | Self::Incomplete => false,
        }
    }
}
