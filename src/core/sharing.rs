//! Sharing: a credential may follow another one, the owner, in another namespace too. The owner logs in; its tokens are
//! published for each follower that the owner permits.

use std::collections::BTreeSet;

use super::object_name::NamespacedName;
use super::time::Moment;
use super::token::{Fingerprint, IssuedToken};

/// The name that stands for all namespaces.
pub const ALL_NAMESPACES: &str = "*";

/// In which other namespaces a credential may be followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedNamespaces {
    names: BTreeSet<String>,
}

impl AllowedNamespaces {
    /// The namespaces of these names; [`ALL_NAMESPACES`] stands for all.
    #[must_use]
    pub fn named(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: names.into_iter().collect() }
    }

    fn permit(&self, namespace: &str) -> bool {
        self.names.contains(ALL_NAMESPACES) || self.names.contains(namespace)
    }
}

/// The part of a credential in sharing, as its specification says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SharingRole {
    /// It cannot be read, or is being deleted: nobody follows it, and it follows nobody.
    #[default]
    None,
    /// It logs in, and may be followed in these namespaces, and in its own.
    Owner(AllowedNamespaces),
    /// It follows this one.
    Follower(NamespacedName),
}

impl SharingRole {
    /// The credential that it follows.
    #[must_use]
    pub fn followed(&self) -> Option<&NamespacedName> {
        match self {
            Self::Follower(owner) => Some(owner),
            Self::None | Self::Owner(_) => None,
        }
    }
}

/// Whether a namespace may follow a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It may.
    Granted,
    /// It may not. Whether there is such a credential is not told.
    Denied,
}

/// Whether credentials of the namespace `follower` may follow the credential that has this role; none if there is no such
/// credential. `namespace` is that of the owner: whoever works there can name the login Secret as well.
#[must_use]
pub fn permission(owner: Option<&SharingRole>, namespace: &str, follower: &str) -> Permission {
    match owner {
        Some(SharingRole::Owner(allowed)) if namespace == follower || allowed.permit(follower) => {
            Permission::Granted
        }
        // A chain of followers would give away what the owner has not given to the last one.
        Some(SharingRole::Owner(_) | SharingRole::Follower(_) | SharingRole::None) | None => {
            Permission::Denied
        }
    }
}

/// The wish of a follower for another token than the one it has, if it has one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wish {
    /// The published token.
    pub published: Option<Fingerprint>,
}

impl Wish {
    /// The wishes that the owner must fulfil while its account holds this token: all if it holds none that is valid;
    /// otherwise those of followers that have the very token. The others only have to publish it.
    #[must_use]
    pub fn left_by(token: Option<&IssuedToken>, now: Moment) -> Option<Self> {
        let token = token.filter(|token| !token.validity.expiry().is_reached(now))?;
        Some(Self { published: Some(token.fingerprint.clone()) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, token};
    use super::*;

    fn owner(names: &[&str]) -> SharingRole {
        SharingRole::Owner(AllowedNamespaces::named(names.iter().map(|name| (*name).to_owned())))
    }

    #[test]
    fn only_the_namespaces_that_an_owner_names_and_its_own_may_follow_it() {
        let follower = SharingRole::Follower(NamespacedName::new("platform", "billing"));
        for (role, namespace, expected) in [
            (Some(owner(&["shop", "orders"])), "shop", Permission::Granted),
            (Some(owner(&["shop", "orders"])), "shops", Permission::Denied),
            (Some(owner(&["shop*"])), "shops", Permission::Denied),
            (Some(owner(&["*"])), "anything", Permission::Granted),
            (Some(owner(&[])), "shop", Permission::Denied),
            (Some(owner(&[])), "platform", Permission::Granted),
            (Some(follower.clone()), "shop", Permission::Denied),
            (Some(follower), "platform", Permission::Denied),
            (Some(SharingRole::None), "platform", Permission::Denied),
            (None, "platform", Permission::Denied),
        ] {
            assert_eq!(permission(role.as_ref(), "platform", namespace), expected, "{role:?} {namespace}");
        }
    }

    #[test]
    fn the_owner_fulfils_wishes_that_the_token_of_its_account_does_not() {
        let held = token("held", at(0), 60);
        let of_held = Some(Wish { published: Some(held.fingerprint.clone()) });
        assert_eq!(Wish::left_by(Some(&held), at(59)), of_held);
        assert_eq!(Wish::left_by(Some(&held), at(60)), None, "it has expired");
        assert_eq!(Wish::left_by(None, at(0)), None);
    }
}
