//! The memory limit of the chart holds as many credentials as its comment says.

use std::path::Path;

use serde_json::Value;

use super::field::Field;
use super::figures::Case;
use super::first_issue;

/// So many credentials, each of an account of its own, fit into the limit.
pub(super) const CREDENTIALS: usize = 20_000;

/// The memory limit of the chart in MiB.
pub(super) fn of_chart() -> f64 {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/idissuer-operator/values.yaml");
    let values: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let limit = values["resources"]["limits"]["memory"].as_str().unwrap();
    let (number, factor) = match (limit.strip_suffix("Mi"), limit.strip_suffix("Gi")) {
        (Some(number), _) => (number, 1.0),
        (_, Some(number)) => (number, 1024.0),
        _ => panic!("neither Mi nor Gi: {limit}"),
    };
    number.parse::<f64>().unwrap() * factor
}

/// Issues first tokens, and restarts, which needs the most memory.
pub(super) async fn holds(field: &mut Field<'_>, case: &mut Case) {
    first_issue::first_issue(field, 0..CREDENTIALS, &mut Case::default()).await;
    let issued = field.memory().peak;
    field.operator.stop().await;
    field.start_operator().await;
    field.settle().await;
    let restarted = field.memory().peak;
    case.set("first tokens: peak MiB", issued);
    case.set("restart: peak MiB", restarted);
    case.set("limit of the chart MiB", of_chart());
    assert!(
        issued.max(restarted) < of_chart(),
        "{issued} and {restarted} MiB: the kernel would end the operator"
    );
}
