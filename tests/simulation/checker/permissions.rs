//! Which followers may follow their owner, by what stands in the API server; and what they may not get.

use std::sync::Arc;

use idissuer_testbed::memory::Change;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Checker, PATIENCE, State, order};
use crate::conditions::Source;
use crate::population::{Owner, TEAM_LABEL};

/// A write that was on its way when the permission was withdrawn has arrived after this time.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(10);

/// The part of a credential in sharing.
pub(super) struct Sharing {
    /// The credential that it follows.
    pub(super) owner: Option<Owner>,
    /// Whether its own specification names that one.
    names_owner: bool,
    /// Since when it may not follow.
    pub(super) denied: Option<Timestamp>,
    /// The namespaces that may follow it, its own among them; none if it does not exist.
    permitted: Vec<String>,
    /// The values of the label by which it permits other namespaces.
    selected: Vec<String>,
}

impl Sharing {
    /// Of a credential that does not exist yet.
    pub(super) fn of(owner: Option<&Owner>, now: Timestamp) -> Self {
        let denied = owner.map(|_| now);
        Self {
            owner: owner.cloned(),
            names_owner: false,
            denied,
            permitted: Vec::new(),
            selected: Vec::new(),
        }
    }

    fn sees(&mut self, namespace: &str, spec: Option<&Value>) {
        if let Some(owner) = &self.owner {
            let named = spec.map(|spec| &spec["credentialRef"]);
            let is_named =
                |named: &Value| named["name"] == *owner.name && named["namespace"] == *owner.namespace;
            self.names_owner = named.is_some_and(is_named);
        }
        let names = spec.map(|spec| spec["allowedNamespaces"]["names"].as_array().into_iter().flatten());
        let names = names.map(|names| names.filter_map(Value::as_str).chain([namespace]).map(str::to_owned));
        self.permitted = names.into_iter().flatten().collect();
        let expressions = spec.map(|spec| &spec["allowedNamespaces"]["selector"]["matchExpressions"]);
        let values = expressions.and_then(|expressions| expressions[0]["values"].as_array());
        self.selected = values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    }

    fn permits(&self, namespace: &str, team: Option<&String>) -> bool {
        self.permitted.iter().any(|permitted| permitted == "*" || permitted == namespace)
            || team.is_some_and(|team| self.selected.contains(team))
    }
}

impl State {
    /// A credential was created, edited or deleted.
    pub(super) fn sees_specification(&mut self, change: &Change, now: Timestamp) {
        let Some(&number) = self.targets.get(&(change.namespace.clone(), change.name.clone())) else {
            return;
        };
        let spec = change.after.as_ref().map(|object| &object["spec"]);
        self.credentials[number].sharing.sees(&change.namespace, spec);
        self.judges_permissions(now);
    }

    /// A namespace got another label, or is gone.
    pub(super) fn sees_labels(&mut self, change: &Change, now: Timestamp) {
        let team = change.after.as_ref().and_then(|object| object["metadata"]["labels"][TEAM_LABEL].as_str());
        match team {
            Some(team) => self.teams.insert(change.name.clone(), team.to_owned()),
            None => self.teams.remove(&change.name),
        };
        self.judges_permissions(now);
    }

    /// For how long everything has to be well before the token of a credential may be called late. An owner that has published
    /// nothing itself knows of no short life, whatever its followers have: it tries its first login as often as any other.
    pub(super) fn patience_with(&self, number: usize) -> SignedDuration {
        let watched = &self.credentials[number];
        let owner = watched.sharing.owner.as_ref().map(|owner| &self.credentials[owner.number]);
        if owner.is_some_and(|owner| owner.published.is_none()) { PATIENCE } else { watched.patience() }
    }

    fn judges_permissions(&mut self, now: Timestamp) {
        for index in 0..self.followers.len() {
            self.judges_permission(self.followers[index], now);
        }
    }

    fn judges_permission(&mut self, number: usize, now: Timestamp) {
        let watched = &self.credentials[number];
        let Some(owner) = &watched.sharing.owner else { return };
        let team = self.teams.get(&watched.namespace);
        let is_permitted = self.credentials[owner.number].sharing.permits(&watched.namespace, team);
        let is_denied = !(is_permitted && watched.sharing.names_owner);
        if is_denied == watched.sharing.denied.is_some() {
            return;
        }
        let source = Source::Permission(number);
        if is_denied {
            self.conditions.breaks(source, now);
        } else {
            self.conditions.mends(source, now);
        }
        let watched = &mut self.credentials[number];
        (watched.sharing.denied, watched.needs_watch) = (is_denied.then_some(now), true);
    }
}

impl Checker {
    /// Whether the leader has obtained a newer token for the owner of a follower than the follower has, and it is still good.
    pub(super) fn has_newer_token_for(&self, state: &State, number: usize, now: Timestamp) -> bool {
        let watched = &state.credentials[number];
        let owner = watched.sharing.owner.as_ref().map(|owner| &state.credentials[owner.number]);
        let (Some(owner), Some(leader)) = (owner, self.leader(state)) else { return false };
        let (Some(given), Some((process, at))) = (&owner.newest, &owner.obtained) else { return false };
        let password = state.passwords.get(&(owner.login_namespace.clone(), owner.account));
        let is_held = Arc::ptr_eq(process, &leader) && state.held_since.is_none_or(|since| since <= *at);
        let is_good = given.expires > now && password.is_some_and(|password| **password == *given.password);
        is_held && is_good && order(Some(given)) > order(watched.published.as_ref())
    }

    /// Whether the process that writes a follower's target must know that it may not.
    pub(super) fn is_denial_known(
        &self,
        state: &State,
        number: usize,
        process: &str,
        now: Timestamp,
    ) -> bool {
        let denied = state.credentials[number].sharing.denied;
        let leads = !self.has_lease || state.holder.as_deref() == Some(process);
        let sources = [Source::Leader, Source::Api, Source::Watches];
        leads
            && denied.is_some_and(|since| now.duration_since(since) >= ON_ITS_WAY)
            && state.conditions.held(&sources, now) >= PATIENCE
    }
}
