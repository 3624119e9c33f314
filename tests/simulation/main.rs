//! The core, the account room and the parsers under more input than a debug build gets through: random documents, and
//! every sequence of events. Built optimised, by `make simulation`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

mod bad_input;
mod model;
