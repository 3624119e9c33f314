//! The bench: what the operator costs in time, processor time, memory and requests, beside a bare client that makes the same
//! writes.
//!
//! `make bench` measures an optimised build on control planes of its own. The smoke test measures the build under test with
//! 100 credentials, and asserts what does not depend on the machine.
//!
//! ```text
//! field     API server, issuer, operator, each a process of its own
//! usage     what a process has used: processor time and memory          ─┐
//! tracker   what the credentials said, and when                          ├→ figures → table, JSON, plots
//! first_issue, ceiling, memory, limit, restart, steady                  │
//! outage, fan_out, accounts                                            ─┘
//! ```

mod accounts;
mod ceiling;
mod fan_out;
mod field;
mod figures;
mod first_issue;
mod issuer;
mod limit;
mod memory;
mod outage;
mod plot;
mod restart;
mod run;
mod smoke;
mod steady;
mod tracker;
mod usage;
