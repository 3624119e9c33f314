//! The sidecar: the same engine for one pod, or for a machine without a cluster.
//!
//! It takes tokens from one source, and brings them to the program as files, or puts them into its requests. What it
//! publishes and when a login is asked is decided in [`crate::core::sidecar`]; this module carries it out.
//!
//! ```text
//!   login files, issuer ┐                       ┌─► publisher ──► output directory ──► hooks
//!   mounted Secret      ├─► source ──► tokens ──┼─► proxy ──► upstream
//!   API server          ┘      ▲         │      └─► endpoints: /startup /readyz /livez /metrics
//!                              └─ renew ─┘
//! ```

mod callers;
mod check;
mod endpoints;
pub(crate) mod file;
pub mod hooks;
pub mod output_dir;
pub mod proxy;
mod publisher;
mod record_file;
mod run;
pub mod source;
pub mod token_command;

pub use check::{Finding, check};
pub use run::{Output, RunError, Settings, SourceSettings, run, stop_limit};
