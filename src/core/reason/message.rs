//! The message of each reason.

use super::super::connection_failure::Wording;
use super::super::username_password::LoginError;
use super::answer::unavailable;
use super::{API_ACCESS, Reason, hint_at, when};

impl Reason {
    /// The message for people: what is wrong, and the cure.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::TokenPublished { secret, expiry, outruns_kubelet } => {
                let lag = if *outruns_kubelet { LAG } else { "" };
                format!("Secret {secret} holds a token that is valid until {expiry}{lag}")
            }
            Self::Issuing => "Obtaining the first token from the issuer".into(),
            Self::Updating => "Applying the changed spec".into(),
            Self::Expired { expiry, cause } => {
                format!("The published token expired at {expiry}{}", because(cause.as_deref(), Self::message))
            }
            Self::RenewalOverdue { expiry, cause } => format!(
                "The published token expires at {expiry} and has not been renewed{}",
                because(cause.as_deref(), Self::message)
            ),
            Self::Suspended => "Suspended without a published token; set spec.suspend to false to resume".into(),
            Self::LoginAccepted => "The issuer accepted the user name and password".into(),
            Self::LoginPending => "No login has been attempted yet".into(),
            Self::MalformedResource => "The resource does not match the CRD of this controller; install the matching CRD, then apply the resource again".into(),
            Self::InvalidSpec { field } => format!("{field} is invalid; correct it, see `kubectl explain idissuercredential.{field}`"),
            Self::IssuerNotAllowed { origin } => format!(
                "The controller may not log in at {origin}; use an allowed issuer, or start the controller with --allow-issuer={origin}"
            ),
            Self::IssuerPathNotAllowed { origin } => format!(
                "The controller may log in at {origin}, but not at this path; correct spec.issuer.tokenPath and spec.issuer.refreshPath, or allow the path with --allow-issuer"
            ),
            Self::TemplateError { key, line, kind } => format!("spec.target.template.data[{key}] cannot be rendered: {kind} in line {line}; correct the template, see `kubectl explain idissuercredential.spec.target.template.data`"),
            Self::TemplateTooLarge { key } => format!("spec.target.template.data[{key}] renders to more than 32 KiB, or all keys to more than 512 KiB; shorten the template"),
            Self::TemplateTooLong => "spec.target.template.data has more than 64 KiB of text; shorten the values".into(),
            Self::TargetRefused(refusal) => refusal.message(),
            Self::FollowerAdded { follower } => follower_added(follower.as_deref()),
            Self::RenewRequestHandled { answered } => request_handled(*answered).into(),
            Self::Reference(problem) => problem.message(),
            Self::LoginSecretMissing { secret } => format!("Secret {secret} does not exist; create it with the user name and password of the account"),
            Self::LoginSecretUnusable { secret, key, defect: LoginError::Missing } => format!("Secret {secret} has no key {key}; add it, or correct the key in spec.loginSecretRef"),
            Self::LoginSecretUnusable { secret, key, defect } => format!("Key {key} of Secret {secret} {}", defect.describe()),
            Self::CaBundleMissing { object } => format!("{object} with the CA bundle does not exist; create it, or correct spec.issuer.caBundleRef"),
            Self::CaBundleKeyMissing { object, key } => format!("{object} has no key {key} with the CA bundle; add it, or correct spec.issuer.caBundleRef.key"),
            Self::CaBundleInvalid { object, key } => format!("Key {key} of {object} contains no valid PEM certificate; put the issuer's CA certificates there"),
            Self::CaBundleTooLarge { object, key } => format!("Key {key} of {object} is larger than 256 KiB; put only the issuer's CA certificates there"),
            Self::CaBundlesTooMany { object } => format!("The different CA bundles of this namespace are larger than 8 MiB, so {object} is not used; let credentials share a bundle, equal bundles count once"),
            Self::TokenLifetimeTooShort => "The lifetime of the issuer's tokens is less than 3 seconds, too short for use from a Secret, so only one token a minute is written; configure a longer lifetime at the issuer, or use the sidecar's proxy".into(),
            Self::TooManyCredentials { limit } => format!("This namespace has more than {limit} credentials, so the controller does not manage this one; delete unused credentials, or start the controller with a larger --max-credentials-per-namespace. Free places go to the oldest credential first"),
            Self::LoginRejected { secret, origin, forbidden, blank, delay } => {
                let when = when(*delay);
                let access = if *forbidden { API_ACCESS } else { "" };
                let hint = hint_at(*blank);
                format!("Correct the user name and password in Secret {secret}{access}; {origin} rejected the login. {hint}A corrected Secret is tried {when}. If the cause was at the issuer, request a renewal when it is gone (annotation {RENEW_REQUEST_ANNOTATION}). Otherwise the login is attempted three times within 15 minutes, then once an hour if it was accepted before, to avoid locking the account")
            }
            Self::LoginNotAccepted { origin, answer, blank, delay } => format!("{}. {}The password may be correct; after fixing the cause, request a renewal to log in {} (annotation {RENEW_REQUEST_ANNOTATION}). Some issuers reject a wrong password with such a response, so a login that was never accepted is attempted three times within 15 minutes and then held, to avoid locking the account", answer.problem(origin, Wording::CONTROLLER), hint_at(*blank), when(*delay)),
            Self::LoginOutcomeUnknown { secret, delay } => format!("Request a renewal to log in {} (annotation {RENEW_REQUEST_ANNOTATION}); the controller stopped during a login with Secret {secret}, which may have been rejected. To avoid locking the account, the next attempt waits a few minutes, and after three such attempts until a renewal is requested", when(*delay)),
            Self::RefreshRejected => "The issuer rejected the refresh token; logging in instead".into(),
            Self::NoAnswer { origin, connection_failure } => connection_failure.message(origin, Wording::CONTROLLER),
            Self::IssuerUnavailable { origin, status } => unavailable(origin, *status),
            Self::Unclear { origin, answer } => answer.message(origin, Wording::CONTROLLER),
            Self::IssuerCircuitOpen { origin } => format!("Calls to {} fail for several accounts, or it rejects logins that it accepted before; find the cause in the log: the issuer, a proxy, the network or file descriptors. One call at a time probes the issuer until it works again; logins rejected meanwhile then get another attempt", origin.as_deref().unwrap_or("the issuer")),
            Self::LoginRateLimited { secret, until } => format!("Correct the logins of this namespace; the next attempt with the user name in Secret {secret} is at {until}, even if it is corrected before, to avoid locking the account. {TOO_MANY}"),
            Self::TargetConflict { secret } => format!("Secret {secret} exists and does not belong to this credential; delete it, or create a credential with another spec.target.secretName"),
            Self::TargetPendingDeletion { secret } => format!("Waiting for the garbage collection of Secret {secret}, which belongs to a deleted credential of the same name; delete the Secret if it stays"),
            Self::TargetImmutable { secret } => format!("Secret {secret} is immutable, so the token cannot be written; delete it, and the controller creates it again"),
            Self::TargetTypeMismatch { secret } => format!("The type of Secret {secret} differs from spec.target.template.type and cannot change; delete the Secret, and the controller creates it again"),
            Self::TargetContested { secret } => format!("Another client keeps changing or deleting Secret {secret}; find and stop it. `kubectl get secret {secret} --show-managed-fields -o yaml | grep manager:` shows who changes it, the API server's audit log who deletes it"),
            Self::TargetWriteRefused { secret, answer } if answer.contains(BEING_DELETED) => format!("Secret {secret} is not written, because the namespace is being deleted; nothing is to be done"),
            Self::TargetWriteRefused { secret, answer } => format!("The API server rejects writes of Secret {secret}: {answer}. Raise the quota, correct the admission policy, or grant the missing permission; it is retried"),
            Self::ApiServerCallFailed { call, answer } => format!("The controller cannot {call}: {answer}. Grant the missing permission, correct the admission webhook, or restore the connection; it is retried"),
            Self::ManagedByAnotherController { controller } => format!("Another controller, {}, manages this namespace too; give each its own namespaces (--namespace), or stop one, and the other takes over within half a minute. Each credential stays with the controller that had it first", other(controller)),
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
                "The published token is about to expire and has not been renewed{}",
                because(cause.as_deref(), Self::note)
            ),
            Self::LoginRateLimited { secret, .. } => format!(
                "Correct the logins of this namespace; the next attempt with the user name in Secret {secret} is within an hour, even if it is corrected before, to avoid locking the account. {TOO_MANY}"
            ),
            _ => self.without_time_of_delay().message(),
        }
    }
}

