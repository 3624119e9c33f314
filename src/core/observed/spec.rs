//! A spec that can be carried out.

use std::fmt;

use crate::core::account::Strategy;
use crate::core::endpoint::Endpoint;
use crate::core::object_name::NamespacedName;
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
    /// The account that the credential itself logs in to.
    Own(Box<OwnAccount>),
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
    pub fn own(&self) -> Option<&OwnAccount> {
        match self {
            Self::Own(account) => Some(account),
            Self::Followed(_) => None,
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
            account: AccountReference::Own(Box::new(OwnAccount { login, endpoint, ca_bundle: None })),
            strategy: Strategy::Auto,
            renew_before: RenewBefore::default(),
            jitter: Jitter::NONE,
            target: TargetSpec::minimal(target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CaBundleKind::{ConfigMap, Secret};

    #[test]
    fn what_holds_a_bundle_is_shown_by_its_kind() {
        assert_eq!([Secret, ConfigMap].map(|kind| kind.to_string()), ["Secret", "ConfigMap"]);
    }
}
