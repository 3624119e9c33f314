//! The closed set of reasons: everything that a condition, an Event or a metric can say.
//!
//! A message names the object, what is wrong and the cure. It is constant but for names and times, and holds no
//! text of the issuer, no user name and no secret: whoever may read status may not therefore read the Secret.

use jiff::Timestamp;

use super::login::LoginDefect;
use super::obstacle::{Obstacle, Terms};

/// What a 403 may mean.
pub(super) const API_ACCESS: &str = ", and see to it that the user has the \"API Access\" authorization";
/// Nothing more: neither where it stands, nor what stands around it.
pub(super) const PASSWORD_HAS_BLANK: &str =
    "The password holds a blank or an invisible character: see that it is meant. ";

/// Why a condition is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The target holds a valid token.
    TokenPublished {
        /// The target Secret.
        secret: String,
        /// When the token dies.
        expiry: Timestamp,
        /// Whether it lives so short that mounted files lag behind it.
        outruns_kubelet: bool,
    },
    /// The first token is being obtained.
    Issuing,
    /// A new specification is being carried out.
    Updating,
    /// The published token is dead and no new one could be obtained; the cause is told by the other conditions.
    Expired {
        /// When it died.
        expiry: Timestamp,
    },
    /// The renewal is late.
    RenewalOverdue {
        /// When the published token dies.
        expiry: Timestamp,
    },
    /// `spec.suspend` is set and there is no token.
    Suspended,
    /// The issuer accepted the login.
    LoginAccepted,
    /// No login has been tried yet.
    LoginNotTried,
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
        defect: LoginDefect,
    },
    /// The CA bundle's object or key does not exist.
    CaBundleMissing {
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
    /// The issuer's tokens die before anybody could use them from a Secret.
    TokenLifeTooShort,
    /// The namespace has more credentials than are worked on.
    TooManyCredentials {
        /// How many are.
        limit: usize,
    },
    /// The issuer rejected user name and password.
    LoginRejected {
        /// The login Secret.
        secret: String,
        /// Answered with 403: the user may lack the "API Access" authorization.
        forbidden: bool,
        /// Whether the password holds a blank or an invisible character, which may be a slip.
        blank: bool,
    },
    /// The issuer answered a login that it never accepted without a token, and without saying no to it. That counts as a
    /// rejection.
    LoginNotAccepted {
        /// What the answer was.
        answer: Box<Reason>,
    },
    /// A login was begun by an earlier process, and nobody heard the answer.
    LoginUnanswered {
        /// The login Secret.
        secret: String,
    },
    /// The issuer refused the refresh token.
    RefreshRefused,
    /// No answer of the issuer came.
    NoAnswer {
        /// Its origin.
        origin: String,
        /// Why.
        obstacle: Obstacle,
    },
    /// The issuer asked to come back later, or failed by itself.
    IssuerUnavailable,
    /// Something before the issuer answers in its place.
    IssuerBlocked,
    /// The connection led to a server that does not serve the issuer.
    IssuerMisdirected,
    /// The issuer fails for several accounts at once, and calls take turns until it works again.
    IssuerFailing,
    /// The user name had too many rejections lately, whatever the password.
    LoginPutOff {
        /// The login Secret.
        secret: String,
        /// When the next attempt may be made.
        until: Timestamp,
    },
    /// The issuer's address answers with a redirect.
    IssuerRedirects,
    /// The issuer's address does not know the path or the method.
    IssuerPathWrong,
    /// An answer of success that cannot be used.
    IssuerAnswerUnusable {
        /// What is wrong with it, from a closed set.
        defect: &'static str,
    },
    /// Someone else's Secret has the target's name.
    TargetConflict {
        /// The target Secret.
        secret: String,
    },
    /// The target belongs to an earlier credential of the same name and waits for garbage collection.
    TargetAwaitingCollection {
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
    },
    /// A call to the API server fails over and over.
    ApiServerCallFailed {
        /// What was to be done, with which object.
        call: String,
    },
}

