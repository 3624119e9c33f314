//! A tool that applies the chart in a loop finds nothing to do the second time.

use idissuer_testbed::{Controllers, Kubectl, Options, Shared};
use serde_json::{Value, json};

use crate::chart;
use crate::chart_objects::MONITORS;

static CONTROL_PLANE: Shared = Shared::new(|| Options::new().controllers(Controllers::None));

/// Whether all that a tool wants of an object is so in the cluster, as it is written. Argo CD compares like this; the API server
/// fills in defaults, and rewrites quantities like `1024Mi`.
fn is_part(wanted: &Value, found: &Value) -> Result<(), String> {
    match (wanted, found) {
        (Value::Object(fields), Value::Object(_)) => fields.iter().try_for_each(|(name, value)| {
            is_part(value, &found[name]).map_err(|difference| format!("{name}.{difference}"))
        }),
        (Value::Array(items), Value::Array(others)) if items.len() == others.len() => {
            items.iter().zip(others).try_for_each(|(item, other)| is_part(item, other))
        }
        _ if wanted == found => Ok(()),
        _ => Err(format!(" {wanted} is wanted, {found} found")),
    }
}

async fn live(kubectl: &Kubectl, manifest: &str) -> Vec<Value> {
    let list = kubectl.run_with_input(&["get", "--output=json", "--filename=-"], manifest).await.unwrap();
    serde_json::from_value(serde_json::from_str::<Value>(&list).unwrap()["items"].take()).unwrap()
}

fn versions(objects: &[Value]) -> Vec<&Value> {
    objects.iter().map(|object| &object["metadata"]["resourceVersion"]).collect()
}

#[tokio::test]
async fn applied_again_the_chart_changes_nothing_and_no_tool_sees_a_difference() {
    let control_plane = CONTROL_PLANE.control_plane().await.unwrap();
    let kubectl = control_plane.kubectl();
    for name in ["home", "shop", "bank", "monitoring"] {
        kubectl.run(&["create", "namespace", name]).await.unwrap();
    }
    kubectl.apply(MONITORS).await.unwrap();
    control_plane.await_crds().await.unwrap();
    let mut everything: Value =
        serde_saphyr::from_str(include_str!("../house/chart/everything.yaml")).unwrap();
    everything["scope"] = json!({"namespaces": ["shop", "bank"]});
    for values in [json!({}), everything] {
        let objects = chart::render("home", &values).await;
        // Tools leave hooks of tests and of removals alone.
        let wanted: Vec<_> =
            objects.iter().filter(|it| it["metadata"]["annotations"]["helm.sh/hook"].is_null()).collect();
        let manifest = chart::manifest(wanted.iter().copied());
        let apply = ["apply", "--server-side", "--force-conflicts", "--filename=-"];
        kubectl.run_with_input(&apply, &manifest).await.unwrap();
        control_plane.await_crds().await.unwrap();
        let first = live(&kubectl, &manifest).await;
        assert_eq!(first.len(), wanted.len());
        for (wanted, found) in wanted.iter().zip(&first) {
            let about = format!("{} {}", wanted["kind"], wanted["metadata"]["name"]);
            is_part(wanted, found).unwrap_or_else(|difference| panic!("{about}: {difference}"));
        }
        kubectl.run_with_input(&apply, &manifest).await.unwrap();
        assert_eq!(
            versions(&live(&kubectl, &manifest).await),
            versions(&first),
            "the second time writes nothing"
        );
        // As Flux compares. With a difference, kubectl ends with code 1.
        let diff = ["diff", "--server-side", "--force-conflicts", "--filename=-"];
        assert_eq!(kubectl.run_with_input(&diff, &manifest).await.unwrap(), "");
    }
}
