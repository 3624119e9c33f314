//! An upgrade of the chart from the version before, and back, with a credential that lives.

use idissuer_testbed::{Controllers, Helm, Options, Program, Shared, wait};
use kube::ResourceExt as _;
use serde_json::json;

use crate::chart::{self, RELEASE};
use crate::operator::{HOUR, LIMIT, NAME, PASSWORD, Stage, USER, credential, issuer, text, token_status};

/// Without the CRD: the chart brings it.
static CONTROL_PLANE: Shared = Shared::new(|| Options::new().controllers(Controllers::None));

/// The chart of the version before, as it was packed. Its CRD does not know `credentialRef`.
const BEFORE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/chart_before/idissuer-operator-0.1.0.tgz");

/// What the API server would say to a credential that follows [`NAME`].
async fn may_follow(stage: &Stage) -> Result<String, String> {
    let follower = credential("follower", json!({"credentialRef": {"name": NAME}})).to_string();
    let arguments = ["apply", "--dry-run=server", "--filename=-"];
    stage.namespace.kubectl().run_with_input(&arguments, &follower).await.map_err(|error| error.to_string())
}

async fn upgrade_and_back(program: Program) {
    let control_plane = CONTROL_PLANE.control_plane().await.unwrap();
    let helm = Helm::provide(program).await.unwrap().with_kubeconfig(control_plane.kubeconfig());
    let mut stage = Stage::prepare(control_plane, "upgrade", issuer(HOUR)).await;
    let namespace = format!("--namespace={}", stage.namespace.name());
    let chart = chart::path().display().to_string();
    let run = async |arguments: &[&str]| helm.run(&[arguments, &[&namespace]].concat(), "").await.unwrap();

    run(&["install", RELEASE, BEFORE, "--set", "replicas=1"]).await;
    control_plane.await_crds().await.unwrap();
    stage.write_login(USER, PASSWORD).await;
    stage.apply(json!({})).await;
    stage.operator.start(control_plane).await;
    stage.ready().await;
    stage.operator.stop().await;
    let told = may_follow(&stage).await.unwrap_err();
    assert!(told.contains(r#"unknown field "spec.credentialRef""#), "{told}");
    let (before, target) = (stage.credentials().get(NAME).await.unwrap(), stage.target().await);

    run(&["upgrade", RELEASE, &chart, "--reuse-values"]).await;
    let arguments = ["get", "deployments", "--output=jsonpath={.items[*].spec.replicas}"];
    assert_eq!(stage.namespace.kubectl().run(&arguments).await.unwrap(), "1", "the values are kept");
    wait::until("the new CRD", LIMIT, async || may_follow(&stage).await).await;
    let after = stage.credentials().get(NAME).await.unwrap();
    assert_eq!(json!(after), json!(before), "the upgrade touches no credential");
    stage.operator.start(control_plane).await;
    stage.operator.until_ready().await;
    stage.settle().await;
    assert_eq!(json!(stage.credentials().get(NAME).await.unwrap()), json!(before), "nothing to write");
    assert_eq!(stage.target().await.resource_version(), target.resource_version(), "nothing to write");
    assert_eq!(stage.issuer_calls(), 1, "the token of before is still good");
    stage.apply_as("follower", json!({"credentialRef": {"name": NAME}})).await;
    stage.ready_as("follower").await;
    stage.request_renewal("after the upgrade").await;
    let renewed = stage.renewed(token_status(&before)).await;
    stage.until_correct("follower").await;
    stage.until_correct(NAME).await;

    stage.operator.stop().await;
    let token = text(&stage.target().await, "token");
    run(&["rollback", RELEASE, "1"]).await;
    let rolled_back = stage.credentials().get(NAME).await.unwrap();
    assert_eq!((rolled_back.uid(), &rolled_back.spec), (renewed.uid(), &renewed.spec));
    assert_eq!(stage.present(&token).await, 200);
    assert_eq!(text(&stage.target().await, "token"), token);

    run(&["uninstall", RELEASE]).await;
    control_plane.kubectl().run(&["delete", "crd", "idissuercredentials.idissuer.pl"]).await.unwrap();
}

#[tokio::test]
async fn an_upgrade_from_the_version_before_and_back_costs_no_credential_its_token() {
    for program in Program::HELM {
        Box::pin(upgrade_and_back(program)).await;
    }
}
