//! Installed for one namespace, by Helm 3, and by kustomize.

use idissuer::api::IdIssuerCredential;
use idissuer_testbed::Program;
use k8s_openapi::api::core::v1::Secret;

use super::place::{HOME, ISSUER, LIMIT, OPERATOR, Place, SHOP, of_project};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and a node: make installed runs it"]
async fn in_the_scope_of_one_namespace_all_others_are_left_alone() {
    let Some(place) = Place::set(Program::Helm).await else { return };
    place.has_namespace("elsewhere", "restricted").await;
    place
        .release("install", &[&format!("issuer.url={ISSUER}"), &format!("scope.namespaces[0]={SHOP}")])
        .await;
    place.has_credential("elsewhere", "billing", "").await;
    place.has_credential(SHOP, "billing", "").await;
    place.ready(SHOP, "billing").await;
    // It came later, and was served; the other one was not even looked at.
    let elsewhere = place.api::<IdIssuerCredential>("elsewhere").get("billing").await.unwrap();
    assert!(elsewhere.status.is_none(), "{:?}", elsewhere.status);
    assert!(place.api::<Secret>("elsewhere").get_opt("billing").await.unwrap().is_none());

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
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and a node: make installed runs it"]
async fn helm_3_installs_it_and_its_test_passes_against_the_simulator() {
    let Some(place) = Place::set(Program::Helm3).await else { return };
    place.release("install", &[&format!("issuer.url={ISSUER}"), "test.simulator.enabled=true"]).await;
    place.has_credential(SHOP, "billing", "").await;
    place.ready(SHOP, "billing").await;
    let said = place.helm(&["test", HOME, "--namespace", HOME]).await;
    assert!(said.contains("Succeeded"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and a node: make installed runs it"]
async fn kustomize_installs_it_with_a_simulator_to_try_it_out() {
    let Some(place) = Place::set(Program::Helm).await else { return };
    let path = |path: &str| of_project(path).display().to_string();
    place.kubectl().run(&["apply", "--kustomize", &path("deploy/overlays/with-simulator")]).await.unwrap();
    let timeout = format!("--timeout={}s", LIMIT.as_secs());
    let wait = ["wait", "deployments", "--all", "--all-namespaces", "--for=condition=Available", &timeout];
    place.kubectl().run(&wait).await.unwrap();
    let sample = ["apply", "--namespace", SHOP, "--filename", &path("deploy/samples/simple.yaml")];
    place.kubectl().run(&sample).await.unwrap();
    place.ready(SHOP, "simple").await;
}
