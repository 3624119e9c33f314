//! Names and snapshots for the tests of the parts.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::super::sharing::index::SharingIndex;
use super::Registry;
use super::snapshot::CredentialSnapshot;
use crate::core::object_name::NamespacedName;
use crate::core::sharing::SharingRole;
use crate::core::time::Moment;

pub(super) fn at(seconds: i64) -> Moment {
    let monotonic = SignedDuration::from_secs(seconds);
    Moment { wall: Timestamp::UNIX_EPOCH + monotonic, monotonic }
}

pub(super) fn key(name: &str) -> NamespacedName {
    NamespacedName::new("shop", name)
}

pub(super) fn registry(limit: usize) -> Registry {
    let (woken, _) = tokio::sync::mpsc::unbounded_channel();
    Registry::new(None, limit, Arc::new(SharingIndex::new(woken, false)))
}

pub(super) fn snapshot(uid: &str, secrets: &[&str]) -> CredentialSnapshot {
    CredentialSnapshot {
        uid: uid.into(),
        generation: Some(1),
        renew_request: None,
        deleting: false,
        secrets: secrets.iter().map(|name| (*name).into()).collect(),
        controller: None,
        sharing: SharingRole::default(),
        claim: None,
    }
}
