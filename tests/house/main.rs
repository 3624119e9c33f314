//! The rules of the house that neither the compiler nor clippy nor cargo-deny holds: which module may use which, how
//! long a file may be, what depends on what, and what the chart, the images and the threat model promise.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on shall fail")]

mod book;
mod chart;
mod circles;
mod images;
mod modules;
mod reference;
mod references;
mod releasing;
mod source;
mod threat_model;
mod workspace;
