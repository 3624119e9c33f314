//! The plugin reads the times of a status by the clock of the operator that wrote it, however wrong that clock is.

use idissuer::core::time::to_second;
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::CLUSTER;
use crate::operator::{HOUR, NAME, Stage, issuer, now};
use crate::plugin::Person;

/// How long the token lives.
const LEFT: i64 = 1800;

/// Writes the lease and the status of an operator with this clock, which has published a token.
async fn operate(stage: &Stage, clock: Timestamp) {
    let namespace = stage.namespace.name();
    let clock = to_second(clock);
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "operator"},
        "spec": {"holderIdentity": "operator_1", "leaseDurationSeconds": 15, "renewTime": clock.strftime("%FT%T.000000Z").to_string()},
    });
    stage.namespace.kubectl().apply(&lease.to_string()).await.unwrap();
    let at = |seconds| clock.saturating_add(SignedDuration::from_secs(seconds)).unwrap().to_string();
    let status = json!({
        "controller": format!("{namespace}/operator"),
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "TokenPublished", "message": "published",
            "lastTransitionTime": at(0), "observedGeneration": 1,
        }],
        "token": {
            "issuedTime": at(-LEFT), "renewalTime": at(LEFT / 2), "expirationTime": at(LEFT),
            "lifetimeSource": "ExpiresIn", "fingerprint": "0123456789abcdef", "grant": "Login",
        },
    });
    let patch = Patch::Merge(json!({"status": status}));
    stage.credentials().patch_status(NAME, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn the_time_left_is_by_the_clock_of_the_operator_in_list_details_and_explanation() {
    let stage = Stage::prepare(CLUSTER.control_plane().await.unwrap(), "plugin-clocks", issuer(HOUR)).await;
    stage.apply(json!({})).await;
    let (admin, few) = (Person::administrator(&stage), Person::nobody(&stage, "few"));
    let credentials = "apiGroups: [idissuer.pl], resources: [idissuercredentials], verbs: [get, list]";
    few.allow(&stage, &format!("[{{{credentials}}}]"), &["status"]).await;
    for ahead in [SignedDuration::from_hours(2), SignedDuration::from_hours(-2)] {
        operate(&stage, now().saturating_add(ahead).unwrap()).await;
        for (command, place) in [
            (&["status", "-o", "json"][..], "/credentials/0"),
            (&["status", NAME, "-o", "json"], "/credential"),
            (&["explain", NAME, "-o", "json"], "/credential"),
        ] {
            let shown = admin.run(command).await.json();
            let shown = shown.pointer(place).unwrap();
            let left = shown["secondsLeft"].as_i64().unwrap();
            assert!((LEFT - 60..=LEFT).contains(&left), "{ahead:#}: {command:?}: {shown}");
            assert_eq!(shown["isGood"], true, "{ahead:#}: {command:?}: {shown}");
        }
        admin.run(&["status"]).await.assert(0, &["29m"]);
        // Without the right to see the lease, its clock counts as right.
        let shown = few.run(&["status", "-o", "json"]).await.json();
        assert_eq!(shown["credentials"][0]["isGood"], ahead.is_positive(), "{shown}");
    }
}