fn follower_added(follower: Option<&str>) -> String {
    match follower {
        Some(follower) => format!("IdIssuerCredential {follower} shares the tokens of this credential from now on, as spec.allowedNamespaces permits; status.followers lists who does"),
        None => "Another credential shares the tokens of this one from now on, as spec.allowedNamespaces permits; status.followers has their number".into(),
    }
}

fn request_handled(is_answered: bool) -> &'static str {
    if is_answered {
        "The requested renewal is done: the token in the target is newer than the request"
    } else {
        "The requested renewal begins: the controller attempts one login"
    }
}

/// As in `api`, which the core does not see.
const RENEW_REQUEST_ANNOTATION: &str = "idissuer.pl/renew-requested-at";

/// In the API server's answer to the creation of an object in a namespace that ends.
const BEING_DELETED: &str = "because it is being terminated";

const LAG: &str = ". Tokens are valid for less than 5 minutes: the kubelet may update mounted files too late";
const TOO_MANY: &str = "Within an hour, four logins with this user name failed, or twenty such logins of the namespace at this issuer; a response without a token counts as a failure";

/// The cause, appended to a message.
fn because(cause: Option<&Reason>, told: impl Fn(&Reason) -> String) -> String {
    match cause {
        None => String::new(),
        Some(Reason::Suspended) => ", and spec.suspend is set; set it to false to get a new one".into(),
        Some(cause) => format!(". Cause: {}", told(cause)),
    }
}

/// Another controller, identified by its lease or its location.
fn other(controller: &str) -> String {
    match controller.strip_prefix("none/") {
        Some(place) if place.contains('/') => format!("without a lease, at {place}"),
        Some(_) | None => format!("with the lease {controller}"),
    }
}
