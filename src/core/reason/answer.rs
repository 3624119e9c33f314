//! What people read of an answer of the issuer that brought no token: in the words of the operator, and of a sidecar.

use super::with_cure;
use crate::core::call_failure::UnclearAnswer;
use crate::core::connection_failure::Wording;

impl UnclearAnswer {
    /// The reason.
    pub(in crate::core) fn name(self) -> &'static str {
        match self {
            Self::Redirect | Self::PathWrong => "IssuerMisconfigured",
            Self::Blocked => "IssuerBlocked",
            Self::Misdirected => "IssuerMisdirected",
            Self::Incomplete => "IssuerResponseIncomplete",
            Self::Invalid { .. } => "IssuerResponseInvalid",
        }
    }

    /// What `origin` answered, and the cure, without the consequences.
    pub(in crate::core) fn problem(self, origin: &str, terms: Wording) -> String {
        let Wording { caller, address, path, .. } = terms;
        let path = |hint: &str| path.map(|path| format!(" or {path}{hint}")).unwrap_or_default();
        match self {
            Self::Redirect => format!(
                "{origin} redirects the login, and a login never follows redirects; correct {address} (use https, not http){}",
                path(" (remove or add the slash at its end)")
            ),
            Self::PathWrong => format!(
                "{origin} does not know the path or method of the login (404, 405 or 415); correct {address}{}",
                path("")
            ),
            Self::Blocked => {
                let scheme = if origin.starts_with("http://") {
                    format!(", or correct {address} (use https, not http)")
                } else {
                    String::new()
                };
                format!(
                    "A web application firewall, proxy or portal answers instead of {origin}; check what blocks the calls of {caller} to it{scheme}"
                )
            }
            Self::Misdirected => format!(
                "The connection to {origin} reached a server that does not serve it; check what its name resolves to, and the proxies in front of it"
            ),
            Self::Incomplete => format!(
                "{origin} returned success, but its response broke off or did not end in time; check its log, and the network in between"
            ),
            Self::Invalid { defect } => {
                format!("The response of {origin} contains no usable token: {}", with_cure(defect, address))
            }
        }
    }

    /// The message for a login that is repeated as after an outage.
    pub(in crate::core) fn message(self, origin: &str, terms: Wording) -> String {
        let retried = match self {
            Self::Blocked => {
                "within a minute; after 15 minutes of such responses, every 15 minutes, because some issuers reject a changed password with a page and the account must not be locked"
            }
            Self::Misdirected => "over a new connection",
            Self::Redirect | Self::PathWrong | Self::Incomplete | Self::Invalid { .. } => "within a minute",
        };
        format!("{}. It is retried {retried}", self.problem(origin, terms))
    }
}

/// The message for an issuer that failed, or asked to be called later, with this status.
pub(super) fn unavailable(origin: &str, status: u16) -> String {
    if status < 500 {
        format!(
            "{origin} asked for fewer calls, or later ones (status {status}); if that lasts, see who else calls it with this account or from this address. It is retried"
        )
    } else {
        format!(
            "{origin} failed with status {status}; see its log, and that of proxies in front of it. It is retried"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_of_the_server_is_a_failure_of_the_issuer() {
        for (status, is_failure) in [(429, false), (499, false), (500, true), (503, true)] {
            let message = unavailable("https://issuer.example.com", status);
            assert_eq!(message.contains("failed with status"), is_failure, "{message}");
        }
    }
}
