//! The commands of the runbooks work as they are pasted.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use idissuer_testbed::TestNamespace;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::install_programs;
use super::page::{Piece, pages, pieces};
use crate::CLUSTER;
use crate::operator::credential;

/// Commands that need an installed operator with its pods, or an issuer with TLS.
const NOT_RUN: [&str; 4] = ["kubectl logs ", "kubectl get deploy", "kubectl auth can-i ", "openssl "];

/// The distinct lines of all shell blocks of the runbooks.
fn commands() -> BTreeSet<String> {
    let pages = pages().into_iter().filter(|page| page.starts_with("runbooks"));
    let scripts = pages.flat_map(|page| pieces(&page)).filter_map(|piece| match piece {
        Piece::Script(script) => Some(script),
        _ => None,
    });
    scripts.flat_map(|script| script.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Creates or removes the Secret that the pages call `SECRET`, whichever the command needs.
async fn prepare(namespace: &TestNamespace, command: &str) {
    let secrets = namespace.api::<Secret>();
    if command.starts_with("kubectl create secret") {
        let _ = secrets.delete("a-secret", &DeleteParams::default()).await;
        return;
    }
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a-secret"},
        "stringData": {"username": "me", "password": "mine"},
    });
    secrets.patch("a-secret", &PatchParams::apply("test").force(), &Patch::Apply(secret)).await.unwrap();
}

#[tokio::test]
async fn every_command_of_the_runbooks_works_as_it_is_pasted() {
    let control_plane = CLUSTER.control_plane().await.unwrap();
    let namespace = TestNamespace::create(control_plane, "runbooks").await.unwrap();
    namespace.kubectl().apply(&credential("billing", json!({})).to_string()).await.unwrap();
    let bundle = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a-bundle"}, "data": {"ca.crt": "none"},
    });
    let parameters = PatchParams::apply("test");
    namespace.api::<ConfigMap>().patch("a-bundle", &parameters, &Patch::Apply(bundle)).await.unwrap();
    // Where people stand: in a clone, with the login's files.
    let here = tempfile::tempdir().unwrap();
    symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("crds"), here.path().join("crds")).unwrap();
    let prepared = install_programs(here.path());
    fs::write(here.path().join("username"), "me").unwrap();
    fs::write(here.path().join("password"), "mine").unwrap();

    let (mut times, mut failed) = (0, Vec::new());
    for command in commands() {
        if NOT_RUN.iter().any(|part| command.contains(part)) {
            println!("not run: {command}");
            continue;
        }
        prepare(&namespace, &command).await;
        let pasted = command
            .replace("OWNER_NAMESPACE", namespace.name())
            .replace("OWNER", "billing")
            .replace("NAMESPACE", namespace.name())
            .replace("NAME", "billing")
            .replace("SECRET", "a-secret")
            .replace("BUNDLE", "a-bundle");
        let output = namespace.kubectl().shell(&format!("{prepared}{pasted}"), here.path()).await.unwrap();
        times += 1;
        if !output.status.success() {
            failed.push(format!("{pasted}: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(times > 20, "{times} commands only");
}
