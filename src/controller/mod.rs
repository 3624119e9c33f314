//! The operator: watches → registry → reconcile (observe, decide, act, report).
//!
//! ```text
//! watch IdIssuerCredential ──► registry ──► queue ──► reconcile ──► API server (Secret, status, Event)
//! watch Secrets (metadata) ──► registry ──►   ▲           │
//! accounts: a call has ended ─────────────────┘           └──► accounts (ask, never wait)
//! ```
//!
//! It decides nothing: that is done in [`crate::core`].

mod area;
mod attempt;
mod cluster;
mod events;
mod intent;
mod leadership;
mod lease;
mod login;
mod malformed;
mod memory;
mod patterns;
mod reconcile;
mod registry;
mod repairs;
mod report;
mod rights;
mod rivals;
mod run;
mod slim;
mod status_watch;
mod target;
mod target_policy;
mod telling;
mod watchdog;
mod writes;

pub use cluster::FIELD_MANAGER;
pub use leadership::LeaseSettings;
pub use run::{Means, RunError, STOP_LIMIT, Settings, operate, run};
pub use target_policy::{MetadataDomain, PolicyDefect, SecretType, TargetPolicy};
