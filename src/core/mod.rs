//! The pure core: every decision of the operator and the sidecar as a function of values.
//!
//! Time and random values are arguments. This module uses no Kubernetes client, HTTP client, runtime, clock or random
//! source, so a year of rotations can be tested in a second.
//!
//! ```text
//! Credential::observe ──► decide(&Observed, now) ──► Plan ──► act ──► Credential::report
//!                             │
//!                             └─ Account::next: refresh, log in, wait or hold
//! ```

pub mod account;
pub mod adaptive_timeout;
pub mod backoff;
pub mod call_failure;
pub mod call_limiter;
pub mod circuit_breaker;
pub mod conditions;
pub mod connection_failure;
pub mod credential;
pub mod decide;
pub mod endpoint;
pub mod lease;
pub mod lifetime;
pub mod login_attempts;
pub mod login_budget;
pub mod object_name;
pub mod observed;
pub mod peer_controllers;
pub mod rate_limiter;
pub mod reason;
mod refresh_support;
mod renewal_margin;
pub mod retry;
pub mod schedule;
pub mod sharing;
pub mod sidecar;
pub mod target;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;
pub mod time;
pub mod token;
pub mod token_command;
pub mod username_password;
