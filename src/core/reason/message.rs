//! What each reason tells people.

use super::super::login::LoginDefect;
use super::super::obstacle::Terms;
use super::{API_ACCESS, Reason, hint_at};

impl Reason {
    /// What a person reads: what is wrong, and the cure.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::TokenPublished { secret, expiry, outruns_kubelet } => {
                let lag = if *outruns_kubelet {
                    ". Tokens live less than 5 minutes: files that the kubelet mounts may lag behind them"
                } else {
                    ""
                };
                format!("Secret {secret} holds a token that is valid until {expiry}{lag}")
            }
            Self::Issuing => "The first token is being obtained from the issuer".into(),
            Self::Updating => "The changed specification is being carried out".into(),
            Self::Expired { expiry } => format!(
                "The published token expired at {expiry} and no new one could be obtained; see status.failures and the Stalled condition for the cause"
            ),
            Self::RenewalOverdue { expiry } => format!(
                "The published token expires at {expiry} and could not be renewed in time; see status.failures and the Stalled condition for the cause"
            ),
            Self::Suspended => "Suspended, and no token is published; set spec.suspend to false to go on".into(),
            Self::LoginAccepted => "The issuer accepted the user name and password".into(),
            Self::LoginNotTried => "No login has been tried yet".into(),
            Self::MalformedResource => "The resource does not match the CustomResourceDefinition that this controller was built with; install the matching CRD and apply the resource again".into(),
            Self::InvalidSpec { field } => format!("{field} is not valid; correct it as `kubectl explain idissuercredential.{field}` says"),
            Self::IssuerNotAllowed { origin } => format!(
                "The controller is not allowed to log in at {origin}; use an allowed issuer, or start the controller with --allow-issuer={origin}"
            ),
            Self::IssuerPathNotAllowed { origin } => format!(
                "The controller is allowed to log in at {origin} at some paths only; correct spec.issuer.tokenPath and spec.issuer.refreshPath, or start the controller with another path in --allow-issuer"
            ),
            Self::TemplateError { key, line, kind } => format!("spec.target.template.data[{key}] cannot be rendered: {kind} in line {line}; correct the template"),
            Self::TemplateTooLarge { key } => format!("spec.target.template.data[{key}] renders to more than 32 KiB, or all keys to more than 512 KiB; shorten the template"),
            Self::TemplateTooLong => "The values of spec.target.template.data have more than 64 KiB of text together; shorten them".into(),
            Self::TargetRefused(refusal) => refusal.message(),
            Self::LoginSecretMissing { secret } => format!("Secret {secret} does not exist; create it with the user name and password of the account"),
            Self::LoginSecretUnusable { secret, key, defect: LoginDefect::Missing } => format!("Secret {secret} has no key {key}; add it, or name the right key in spec.loginSecretRef"),
            Self::LoginSecretUnusable { secret, key, defect } => format!("Key {key} of Secret {secret} {}", defect.describe()),
            Self::CaBundleMissing { object, key } => format!("{object} with the CA bundle in key {key} does not exist; create it, or correct spec.issuer.caBundleRef"),
            Self::CaBundleInvalid { object, key } => format!("Key {key} of {object} holds no PEM certificate that can be used; put the issuer's CA certificates there"),
            Self::CaBundleTooLarge { object, key } => format!("Key {key} of {object} holds more than 256 KiB; put only the certificates of the issuer's CA there"),
            Self::CaBundlesTooMany { object } => format!("The namespace uses different CA bundles of more than 8 MiB together, so that of {object} is not used; let credentials share one bundle, equal ones count once"),
            Self::TokenLifeTooShort => "The issuer's tokens live less than 3 seconds, too short for anybody to use them from a Secret, so only one a minute is written; let the issuer give longer lives, or use the sidecar's proxy".into(),
            Self::TooManyCredentials { limit } => format!("The namespace has more than {limit} credentials, and older ones go first; delete some that are not needed, or start the controller with a larger --max-credentials-per-namespace"),
            Self::LoginRejected { secret, forbidden, blank } => {
                let access = if *forbidden { API_ACCESS } else { "" };
                let hint = hint_at(*blank);
                format!("The issuer rejected the user name and password in Secret {secret}; correct them{access}. {hint}A corrected Secret is tried at once. Otherwise the login is tried three times within 15 minutes, and then once an hour if it was accepted before, so that the account is not locked")
            }
            Self::LoginNotAccepted { answer, blank } => format!("{}. {}Some issuers refuse a password so, so a login that was never accepted is tried three times within 15 minutes and then held, that the account is not locked; correct the login Secret or spec.issuer, or request a renewal, to have it tried at once", answer.of_answer(), hint_at(*blank)),
            Self::LoginUnanswered { secret } => format!("A login with Secret {secret} was under way when the controller ended, so it may have been rejected. So that the account is not locked, the next one waits for a few minutes, and after three of that kind until somebody asks: request a renewal to have it at once"),
            Self::RefreshRefused => "The issuer refused the refresh token; logging in instead".into(),
            Self::NoAnswer { origin, obstacle } => obstacle.message(origin, Terms::CONTROLLER),
            Self::IssuerUnavailable => "The issuer is unavailable or asks to come back later; retrying".into(),
            Self::IssuerBlocked { .. } => format!("{}. It is retried within a minute each time, and every 15 minutes once it has lasted for 15, that no account is locked whose password was changed: some issuers say no so", self.of_answer()),
            Self::IssuerMisdirected => "The connection led to a server that does not serve the issuer; retrying over a new one. See what its name resolves to, and what stands before it".into(),
            Self::IssuerAnswerBroken => "The issuer's answer of success broke off, or did not end in time; see its log, and what stands between".into(),
            Self::IssuerFailing => "The issuer fails for several accounts at once, or rejects logins that it accepted before; one call at a time finds out when it works again, and whose login it rejected meanwhile gets another try then. See what is wrong with the issuer".into(),
            Self::LoginPutOff { secret, until } => format!("The issuer rejected the user name in Secret {secret} four times within an hour, or user names of this namespace twenty times, so the next attempt waits until {until}, that no account is locked; see that the logins of the namespace are right by then"),
            Self::IssuerRedirects => "The issuer answers with a redirect, which a login never follows; correct spec.issuer.url or its paths (a trailing slash, http for https)".into(),
            Self::IssuerPathWrong => "The issuer does not know the path or method of the call; correct spec.issuer.tokenPath or spec.issuer.refreshPath".into(),
            Self::IssuerAnswerUnusable { defect } => format!("The issuer's answer cannot be used: {defect}; see that spec.issuer points to an ID Issuer API"),
            Self::TargetConflict { secret } => format!("Secret {secret} exists and does not belong to this credential; delete it, or choose another spec.target.secretName in a new credential"),
            Self::TargetAwaitingCollection { secret } => format!("Secret {secret} belongs to a deleted credential of the same name; waiting for its garbage collection. Delete it if that does not come"),
            Self::TargetImmutable { secret } => format!("Secret {secret} is immutable, so no token can be written to it; delete it, and it is created anew"),
            Self::TargetTypeMismatch { secret } => format!("Secret {secret} has another type than spec.target.template.type, and a Secret's type cannot change; delete it, and it is created anew"),
            Self::TargetContested { secret } => format!("Another writer keeps changing Secret {secret}; find it in the Secret's managedFields and stop it"),
            Self::TargetWriteRefused { secret } => format!("The API server refuses the write of Secret {secret}; see the controller's log for its answer (a quota, an admission policy or missing rights)"),
            Self::ApiServerCallFailed { call } => format!("The API server does not do it: {call}; retrying. See the controller's log for its answer (missing rights, or an admission webhook that does not answer)"),
            Self::AnotherController { controller } => format!("Another controller, {}, works in this namespace too; each credential is kept by the one that had it first. Give the two of them namespaces of their own (--namespace), or stop one: within half a minute the other goes on", other(controller)),
        }
    }

    /// What an answer was, without what follows from it.
    fn of_answer(&self) -> String {
        match self {
            Self::IssuerBlocked { plain } => {
                let scheme = if *plain { ", or correct spec.issuer.url (https for http)" } else { "" };
                format!(
                    "Something before the issuer answers in its place, such as a web application firewall, a proxy or a portal; see what blocks the controller's calls to the issuer{scheme}"
                )
            }
            other => other.message(),
        }
    }

    /// The text of an Event: the message without its times, so that repeated Events are one.
    #[must_use]
    pub fn note(&self) -> String {
        match self {
            Self::TokenPublished { secret, .. } => format!("Secret {secret} holds a valid token"),
            Self::Expired { .. } => "The published token expired and no new one could be obtained; see status.failures and the Stalled condition for the cause".into(),
            Self::RenewalOverdue { .. } => "The published token is about to expire and could not be renewed in time; see status.failures and the Stalled condition for the cause".into(),
            Self::LoginPutOff { secret, .. } => format!("The issuer rejected the user name in Secret {secret} four times within an hour, or user names of this namespace twenty times; the next attempt waits until that is over"),
            _ => self.message(),
        }
    }
}

/// Another controller, by what it is known by: its lease, or where it runs.
fn other(controller: &str) -> String {
    match controller.strip_prefix("none/") {
        Some(place) if place.contains('/') => format!("without a lease, at {place}"),
        Some(_) | None => format!("with the lease {controller}"),
    }
}
