//! The decisions of a sidecar: which token it holds, when it needs another, and what it reports.
//!
//! Its own logins go through the same [`Account`](super::account::Account) as the operator's. Differences: there is no
//! status, only a record on the volume, and N replicas have N budgets. So a login that was never accepted is attempted
//! once, and again only when its files change.

pub mod attempts;
pub mod error;
pub mod files;
pub mod token;
