//! Distinguishes changes of status by others from our own writes, which a watch shows late.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api::IdIssuerCredentialStatus;
use crate::core::object_name::NamespacedName;

/// A status at some version of its credential: the version, and a digest of the status. Versions are compared as numbers,
/// as Kubernetes allows from 1.35 on and etcd has always made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusMark {
    version: u64,
    digest: u64,
    names_controller: bool,
}

impl StatusMark {
    /// For a status with this version; `None` if it is not a number.
    pub(super) fn of(status: Option<&IdIssuerCredentialStatus>, version: &str) -> Option<Self> {
        let names_controller = status.is_some_and(|status| status.controller.is_some());
        Some(Self { version: version.parse().ok()?, digest: digest(status), names_controller })
    }
}

/// No status equals an empty one. Claims are ignored: another controller sets them, and this one removes them.
fn digest(status: Option<&IdIssuerCredentialStatus>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let unclaimed =
        |it: &IdIssuerCredentialStatus| IdIssuerCredentialStatus { claimed_by: None, ..it.clone() };
    let text = status.map_or_else(|| Ok("{}".to_owned()), |status| serde_json::to_string(&unclaimed(status)));
    text.unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

/// The statuses of the credentials of one watched area.
#[derive(Default)]
pub(super) struct StatusWatches(Mutex<HashMap<NamespacedName, StatusWatch>>);

impl StatusWatches {
    /// The watch shows a credential's status. Returns whether this is the first sign that someone else changed it.
    pub(super) fn on_applied(&self, key: &NamespacedName, shown: Option<StatusMark>) -> bool {
        self.lock().entry(key.clone()).or_default().shows(shown)
    }

    /// The credential is gone.
    pub(super) fn remove(&self, key: &NamespacedName) {
        self.lock().remove(key);
    }

    /// This process begins to write this status.
    pub(super) fn begins(&self, key: &NamespacedName, status: &IdIssuerCredentialStatus) {
        if let Some(watch) = self.lock().get_mut(key) {
            watch.begins(status);
        }
    }

    /// This process has written a credential's status, or has taken it over as it stood.
    pub(super) fn leaves(&self, key: &NamespacedName, left: Option<StatusMark>) {
        if let Some(watch) = self.lock().get_mut(key) {
            watch.leaves(left);
        }
    }

    /// A write of this status that began is of no account: this process goes on with the status before it.
    pub(super) fn abandons(&self, key: &NamespacedName) {
        if let Some(watch) = self.lock().get_mut(key) {
            watch.abandons();
        }
    }

    /// The last version of a credential that is known, by the watch or by a write of its status.
    #[must_use]
    pub(super) fn newest(&self, key: &NamespacedName) -> Option<String> {
        self.lock().get(key)?.newest().map(|version| version.to_string())
    }

    /// Whether the status that the watch shows is the one that this process has left, in that very version.
    #[must_use]
    pub(super) fn is_as_left(&self, key: &NamespacedName) -> bool {
        self.lock().get(key).is_some_and(StatusWatch::is_as_left)
    }

    /// Whether someone else changed a credential's status since then.
    #[must_use]
    pub(super) fn is_undone(&self, key: &NamespacedName) -> bool {
        self.lock().get(key).is_some_and(StatusWatch::is_undone)
    }

    /// Whether the API server has dropped the controller's name from the status that was written last.
    #[must_use]
    pub(super) fn is_pruned(&self, key: &NamespacedName) -> bool {
        self.lock().get(key).is_some_and(StatusWatch::is_pruned)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NamespacedName, StatusWatch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status of one credential as the watch has shown it, and as this process has left it.
#[derive(Debug, Default)]
struct StatusWatch {
    shown: Option<StatusMark>,
    left: Option<StatusMark>,
    is_told: bool,
}

impl StatusWatch {
    /// The watch shows a status. Returns whether this is the first sign that someone else changed it.
    fn shows(&mut self, shown: Option<StatusMark>) -> bool {
        self.shown = shown;
        self.is_undone() && !std::mem::replace(&mut self.is_told, true)
    }

    /// This process begins to write a status: the watch may show it before the answer comes.
    fn begins(&mut self, status: &IdIssuerCredentialStatus) {
        if let Some(left) = &mut self.left {
            left.digest = digest(Some(status));
        }
    }

    /// This process has written the status, or has taken it over as it stood.
    fn leaves(&mut self, left: Option<StatusMark>) {
        self.left = left;
        self.is_told = false;
    }

    /// A write that began is of no account: if the watch shows none, the status is the one before it.
    fn abandons(&mut self) {
        if self.shown.zip(self.left).is_some_and(|(shown, left)| shown.version == left.version) {
            self.left = self.shown;
        }
    }

    fn newest(&self) -> Option<u64> {
        [self.shown, self.left].into_iter().flatten().map(|mark| mark.version).max()
    }

    /// Whether someone else changed it since then.
    fn is_undone(&self) -> bool {
        let (Some(shown), Some(left)) = (self.shown, self.left) else { return false };
        shown.version > left.version && shown.digest != left.digest
    }

    fn is_as_left(&self) -> bool {
        self.shown.is_some() && self.shown == self.left
    }

    /// Whether the controller's name is missing in the version that it was written to: the API server does not know the
    /// field.
    fn is_pruned(&self) -> bool {
        let (Some(shown), Some(left)) = (self.shown, self.left) else { return false };
        shown.version == left.version && left.names_controller && !shown.names_controller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(generation: i64) -> IdIssuerCredentialStatus {
        IdIssuerCredentialStatus { observed_generation: Some(generation), ..Default::default() }
    }

    fn seen(shown: Option<StatusMark>) -> StatusWatch {
        let mut watch = StatusWatch::default();
        assert!(!watch.shows(shown), "nothing was taken over yet");
        watch
    }

    fn mark(generation: i64, version: &str) -> Option<StatusMark> {
        StatusMark::of(Some(&status(generation)), version)
    }

    #[test]
    fn own_writes_are_no_news_also_when_the_watch_shows_them_late_or_early() {
        let mut watch = seen(mark(1, "7"));
        assert!(!watch.is_undone(), "nothing was taken over yet");
        watch.leaves(mark(1, "7"));
        assert!(!watch.shows(mark(1, "8")), "the specification changed");
        watch.begins(&status(2));
        assert!(!watch.shows(mark(2, "9")), "before the answer");
        watch.leaves(mark(2, "9"));
        watch.begins(&status(3));
        watch.leaves(mark(3, "11"));
        assert!(!watch.shows(mark(2, "10")), "what stood there before the last write");
        assert_eq!(watch.newest(), Some(11));
        assert!(!watch.shows(mark(3, "11")));
        assert!(!watch.shows(mark(3, "12")), "the specification changed");
        assert_eq!(watch.newest(), Some(12));
    }

    #[test]
    fn a_field_unknown_to_the_api_server_differs_from_a_removed_one() {
        let kept = IdIssuerCredentialStatus { controller: Some("shop/operator".into()), ..status(1) };
        let mut watch = seen(mark(1, "7"));
        watch.leaves(StatusMark::of(Some(&kept), "8"));
        assert!(!watch.is_pruned(), "it was not shown yet");
        watch.shows(StatusMark::of(Some(&kept), "8"));
        assert!(!watch.is_pruned());
        watch.shows(mark(1, "9"));
        assert!(!watch.is_pruned(), "somebody has removed it");
        watch.leaves(StatusMark::of(Some(&kept), "9"));
        assert!(watch.is_pruned(), "also where the watch was faster than the answer");
    }

    #[test]
    fn a_status_that_somebody_else_wrote_is_news_once_until_it_is_put_back() {
        let mut watch = seen(mark(1, "9"));
        watch.leaves(mark(1, "9"));
        assert!(watch.shows(StatusMark::of(None, "10")), "wiped");
        assert!(!watch.shows(StatusMark::of(None, "11")) && watch.is_undone());
        watch.leaves(mark(1, "12"));
        assert!(!watch.is_undone());
        assert!(!watch.shows(mark(1, "12")));
        assert!(watch.shows(mark(5, "13")), "edited");
        assert!(!watch.shows(mark(1, "14")) && !watch.is_undone(), "they put it back themselves");
        let claimed = IdIssuerCredentialStatus { claimed_by: Some("another".into()), ..status(1) };
        assert!(!watch.shows(StatusMark::of(Some(&claimed), "15")), "a claim is answered, not put back");
    }

    #[test]
    fn a_status_is_as_it_was_left_only_in_the_version_that_the_write_made() {
        let mut watch = seen(mark(1, "6"));
        assert!(!watch.is_as_left(), "this process has left none");
        watch.leaves(mark(1, "6"));
        assert!(watch.is_as_left(), "taken over");
        watch.begins(&status(2));
        watch.shows(mark(2, "7"));
        assert!(!watch.is_as_left(), "if the answer is lost, this process does not remember it");
        watch.leaves(mark(2, "7"));
        assert!(watch.is_as_left());
        watch.begins(&status(3));
        assert!(!watch.is_as_left(), "a write is under way");
        watch.abandons();
        assert!(watch.is_as_left());
        watch.shows(mark(2, "8"));
        watch.abandons();
        assert!(!watch.is_as_left(), "something beside the status changed");
        watch.leaves(None);
        watch.shows(None);
        assert!(!watch.is_as_left(), "nothing is known");
    }

    #[test]
    fn versions_that_are_no_numbers_are_not_compared() {
        let mut watch = seen(mark(1, "opaque"));
        watch.leaves(mark(2, "opaque"));
        assert!(!watch.shows(mark(1, "more opaque")));
        assert_eq!(watch.newest(), None);
        assert_eq!(
            StatusMark::of(None, "1"),
            StatusMark::of(Some(&IdIssuerCredentialStatus::default()), "1")
        );
    }
}
