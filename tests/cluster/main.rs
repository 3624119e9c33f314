//! Tests on a real API server.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use idissuer_testbed::{Options, Shared};

mod apply_fences;
mod issuing;
mod logging_in;
mod operator;
mod renewing;
mod resource_rules;
mod resource_status;
mod restarting;

/// The control plane of all tests in this binary. It has the CRD from the beginning, or the garbage collector would
/// take half a minute to notice the new kind.
static CLUSTER: Shared =
    Shared::new(|| Options::new().crd(include_str!("../../crds/idissuer.pl_idissuercredentials.yaml")));
