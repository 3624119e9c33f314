//! What each reason tells people.

use super::super::connection_failure::Wording;
use super::super::username_password::LoginError;
use super::{API_ACCESS, Reason, hint_at, with_cure};

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
            Self::Expired { expiry, cause } => {
                format!("The published token expired at {expiry}{}", because(cause.as_deref(), Self::message))
            }
            Self::RenewalOverdue { expiry, cause } => format!(
                "The published token expires at {expiry} and its renewal is late{}",
                because(cause.as_deref(), Self::message)
            ),
            Self::Suspended => "Suspended, and no token is published; set spec.suspend to false to go on".into(),
            Self::LoginAccepted => "The issuer accepted the user name and password".into(),
            Self::LoginPending => "No login has been tried yet".into(),
            Self::MalformedResource => "The resource does not match the CustomResourceDefinition that this controller was built with; install the matching CRD and apply the resource again".into(),
            Self::InvalidSpec { field } => format!("{field} is not valid; correct it as `kubectl explain idissuercredential.{field}` says"),
            Self::IssuerNotAllowed { origin } => format!(
                "The controller is not allowed to log in at {origin}; use an allowed issuer, or start the controller with --allow-issuer={origin}"
            ),
            Self::IssuerPathNotAllowed { origin } => format!(
                "The controller is allowed to log in at {origin} at some paths only; correct spec.issuer.tokenPath and spec.issuer.refreshPath, or start the controller with another path in --allow-issuer"
            ),
            Self::TemplateError { key, line, kind } => format!("spec.target.template.data[{key}] cannot be rendered: {kind} in line {line}; correct the template as `kubectl explain idissuercredential.spec.target.template.data` says"),
            Self::TemplateTooLarge { key } => format!("spec.target.template.data[{key}] renders to more than 32 KiB, or all keys to more than 512 KiB; shorten the template"),
            Self::TemplateTooLong => "The values of spec.target.template.data have more than 64 KiB of text together; shorten them".into(),
            Self::TargetRefused(refusal) => refusal.message(),
            Self::LoginSecretMissing { secret } => format!("Secret {secret} does not exist; create it with the user name and password of the account"),
            Self::LoginSecretUnusable { secret, key, defect: LoginError::Missing } => format!("Secret {secret} has no key {key}; add it, or name the right key in spec.loginSecretRef"),
            Self::LoginSecretUnusable { secret, key, defect } => format!("Key {key} of Secret {secret} {}", defect.describe()),
            Self::CaBundleMissing { object, key } => format!("{object} with the CA bundle in key {key} does not exist; create it, or correct spec.issuer.caBundleRef"),
            Self::CaBundleInvalid { object, key } => format!("Key {key} of {object} holds no PEM certificate that can be used; put the issuer's CA certificates there"),
            Self::CaBundleTooLarge { object, key } => format!("Key {key} of {object} holds more than 256 KiB; put only the certificates of the issuer's CA there"),
            Self::CaBundlesTooMany { object } => format!("The namespace uses different CA bundles of more than 8 MiB together, so that of {object} is not used; let credentials share one bundle, equal ones count once"),
            Self::TokenLifetimeTooShort => "The issuer's tokens live less than 3 seconds, too short for anybody to use them from a Secret, so only one a minute is written; let the issuer give longer lives, or use the sidecar's proxy".into(),
            Self::TooManyCredentials { limit } => format!("This credential is not worked on, because {limit} others of the namespace are; delete credentials that are not needed, or start the controller with a larger --max-credentials-per-namespace. It takes a place that becomes free in its turn, the oldest first"),
            Self::LoginRejected { secret, forbidden, blank } => {
                let access = if *forbidden { API_ACCESS } else { "" };
                let hint = hint_at(*blank);
                format!("The issuer rejected the user name and password in Secret {secret}; correct them{access}. {hint}A corrected Secret is tried at once. Otherwise the login is tried three times within 15 minutes, and then once an hour if it was accepted before, so that the account is not locked")
            }
            Self::LoginNotAccepted { answer, blank } => format!("{}. {}This need not be the password; once the cause is removed, request a renewal to have the login tried at once. A login that was never accepted is tried three times within 15 minutes and then held, so that the account is not locked, because some issuers refuse a wrong password with such an answer", answer.of_answer(), hint_at(*blank)),
            Self::LoginOutcomeUnknown { secret } => format!("A login with Secret {secret} was under way when the controller ended, so it may have been rejected. So that the account is not locked, the next one waits for a few minutes, and after three of that kind until somebody asks: request a renewal to have it at once"),
            Self::RefreshRejected => "The issuer refused the refresh token; logging in instead".into(),
            Self::NoAnswer { origin, connection_failure } => connection_failure.message(origin, Wording::CONTROLLER),
            Self::IssuerUnavailable => "The issuer is unavailable or asks to come back later; retrying".into(),
            Self::IssuerBlocked { .. } => format!("{}. It is retried within a minute each time; if pages go on for 15 minutes, every 15 minutes, because some issuers refuse a changed password with such a page, and the account must not be locked", self.of_answer()),
            Self::IssuerMisdirected => "The connection led to a server that does not serve the issuer; retrying over a new one. See what its name resolves to, and what stands before it".into(),
            Self::IssuerResponseIncomplete => "The issuer's answer of success broke off, or did not end in time; see its log, and what stands between".into(),
            Self::IssuerCircuitOpen => "Calls to the issuer fail for several accounts at once, or it rejects logins that it accepted before; see the log for why: the issuer, or the proxy, network or file descriptors on the way to it. Until it works again, one call at a time is made; a login that was rejected meanwhile then gets another try".into(),
            Self::LoginRateLimited { secret, until } => format!("Make the logins of this namespace right by {until}; until then none is tried with the user name in Secret {secret}, not even a corrected one, so that no account is locked. {TOO_MANY}"),
            Self::IssuerRedirects => "The issuer answers the login with a redirect, which is never followed; correct spec.issuer.url (use https, not http) or spec.issuer.tokenPath (leave out a slash at its end, or add the one that is missing)".into(),
            Self::IssuerPathWrong => "The issuer does not know the path or method of the login (404, 405 or 415); correct spec.issuer.tokenPath, or the host in spec.issuer.url".into(),
            Self::IssuerResponseInvalid { defect } => format!("The issuer's answer cannot be used: {}", with_cure(defect, "spec.issuer")),
            Self::TargetConflict { secret } => format!("Secret {secret} exists and does not belong to this credential; delete it, or choose another spec.target.secretName in a new credential"),
            Self::TargetPendingDeletion { secret } => format!("Secret {secret} belongs to a deleted credential of the same name; waiting for its garbage collection. Delete it if that does not come"),
            Self::TargetImmutable { secret } => format!("Secret {secret} is immutable, so no token can be written to it; delete it, and it is created anew"),
            Self::TargetTypeMismatch { secret } => format!("Secret {secret} has another type than spec.target.template.type, and a Secret's type cannot change; delete it, and it is created anew"),
            Self::TargetContested { secret } => format!("Another writer keeps changing or deleting Secret {secret}; find it and stop it. `kubectl get secret {secret} --show-managed-fields -o yaml | grep manager:` names who changes it, the API server's audit log who deletes it"),
            Self::TargetWriteRefused { secret } => format!("The API server refuses the write of Secret {secret}; see the controller's log for its answer (a quota, an admission policy or missing rights)"),
            Self::ApiServerCallFailed { call } => format!("This call to the API server fails again and again: {call}; see the controller's log for why (no answer in time, a missing right, an admission webhook, no connection). It is retried"),
            Self::ManagedByAnotherController { controller } => format!("Another controller, {}, works in this namespace too; each credential is kept by the one that had it first. Give the two of them namespaces of their own (--namespace), or stop one: within half a minute the other goes on", other(controller)),
        }
    }

    /// What an answer was, without what follows from it.
    fn of_answer(&self) -> String {
        match self {
            Self::IssuerBlocked { plain } => {
                let scheme = if *plain { ", or correct spec.issuer.url (use https, not http)" } else { "" };
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
            Self::Expired { cause, .. } => {
                format!("The published token expired{}", because(cause.as_deref(), Self::note))
            }
            Self::RenewalOverdue { cause, .. } => format!(
                "The published token is about to expire and its renewal is late{}",
                because(cause.as_deref(), Self::note)
            ),
            Self::LoginRateLimited { secret, .. } => format!(
                "Make the logins of this namespace right; for up to an hour none is tried with the user name in Secret {secret}, not even a corrected one, so that no account is locked. {TOO_MANY}"
            ),
            _ => self.message(),
        }
    }
}

const TOO_MANY: &str = "Within an hour, logins with this user name failed four times, or such logins of the namespace at this issuer twenty times; an answer without a token counts, too";

/// Why there is no newer token.
fn because(cause: Option<&Reason>, told: impl Fn(&Reason) -> String) -> String {
    match cause {
        None => String::new(),
        Some(Reason::Suspended) => ", and spec.suspend is set; set it to false to get a new one".into(),
        Some(cause) => format!(". The cause: {}", told(cause)),
    }
}

/// Another controller, by what it is known by: its lease, or where it runs.
fn other(controller: &str) -> String {
    match controller.strip_prefix("none/") {
        Some(place) if place.contains('/') => format!("without a lease, at {place}"),
        Some(_) | None => format!("with the lease {controller}"),
    }
}
