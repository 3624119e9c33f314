//! What an observation of a credential takes from outside of its state.

use crate::core::observed::{CredentialSpec, LastSeen, Login};
use crate::core::reason::Reason;
use crate::core::sharing::Followers;
use crate::core::target::Identity;
use crate::core::time::Moment;

/// What an observation takes from outside of the state: the resource, the watches, and the account.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Inputs<'a> {
    /// Which credential.
    pub identity: &'a Identity,
    /// `metadata.generation`.
    pub generation: i64,
    /// Since when that is known.
    pub generation_since: Moment,
    /// The specification, or why it cannot be carried out.
    pub spec: Result<&'a CredentialSpec, &'a Reason>,
    /// The login Secret's last known version.
    pub login_seen: &'a LastSeen,
    /// What it holds.
    pub login: Login,
    /// Whether user name and password were read just now and can be sent.
    pub is_login_at_hand: bool,
    /// Whether a credential that follows this one needs another token than the account holds.
    pub is_wanted_by_followers: bool,
    /// Who follows it; none if that is not known yet.
    pub followers: Option<&'a Followers>,
    /// The uid of the credential that this one follows with its permission.
    pub owner_uid: Option<&'a str>,
    /// Whether the labels of namespaces are read, for selectors.
    pub reads_namespace_labels: bool,
    /// The target's last known version.
    pub target_seen: &'a LastSeen,
    /// Until when nothing is written because the namespace had so many writes.
    pub namespace_pause: Option<Moment>,
    /// Whether the process stops: it does not write later.
    pub is_stopping: bool,
}
