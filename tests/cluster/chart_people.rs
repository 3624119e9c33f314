//! The chart's permissions for people with the cluster roles `view`, `edit` and `admin` in a namespace.

use idissuer_testbed::{TestNamespace, wait};
use serde_json::{Value, json};

use crate::CLUSTER;
use crate::chart;
use crate::operator::LIMIT;

const ROLES: [&str; 3] = ["view", "edit", "admin"];

/// Verb, subresource, and the roles that allow it.
const RIGHTS: [(&str, &str, &[&str]); 9] = [
    ("get", "", &ROLES),
    ("list", "", &ROLES),
    ("watch", "", &ROLES),
    ("create", "", &["edit", "admin"]),
    ("update", "", &["edit", "admin"]),
    ("patch", "", &["edit", "admin"]),
    ("delete", "", &["edit", "admin"]),
    ("patch", "status", &[]),
    ("update", "status", &[]),
];

/// Whether the one user of a role may do this with credentials, as the API server sees it.
async fn may(namespace: &TestNamespace, role: &str, verb: &str, subresource: &str) -> bool {
    let user = format!("--as={role}-{}", namespace.name());
    let subresource = format!("--subresource={subresource}");
    let question = ["auth", "can-i", verb, "idissuercredentials.idissuer.pl", &subresource, &user];
    let answer = namespace.kubectl().output(&question, "").await.unwrap();
    match String::from_utf8_lossy(&answer.stdout).trim() {
        "yes" => true,
        "no" => false,
        _ => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn the_role_edit_may_edit_credentials_and_no_role_may_write_a_status() {
    let control_plane = CLUSTER.control_plane().await.unwrap();
    let namespace = TestNamespace::create(control_plane, "people").await.unwrap();
    let values = json!({"issuer": {"url": "https://api.idissuer.pl"}});
    let objects = chart::render(namespace.name(), &values).await;
    let is_aggregated = |role: &&Value| role["metadata"]["labels"].to_string().contains("aggregate-to");
    control_plane.kubectl().apply(&chart::manifest(objects.iter().filter(is_aggregated))).await.unwrap();
    for role in ROLES {
        let user = format!("--user={role}-{}", namespace.name());
        let bind = ["create", "rolebinding", role, &format!("--clusterrole={role}"), &user];
        namespace.kubectl().run(&bind).await.unwrap();
    }
    // A controller puts the rules of the chart's roles into those of the cluster.
    for (role, verb) in [("view", "get"), ("edit", "create"), ("admin", "create")] {
        wait::until("the aggregated rights", LIMIT, async || may(&namespace, role, verb, "").await).await;
    }
    for (verb, subresource, allowed) in RIGHTS {
        for role in ROLES {
            let is_allowed = may(&namespace, role, verb, subresource).await;
            assert_eq!(is_allowed, allowed.contains(&role), "{role}: {verb} {subresource}");
        }
    }
}