impl Reason {
    /// The reason as it stands in conditions, Events and metrics.
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
            Self::LoginNotTried => "LoginNotTried",
            Self::MalformedResource => "MalformedResource",
            Self::InvalidSpec { .. } => "InvalidSpec",
            Self::IssuerNotAllowed { .. } => "IssuerNotAllowed",
            Self::TemplateError { .. } => "TemplateError",
            Self::TemplateTooLarge { .. } => "TemplateTooLarge",
            Self::LoginSecretMissing { .. } => "LoginSecretMissing",
            Self::LoginSecretUnusable { defect, .. } => defect.name_of_key(),
            Self::CaBundleMissing { .. } => "CaBundleMissing",
            Self::CaBundleInvalid { .. } => "CaBundleInvalid",
            Self::CaBundleTooLarge { .. } => "CaBundleTooLarge",
            Self::CaBundlesTooMany { .. } => "CaBundlesTooMany",
            Self::TokenLifeTooShort => "TokenLifeTooShort",
            Self::TooManyCredentials { .. } => "TooManyCredentials",
            Self::LoginRejected { .. } => "LoginRejected",
            Self::LoginNotAccepted { answer } => answer.name(),
            Self::LoginUnanswered { .. } => "LoginUnanswered",
            Self::RefreshRefused => "RefreshRefused",
            Self::NoAnswer { obstacle, .. } => obstacle.name(),
            Self::IssuerUnavailable => "IssuerUnavailable",
            Self::IssuerBlocked => "IssuerBlocked",
            Self::IssuerMisdirected => "IssuerMisdirected",
            Self::IssuerFailing => "IssuerFailing",
            Self::LoginPutOff { .. } => "LoginPutOff",
            Self::IssuerRedirects | Self::IssuerPathWrong => "IssuerMisconfigured",
            Self::IssuerAnswerUnusable { .. } => "IssuerAnswerUnusable",
            Self::TargetConflict { .. } => "TargetConflict",
            Self::TargetAwaitingCollection { .. } => "TargetAwaitingCollection",
            Self::TargetImmutable { .. } => "TargetImmutable",
            Self::TargetTypeMismatch { .. } => "TargetTypeMismatch",
            Self::TargetContested { .. } => "TargetContested",
            Self::TargetWriteRefused { .. } => "TargetWriteRefused",
            Self::ApiServerCallFailed { .. } => "ApiServerCallFailed",
        }
    }

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
            Self::TemplateError { key, line, kind } => format!("spec.target.template.data[{key}] cannot be rendered: {kind} in line {line}; correct the template"),
            Self::TemplateTooLarge { key } => format!("spec.target.template.data[{key}] renders to more than 32 KiB, or all keys to more than 512 KiB; shorten the template"),
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
                let hint = if *blank { PASSWORD_HAS_BLANK } else { "" };
                format!("The issuer rejected the user name and password in Secret {secret}; correct them{access}. {hint}A corrected Secret is tried at once. Otherwise the login is tried three times within 15 minutes, and then once an hour if it was accepted before, so that the account is not locked")
            }
            Self::LoginNotAccepted { answer } => format!("{}. Some issuers refuse a password so, so a login that was never accepted is tried three times within 15 minutes and then held, that the account is not locked; correct the login Secret or spec.issuer, or request a renewal, to have it tried at once", answer.message()),
            Self::LoginUnanswered { secret } => format!("A login with Secret {secret} was under way when the controller ended, so it may have been rejected. So that the account is not locked, the next one waits for a few minutes, and after three of that kind until somebody asks: request a renewal to have it at once"),
            Self::RefreshRefused => "The issuer refused the refresh token; logging in instead".into(),
            Self::NoAnswer { origin, obstacle } => obstacle.message(origin, Terms::CONTROLLER),
            Self::IssuerUnavailable => "The issuer is unavailable or asks to come back later; retrying".into(),
            Self::IssuerBlocked => "Something before the issuer answers in its place, such as a web application firewall, a proxy or a portal; see what blocks the controller's calls to the issuer".into(),
            Self::IssuerMisdirected => "The connection led to a server that does not serve the issuer; retrying over a new one. See what its name resolves to, and what stands before it".into(),
            Self::IssuerFailing => "The issuer fails for several accounts at once, or rejects logins that it accepted before; one call at a time finds out when it works again, and whose login it rejected meanwhile gets another try then. See what is wrong with the issuer".into(),
            Self::LoginPutOff { secret, until } => format!("The issuer rejected the user name in Secret {secret} four times within an hour, so the next attempt waits until {until}, that the account is not locked; see that user name and password are right by then"),
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
        }
    }

    /// Whether it is the CA bundle that cannot be used.
    #[must_use]
    pub fn is_of_ca_bundle(&self) -> bool {
        matches!(
            self,
            Self::CaBundleMissing { .. }
                | Self::CaBundleInvalid { .. }
                | Self::CaBundleTooLarge { .. }
                | Self::CaBundlesTooMany { .. }
        )
    }

    /// The same reason, told of another login Secret.
    #[must_use]
    pub fn of_secret(self, name: &str) -> Self {
        match self {
            Self::LoginRejected { forbidden, blank, .. } => {
                Self::LoginRejected { secret: name.to_owned(), forbidden, blank }
            }
            Self::LoginNotAccepted { answer } => {
                Self::LoginNotAccepted { answer: Box::new(answer.of_secret(name)) }
            }
            Self::LoginUnanswered { .. } => Self::LoginUnanswered { secret: name.to_owned() },
            Self::LoginPutOff { until, .. } => Self::LoginPutOff { secret: name.to_owned(), until },
            other => other,
        }
    }

    /// The same reason, told of a login whose password holds a blank or an invisible character, or none.
    #[must_use]
    pub fn of_password(self, blank: bool) -> Self {
        match self {
            Self::LoginRejected { secret, forbidden, .. } => Self::LoginRejected { secret, forbidden, blank },
            other => other,
        }
    }

    /// The text of an Event: the message without its times, so that repeated Events are one.
    #[must_use]
    pub fn note(&self) -> String {
        match self {
            Self::TokenPublished { secret, .. } => format!("Secret {secret} holds a valid token"),
            Self::Expired { .. } => "The published token expired and no new one could be obtained; see status.failures and the Stalled condition for the cause".into(),
            Self::RenewalOverdue { .. } => "The published token is about to expire and could not be renewed in time; see status.failures and the Stalled condition for the cause".into(),
            Self::LoginPutOff { secret, .. } => format!("The issuer rejected the user name in Secret {secret} four times within an hour; the next attempt waits until that is over"),
            _ => self.message(),
        }
    }

    /// Whether other certificate authorities to accept could make this better.
    #[must_use]
    pub fn is_of_tls(&self) -> bool {
        matches!(self, Self::NoAnswer { obstacle, .. } if obstacle.is_tls())
    }

    /// Whether a person has to act before this can get better.
    #[must_use]
    pub fn needs_person(&self) -> bool {
        match self {
            Self::TokenPublished { .. }
            | Self::Issuing
            | Self::Updating
            | Self::Expired { .. }
            | Self::RenewalOverdue { .. }
            | Self::Suspended
            | Self::LoginAccepted
            | Self::LoginNotTried
            | Self::LoginUnanswered { .. }
            | Self::RefreshRefused
            | Self::NoAnswer { .. }
            | Self::IssuerUnavailable
            | Self::IssuerBlocked
            | Self::IssuerMisdirected
            | Self::IssuerFailing
            | Self::TargetAwaitingCollection { .. } => false,
            Self::MalformedResource
            | Self::InvalidSpec { .. }
            | Self::IssuerNotAllowed { .. }
            | Self::TemplateError { .. }
            | Self::TemplateTooLarge { .. }
            | Self::LoginSecretMissing { .. }
            | Self::LoginSecretUnusable { .. }
            | Self::CaBundleMissing { .. }
            | Self::CaBundleInvalid { .. }
            | Self::CaBundleTooLarge { .. }
            | Self::CaBundlesTooMany { .. }
            | Self::TokenLifeTooShort
            | Self::TooManyCredentials { .. }
            | Self::LoginRejected { .. }
            | Self::LoginNotAccepted { .. }
            | Self::LoginPutOff { .. }
            | Self::IssuerRedirects
            | Self::IssuerPathWrong
            | Self::IssuerAnswerUnusable { .. }
            | Self::TargetConflict { .. }
            | Self::TargetImmutable { .. }
            | Self::TargetTypeMismatch { .. }
            | Self::TargetContested { .. }
            | Self::TargetWriteRefused { .. }
            | Self::ApiServerCallFailed { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reason, each leading to the next: one that is added has to be put into the chain to compile.
    fn after(reason: &Reason) -> Option<Reason> {
        use Reason::*;
        let secret = || "some-secret".to_owned();
        let key = || "some-key".to_owned();
        let object = || "ConfigMap some-bundle".to_owned();
        let expiry = Timestamp::UNIX_EPOCH;
        let unusable = |defect| LoginSecretUnusable { secret: secret(), key: key(), defect };
        let rejected = |forbidden, blank| LoginRejected { secret: secret(), forbidden, blank };
        Some(match reason {
            TokenPublished { outruns_kubelet: false, .. } => {
                TokenPublished { secret: secret(), expiry, outruns_kubelet: true }
            }
            TokenPublished { outruns_kubelet: true, .. } => Issuing,
            Issuing => Updating,
            Updating => Expired { expiry },
            Expired { .. } => RenewalOverdue { expiry },
            RenewalOverdue { .. } => Suspended,
            Suspended => LoginAccepted,
            LoginAccepted => LoginNotTried,
            LoginNotTried => MalformedResource,
            MalformedResource => InvalidSpec { field: "spec.some.field" },
            InvalidSpec { .. } => IssuerNotAllowed { origin: "https://issuer.example".into() },
            IssuerNotAllowed { .. } => TemplateError { key: key(), line: 7, kind: "syntax error".into() },
            TemplateError { .. } => TemplateTooLarge { key: key() },
            TemplateTooLarge { .. } => LoginSecretMissing { secret: secret() },
            LoginSecretMissing { .. } => unusable(LoginDefect::ALL[0]),
            LoginSecretUnusable { defect, .. } => {
                let rest = LoginDefect::ALL.iter().skip_while(|other| *other != defect);
                rest.copied().nth(1).map_or(CaBundleMissing { object: object(), key: key() }, unusable)
            }
            CaBundleMissing { .. } => CaBundleInvalid { object: object(), key: key() },
            CaBundleInvalid { .. } => CaBundleTooLarge { object: object(), key: key() },
            CaBundleTooLarge { .. } => CaBundlesTooMany { object: object() },
            CaBundlesTooMany { .. } => TokenLifeTooShort,
            TokenLifeTooShort => TooManyCredentials { limit: 1000 },
            TooManyCredentials { .. } => rejected(false, false),
            LoginRejected { forbidden: false, blank: false, .. } => rejected(true, false),
            LoginRejected { forbidden: true, blank: false, .. } => rejected(true, true),
            LoginRejected { blank: true, .. } => LoginNotAccepted { answer: Box::new(IssuerPathWrong) },
            LoginNotAccepted { .. } => LoginUnanswered { secret: secret() },
            LoginUnanswered { .. } => RefreshRefused,
            RefreshRefused => {
                NoAnswer { origin: "https://issuer.example".into(), obstacle: Obstacle::ALL[0] }
            }
            NoAnswer { origin, obstacle } => {
                let next = Obstacle::ALL.iter().skip_while(|it| *it != obstacle).nth(1);
                next.map_or(IssuerUnavailable, |&obstacle| NoAnswer { origin: origin.clone(), obstacle })
            }
            IssuerUnavailable => IssuerBlocked,
            IssuerBlocked => IssuerMisdirected,
            IssuerMisdirected => IssuerFailing,
            IssuerFailing => LoginPutOff { secret: secret(), until: expiry },
            LoginPutOff { .. } => IssuerRedirects,
            IssuerRedirects => IssuerPathWrong,
            IssuerPathWrong => IssuerAnswerUnusable { defect: "some defect" },
            IssuerAnswerUnusable { .. } => TargetConflict { secret: secret() },
            TargetConflict { .. } => TargetAwaitingCollection { secret: secret() },
            TargetAwaitingCollection { .. } => TargetImmutable { secret: secret() },
            TargetImmutable { .. } => TargetTypeMismatch { secret: secret() },
            TargetTypeMismatch { .. } => TargetContested { secret: secret() },
            TargetContested { .. } => TargetWriteRefused { secret: secret() },
            TargetWriteRefused { .. } => ApiServerCallFailed { call: "read Secret shop/billing".into() },
            ApiServerCallFailed { .. } => return None,
        })
    }

    fn all() -> Vec<Reason> {
        let first = Reason::TokenPublished {
            secret: "some-secret".into(),
            expiry: Timestamp::UNIX_EPOCH,
            outruns_kubelet: false,
        };
        std::iter::successors(Some(first), after).collect()
    }

    #[test]
    fn every_reason_has_a_name_that_the_api_server_takes() {
        for reason in all() {
            let name = reason.name();
            assert!(name.starts_with(|first: char| first.is_ascii_uppercase()), "{name}");
            assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric()), "{name}");
            assert!(name.len() <= 128, "{name}: the limit of an Event's reason");
        }
    }

    #[test]
    fn reasons_have_names_of_their_own_but_for_the_two_ways_to_misconfigure_an_issuer() {
        let own = |reason: &&Reason| !matches!(reason, Reason::LoginNotAccepted { .. });
        let mut kinds: Vec<_> =
            all().iter().filter(own).map(|reason| (reason.name(), std::mem::discriminant(reason))).collect();
        kinds.dedup();
        let doubled: Vec<_> = kinds
            .iter()
            .filter(|(name, kind)| kinds.iter().any(|other| other.0 == *name && other.1 != *kind))
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(doubled, ["IssuerMisconfigured", "IssuerMisconfigured"]);
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
            for part in
                ["some-secret", "some-key", "some-bundle", "some.field", "issuer.example", "some defect"]
            {
                assert_eq!(message.contains(part), spoken_of.contains(part), "{name}: {part} in {message:?}");
            }
        }
    }

    #[test]
    fn a_message_for_a_person_names_the_cure() {
        for reason in all().iter().filter(|reason| reason.needs_person()) {
            assert!(reason.message().contains("; "), "{}: {}", reason.name(), reason.message());
        }
        let rejected =
            |forbidden, blank| Reason::LoginRejected { secret: String::new(), forbidden, blank }.message();
        for is_so in [true, false] {
            assert_eq!(rejected(is_so, !is_so).contains("API Access"), is_so);
            assert_eq!(rejected(!is_so, is_so).contains("holds a blank"), is_so);
        }
    }
}
