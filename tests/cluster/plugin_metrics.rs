//! `kubectl idissuer explain` and the metrics of the operator, which come through the API server.

use std::net::{IpAddr, UdpSocket};

use idissuer_testbed::{skip, wait};
use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::operator::{HOUR, LIMIT, NAME, Stage, issuer};
use crate::plugin::{CREDENTIALS, Person};

/// An address of this machine: the API server calls no pod on a loopback address. No packet is sent.
fn address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

/// The pod that the operator would run in.
async fn apply_pod(stage: &Stage, name: &str, address: IpAddr) {
    let port = stage.operator.admin_address().port();
    let yaml = format!(
        r"
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  automountServiceAccountToken: false
  containers: [{{name: controller, image: example.org/idissuer, ports: [{{name: metrics, containerPort: {port}}}]}}]
"
    );
    wait::until("the namespace's service account", LIMIT, async || {
        stage.namespace.kubectl().apply(&yaml).await.map(drop)
    })
    .await;
    let pods: Api<Pod> = stage.namespace.api();
    let status = json!({"status": {"podIP": address, "podIPs": [{"ip": address}]}});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

#[tokio::test]
async fn explain_adds_what_the_operator_measures_or_names_the_right_that_this_needs() {
    let Some(address) = address() else { return skip("there is no network interface but loopback") };
    let stage = Stage::start_with("plugin-metrics", issuer(HOUR), |operator, _| {
        let namespace = operator.arguments[2].clone();
        operator.arguments.extend(["--leader-elect".into(), "--lease-namespace".into(), namespace]);
        for argument in operator.arguments.iter_mut().filter(|argument| *argument == "127.0.0.1:0") {
            "0.0.0.0:0".clone_into(argument);
        }
    })
    .await;
    let (admin, few) = (Person::administrator(&stage), Person::nobody(&stage, "few"));
    stage.issuer.configure(|personality| personality.clock_offset = SignedDuration::from_mins(5));
    stage.apply(json!({})).await;
    stage.ready().await;
    admin.run(&["explain", NAME]).await.assert(0, &["an operator outside of the cluster is not asked"]);

    let leases: Api<Lease> = stage.namespace.api();
    let holder = wait::until("a leader", LIMIT, async || {
        let leases = leases.list(&kube::api::ListParams::default()).await.unwrap();
        leases.items.into_iter().find_map(|lease| lease.spec?.holder_identity)
    })
    .await;
    let (name, _) = holder.rsplit_once('_').unwrap();
    apply_pod(&stage, name, address).await;
    let parts = [
        "The clock of http://127.0.0.1:",
        " ahead of the operator's.",
        "idissuer_issuer_clock_skew_seconds of ",
    ];
    admin.run(&["explain", NAME]).await.assert(0, &parts);

    let lease = "{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get]}";
    few.allow(&stage, &format!("[{{{CREDENTIALS}, verbs: [get]}}, {lease}]"), &["explain", NAME]).await;
    let right = format!("a Role with the verb get on pods/proxy, resourceNames [{name}]");
    few.run(&["explain", NAME]).await.assert(0, &["Not read: this user may not get pods/proxy", &right]);
}
