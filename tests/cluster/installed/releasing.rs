//! A release: upgrade from the previous one, rollback, uninstall and another install.

use idissuer_testbed::Program;
use idissuer_testbed::process::WorkFolder;
use k8s_openapi::api::core::v1::{Pod, Secret};

use super::place::{CALM_ISSUER, HOME, ISSUER, OPERATOR, Place, SHOP, VERSION, released_chart};

/// What both pods of the operator run: the name of the image, and what the node has under this name.
async fn image(place: &Place) -> (String, String) {
    let mut pods = place.pods(HOME, OPERATOR).await;
    pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    assert_eq!(pods.len(), 2, "{pods:?}");
    let of_pod = |pod: Pod| {
        let name = pod.spec.unwrap().containers.remove(0).image.unwrap();
        (name, pod.status.unwrap().container_statuses.unwrap().remove(0).image_id)
    };
    let mut images: Vec<_> = pods.into_iter().map(of_pod).collect();
    images.dedup();
    assert_eq!(images.len(), 1, "{images:?}");
    images.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and a node: make installed runs it"]
async fn upgrades_rollbacks_and_a_new_install_cost_no_call_and_no_token() {
    let Some(place) = Place::start(Program::Helm).await else { return };
    place.knows_version("next").await;
    let folder = WorkFolder::create().unwrap();
    let issuer = format!("issuer.url={ISSUER}");
    let calm = format!("issuer.allowed[0]={CALM_ISSUER}");
    let version = format!("image.tag={VERSION}");
    place.release_of(&released_chart(folder.path()), "install", &[&issuer, &calm, &version]).await;
    place.has_credential(SHOP, "calm", &format!(", issuer: {{url: '{CALM_ISSUER}'}}")).await;
    place.ready(SHOP, "calm").await;
    place.tell_use_at_rest().await;
    place.has_credential(SHOP, "billing", "").await;
    place.ready(SHOP, "billing").await;
    let (calls, token) = (place.calls_of("calm").await, place.token(SHOP, "calm").await);
    assert_eq!(calls, 1, "a login");
    let consumer = place.has_consumer("billing").await;
    let first = image(&place).await;

    let login = "test.login.secretName=billing-login";
    let next = [&issuer, &calm, "image.tag=next", "logLevel=debug", login, "test.namespace=shop"];
    place.release("upgrade", &next).await;
    let second = image(&place).await;
    assert!(second.0 == "idissuer:next" && second.1 != first.1, "{second:?} after {first:?}");
    place.renewed(SHOP, "billing").await;
    let said = place.helm(&["test", HOME, "--namespace", HOME]).await;
    assert!(said.contains("Succeeded"), "{said}");

    place.helm(&["rollback", HOME, "1", "--namespace", HOME, "--wait", "--timeout", "120s"]).await;
    assert_eq!(image(&place).await, first);
    place.renewed(SHOP, "billing").await;

    place.helm(&["uninstall", HOME, "--namespace", HOME, "--wait"]).await;
    place.deletes_namespace(HOME).await;
    let kept = place.kubectl().run(&["get", "iic", "--namespace", SHOP, "--output=name"]).await.unwrap();
    assert_eq!(kept.lines().count(), 2, "credentials outlive the release: {kept}");
    assert!(place.api::<Secret>(SHOP).get("billing").await.is_ok(), "and so do their Secrets");

    place.has_namespace(HOME, "restricted").await;
    place.release("install", &[&issuer, &calm]).await;
    place.has_credential(SHOP, "another", "").await;
    place.ready(SHOP, "another").await;
    assert_eq!(place.calls_of("calm").await, calls, "its token is fresh");
    assert_eq!(place.token(SHOP, "calm").await, token);

    let seen = place.seen_by(&consumer).await;
    let bad: Vec<&String> = seen.bad.iter().filter(|line| line.contains("401")).collect();
    assert!(bad.is_empty() && !seen.good.is_empty(), "{bad:?}");
    place.deletes_namespace(SHOP).await;
}
