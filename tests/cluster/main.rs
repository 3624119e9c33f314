//! Tests on a real API server.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on shall fail")]
#![expect(clippy::print_stderr, reason = "it belongs to the output of a test")]

use idissuer_testbed::{Options, Shared};

mod apply_fences;
mod bench;
mod book;
mod chart;
mod chart_drift;
mod chart_objects;
mod chart_people;
mod chart_releases;
mod chart_rights;
mod chart_upgrade;
mod clock_jumps;
mod contesting;
mod denying;
mod figures;
mod following;
mod hostile;
mod image;
mod injection;
mod installed;
mod issuers;
mod issuing;
mod killing;
mod leading;
mod logging_in;
mod login_budget;
mod manifests;
mod monitoring;
mod operator;
mod outage;
mod pausing;
mod plugin;
mod plugin_clocks;
mod plugin_explain;
mod plugin_metrics;
mod plugin_prompt;
mod plugin_rights;
mod plugin_versions;
mod refusing;
mod renewing;
mod repairing;
mod resource_rules;
mod resource_status;
mod restarting;
mod rivals;
mod saying;
mod schema;
mod secrecy;
mod selftest;
mod sharing;
mod sidecar;
mod soak;
mod strays;
mod token;
mod traces;
mod vanishing;
mod wires;

/// The control plane of all tests in this binary. It has the CRD from the beginning, or the garbage collector would
/// take half a minute to notice the new kind.
static CLUSTER: Shared =
    Shared::new(|| Options::new().crd(include_str!("../../crds/idissuer.pl_idissuercredentials.yaml")));
