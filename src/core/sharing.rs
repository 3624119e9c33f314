//! Sharing: a credential may follow another one, the owner, in another namespace too. The owner logs in; its tokens are
//! published for each follower that the owner permits.

mod followers;
mod selector;

use std::collections::BTreeSet;

use super::object_name::NamespacedName;
use super::time::Moment;
use super::token::{Fingerprint, IssuedToken};

pub use followers::{FOLLOWERS_NAMED, Followers};
pub use selector::{Expression, Labels, Operator, Selector};

/// The name that stands for all namespaces.
pub const ALL_NAMESPACES: &str = "*";

/// In which other namespaces a credential may be followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedNamespaces {
    /// By their names; [`ALL_NAMESPACES`] stands for all.
    pub names: BTreeSet<String>,
    /// By their labels.
    pub selector: Option<Selector>,
}

impl AllowedNamespaces {
    /// Whether they contain this namespace, of which these labels are known; none without the right to read them.
    fn contain(&self, namespace: &str, labels: Option<&Labels>) -> bool {
        let is_selected = |selector: &Selector| labels.is_some_and(|labels| selector.selects(labels));
        self.names.contains(ALL_NAMESPACES)
            || self.names.contains(namespace)
            || self.selector.as_ref().is_some_and(is_selected)
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
/// credential. `namespace` is that of the owner: everyone who works there can name the login Secret as well. `labels` are those
/// of the follower's namespace, if they are known.
#[must_use]
pub fn permission(
    owner: Option<&SharingRole>,
    namespace: &str,
    follower: &str,
    labels: Option<&Labels>,
) -> Permission {
    match owner {
        Some(SharingRole::Owner(allowed)) if namespace == follower || allowed.contain(follower, labels) => {
            Permission::Granted
        }
        // A chain of followers would give away what the owner has not given to the last one.
        Some(SharingRole::Owner(_) | SharingRole::Follower(_) | SharingRole::None) | None => {
            Permission::Denied
        }
    }
}

/// The wish of a follower for another token than the one it has of its owner's account, if it has one.
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
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        SharingRole::Owner(AllowedNamespaces { names, selector: None })
    }

    #[test]
    fn only_a_follower_follows() {
        let owner = NamespacedName::new("platform", "billing");
        assert_eq!(SharingRole::Follower(owner.clone()).followed(), Some(&owner));
        assert_eq!(SharingRole::Owner(AllowedNamespaces::default()).followed(), None);
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
            let permission = permission(role.as_ref(), "platform", namespace, Some(&Labels::new()));
            assert_eq!(permission, expected, "{role:?} {namespace}");
        }
    }

    #[test]
    fn a_selector_permits_namespaces_with_its_labels_once_these_are_known() {
        let operator = Operator::In(["sales".to_owned()].into());
        let selector = Selector::of(vec![Expression { key: "team".into(), operator }]);
        let allowed = AllowedNamespaces { names: ["orders".to_owned()].into(), selector: Some(selector) };
        let role = SharingRole::Owner(allowed);
        let labels = |team: &str| Labels::from([("team".to_owned(), team.to_owned())]);
        for (namespace, labels, expected) in [
            ("shop", Some(labels("sales")), Permission::Granted),
            ("shop", Some(labels("other")), Permission::Denied),
            ("shop", None, Permission::Denied),
            ("orders", None, Permission::Granted),
            ("platform", None, Permission::Granted),
        ] {
            assert_eq!(
                permission(Some(&role), "platform", namespace, labels.as_ref()),
                expected,
                "{labels:?}"
            );
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
