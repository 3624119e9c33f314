//! Weeks of operation in minutes: the real controller in tokio's paused time, between an API server in memory
//! and simulated issuers, while everything goes wrong that can.
//!
//! ```text
//! SIMULATION_SEED=7 SIMULATION_DAYS=10 SIMULATION_CREDENTIALS=100 make simulation
//! ```
//!
//! A [`world::World`] has all of it. [`schedule::FaultSchedule`] makes the faults, [`ledger::Ledger`] knows what the issuers gave
//! and were asked, and [`checker::Checker`] holds the promise that the operator makes against what stands in the targets.
//!
//! [`complaints`] are those of other operators' users, each with a test that it cannot come up here.
//!
//! Beside it, what a debug build is too slow for: [`bad_input`] draws answers, logins, templates and addresses at random,
//! and [`model`] walks through every sequence of calls and crashes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]
#![expect(clippy::cast_precision_loss, reason = "no number of seconds or calls in here is that large")]

mod api_faults;
mod areas;
mod attempts;
mod bad_input;
mod calm;
mod checker;
mod clocks;
mod complaints;
mod conditions;
mod followers;
mod guessing;
mod hurry;
mod issuers;
mod ledger;
mod link;
mod model;
mod neighbours;
mod population;
mod powers;
mod process;
mod refusals;
mod rivals;
mod runs;
mod sabotage;
mod scale;
mod schedule;
mod sharing;
mod simulated_answer;
mod slowness;
mod succession;
mod table;
mod tenants;
mod time;
mod trouble;
mod upheaval;
mod webhooks;
mod withdrawal;
mod world;

/// Whether there is time for all of it: in `make simulation`, and in an optimised build.
fn is_long() -> bool {
    !cfg!(debug_assertions) || std::env::var_os("SIMULATION_LONG").is_some()
}
