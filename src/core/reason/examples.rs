//! Examples of all reasons, for tests.

use jiff::Timestamp;

use super::{LoginDelay, Reason, ReferenceProblem, TargetRefusal};
use crate::core::call_failure::UnclearAnswer;
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
    let origin = || "https://issuer.example".to_owned();
    let rejected = |forbidden, blank| LoginRejected {
        secret: secret(),
        origin: origin(),
        forbidden,
        blank,
        delay: None,
    };
    let limited = Some(LoginDelay::RateLimited { until: Some(expiry) });
    let answers = UnclearAnswer::each("some defect");
    let not_accepted =
        |blank| LoginNotAccepted { origin: origin(), answer: UnclearAnswer::PathWrong, blank, delay: None };
    let unclear = |answer| Unclear { origin: origin(), answer };
    let unavailable = |status| IssuerUnavailable { origin: origin(), status };
    Some(match reason {
        TokenPublished { outruns_kubelet: false, .. } => {
            TokenPublished { secret: secret(), expiry, outruns_kubelet: true }
        }
        TokenPublished { outruns_kubelet: true, .. } => Issuing,
        Issuing => Updating,
        Updating => Expired { expiry, cause: None },
        Expired { cause: None, .. } => Expired { expiry, cause: Some(Box::new(Suspended)) },
        Expired { .. } => {
            RenewalOverdue { expiry, cause: Some(Box::new(IssuerCircuitOpen { origin: None })) }
        }
        RenewalOverdue { .. } => Suspended,
        Suspended => LoginAccepted,
        LoginAccepted => LoginPending,
        LoginPending => MalformedResource,
        MalformedResource => InvalidSpec { field: "spec.some.field" },
        InvalidSpec { .. } => IssuerNotAllowed { origin: origin() },
        IssuerNotAllowed { .. } => IssuerPathNotAllowed { origin: origin() },
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
        LoginRejected { blank: true, delay: None, .. } => rejected(true, true).delayed(limited),
        LoginRejected { .. } => not_accepted(false),
        LoginNotAccepted { blank: false, .. } => not_accepted(true),
        LoginNotAccepted { blank: true, delay: None, .. } => not_accepted(true).delayed(limited),
        LoginNotAccepted { .. } => LoginOutcomeUnknown { secret: secret(), delay: None },
        LoginOutcomeUnknown { delay: None, .. } => LoginOutcomeUnknown { secret: secret(), delay: limited },
        LoginOutcomeUnknown { .. } => RefreshRejected,
        RefreshRejected => NoAnswer { origin: origin(), connection_failure: ConnectionFailure::ALL[0] },
        NoAnswer { origin, connection_failure } => {
            let next = ConnectionFailure::ALL.iter().skip_while(|it| *it != connection_failure).nth(1);
            next.map_or(unavailable(503), |&connection_failure| NoAnswer {
                origin: origin.clone(),
                connection_failure,
            })
        }
        IssuerUnavailable { status: 503, .. } => unavailable(429),
        IssuerUnavailable { .. } => unclear(answers[0]),
        Unclear { answer, .. } => {
            let mut rest = answers.into_iter().skip_while(|other| other != answer).skip(1);
            rest.next().map_or(IssuerCircuitOpen { origin: Some(origin()) }, unclear)
        }
        IssuerCircuitOpen { origin: Some(_) } => IssuerCircuitOpen { origin: None },
        IssuerCircuitOpen { origin: None } => LoginRateLimited { secret: secret(), until: expiry },
        LoginRateLimited { .. } => TargetConflict { secret: secret() },
        TargetConflict { .. } => TargetPendingDeletion { secret: secret() },
        TargetPendingDeletion { .. } => TargetImmutable { secret: secret() },
        TargetImmutable { .. } => TargetTypeMismatch { secret: secret() },
        TargetTypeMismatch { .. } => TargetContested { secret: secret() },
        TargetContested { .. } => Reason::target_write_refused(secret(), "denied by policy shop"),
        TargetWriteRefused { .. } => {
            Reason::api_server_call_failed("read Secret shop/billing".into(), "forbidden")
        }
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
