//! What puts a login off, so that a cure does not work at once.

use jiff::Timestamp;

use super::Reason;
use crate::core::account::Throttle;
use crate::core::login_budget::RejectionLimit;
use crate::core::time::{Moment, to_second};

/// What puts the next login off, also a corrected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginDelay {
    /// Too many logins of the user name or of the namespace were rejected.
    RateLimited {
        /// Until when; unknown where times are left out.
        until: Option<Timestamp>,
    },
    /// `spec.suspend` is set.
    Suspended,
    /// The target cannot be written, so no token is obtained for it.
    TargetNotWritable,
}

impl LoginDelay {
    /// What of a throttle puts off a login that was never accepted. Short waits are not told: for logins in progress, or for
    /// the probe of an open circuit, which the corrected login may be itself.
    #[must_use]
    pub fn of(throttle: Throttle, now: Moment) -> Option<Self> {
        let is_long = |until: &Moment| !until.minus(RejectionLimit::RECHECK_PAUSE).is_reached(now);
        let limited = throttle.logins.filter(is_long);
        limited.map(|until| Self::RateLimited { until: Some(to_second(until.wall)) })
    }
}

/// When the next login follows a cure.
pub(in crate::core) fn when(delay: Option<LoginDelay>) -> String {
    match delay {
        None => "at once".into(),
        Some(LoginDelay::RateLimited { until }) => {
            let until = until.map_or_else(|| "within an hour".into(), |until| format!("after {until}"));
            format!("{until}, because too many logins were rejected")
        }
        Some(LoginDelay::Suspended) => "once spec.suspend is false".into(),
        Some(LoginDelay::TargetNotWritable) => "once the target Secret can be written".into(),
    }
}

impl Reason {
    /// The same without the time until which the next login is put off.
    pub(super) fn without_time_of_delay(&self) -> Self {
        match self {
            Self::LoginRejected { delay: Some(LoginDelay::RateLimited { .. }), .. }
            | Self::LoginNotAccepted { delay: Some(LoginDelay::RateLimited { .. }), .. }
            | Self::LoginOutcomeUnknown { delay: Some(LoginDelay::RateLimited { .. }), .. } => {
                self.clone().delayed(Some(LoginDelay::RateLimited { until: None }))
            }
            _ => self.clone(),
        }
    }

    /// The same, where this puts the next login off.
    #[must_use]
    pub fn delayed(mut self, by: Option<LoginDelay>) -> Self {
        if let Self::LoginRejected { delay, .. }
        | Self::LoginNotAccepted { delay, .. }
        | Self::LoginOutcomeUnknown { delay, .. } = &mut self
        {
            *delay = by;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::reason::examples;

    #[test]
    fn no_message_promises_a_login_at_once_that_is_put_off() {
        let until = Some(Timestamp::UNIX_EPOCH);
        for (delay, expected) in [
            (
                LoginDelay::RateLimited { until },
                "after 1970-01-01T00:00:00Z, because too many logins were rejected",
            ),
            (
                LoginDelay::RateLimited { until: None },
                "within an hour, because too many logins were rejected",
            ),
            (LoginDelay::Suspended, "once spec.suspend is false"),
            (LoginDelay::TargetNotWritable, "once the target Secret can be written"),
        ] {
            let mut promising = 0;
            for reason in examples::all().into_iter().filter(|reason| reason.message().contains("at once")) {
                promising += 1;
                let message = reason.delayed(Some(delay)).message();
                assert!(message.contains(expected) && !message.contains("at once"), "{message}");
            }
            assert!(promising >= 4, "{promising}");
        }
    }
}
