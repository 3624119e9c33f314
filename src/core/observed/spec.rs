//! A spec that can be carried out.

use std::fmt;
use std::sync::Arc;

use super::WaitCause;
use crate::core::account::Strategy;
use crate::core::endpoint::Endpoint;
use crate::core::object_name::NamespacedName;
use crate::core::reason::{Reason, ReferenceProblem};
use crate::core::retry::Failure;
use crate::core::schedule::{Jitter, RenewBefore};
use crate::core::target::TargetSpec;

/// The location of user name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginReference {
    /// The login Secret.
    pub secret: String,
    /// Its key of the user name.
    pub username_key: String,
    /// Its key of the password.
    pub password_key: String,
}

/// What may hold the issuer's CA certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaBundleKind {
    /// A Secret.
    Secret,
    /// A `ConfigMap`.
    ConfigMap,
}

impl fmt::Display for CaBundleKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        })
    }
}

/// The location of the issuer's CA certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaBundleReference {
    /// What the object is.
    pub kind: CaBundleKind,
    /// The object's name.
    pub name: String,
    /// Its key.
    pub key: String,
}

/// The part of a spec that determines the account. A token of another account does not satisfy the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountReference {
    /// The account that the credential itself logs in to. What was published, and what was read, refer to it, too.
    Own(Arc<OwnAccount>),
    /// The account of this other credential, which logs in for both.
    Followed(NamespacedName),
}

/// A login at an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAccount {
    /// The location of the login.
    pub login: LoginReference,
    /// The address of the issuer.
    pub endpoint: Endpoint,
    /// Whom its certificate is trusted by; the public roots if by none.
    pub ca_bundle: Option<CaBundleReference>,
}

impl AccountReference {
    /// The account, if the credential itself logs in.
    #[must_use]
    pub fn own(&self) -> Option<&Arc<OwnAccount>> {
        match self {
            Self::Own(account) => Some(account),
            Self::Followed(_) => None,
        }
    }

    /// What people read of a call that brought no token. A follower learns nothing of the login.
    #[must_use]
    pub fn failure_reason(&self, failure: &Failure) -> Reason {
        match self {
            Self::Own(account) => Reason::of_call(failure, &account.login.secret, &account.endpoint.origin),
            Self::Followed(owner) => {
                ReferenceProblem::not_ready(owner, failure.cause.needs_user_action()).into()
            }
        }
    }

    /// What people read of why the account waits.
    #[must_use]
    pub fn wait_reason(&self, cause: WaitCause) -> Reason {
        match (self, cause) {
            (Self::Own(account), cause) => cause.reason(&account.login.secret, &account.endpoint.origin),
            (Self::Followed(_), WaitCause::IssuerCircuitOpen) => Reason::IssuerCircuitOpen { origin: None },
            (Self::Followed(owner), WaitCause::LoginRateLimited { .. }) => {
                ReferenceProblem::not_ready(owner, true).into()
            }
        }
    }

    /// The credential that this one follows, if it follows one.
    #[must_use]
    pub fn followed(&self) -> Option<&NamespacedName> {
        match self {
            Self::Own(_) => None,
            Self::Followed(owner) => Some(owner),
        }
    }
}

/// A specification, parsed: what it holds can be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct CredentialSpec {
    /// Nothing is renewed, written or repaired.
    pub suspended: bool,
    /// Which account is used.
    pub account: AccountReference,
    /// Whether it permits namespaces to follow it by their labels.
    pub has_namespace_selector: bool,
    /// How new tokens are obtained.
    pub strategy: Strategy,
    /// How long before expiry a renewal is wanted.
    pub renew_before: RenewBefore,
    /// How much earlier it comes, so that many do not fall together.
    pub jitter: Jitter,
    /// What is written where.
    pub target: TargetSpec,
}

