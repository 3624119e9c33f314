//! What a sidecar decides: which token it holds, when it needs another, and what it tells people.
//!
//! A login of its own goes through the same [`Account`](super::account::Account) as the operator's. What is different:
//! there is no status to remember by, only a record on the volume, and N replicas have N budgets. So a login that was
//! never accepted is presented once, and again only when its files are others.

pub mod attempts;
pub mod error;
pub mod files;
pub mod token;
