//! What the watches have shown of one area, in parts that each know one thing.
//!
//! The watch of credentials keeps the parts in step here. All others use the part that they need.

mod credential_store;
mod name_filter;
mod namespace_quota;
mod rejection_barrier;
mod secret_cache;
mod snapshot;
#[cfg(test)]
mod testing;
mod wake_ups;

use std::sync::Arc;

use super::handover::Handover;
use super::leader_election::Term;
use super::sharing::index::SharingIndex;
use super::status_watch::{StatusMark, StatusWatches};
use crate::core::object_name::NamespacedName;
use crate::core::time::Moment;
use credential_store::{Change, CredentialStore};
use namespace_quota::{NamespaceQuotas, QuotaRank};
use rejection_barrier::RejectionBarrier;

pub(super) use credential_store::TurnFacts;
pub(super) use secret_cache::CacheRevision;
use secret_cache::SecretCache;
pub(super) use snapshot::{CredentialNews, CredentialSnapshot, StatusSnapshot};
use wake_ups::WakeUpSchedule;

/// Everything that is known of one watched area.
pub(super) struct Registry {
    /// Its namespace; none for all namespaces.
    namespace: Option<String>,
    /// Which credentials there are, and what is remembered of them.
    pub credentials: CredentialStore,
    /// The versions of the Secrets that they name.
    pub secrets: SecretCache,
    /// Whether somebody else has changed their statuses.
    pub statuses: StatusWatches,
    /// Whether the leader before has written them since the watch showed them.
    pub handover: Handover,
    /// When the queue wakes them.
    pub wake_ups: WakeUpSchedule,
    /// Keeps first logins back until what status remembers of others is known.
    pub rejections: RejectionBarrier,
    /// Which of them are worked on.
    pub quotas: NamespaceQuotas,
    /// Who follows whom, in all areas.
    pub sharing: Arc<SharingIndex>,
}

impl Registry {
    /// Starts empty, for one namespace or for all, with at most `limit` managed credentials per namespace.
    pub(super) fn new(namespace: Option<String>, limit: usize, sharing: Arc<SharingIndex>) -> Self {
        Self {
            namespace,
            credentials: CredentialStore::new(),
            secrets: SecretCache::new(),
            statuses: StatusWatches::default(),
            handover: Handover::default(),
            wake_ups: WakeUpSchedule::default(),
            rejections: RejectionBarrier::default(),
            quotas: NamespaceQuotas::new(limit),
            sharing,
        }
    }

