//! Restores what status remembers of a login: for the limit of its user name, then for its account; each once.

use super::Credential;
use super::login::rejection_of_conditions;
use crate::core::account::Account;
use crate::core::login_attempts::LoginAttempts;
use crate::core::observed::{AccountKey, CredentialSpec, LastSeen};
use crate::core::time::Moment;

/// How far what status remembers of a login was restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestoreStage {
    /// Nothing was restored.
    #[default]
    None,
    /// The limit of its user name was.
    Limit,
    /// The limit and the account were.
    Account,
}

/// A login that was just read.
#[derive(Clone, Copy, Debug)]
pub struct LoginFound<'a> {
    /// The account that it names.
    pub key: AccountKey,
    /// The version of the login Secret.
    pub seen: &'a LastSeen,
    /// Whether the password holds a blank or an invisible character.
    pub blank: bool,
    /// The specification that names it.
    pub spec: &'a CredentialSpec,
    /// Its generation.
    pub generation: i64,
}

impl Credential {
    /// The number of rejections in status and the time of the last one, for the limit of the user name. Only the first call
    /// returns them; an accepted login has none.
    pub fn rejections_for_limit(&mut self, now: Moment) -> Option<(u32, Moment)> {
        let login = self.status.login.as_ref();
        if self.restore_stage >= RestoreStage::Limit
            || login.is_some_and(|login| login.attempts.accepted.is_some())
        {
            return None;
        }
        self.restore_stage = RestoreStage::Limit;
        login.and_then(|login| login.attempts.rejected(now))
    }

    /// How far what status remembers of the login was restored.
    #[must_use]
    pub fn restore_stage(&self) -> RestoreStage {
        self.restore_stage
    }

    /// Whether the login of this version is the one that status tells to be accepted.
    #[must_use]
    pub fn is_accepted(&self, spec: &CredentialSpec, seen: &LastSeen) -> bool {
        let is_published = |it: &super::Published| it.account.as_ref() == Some(&spec.account);
        self.status.login.as_ref().is_some_and(|login| login.attempts.accepted.is_some())
            && self.is_recorded(seen)
            && self.published.as_ref().is_some_and(is_published)
    }

    /// The account of its own from which this process obtained the published token. A tenant cannot forge this, as it can
    /// its status.
    #[must_use]
    pub fn obtained_from(&self) -> Option<AccountKey> {
        self.obtained_from
    }

    /// Whether status speaks of this very version of the login Secret.
    fn is_recorded(&self, seen: &LastSeen) -> bool {
        let recorded = self.status.login.as_ref().and_then(|login| login.resource_version.as_ref());
        seen.version().is_some_and(|version| recorded == Some(&version.resource_version))
    }

    /// Links what status remembers to the account that it was written for: the same version of the login Secret, under a
    /// specification that was carried out, names the same account.
    pub fn restore_account(&mut self, account: &mut Account, found: LoginFound<'_>, now: Moment) {
        let is_same = self.is_recorded(found.seen);
        if self.is_accepted(found.spec, found.seen)
            && let Some(published) = &mut self.published
        {
            published.key.get_or_insert(found.key);
        }
        // A new password, or a new issuer, is in as much of a hurry as the one before was.
        if let Some(published) = &self.published {
            account.remember_published(published.validity, now);
        }
        // The session may have been let go since.
        let obtained = self.published.as_ref().filter(|_| self.obtained_from == Some(found.key));
        if let Some(published) = obtained {
            account.remember_accepted(published.validity.issued);
        }
        // Results of this process for one account do not apply to another, for example after a new CA bundle.
        if std::mem::replace(&mut self.restore_stage, RestoreStage::Account) == RestoreStage::Account {
            return;
        }
        let Some(login) = &self.status.login else { return };
        let is_proven = is_same && self.status.observed_generation == Some(found.generation);
        let recorded = &login.attempts;
        let attempts = LoginAttempts {
            accepted: recorded.accepted.filter(|_| is_proven),
            rejection: recorded.rejection.or_else(|| rejection_of_conditions(&self.status.conditions)),
            ..recorded.clone()
        };
        attempts.restore(account, found.blank, now);
        if attempts.accepted.is_some() {
            account.remember_support(self.status.refresh_support.unwrap_or_default(), now);
        }
        if attempts.rejections > 0 {
            self.is_login_repaired = !is_same;
        }
    }
}
