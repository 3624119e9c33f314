//! The closed set of reasons in conditions, Events and metrics.
//!
//! A message names the object, what is wrong and the cure. It is constant except for names and times, and contains no
//! text from the issuer, no user name and no secret: permission to read status must not reveal Secrets.

mod answer;
mod call;
mod class;
mod delay;
#[cfg(test)]
pub(crate) mod examples;
mod hint;
mod message;
mod reference;
mod refusal;
mod write_refusal;

use jiff::Timestamp;

use super::call_failure::UnclearAnswer;
use super::connection_failure::ConnectionFailure;
use super::username_password::LoginError;
pub use delay::LoginDelay;
pub(super) use delay::when;
pub(super) use hint::{API_ACCESS, hint_at, with_cure};
pub use reference::ReferenceProblem;
pub use refusal::TargetRefusal;

/// Why a condition is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The target holds a valid token.
    TokenPublished {
        /// The target Secret.
        secret: String,
        /// When the token dies.
        expiry: Timestamp,
        /// Whether its lifetime is so short that mounted files lag behind it.
        outruns_kubelet: bool,
    },
    /// The first token is being obtained.
    Issuing,
    /// A new specification is being carried out.
    Updating,
    /// The published token has expired and no new one could be obtained.
    Expired {
        /// When it died.
        expiry: Timestamp,
        /// What keeps a new one from coming, as far as is known.
        cause: Option<Box<Reason>>,
    },
    /// The renewal is late.
    RenewalOverdue {
        /// When the published token dies.
        expiry: Timestamp,
        /// What keeps a new one from coming, as far as is known.
        cause: Option<Box<Reason>>,
    },
    /// `spec.suspend` is set and there is no token.
    Suspended,
    /// The issuer accepted the login.
    LoginAccepted,
    /// No login has been tried yet.
    LoginPending,
    /// The resource could not be read at all.
    MalformedResource,
    /// A field of the specification that the schema should have refused.
    InvalidSpec {
        /// Its path.
        field: &'static str,
    },
    /// The issuer's origin is not on the controller's allow-list.
    IssuerNotAllowed {
        /// The origin.
        origin: String,
    },
    /// The controller's allow-list has the issuer's origin, but none of these paths.
    IssuerPathNotAllowed {
        /// The origin.
        origin: String,
    },
    /// A key of the template cannot be rendered.
    TemplateError {
        /// The key.
        key: String,
        /// The line in its template.
        line: usize,
        /// What kind of error; never a value.
        kind: String,
    },
    /// A rendered value, or all of them together, is too large.
    TemplateTooLarge {
        /// The key at which it became too much.
        key: String,
    },
    /// The values of the template have too much text, before anything is rendered.
    TemplateTooLong,
    /// The target would be what other controllers give power to.
    TargetRefused(TargetRefusal),
    /// A renewal that somebody asked for was carried out. An Event only.
    RenewRequestHandled {
        /// Whether there is a token that is newer than the request; otherwise a login is attempted for it.
        answered: bool,
    },
    /// Another credential follows this one.
    FollowerAdded {
        /// It, with its namespace, if status names it.
        follower: Option<String>,
    },
    /// The credential that this one follows brings no tokens.
    Reference(ReferenceProblem),
    /// The login Secret does not exist.
    LoginSecretMissing {
        /// Its name.
        secret: String,
    },
    /// A key of the login Secret cannot be sent.
    LoginSecretUnusable {
        /// Its name.
        secret: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        defect: LoginError,
    },
    /// The CA bundle's object does not exist.
    CaBundleMissing {
        /// `ConfigMap` or `Secret`, and its name.
        object: String,
    },
    /// The CA bundle's object exists without the key.
    CaBundleKeyMissing {
        /// `ConfigMap` or `Secret`, and its name.
        object: String,
        /// The key.
        key: String,
    },
    /// The CA bundle holds no usable certificate.
    CaBundleInvalid {
        /// `ConfigMap` or `Secret`, and its name.
        object: String,
        /// The key.
        key: String,
    },
    /// The CA bundle is larger than any real one.
    CaBundleTooLarge {
        /// `ConfigMap` or `Secret`, and its name.
        object: String,
        /// The key.
        key: String,
    },
    /// The namespace uses more different CA bundles than are kept for it.
    CaBundlesTooMany {
        /// `ConfigMap` or `Secret`, and its name.
        object: String,
    },
    /// The issuer's tokens expire before they can be used from a Secret.
    TokenLifetimeTooShort,
    /// The namespace has more credentials than are worked on.
    TooManyCredentials {
        /// How many are.
        limit: usize,
    },
    /// The issuer rejected user name and password.
    LoginRejected {
        /// The login Secret.
        secret: String,
        /// The issuer, which may be the wrong one.
        origin: String,
        /// Answered with 403: the user may lack the "API Access" authorization.
        forbidden: bool,
        /// Whether the password holds a blank or an invisible character, which may be a slip.
        blank: bool,
        /// What puts the next login off.
        delay: Option<LoginDelay>,
    },
    /// The issuer answered a login that it never accepted without a token, and without saying no to it. That counts as a
    /// rejection.
    LoginNotAccepted {
        /// The issuer.
        origin: String,
        /// What the answer was.
        answer: UnclearAnswer,
        /// Whether the password holds a blank or an invisible character, which may be a slip.
        blank: bool,
        /// What puts the next login off.
        delay: Option<LoginDelay>,
    },
    /// An earlier process started a login, and the result is unknown.
    LoginOutcomeUnknown {
        /// The login Secret.
        secret: String,
        /// What puts the next login off.
        delay: Option<LoginDelay>,
    },
    /// The issuer refused the refresh token.
    RefreshRejected,
    /// No answer of the issuer came.
    NoAnswer {
        /// Its origin.
        origin: String,
        /// Why.
        connection_failure: ConnectionFailure,
    },
    /// The issuer asked to come back later, or failed by itself.
    IssuerUnavailable {
        /// Its origin.
        origin: String,
        /// The status of its answer.
        status: u16,
    },
    /// The answer neither accepts the login nor rejects it.
    Unclear {
        /// The issuer.
        origin: String,
        /// What the answer was.
        answer: UnclearAnswer,
    },
    /// The issuer fails for several accounts at once, and calls take turns until it works again.
    IssuerCircuitOpen {
        /// Its origin; a follower does not know it.
        origin: Option<String>,
    },
    /// The user name had too many rejections lately, whatever the password.
    LoginRateLimited {
        /// The login Secret.
        secret: String,
        /// When the next attempt may be made.
        until: Timestamp,
    },
    /// Someone else's Secret has the target's name.
    TargetConflict {
        /// The target Secret.
        secret: String,
    },
    /// The target belongs to an earlier credential of the same name and waits for garbage collection.
    TargetPendingDeletion {
        /// The target Secret.
        secret: String,
    },
    /// The target is immutable.
    TargetImmutable {
        /// The target Secret.
        secret: String,
    },
    /// The target has another type than the template wants; a Secret's type cannot be changed.
    TargetTypeMismatch {
        /// The target Secret.
        secret: String,
    },
    /// Another writer keeps undoing what is written.
    TargetContested {
        /// The target Secret.
        secret: String,
    },
    /// The API server refused to write the target.
    TargetWriteRefused {
        /// The target Secret.
        secret: String,
        /// What the API server answered, on one line and cut.
        answer: String,
    },
    /// A call to the API server fails over and over.
    ApiServerCallFailed {
        /// What was to be done, with which object.
        call: String,
        /// What the API server answered, or that it did not, on one line and cut.
        answer: String,
    },
    /// Another controller works in the same namespace.
    ManagedByAnotherController {
        /// Its lease, as namespace and name, or where it runs.
        controller: String,
    },
}