    /// The namespace of the area; none for all.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Whether this namespace belongs to the area.
    #[must_use]
    pub(super) fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|own| own == namespace)
    }

    /// Stores a credential from the watch. Its status causes work only if someone else changed it.
    pub(super) fn on_credential_applied(
        &self,
        key: &NamespacedName,
        snapshot: CredentialSnapshot,
        status: StatusSnapshot,
        now: Moment,
    ) -> CredentialNews {
        let generation = snapshot.generation.unwrap_or_default();
        self.sharing.on_applied(key, &snapshot.uid, generation, &snapshot.sharing);
        let (secrets, is_rejected) = (snapshot.secrets.clone(), status.is_rejected && !snapshot.deleting);
        let change = self.credentials.on_applied(key, snapshot, now);
        let key = &self.credentials.shared_key(key.clone());
        if let Change::Replaced(previous) = &change {
            self.forget(key, previous);
        }
        let (is_without_token, created, name) = (!status.has_token, status.created, key.name.clone());
        self.quotas.set(&key.namespace, QuotaRank { is_without_token, created, name });
        self.rejections.on_applied(key, is_rejected);
        self.wake_ups.add(key);
        let is_undone = self.statuses.on_applied(key, status.status);
        let (before, replaced) = match change {
            Change::Same => return CredentialNews { is_work: is_undone, ..CredentialNews::default() },
            Change::Added => (Vec::new(), None),
            Change::Updated(previous) => (previous.secrets, None),
            Change::Replaced(previous) => (Vec::new(), Some(previous.uid)),
        };
        self.secrets.link(key, &before, &secrets);
        CredentialNews { is_work: true, replaced, placed: self.quotas.fill(&key.namespace) }
    }

    /// A credential was deleted. Returns its uid, and the credential that takes its place.
    pub(super) fn on_credential_deleted(
        &self,
        key: &NamespacedName,
    ) -> (Option<Arc<str>>, Vec<NamespacedName>) {
        let Some(gone) = self.credentials.on_deleted(key) else { return (None, Vec::new()) };
        self.sharing.on_removed(key);
        self.forget(key, &gone);
        (Some(gone.uid), self.quotas.fill(&key.namespace))
    }

    /// A new list of credentials begins, in this term.
    pub(super) fn on_credential_relist(&self, term: Option<Term>) {
        if !self.credentials.is_synced() {
            self.handover.on_first_list(term);
        }
        self.credentials.on_relist();
        self.quotas.on_relist();
    }

    /// A list of credentials is complete: credentials that were not in it are deleted. Returns their uids, and the
    /// credentials that are managed from now on.
    pub(super) fn on_credential_list_end(&self) -> (Vec<Arc<str>>, Vec<NamespacedName>) {
        let gone = self.credentials.on_list_end();
        for (key, snapshot) in &gone {
            self.sharing.on_removed(key);
            self.forget(key, snapshot);
        }
        let placed = self.quotas.on_list_end();
        self.rejections.on_list_end();
        if !self.credentials.is_synced() {
            self.handover.on_first_list_end();
        }
        self.credentials.set_synced();
        (gone.into_iter().map(|(_, snapshot)| snapshot.uid).collect(), placed)
    }

    /// This process has written the status of a credential, and remembers it from now on.
    pub(super) fn on_status_written(&self, key: &NamespacedName, left: Option<StatusMark>) {
        self.statuses.leaves(key, left);
        self.leave_out_status(key);
    }

    /// Keeps a credential without its status, if the watch shows what this process has left, which it remembers.
    pub(super) fn leave_out_status(&self, key: &NamespacedName) {
        if self.statuses.is_as_left(key) {
            self.credentials.leave_out_status(key);
        }
    }

    fn forget(&self, key: &NamespacedName, gone: &CredentialSnapshot) {
        self.secrets.link(key, &gone.secrets, &[]);
        self.statuses.remove(key);
        self.wake_ups.remove(key);
        self.rejections.remove(key);
        self.quotas.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::guarded::Guarded;
    use super::super::packed::PackedCredential;
    use super::testing::{at, key, registry, snapshot};
    use super::*;
    use crate::api::IdIssuerCredential;
    use crate::core::target::ObjectVersion;

    fn version(number: u32) -> ObjectVersion {
        ObjectVersion { uid: "s".into(), resource_version: number.to_string().into() }
    }

    fn apply(registry: &Registry, name: &str, uid: &str, secrets: &[&str]) -> CredentialNews {
        let snapshot = snapshot(uid, secrets);
        registry.on_credential_applied(&key(name), snapshot, StatusSnapshot::default(), at(0))
    }

    #[test]
    fn only_what_can_cause_work_is_news() {
        let registry = registry(10);
        assert!(apply(&registry, "billing", "u1", &["login"]).is_work);
        assert!(!apply(&registry, "billing", "u1", &["login"]).is_work, "the same again");
        let changed = CredentialSnapshot { generation: Some(2), ..snapshot("u1", &["login"]) };
        let news = registry.on_credential_applied(&key("billing"), changed, StatusSnapshot::default(), at(0));
        assert!(news.is_work);
    }

    #[test]
    fn a_credential_that_was_made_anew_begins_anew_in_every_part() {
        let (registry, term) = (registry(1), Term::default());
        registry.on_credential_list_end();
        let rejected = StatusSnapshot { is_rejected: true, ..StatusSnapshot::default() };
        registry.on_credential_applied(&key("a"), snapshot("u1", &["login"]), rejected, at(0));
        registry.rejections.resolved(&key("a"), term);
        registry.wake_ups.count_error(&key("a"));
        registry.wake_ups.set(&key("a"), Some(at(10)));
        let news = registry.on_credential_applied(&key("a"), snapshot("u2", &["other"]), rejected, at(0));
        assert_eq!((news.replaced.as_deref(), news.placed), (Some("u1"), vec![key("a")]));
        assert!(!registry.rejections.is_open(term, false));
        assert_eq!(registry.wake_ups.count_error(&key("a")).0, 1);
        assert_eq!(registry.wake_ups.take_late(at(100)), []);
        assert_eq!(registry.secrets.on_applied(&key("login"), version(1)), []);
        assert_eq!(registry.secrets.on_applied(&key("other"), version(1)), [key("a")]);
    }

    #[test]
    fn a_status_is_kept_unless_the_watch_shows_what_this_process_has_left() {
        let registry = registry(10);
        let object = |version: &str| -> IdIssuerCredential {
            serde_json::from_value(json!({
                "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential",
                "metadata": {"name": "a", "namespace": "shop", "resourceVersion": version},
                "spec": {"loginSecretRef": {"name": "login"}}, "status": {"observedGeneration": 2},
            }))
            .unwrap()
        };
        let mark = |version: &str| StatusMark::of(object(version).status.as_ref(), version);
        let show = |uid: &str, version: &str| {
            let status = StatusSnapshot { status: mark(version), ..StatusSnapshot::default() };
            registry.on_credential_applied(&key("a"), snapshot(uid, &[]), status, at(0));
            let is_remembered = registry.statuses.is_as_left(&key("a"));
            let packed = PackedCredential::pack(Guarded(Ok(object(version))), is_remembered).unwrap();
            registry.credentials.keep(&key("a"), packed);
        };
        let is_kept = || {
            let kept = registry.credentials.object(&key("a")).unwrap().0.unwrap();
            kept.status.unwrap().observed_generation.is_some()
        };
        show("u1", "1");
        assert!(is_kept());
        registry.on_status_written(&key("a"), mark("2"));
        assert!(is_kept(), "the watch is late");
        show("u1", "2");
        assert!(!is_kept());
        show("u1", "3");
        assert!(is_kept(), "somebody has written since");
        registry.on_status_written(&key("a"), mark("3"));
        assert!(!is_kept(), "the watch was faster than the answer");
        show("u2", "4");
        assert!(is_kept(), "it was made anew");
    }

    #[test]
    fn a_credential_that_is_being_deleted_keeps_no_first_login_back() {
        let (registry, term) = (registry(1), Term::default());
        registry.on_credential_list_end();
        let rejected = StatusSnapshot { is_rejected: true, ..StatusSnapshot::default() };
        registry.on_credential_applied(&key("a"), snapshot("u1", &[]), rejected, at(0));
        assert!(!registry.rejections.is_open(term, false));
        let deleting = CredentialSnapshot { deleting: true, ..snapshot("u1", &[]) };
        registry.on_credential_applied(&key("a"), deleting, rejected, at(0));
        assert!(registry.rejections.is_open(term, false));
    }

    #[test]
    fn a_credential_that_is_gone_is_forgotten_in_every_part_and_makes_room_for_another() {
        let registry = registry(1);
        registry.on_credential_relist(None);
        apply(&registry, "a", "u1", &["login"]);
        apply(&registry, "b", "u2", &["login"]);
        assert_eq!(registry.on_credential_list_end(), (vec![], vec![key("a")]));
        registry.wake_ups.set(&key("a"), Some(at(10)));
        assert_eq!(registry.on_credential_deleted(&key("a")), (Some("u1".into()), vec![key("b")]));
        assert_eq!(registry.on_credential_deleted(&key("a")), (None, vec![]));
        assert_eq!(registry.wake_ups.take_late(at(100)), []);
        assert_eq!(registry.secrets.on_applied(&key("login"), version(1)), [key("b")]);
        registry.on_credential_relist(None);
        assert_eq!(registry.on_credential_list_end(), (vec!["u2".into()], vec![]));
        assert_eq!(registry.secrets.on_applied(&key("login"), version(2)), []);
    }
}
