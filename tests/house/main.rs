//! The rules of the house that no compiler holds: which room may look at which, what a room must not know, and what
//! may not come into the program.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on shall fail")]

mod chart;
mod dependencies;
mod images;
mod parts;
mod rooms;
mod source;
mod threat_model;