impl CredentialSpec {
    /// The spec of a resource that sets only what is required: this login Secret. All else has its default, without
    /// jitter.
    #[must_use]
    pub fn minimal(login_secret: &str, endpoint: Endpoint, target: &str) -> Self {
        let login = LoginReference {
            secret: login_secret.to_owned(),
            username_key: "username".to_owned(),
            password_key: "password".to_owned(),
        };
        Self {
            suspended: false,
            account: AccountReference::Own(Arc::new(OwnAccount { login, endpoint, ca_bundle: None })),
            has_namespace_selector: false,
            strategy: Strategy::Auto,
            renew_before: RenewBefore::default(),
            jitter: Jitter::NONE,
            target: TargetSpec::minimal(target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::AccountView;
    use super::*;
    use crate::core::account::{Account, Throttle};
    use crate::core::call_failure::{CallFailure, UnclearAnswer};
    use crate::core::connection_failure::ConnectionFailure;
    use crate::core::endpoint::{DEFAULT_ISSUER, Origin};
    use crate::core::retry::RetryClass;
    use crate::core::testing::{BILLING, at, rejected};

    #[test]
    fn an_account_is_a_credentials_own_or_that_of_the_one_that_it_follows() {
        let own = crate::core::testing::spec().account;
        assert_eq!(own.own().map(|account| account.login.secret.as_str()), Some("billing-login"));
        assert_eq!(own.followed(), None);
        let owner = NamespacedName::new("platform", "billing");
        let followed = AccountReference::Followed(owner.clone());
        assert_eq!((followed.own(), followed.followed()), (None, Some(&owner)));
    }

    #[test]
    fn what_holds_a_bundle_is_shown_by_its_kind() {
        assert_eq!(
            [CaBundleKind::Secret, CaBundleKind::ConfigMap].map(|kind| kind.to_string()),
            ["Secret", "ConfigMap"]
        );
    }

    #[test]
    fn a_follower_learns_that_the_account_fails_and_nothing_of_its_login() {
        let mut account = Account::default();
        account.remember_accepted(at(0));
        account.remember_rejections(rejected(), 2, at(0));
        let view = AccountView::of(BILLING, &account, Throttle::default(), Strategy::Auto, at(1));
        let view = AccountView { attempted: Some(at(0)), rejections_of_user: 3, ..view }.of_owner();
        assert_eq!((view.accepted, view.attempted), (None, None));
        assert_eq!((view.rejections, view.rejections_of_user), (0, 0));
        let named = AccountReference::Followed(NamespacedName::new("platform", "billing"));
        let reason = view.failure_reason(&named).unwrap();
        assert!(reason.needs_user_action() && reason.message().contains("platform/billing"));
        assert!(!reason.message().contains("login"), "{}", reason.message());
        let limited = WaitCause::LoginRateLimited { until: at(60).wall };
        assert_eq!(named.wait_reason(limited), reason);
    }

    #[test]
    fn a_follower_is_told_that_a_person_has_to_act_where_the_owner_is() {
        let origin = Origin::parse(DEFAULT_ISSUER).unwrap();
        let named = AccountReference::Followed(NamespacedName::new("platform", "billing"));
        let answers = UnclearAnswer::each("it is empty");
        let unclear = answers.map(CallFailure::Unclear);
        let not_accepted = answers.map(CallFailure::LoginNotAccepted);
        let others = [
            CallFailure::LoginRejected { forbidden: false },
            CallFailure::LoginOutcomeUnknown,
            CallFailure::RefreshRejected,
            CallFailure::IssuerUnavailable { status: 503 },
        ];
        let lost = ConnectionFailure::ALL.map(CallFailure::NoAnswer);
        for cause in unclear.into_iter().chain(not_accepted).chain(others).chain(lost) {
            let failure = Failure { class: RetryClass::Rejected, cause, password_has_blank: false };
            let owner = Reason::of_call(&failure, "billing-login", &origin);
            let follower = named.failure_reason(&failure);
            assert_eq!(follower.needs_user_action(), owner.needs_user_action(), "{cause:?}");
            assert_eq!(cause.needs_user_action(), owner.needs_user_action(), "{cause:?}");
        }
    }
}
