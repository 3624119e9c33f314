//! What people read of a call to the issuer: made where the names of the login and of the issuer are known.

use super::Reason;
use crate::core::call_failure::CallFailure;
use crate::core::endpoint::Origin;
use crate::core::retry::Failure;

impl Reason {
    /// The reason for a call that brought no token. `secret` names the login, `origin` the issuer.
    #[must_use]
    pub fn of_call(failure: &Failure, secret: &str, origin: &Origin) -> Self {
        let (secret, blank) = (secret.to_owned(), failure.password_has_blank);
        match failure.cause {
            CallFailure::LoginRejected { forbidden } => {
                Self::LoginRejected { secret, origin: origin.to_string(), forbidden, blank, delay: None }
            }
            CallFailure::LoginNotAccepted(answer) => {
                Self::LoginNotAccepted { origin: origin.to_string(), answer, blank, delay: None }
            }
            CallFailure::LoginOutcomeUnknown => Self::LoginOutcomeUnknown { secret, delay: None },
            CallFailure::RefreshRejected => Self::RefreshRejected,
            CallFailure::NoAnswer(connection_failure) => {
                Self::NoAnswer { origin: origin.to_string(), connection_failure }
            }
            CallFailure::IssuerUnavailable { status } => {
                Self::IssuerUnavailable { origin: origin.to_string(), status }
            }
            CallFailure::Unclear(answer) => Self::Unclear { origin: origin.to_string(), answer },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::call_failure::UnclearAnswer;
    use crate::core::retry::RetryClass;

    #[test]
    fn a_blocked_login_names_https_as_a_cure_where_the_address_is_http() {
        for (address, is_plain) in [("https://issuer.example", false), ("http://issuer.example", true)] {
            let origin = Origin::parse(address).unwrap();
            for cause in [CallFailure::Unclear, CallFailure::LoginNotAccepted] {
                let cause = cause(UnclearAnswer::Blocked);
                let failure = Failure { class: RetryClass::Blocked, cause, password_has_blank: false };
                let message = Reason::of_call(&failure, "login", &origin).message();
                assert!(message.starts_with("A web application firewall"), "{message}");
                assert_eq!(message.contains("use https"), is_plain, "{message}");
            }
        }
    }
}
