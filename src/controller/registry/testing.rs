//! Names and snapshots for the tests of the parts.

use jiff::{SignedDuration, Timestamp};

use super::snapshot::CredentialSnapshot;
use crate::core::object_name::NamespacedName;
use crate::core::time::Moment;

pub(super) fn at(seconds: i64) -> Moment {
    let monotonic = SignedDuration::from_secs(seconds);
    Moment { wall: Timestamp::UNIX_EPOCH + monotonic, monotonic }
}

pub(super) fn key(name: &str) -> NamespacedName {
    NamespacedName::new("shop", name)
}

pub(super) fn snapshot(uid: &str, secrets: &[&str]) -> CredentialSnapshot {
    CredentialSnapshot {
        uid: uid.into(),
        generation: Some(1),
        renew_request: None,
        deleting: false,
        secrets: secrets.iter().map(|name| (*name).to_owned()).collect(),
        controller: None,
        claim: None,
    }
}
