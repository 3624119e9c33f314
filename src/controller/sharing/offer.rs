//! What an owner offers to its followers.

use std::sync::Arc;

use super::super::registry::Registry;
use crate::account::Session;
use crate::core::object_name::NamespacedName;
use crate::core::observed::LastSeen;

/// What an owner offers to those whom it permits.
#[derive(Clone, Debug, Default)]
pub(in crate::controller) enum Offer {
    /// It has not read its login yet: it needed no new token.
    #[default]
    Unread,
    /// It obtains no tokens.
    NotReady {
        /// Whether a person has to act.
        needs_user_action: bool,
    },
    /// The tokens of a session.
    Session(OfferedSession),
}

/// A session, with what it rests on.
#[derive(Clone, Debug)]
pub(in crate::controller) struct OfferedSession {
    /// The session.
    pub(in crate::controller) session: Arc<Session>,
    /// The login Secret of the owner.
    pub(in crate::controller) login: NamespacedName,
    /// The version of it that names the account.
    pub(in crate::controller) seen: LastSeen,
}

impl Offer {
    /// Whether followers gain nothing by looking at the other.
    #[must_use]
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unread, Self::Unread) => true,
            (Self::NotReady { needs_user_action: one }, Self::NotReady { needs_user_action: other }) => {
                one == other
            }
            (Self::Session(one), Self::Session(other)) => one.is_same(other),
            (Self::Unread | Self::NotReady { .. } | Self::Session(_), _) => false,
        }
    }

    /// Nothing is known of it while the login Secret is another version than the one that names the account: its user may be
    /// another one.
    #[must_use]
    pub(super) fn unless_login_changed(self, area: &Registry) -> Self {
        match self {
            Self::Session(OfferedSession { login, seen, .. })
                if !is_current(&area.secrets.last_seen(&login), &seen) =>
            {
                Self::Unread
            }
            Self::Session(_) | Self::NotReady { .. } | Self::Unread => self,
        }
    }
}

impl OfferedSession {
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.session, &other.session) && self.login == other.login && self.seen == other.seen
    }
}

fn is_current(last: &LastSeen, seen: &LastSeen) -> bool {
    *last == LastSeen::Unknown || last == seen
}
