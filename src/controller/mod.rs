//! The operator: watches → registry → reconcile (observe, decide, act, report).
//!
//! ```text
//! watch IdIssuerCredential ──► registry ──► queue ──► reconcile ──► API server (Secret, status, Event)
//! watch Secrets (metadata) ──► registry ──►   ▲           │
//! accounts: a call has ended ─────────────────┘           └──► accounts (ask, never wait)
//! ```
//!
//! It decides nothing: that is done in [`crate::core`].

mod account_binding;
mod api_call;
mod api_server;
mod attempt;
mod context;
mod dispatcher;
mod events;
mod guarded;
mod handover;
mod large_reads;
mod leader_election;
mod lease_client;
mod list_pages;
mod malformed;
mod operator_state;
mod packed;
mod patterns;
mod peer_controllers;
mod peer_watch;
mod permissions;
mod reconcile;
mod reconciliation;
mod registry;
mod renewal_traces;
mod run;
mod settings;
mod sharing;
mod spec;
mod state;
mod status;
mod status_watch;
mod status_writer;
mod target;
mod target_policy;
mod trim;
mod waker;
mod watch_metrics;
mod watchdog;
mod watches;
mod work_queue;
mod write_limits;

pub use api_server::FIELD_MANAGER;
pub use run::{Dependencies, RunError, STOP_LIMIT, operate, run};
pub use settings::{LeaseSettings, Settings};
pub use target_policy::{MetadataDomain, PolicyError, SecretType, TargetPolicy};
