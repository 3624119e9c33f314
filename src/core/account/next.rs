//! What an account may do next, and what decides that.

use crate::core::retry::Failure;
use crate::core::time::Moment;

/// How new tokens may be obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Strategy {
    /// By refresh where the issuer takes it, by login otherwise.
    #[default]
    Auto,
    /// By login only.
    Login,
}

/// What to do next with an account that needs a new token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// Present the refresh token.
    Refresh,
    /// Present user name and password.
    Login,
    /// Not before this moment.
    Wait(Moment),
    /// A call is in progress; its end is reported.
    InFlight,
    /// The login is held: only a lift allows an attempt.
    Held,
}

/// What outside of the account keeps it from calling, and until when.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Throttle {
    /// The circuit breaker of the issuer is open: no call.
    pub calls: Option<Moment>,
    /// The user name had too many rejections: no login that was never accepted.
    pub logins: Option<Moment>,
}

/// The last failure and what follows from it. Gone with the next success.
#[derive(Clone, Debug, PartialEq)]
pub struct LastFailure {
    /// The last failure.
    pub failure: Failure,
    /// Failures in a row.
    pub count: u32,
    /// When the last one was.
    pub last: Moment,
    /// When the next attempt is due; none while held.
    pub next_attempt: Option<Moment>,
}
