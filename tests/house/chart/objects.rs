//! What every object of the chart must be like, whatever the values are.

use serde_json::{Value, json};

use super::{objects_of, objects_where, required, value_sets, with};

/// The pod of an object that has one.
pub(super) fn pod(object: &Value) -> Option<&Value> {
    match object["kind"].as_str()? {
        "Deployment" => Some(&object["spec"]["template"]["spec"]),
        "Pod" => Some(&object["spec"]),
        _ => None,
    }
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn is_test(object: &Value) -> bool {
    object["metadata"]["annotations"]["helm.sh/hook"] == "test"
}

#[tokio::test]
async fn every_pod_meets_the_profile_restricted() {
    for (name, values) in value_sets() {
        let objects = objects_of(&values).await;
        let pods: Vec<_> = objects.iter().filter_map(pod).collect();
        assert!(!pods.is_empty(), "{name}");
        for pod in pods {
            let context = &pod["securityContext"];
            assert_eq!(context["runAsNonRoot"], true, "{name}");
            assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{name}");
            assert!(context["runAsUser"].as_i64().is_some_and(|user| user > 0), "{name}");
            assert_eq!(pod["enableServiceLinks"], false, "{name}");
            let both = [&pod["initContainers"], &pod["containers"]].into_iter().filter_map(Value::as_array);
            for container in both.flatten() {
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
                assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{name}");
            }
        }
    }
}

/// Its profile `restricted-v2` refuses every user and group but those of the namespace.
#[tokio::test]
async fn on_openshift_user_and_group_are_left_to_the_cluster() {
    let values =
        with(with(required(), "injection.enabled", json!(true)), "test.simulator.enabled", json!(true));
    let ids = json!({"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532, "runAsNonRoot": true});
    let values = with(with(values, "podSecurityContext", ids.clone()), "securityContext", ids);
    let cases =
        [("auto", false, false), ("auto", true, true), ("always", false, true), ("never", true, false)];
    for (when, is_openshift, are_omitted) in cases {
        let values = with(values.clone(), "omitUserIds", json!(when));
        let api = if is_openshift { "security.openshift.io/v1" } else { "example.com/v1" };
        let objects = objects_where(&["--api-versions", api], &values).await;
        let pods: Vec<_> = objects.iter().filter_map(pod).collect();
        assert_eq!(pods.len(), 3, "operator, simulator and test");
        for context in
            pods.iter().flat_map(|pod| [pod, &pod["containers"][0]]).map(|it| &it["securityContext"])
        {
            for field in ["runAsUser", "runAsGroup", "fsGroup"] {
                assert_eq!(context[field].is_null(), are_omitted, "{when}: {context}");
            }
            assert_eq!(context["runAsNonRoot"], true, "{when}");
        }
        let policy = of_kind(&objects, "MutatingAdmissionPolicy")[0].to_string();
        assert_eq!(policy.contains("runAsGroup"), !are_omitted, "{when}: {policy}");
    }
}

#[tokio::test]
async fn the_lease_is_no_object_of_the_release_and_goes_when_that_has_gone() {
    let objects = objects_of(&required()).await;
    let lease = of_kind(&objects, "Lease")[0];
    assert_eq!(lease["metadata"]["annotations"]["helm.sh/hook"], "post-delete");
    let arguments = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"];
    let named = format!("--lease-name={}", lease["metadata"]["name"].as_str().unwrap());
    assert!(arguments.as_array().unwrap().contains(&json!(named)), "{named}: {arguments}");
}

#[tokio::test]
async fn with_namespaces_no_cluster_wide_role_touches_secrets() {
    for (name, values) in value_sets() {
        let objects = objects_of(&values).await;
        let is_cluster_wide = values["scope"]["namespaces"].is_null() && values["rbac"]["create"] != false;
        let mentions = |role: &&Value| role["rules"].to_string().contains("secrets");
        let roles = of_kind(&objects, "ClusterRole").into_iter().filter(mentions).count();
        assert_eq!(roles, usize::from(is_cluster_wide), "{name}");
        let bindings = of_kind(&objects, "ClusterRoleBinding").len();
        assert_eq!(bindings, usize::from(is_cluster_wide), "{name}");
    }
}

#[tokio::test]
async fn only_the_operator_may_write_a_status() {
    for (name, values) in value_sets() {
        for role in objects_of(&values).await {
            let is_aggregated = role["metadata"]["labels"].to_string().contains("aggregate-to");
            if is_aggregated {
                assert!(!role["rules"].to_string().contains("status"), "{name}: {role}");
            }
        }
    }
}

#[tokio::test]
async fn every_object_says_where_it_belongs_and_what_it_is_part_of() {
    let of_cluster = [
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ];
    for (name, values) in value_sets() {
        for object in objects_of(&values).await {
            let (kind, metadata) = (object["kind"].as_str().unwrap(), &object["metadata"]);
            assert_eq!(metadata["namespace"].is_null(), of_cluster.contains(&kind), "{name}: {metadata}");
            let is_ours = !is_test(&object) && metadata["name"] != "release-more";
            if is_ours {
                assert_eq!(metadata["labels"]["app.kubernetes.io/instance"], "release", "{name}: {metadata}");
                assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "Helm", "{name}: {metadata}");
            }
        }
    }
}

#[tokio::test]
async fn every_object_and_every_pod_has_the_common_labels() {
    let (_, values) = value_sets().into_iter().find(|(name, _)| *name == "everything").unwrap();
    for object in objects_of(&values).await {
        let labels = [&object["metadata"], &object["spec"]["template"]["metadata"]];
        for labels in labels.into_iter().filter(|it| it.is_object() && it["name"] != "release-more") {
            assert_eq!(labels["labels"]["example.com/team"], "billing", "{object}");
        }
    }
}

#[tokio::test]
async fn a_label_of_the_pods_counts_before_one_of_all_objects() {
    let values = with(required(), "commonLabels", json!({"team": "all", "stage": "test"}));
    let objects = objects_of(&with(values, "podLabels", json!({"team": "pods"}))).await;
    let labels = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["metadata"]["labels"];
    assert_eq!((&labels["team"], &labels["stage"]), (&json!("pods"), &json!("test")), "{labels}");
}

#[tokio::test]
async fn every_pod_goes_where_the_values_send_it() {
    let toleration = json!({"key": "dedicated", "operator": "Exists"});
    let values = with(required(), "test", json!({"simulator": {"enabled": true}}));
    let values = with(values, "nodeSelector", json!({"disk": "ssd"}));
    let values = with(values, "tolerations", json!([toleration]));
    let objects = objects_of(&values).await;
    let pods: Vec<_> = objects.iter().filter_map(pod).collect();
    assert_eq!(pods.len(), 3, "operator, simulator and test");
    for pod in pods {
        assert_eq!(pod["nodeSelector"]["disk"], "ssd", "{pod}");
        assert_eq!(pod["tolerations"][0], toleration, "{pod}");
    }
}

/// A quota of processor time and memory refuses the pods that do not.
#[tokio::test]
async fn every_pod_says_what_it_needs() {
    for (name, values) in value_sets().into_iter().filter(|(_, values)| values["resources"].is_null()) {
        for pod in objects_of(&values).await.iter().filter_map(pod) {
            let resources = &pod["containers"][0]["resources"];
            assert!(resources["requests"]["cpu"].is_string(), "{name}: {pod}");
            assert!(resources["limits"]["memory"].is_string(), "{name}: {pod}");
        }
    }
}

#[tokio::test]
async fn every_name_is_one_that_its_kind_may_have_however_the_release_is_named() {
    let long = "a-release-with-as-long-a-name-as-helm-lets-one-give-it"[..53].to_owned();
    let helm = idissuer_testbed::Helm::provide(idissuer_testbed::Program::Helm).await.unwrap();
    for release in [&long, "issuer-1.2"] {
        for (name, values) in value_sets() {
            let objects = helm.render(&super::folder(), release, "home", &values.to_string()).await.unwrap();
            for object in objects {
                let (kind, named) = (&object["kind"], object["metadata"]["name"].as_str().unwrap());
                // Services have the shortest names of all; the others may be longer, but pods are named after them.
                let is_short = matches!(kind.as_str(), Some("Service" | "Deployment" | "Pod"));
                assert!(named.len() <= if is_short { 63 } else { 253 }, "{name}: {named}");
                assert!(kind != "Service" || !named.contains('.'), "{name}: {named}");
            }
        }
    }
}

#[tokio::test]
async fn selectors_find_the_operators_pods_and_not_those_of_the_test() {
    let values = with(required(), "test.simulator.enabled", json!(true));
    let objects = objects_of(&values).await;
    let labels = |object: &Value| object["spec"]["template"]["metadata"]["labels"].clone();
    let deployments = of_kind(&objects, "Deployment");
    let operator = deployments.iter().find(|it| !is_test(it)).unwrap();
    let simulator = deployments.iter().find(|it| is_test(it)).unwrap();
    let fits = |selector: &Value, labels: &Value| {
        let wanted = selector.as_object().unwrap();
        wanted.iter().all(|(key, value)| &labels[key] == value)
    };
    let policy = &of_kind(&objects, "NetworkPolicy")[0]["spec"]["podSelector"]["matchLabels"];
    let budget = &of_kind(&objects, "PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"];
    let metrics =
        &of_kind(&objects, "Service").into_iter().find(|it| !is_test(it)).unwrap()["spec"]["selector"];
    for selector in [&operator["spec"]["selector"]["matchLabels"], policy, budget, metrics] {
        assert!(fits(selector, &labels(operator)));
        assert!(!fits(selector, &labels(simulator)));
    }
}

#[tokio::test]
async fn nothing_goes_out_or_comes_in_but_what_is_given() {
    let policies = |objects: &[Value]| of_kind(objects, "NetworkPolicy")[0]["spec"].clone();
    let narrow = policies(&objects_of(&required()).await);
    assert_eq!(narrow["policyTypes"], json!(["Ingress"]));
    assert_eq!(narrow["ingress"], json!([{"ports": [{"port": "metrics", "protocol": "TCP"}]}]));
    let egress = json!([{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]);
    let given = policies(&objects_of(&with(required(), "networkPolicy.egress", egress.clone())).await);
    assert_eq!(given["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(given["egress"], egress);
}

/// An upgrade with the values of such a release (`--reuse-values`) has none of the new ones.
#[tokio::test]
async fn the_admission_policy_forbids_all_references_where_the_values_are_older_than_followers() {
    let policy = json!({"enabled": true, "followers": null});
    let objects = objects_of(&with(required(), "admissionPolicy", policy)).await;
    let policies = of_kind(&objects, "ValidatingAdmissionPolicy");
    let expression = |policy: &Value| policy["spec"]["validations"][0]["expression"].clone();
    let expressions: Vec<Value> = policies.into_iter().map(expression).collect();
    assert!(
        expressions.contains(&json!("variables.ownerNamespace == request.namespace || false")),
        "{expressions:?}"
    );
}

#[tokio::test]
async fn the_admission_policy_lets_only_the_test_use_its_simulator() {
    let values = with(required(), "admissionPolicy.enabled", json!(true));
    let condition = |objects: &[Value]| {
        of_kind(objects, "ValidatingAdmissionPolicy")[0]["spec"]["validations"][0]["expression"].clone()
    };
    assert_eq!(condition(&objects_of(&values).await), "false");
    let values = with(values, "test", json!({"namespace": "shop", "simulator": {"enabled": true}}));
    let simulator = "http://release-idissuer-operator-simulator.home.svc:8480";
    let expected = format!("request.namespace in [\"shop\"] && variables.origin in [\"{simulator}\"]");
    assert_eq!(condition(&objects_of(&values).await), expected);
}
