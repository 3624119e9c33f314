//! The pure core: every decision of the operator and the sidecar as a function of values.
//!
//! Time and chance come in as values. Nothing in here knows a Kubernetes client, an HTTP client, a runtime,
//! a clock or a random source, which is what makes a year of rotations testable in a second.
//!
//! ```text
//! observe ──► decide(&Observed, now) ──► Plan ──► act ──► conditions(&Observed, now)
//!                 │
//!                 └─ Account::next: refresh, log in, wait or hold
//! ```

pub mod account;
pub mod allowance;
pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod conditions;
pub mod decide;
pub mod endpoint;
pub mod gate;
pub mod leader;
pub mod lifetime;
pub mod login;
pub mod moment;
pub mod observed;
pub mod obstacle;
pub mod patience;
pub mod reason;
mod refreshing;
pub mod retry;
pub mod rivals;
pub mod schedule;
pub mod sidecar;
pub mod target;
pub mod template;
pub mod token;
#[cfg(test)]
pub(crate) mod world;