impl Reason {
    /// The name of the reason in conditions, Events and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::TokenPublished { .. } => "TokenPublished",
            Self::Issuing => "Issuing",
            Self::Updating => "Updating",
            Self::Expired { .. } => "Expired",
            Self::RenewalOverdue { .. } => "RenewalOverdue",
            Self::Suspended => "Suspended",
            Self::LoginAccepted => "LoginAccepted",
            Self::LoginPending => "LoginPending",
            Self::MalformedResource => "MalformedResource",
            Self::InvalidSpec { .. } => "InvalidSpec",
            Self::IssuerNotAllowed { .. } => "IssuerNotAllowed",
            Self::IssuerPathNotAllowed { .. } => "IssuerPathNotAllowed",
            Self::TemplateError { .. } => "TemplateError",
            Self::TemplateTooLarge { .. } => "TemplateTooLarge",
            Self::TemplateTooLong => "TemplateTooLong",
            Self::TargetRefused(refusal) => refusal.name(),
            Self::FollowerAdded { .. } => "FollowerAdded",
            Self::RenewRequestHandled { .. } => "RenewRequestHandled",
            Self::Reference(problem) => problem.name(),
            Self::LoginSecretMissing { .. } => "LoginSecretMissing",
            Self::LoginSecretUnusable { defect, .. } => defect.name_of_key(),
            Self::CaBundleMissing { .. } => "CaBundleMissing",
            Self::CaBundleKeyMissing { .. } => "CaBundleKeyMissing",
            Self::CaBundleInvalid { .. } => "CaBundleInvalid",
            Self::CaBundleTooLarge { .. } => "CaBundleTooLarge",
            Self::CaBundlesTooMany { .. } => "CaBundlesTooMany",
            Self::TokenLifetimeTooShort => "TokenLifetimeTooShort",
            Self::TooManyCredentials { .. } => "TooManyCredentials",
            Self::LoginRejected { .. } => "LoginRejected",
            Self::LoginNotAccepted { answer, .. } | Self::Unclear { answer, .. } => answer.name(),
            Self::LoginOutcomeUnknown { .. } => "LoginOutcomeUnknown",
            Self::RefreshRejected => "RefreshRejected",
            Self::NoAnswer { connection_failure, .. } => connection_failure.name(),
            Self::IssuerUnavailable { .. } => "IssuerUnavailable",
            Self::IssuerCircuitOpen { .. } => "IssuerCircuitOpen",
            Self::LoginRateLimited { .. } => "LoginRateLimited",
            Self::TargetConflict { .. } => "TargetConflict",
            Self::TargetPendingDeletion { .. } => "TargetPendingDeletion",
            Self::TargetImmutable { .. } => "TargetImmutable",
            Self::TargetTypeMismatch { .. } => "TargetTypeMismatch",
            Self::TargetContested { .. } => "TargetContested",
            Self::TargetWriteRefused { .. } => "TargetWriteRefused",
            Self::ApiServerCallFailed { .. } => "ApiServerCallFailed",
            Self::ManagedByAnotherController { .. } => "ManagedByAnotherController",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::examples::all;
    use super::write_refusal::ANSWER_MAX_LENGTH;
    use super::*;

