//! Who may do what, asked of the API server verb by verb.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use super::finding::Check;
use super::judge;
use super::unknown;
use crate::plugin::cluster::{Cluster, send};
use crate::plugin::failure::{Failure, Request};
use crate::plugin::operator::OperatorPod;

/// What the operator does in its namespaces: group, resource, subresource, verbs. As in the chart.
const OPERATOR: [(&str, &str, &str, &[&str]); 5] = [
    ("idissuer.pl", "idissuercredentials", "", &["get", "list", "watch"]),
    ("idissuer.pl", "idissuercredentials", "status", &["update", "patch"]),
    ("", "secrets", "", &["get", "list", "watch", "create", "patch"]),
    ("", "configmaps", "", &["get"]),
    ("events.k8s.io", "events", "", &["create", "patch"]),
];

/// What one who installs the chart creates in the cluster.
const IN_CLUSTER: [(&str, &str); 3] = [
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
];
/// And in the namespace of the operator.
const IN_NAMESPACE: [(&str, &str); 5] = [
    ("apps", "deployments"),
    ("", "serviceaccounts"),
    ("", "secrets"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
];

fn attributes(
    namespace: Option<&str>,
    group: &str,
    resource: &str,
    part: &str,
    verb: &str,
) -> ResourceAttributes {
    ResourceAttributes {
        namespace: namespace.map(str::to_owned),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: Some(part.to_owned()).filter(|part| !part.is_empty()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    }
}

fn describe(right: &ResourceAttributes) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let part = right.subresource.as_ref().map(|part| format!("/{part}")).unwrap_or_default();
    let group = right.group.as_ref().filter(|group| !group.is_empty()).map(|group| format!(".{group}"));
    let name = right.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let place = right.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
    let (verb, resource) = (text(&right.verb), text(&right.resource));
    format!("{verb} {resource}{}{part}{name}{place}", group.unwrap_or_default())
}

/// All that the operator of this pod does: in each of its namespaces, and with its lease.
fn needed(pod: &OperatorPod) -> Vec<ResourceAttributes> {
    let places: Vec<Option<&str>> = if pod.scope.is_empty() {
        vec![None]
    } else {
        pod.scope.iter().map(|namespace| Some(namespace.as_str())).collect()
    };
    let mut needed = Vec::new();
    for place in places {
        for (group, resource, part, verbs) in OPERATOR {
            needed.extend(verbs.iter().map(|verb| attributes(place, group, resource, part, verb)));
        }
    }
    if pod.reads_namespaces {
        needed.extend(["list", "watch"].map(|verb| attributes(None, "", "namespaces", "", verb)));
    }
    if let Some((namespace, name)) = &pod.lease {
        let lease = |verb| attributes(Some(namespace.as_str()), "coordination.k8s.io", "leases", "", verb);
        needed.push(lease("create"));
        needed.extend(
            ["get", "patch"].map(|verb| ResourceAttributes { name: Some(name.clone()), ..lease(verb) }),
        );
    }
    needed
}

/// The rights of the operator's `ServiceAccount`.
pub(super) async fn of_operator(cluster: &Cluster, pod: &OperatorPod) -> Result<Check, Failure> {
    const NAME: &str = "Operator's rights";
    let user = format!("system:serviceaccount:{}:{}", pod.namespace, pod.service_account);
    let needed = needed(pod);
    let mut missing = Vec::new();
    for right in &needed {
        match may(cluster, &user, right.clone()).await {
            Ok(true) => {}
            Ok(false) => missing.push(describe(right)),
            Err(failure) => return unknown(NAME, failure),
        }
    }
    let cure = "Install the chart's roles again (rbac.create=true), or give its ServiceAccount these rights.";
    Ok(judge::rights(NAME, needed.len(), &missing, cure, "runbooks/ApiServerCallFailed.md"))
}

async fn may(cluster: &Cluster, user: &str, right: ResourceAttributes) -> Result<bool, Failure> {
    let request = Request {
        verb: "create",
        resource: "subjectaccessreviews.authorization.k8s.io",
        namespace: None,
        name: None,
    };
    // The API server asks for the groups of a `ServiceAccount`, too.
    let groups = vec!["system:serviceaccounts".to_owned(), "system:authenticated".to_owned()];
    let spec = SubjectAccessReviewSpec {
        user: Some(user.to_owned()),
        groups: Some(groups),
        resource_attributes: Some(right),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let api: Api<SubjectAccessReview> = Api::all(cluster.client.clone());
    let answer = send(request, api.create(&PostParams::default(), &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// Whether this user may install the chart. Everybody may ask about himself.
pub(super) async fn to_install(cluster: &Cluster, namespace: &str) -> Result<Check, Failure> {
    let in_cluster =
        IN_CLUSTER.iter().map(|(group, resource)| attributes(None, group, resource, "", "create"));
    let there = IN_NAMESPACE
        .iter()
        .map(|(group, resource)| attributes(Some(namespace), group, resource, "", "create"));
    let rights: Vec<_> = in_cluster.chain(there).collect();
    let mut missing = Vec::new();
    for right in &rights {
        if !may_i(cluster, right.clone()).await? {
            missing.push(describe(right));
        }
    }
    let cure = "Ask an administrator of the cluster to install it, or for these rights.";
    Ok(judge::rights("Your rights to install", rights.len(), &missing, cure, "start.md"))
}

async fn may_i(cluster: &Cluster, right: ResourceAttributes) -> Result<bool, Failure> {
    let request = Request {
        verb: "create",
        resource: "selfsubjectaccessreviews.authorization.k8s.io",
        namespace: None,
        name: None,
    };
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(right),
        ..SelfSubjectAccessReviewSpec::default()
    };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let answer = send(request, api.create(&PostParams::default(), &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::operator::tests::pod;

    const RBAC: &str = include_str!("../../../deploy/base/rbac.yaml");

    /// What the rules of the manifests give, as rights are described.
    fn given() -> BTreeSet<String> {
        let documents = RBAC.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
        let mut given = BTreeSet::new();
        let texts = |rule: &Value, key: &str| -> Vec<String> {
            let texts = rule[key].as_array().into_iter().flatten();
            texts.map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        for role in documents {
            let namespace = role["metadata"]["namespace"].as_str();
            for rule in role["rules"].as_array().into_iter().flatten() {
                let (group, resource) = (&texts(rule, "apiGroups")[0], &texts(rule, "resources")[0]);
                let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
                let name = texts(rule, "resourceNames").pop();
                given.extend(texts(rule, "verbs").iter().map(|verb| {
                    let right = attributes(namespace, group, resource, part, verb);
                    describe(&ResourceAttributes { name: name.clone(), ..right })
                }));
            }
        }
        given
    }

    #[test]
    fn the_rights_that_are_checked_are_those_that_the_manifests_give() {
        let of_manifests = pod(|pod| {
            pod["metadata"]["namespace"] = json!("idissuer-operator");
            pod["spec"]["containers"][0]["args"] =
                json!(["controller", "--leader-elect", "--lease-name=idissuer-operator"]);
        });
        let needed = needed(&OperatorPod::new(&of_manifests).unwrap());
        assert_eq!(needed.iter().map(describe).collect::<BTreeSet<_>>(), given());
    }

    #[test]
    fn a_right_is_named_as_a_role_would() {
        for (right, expected) in [
            (attributes(None, "", "secrets", "", "patch"), "patch secrets"),
            (
                attributes(Some("shop"), "idissuer.pl", "idissuercredentials", "status", "patch"),
                "patch idissuercredentials.idissuer.pl/status in shop",
            ),
        ] {
            assert_eq!(describe(&right), expected);
        }
    }
}
