//! Users: as configured, and as the issuer keeps them.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;

use crate::{Fingerprint, Lockout};

/// A user as given to the issuer.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct User {
    pub(crate) name: String,
    password: String,
    #[serde(default = "granted")]
    api_access: bool,
}

fn granted() -> bool {
    true
}

impl User {
    /// A user with the "API Access" authorization.
    #[must_use]
    pub fn new(name: &str, password: &str) -> Self {
        Self { name: name.to_owned(), password: password.to_owned(), api_access: granted() }
    }

    /// The same without the "API Access" authorization.
    #[must_use]
    pub fn without_api_access(self) -> Self {
        Self { api_access: false, ..self }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("User")
            .field("name", &self.name)
            .field("api_access", &self.api_access)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
pub(super) struct Account {
    password: Fingerprint,
    pub(super) api_access: bool,
    wrong_in_a_row: u32,
    locked_until: Option<Timestamp>,
    /// Refresh tokens of logins before this one are dead.
    pub(super) sessions_since: u64,
    /// So are access tokens issued before this.
    pub(super) tokens_since: u64,
}

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Account")
            .field("api_access", &self.api_access)
            .field("wrong_in_a_row", &self.wrong_in_a_row)
            .field("locked_until", &self.locked_until)
            .finish_non_exhaustive()
    }
}

impl Account {
    pub(super) fn new(user: &User, order: u64) -> Self {
        Self {
            password: Fingerprint::of(&user.password),
            api_access: user.api_access,
            wrong_in_a_row: 0,
            locked_until: None,
            sessions_since: order,
            tokens_since: order,
        }
    }

    /// New password and authorization, and no lock; sessions and tokens live on.
    pub(super) fn update(&mut self, user: &User) {
        *self = Self {
            sessions_since: self.sessions_since,
            tokens_since: self.tokens_since,
            ..Self::new(user, 0)
        };
    }

    pub(super) fn has_password(&self, password: &str) -> bool {
        self.password == Fingerprint::of(password)
    }

    pub(super) fn is_locked(&self, now: Timestamp) -> bool {
        self.locked_until.is_some_and(|until| now < until)
    }

    pub(super) fn right_password(&mut self) {
        self.wrong_in_a_row = 0;
        self.locked_until = None;
    }

    /// Whether this one locked the user.
    pub(super) fn wrong_password(&mut self, lockout: Option<Lockout>, now: Timestamp) -> bool {
        self.wrong_in_a_row += 1;
        let Some(lockout) = lockout.filter(|lockout| self.wrong_in_a_row >= lockout.after) else {
            return false;
        };
        self.wrong_in_a_row = 0;
        self.locked_until = Some(super::later(now, lockout.duration));
        true
    }
}