    #[test]
    fn every_reason_has_a_name_that_the_api_server_takes() {
        for reason in all() {
            let name = reason.name();
            assert!(name.starts_with(|first: char| first.is_ascii_uppercase()), "{name}");
            assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric()), "{name}");
            assert!(name.len() <= 128, "{name}: the limit of an Event's reason");
            assert_eq!(reason.is_of_ca_bundle(), name.starts_with("CaBundle"), "{name}");
        }
    }

    #[test]
    fn reasons_have_names_of_their_own() {
        let own = |reason: &&Reason| !matches!(reason, Reason::LoginNotAccepted { .. });
        let mut kinds: Vec<_> =
            all().iter().filter(own).map(|reason| (reason.name(), std::mem::discriminant(reason))).collect();
        kinds.dedup();
        kinds.sort_by_key(|(name, _)| *name);
        let doubled = kinds.windows(2).find(|two| two[0].0 == two[1].0 && two[0].1 != two[1].1);
        assert_eq!(doubled, None);
    }

    #[test]
    fn the_names_whose_text_quotes_an_answer_are_those_of_reasons() {
        let mut quoting: Vec<_> =
            all().iter().map(Reason::name).filter(|name| Reason::quotes_answer(name)).collect();
        quoting.sort_unstable();
        quoting.dedup();
        assert_eq!(quoting, ["ApiServerCallFailed", "Expired", "IssuerUnavailable", "RenewalOverdue"]);
    }

    #[test]
    fn every_message_is_one_line_of_plain_text_that_names_what_it_speaks_of() {
        for reason in all() {
            let (name, message) = (reason.name(), reason.message());
            assert!(!message.is_empty() && message.trim() == message, "{name}: {message:?}");
            assert!(!message.ends_with('.') && !message.contains(['\n', '{', '}']), "{name}: {message:?}");
            assert!(message.len() <= 1024, "{name}: the limit of an Event's note");
            assert!(!message.contains("  "), "{name}: {message:?}");
            let spoken_of = format!("{reason:?}");
            for part in [
                "some-secret",
                "some-key",
                "some-bundle",
                "some.field",
                "issuer.example",
                "some defect",
                "some.type",
                "some.domain",
                "some-credential",
                "some-namespace",
            ] {
                assert_eq!(message.contains(part), spoken_of.contains(part), "{name}: {part} in {message:?}");
            }
        }
    }

    #[test]
    fn every_cause_of_a_late_renewal_fits_into_an_event() {
        for cause in all() {
            let late = Reason::RenewalOverdue { expiry: Timestamp::UNIX_EPOCH, cause: Some(Box::new(cause)) };
            assert!(late.message().len() <= 1024 && late.note().len() <= 1024, "{late:?}");
        }
    }

    #[test]
    fn an_event_says_what_the_message_says_but_for_the_times() {
        for reason in all() {
            let (message, note) = (reason.message(), reason.note());
            let same = if message.contains("1970-01-01") { 20 } else { message.len() };
            assert!(note.starts_with(&message[..same]) && !note.contains("1970-01-01"), "{note}");
        }
    }

    #[test]
    fn another_controller_is_named_by_its_lease_or_by_where_it_runs() {
        for (controller, expected) in [
            ("idissuer/operator", "with the lease idissuer/operator, "),
            ("none/node/4711", "without a lease, at node/4711, "),
            ("none/operator", "with the lease none/operator, "),
        ] {
            let message = Reason::ManagedByAnotherController { controller: controller.into() }.message();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_message_for_a_person_names_the_cure() {
        for reason in all().iter().filter(|reason| reason.needs_user_action()) {
            assert!(reason.message().contains("; "), "{}: {}", reason.name(), reason.message());
        }
        let rejected = |forbidden, blank| {
            let (secret, origin) = ("login".into(), "https://issuer.example".into());
            Reason::LoginRejected { secret, origin, forbidden, blank, delay: None }.message()
        };
        for is_so in [true, false] {
            assert_eq!(rejected(is_so, !is_so).contains("API Access"), is_so);
            assert_eq!(rejected(!is_so, is_so).contains("holds a blank"), is_so);
        }
    }

    #[test]
    fn an_answer_of_the_api_server_is_one_line_and_cut() {
        let message =
            Reason::target_write_refused("billing".into(), "denied:\n\tby\u{1b}[31m policy  shop").message();
        assert!(
            message.starts_with(
                "The API server rejects writes of Secret billing: denied: by [31m policy shop. "
            )
        );
        let ends = "forbidden: unable to create new content in namespace shop because it is being terminated";
        let message = Reason::target_write_refused("billing".into(), ends).message();
        assert!(
            message.ends_with("because the namespace is being deleted; nothing is to be done"),
            "{message}"
        );
        let message = Reason::target_write_refused("billing".into(), &"é".repeat(300)).message();
        assert!(message.contains(&format!("{}….", "é".repeat(ANSWER_MAX_LENGTH / 2))), "{message}");
        let message = Reason::target_write_refused("billing".into(), "by \u{202e}ycilop\u{200b}").message();
        assert!(message.contains("by ycilop."), "{message}");
    }
}
