//! What a watch shows of a credential, and what that means.

use std::sync::Arc;

use super::super::status_watch::StatusMark;
use crate::core::object_name::NamespacedName;
use crate::core::sharing::SharingRole;

/// The part of a credential that can cause work. Anything else about it, the rest of its status too, causes none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controller) struct CredentialSnapshot {
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// The requested renewal.
    pub renew_request: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The Secrets of its namespace that it names, in order.
    pub secrets: Vec<Arc<str>>,
    /// Its part in sharing.
    pub sharing: SharingRole,
    /// The other controller that keeps it.
    pub controller: Option<String>,
    /// The controller that claims it.
    pub claim: Option<String>,
}

/// What a watch shows of a credential beside that. By itself it causes no work.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::controller) struct StatusSnapshot {
    /// The status of the credential.
    pub status: Option<StatusMark>,
    /// Whether its status remembers that its login was rejected.
    pub is_rejected: bool,
    /// Whether its status has a token.
    pub has_token: bool,
    /// The second in which it was created.
    pub created: i64,
}

/// What follows from what a watch shows of a credential.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::controller) struct CredentialNews {
    /// It can cause work.
    pub is_work: bool,
    /// The uid of another one that had its name before.
    pub replaced: Option<Arc<str>>,
    /// Others that are worked on from now on.
    pub placed: Vec<NamespacedName>,
}
