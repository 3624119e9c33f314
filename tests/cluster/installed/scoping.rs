//! Installed for one namespace, by Helm 3, and by kustomize.

use idissuer::api::IdIssuerCredential;
use idissuer_testbed::Program;
use k8s_openapi::api::core::v1::Secret;

use super::place::{HOME, ISSUER, LIMIT, OPERATOR, Place, SHOP, of_project};

/// That a credential in the shop gets its token, and one elsewhere, which came first, is not even looked at.
async fn serves_the_shop_only(place: &Place) {
    place.has_namespace("elsewhere", "restricted").await;
    place.has_credential("elsewhere", "billing", "").await;
    place.has_credential(SHOP, "billing", "").await;
    place.ready(SHOP, "billing").await;
    let elsewhere = place.api::<IdIssuerCredential>("elsewhere").get("billing").await.unwrap();
    assert!(elsewhere.status.is_none(), "{:?}", elsewhere.status);
    assert!(place.api::<Secret>("elsewhere").get_opt("billing").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and a node: make installed runs it"]
async fn in_the_scope_of_one_namespace_all_others_are_left_alone() {
    let Some(place) = Place::start(Program::Helm).await else { return };
    place
        .release("install", &[&format!("issuer.url={ISSUER}"), &format!("scope.namespaces[0]={SHOP}")])
        .await;
    serves_the_shop_only(&place).await;
    let account =
        &place.pods(HOME, OPERATOR).await[0].spec.as_ref().unwrap().service_account_name.clone().unwrap();
    let account = format!("--as=system:serviceaccount:{HOME}:{account}");
    let may = async |verb: &str, namespace: &str| {
        let arguments = ["auth", "can-i", verb, "secrets", "--namespace", namespace, &account];
        let output = place.kubectl().output(&arguments, "").await.unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(may("get", SHOP).await, "yes");
    for (verb, namespace) in
        [("get", "elsewhere"), ("list", "elsewhere"), ("watch", "kube-system"), ("get", HOME)]
    {
        assert_eq!(may(verb, namespace).await, "no", "{verb} {namespace}");
    }
    let list = ["get", "secrets", "--all-namespaces", &account];
    let refused = place.kubectl().run(&list).await.unwrap_err().to_string();
    assert!(refused.contains("(Forbidden)") && refused.contains("at the cluster scope"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and a node: make installed runs it"]
async fn helm_3_installs_it_and_its_test_passes_against_the_simulator() {
    let Some(place) = Place::start(Program::Helm3).await else { return };
    place.release("install", &[&format!("issuer.url={ISSUER}"), "test.simulator.enabled=true"]).await;
    place.has_credential(SHOP, "billing", "").await;
    place.ready(SHOP, "billing").await;
    let said = place.helm(&["test", HOME, "--namespace", HOME]).await;
    assert!(said.contains("Succeeded"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and a node: make installed runs it"]
async fn kustomize_installs_it_for_one_namespace_or_with_a_simulator_to_try_it_out() {
    let Some(place) = Place::start(Program::Helm).await else { return };
    let resource = of_project("deploy/crds").display().to_string();
    place.kubectl().run(&["apply", "--kustomize", &resource]).await.unwrap();
    // Its issuer is the real one, which is out of reach here.
    let one_namespace = place.kubectl().run(&["kustomize", &overlay("one-namespace")]).await.unwrap();
    let (asked, there) = ("--issuer-url=https://api.idissuer.pl", format!("--issuer-url={ISSUER}"));
    assert!(one_namespace.contains(asked), "{one_namespace}");
    place.kubectl().apply(&one_namespace.replace(asked, &there)).await.unwrap();
    rolled_out(&place).await;
    serves_the_shop_only(&place).await;

    place.kubectl().run(&["apply", "--kustomize", &overlay("with-simulator")]).await.unwrap();
    rolled_out(&place).await;
    let sample = of_project("deploy/samples/simple.yaml").display().to_string();
    place.kubectl().run(&["apply", "--namespace", SHOP, "--filename", &sample]).await.unwrap();
    place.ready(SHOP, "simple").await;
}

fn overlay(name: &str) -> String {
    of_project(&format!("deploy/overlays/{name}")).display().to_string()
}

/// Waits until the pods of the manifests run, and those from before have gone.
async fn rolled_out(place: &Place) {
    let timeout = format!("--timeout={}s", LIMIT.as_secs());
    let wait = ["--namespace", "idissuer-operator", "rollout", "status", "deployments", &timeout];
    place.kubectl().run(&wait).await.unwrap();
}
