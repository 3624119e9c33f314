//! Examples of all reasons, for tests.

use jiff::Timestamp;

use super::{Reason, ReferenceProblem, TargetRefusal};
use crate::core::connection_failure::ConnectionFailure;
use crate::core::username_password::LoginError;

/// Every reason, each leading to the next: one that is added has to be put into the chain to compile.
#[expect(clippy::too_many_lines, reason = "a table")]
fn after(reason: &Reason) -> Option<Reason> {
    use Reason::*;
    let secret = || "some-secret".to_owned();
    let key = || "some-key".to_owned();
    let object = || "ConfigMap some-bundle".to_owned();
    let credential = || "platform/some-credential".to_owned();
    let not_ready = |needs_user_action| {
        Reference(ReferenceProblem::NotReady { credential: credential(), needs_user_action })
    };
    let expiry = Timestamp::UNIX_EPOCH;
    let unusable = |defect| LoginSecretUnusable { secret: secret(), key: key(), defect };
    let rejected = |forbidden, blank| LoginRejected { secret: secret(), forbidden, blank };
    let not_accepted = |blank| LoginNotAccepted { answer: Box::new(IssuerPathWrong), blank };
    Some(match reason {
        TokenPublished { outruns_kubelet: false, .. } => {
            TokenPublished { secret: secret(), expiry, outruns_kubelet: true }
        }
        TokenPublished { outruns_kubelet: true, .. } => Issuing,
        Issuing => Updating,
        Updating => Expired { expiry, cause: None },
        Expired { cause: None, .. } => Expired { expiry, cause: Some(Box::new(Suspended)) },
        Expired { .. } => RenewalOverdue { expiry, cause: Some(Box::new(IssuerCircuitOpen)) },
        RenewalOverdue { .. } => Suspended,
        Suspended => LoginAccepted,
        LoginAccepted => LoginPending,
        LoginPending => MalformedResource,
        MalformedResource => InvalidSpec { field: "spec.some.field" },
        InvalidSpec { .. } => IssuerNotAllowed { origin: "https://issuer.example".into() },
        IssuerNotAllowed { .. } => IssuerPathNotAllowed { origin: "https://issuer.example".into() },
        IssuerPathNotAllowed { .. } => TemplateError { key: key(), line: 7, kind: "syntax error".into() },
        TemplateError { .. } => TemplateTooLarge { key: key() },
        TemplateTooLarge { .. } => TemplateTooLong,
        TemplateTooLong => TargetRefused(TargetRefusal::Type("some.type/x".into())),
        TargetRefused(TargetRefusal::Type(_)) => TargetRefused(TargetRefusal::Domain("some.domain".into())),
        TargetRefused(TargetRefusal::Domain(_)) => TargetRefused(TargetRefusal::Name(secret())),
        TargetRefused(TargetRefusal::Name(_)) => TargetRefused(TargetRefusal::Literal(key())),
        TargetRefused(TargetRefusal::Literal(_)) => Reference(ReferenceProblem::NotPermitted {
            credential: credential(),
            namespace: "some-namespace".into(),
        }),
        Reference(ReferenceProblem::NotPermitted { .. }) => {
            Reference(ReferenceProblem::OutOfScope { namespace: "some-namespace".into() })
        }
        Reference(ReferenceProblem::OutOfScope { .. }) => not_ready(false),
        Reference(ReferenceProblem::NotReady { needs_user_action: false, .. }) => not_ready(true),
        Reference(ReferenceProblem::NotReady { .. }) => Reference(ReferenceProblem::SelectorIgnored),
        Reference(ReferenceProblem::SelectorIgnored) => FollowerAdded { follower: None },
        FollowerAdded { follower: None } => FollowerAdded { follower: Some(credential()) },
        FollowerAdded { follower: Some(_) } => RenewRequestHandled { answered: true },
        RenewRequestHandled { answered: true } => RenewRequestHandled { answered: false },
        RenewRequestHandled { answered: false } => LoginSecretMissing { secret: secret() },
        LoginSecretMissing { .. } => unusable(LoginError::ALL[0]),
        LoginSecretUnusable { defect, .. } => {
            let rest = LoginError::ALL.iter().skip_while(|other| *other != defect);
            rest.copied().nth(1).map_or(CaBundleMissing { object: object() }, unusable)
        }
        CaBundleMissing { .. } => CaBundleKeyMissing { object: object(), key: key() },
        CaBundleKeyMissing { .. } => CaBundleInvalid { object: object(), key: key() },
        CaBundleInvalid { .. } => CaBundleTooLarge { object: object(), key: key() },
        CaBundleTooLarge { .. } => CaBundlesTooMany { object: object() },
        CaBundlesTooMany { .. } => TokenLifetimeTooShort,
        TokenLifetimeTooShort => TooManyCredentials { limit: 1000 },
        TooManyCredentials { .. } => rejected(false, false),
        LoginRejected { forbidden: false, blank: false, .. } => rejected(true, false),
        LoginRejected { forbidden: true, blank: false, .. } => rejected(true, true),
        LoginRejected { blank: true, .. } => not_accepted(false),
        LoginNotAccepted { blank: false, .. } => not_accepted(true),
        LoginNotAccepted { blank: true, .. } => LoginOutcomeUnknown { secret: secret() },
        LoginOutcomeUnknown { .. } => RefreshRejected,
        RefreshRejected => NoAnswer {
            origin: "https://issuer.example".into(),
            connection_failure: ConnectionFailure::ALL[0],
        },
        NoAnswer { origin, connection_failure } => {
            let next = ConnectionFailure::ALL.iter().skip_while(|it| *it != connection_failure).nth(1);
            next.map_or(IssuerUnavailable, |&connection_failure| NoAnswer {
                origin: origin.clone(),
                connection_failure,
            })
        }
        IssuerUnavailable => IssuerBlocked { plain: false },
        IssuerBlocked { plain: false } => IssuerBlocked { plain: true },
        IssuerBlocked { plain: true } => IssuerMisdirected,
        IssuerMisdirected => IssuerResponseIncomplete,
        IssuerResponseIncomplete => IssuerCircuitOpen,
        IssuerCircuitOpen => LoginRateLimited { secret: secret(), until: expiry },
        LoginRateLimited { .. } => IssuerRedirects,
        IssuerRedirects => IssuerPathWrong,
        IssuerPathWrong => IssuerResponseInvalid { defect: "some defect" },
        IssuerResponseInvalid { .. } => TargetConflict { secret: secret() },
        TargetConflict { .. } => TargetPendingDeletion { secret: secret() },
        TargetPendingDeletion { .. } => TargetImmutable { secret: secret() },
        TargetImmutable { .. } => TargetTypeMismatch { secret: secret() },
        TargetTypeMismatch { .. } => TargetContested { secret: secret() },
        TargetContested { .. } => Reason::target_write_refused(secret(), "denied by policy shop"),
        TargetWriteRefused { .. } => ApiServerCallFailed { call: "read Secret shop/billing".into() },
        ApiServerCallFailed { .. } => ManagedByAnotherController { controller: "idissuer/operator".into() },
        ManagedByAnotherController { .. } => return None,
    })
}

/// An example of every reason, and of every form that its message has.
pub(crate) fn all() -> Vec<Reason> {
    let first = Reason::TokenPublished {
        secret: "some-secret".into(),
        expiry: Timestamp::UNIX_EPOCH,
        outruns_kubelet: false,
    };
    std::iter::successors(Some(first), after).collect()
}
