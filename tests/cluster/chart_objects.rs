//! A real API server accepts the objects of the chart and the manifests, and they work.

use std::path::Path;
use std::process::Command;

use idissuer_testbed::{ControlPlane, Controllers, Options, Shared, TestNamespace, wait};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::chart;
use crate::operator::{LIMIT, credential};

fn options() -> Options {
    let crd = include_str!("../../crds/idissuer.pl_idissuercredentials.yaml");
    Options::new().controllers(Controllers::None).crd(crd)
}

/// Control planes of their own: for namespaces of these names, and for policies that count in the whole cluster.
static ALONE: Shared = Shared::new(options);
pub(crate) static UNDER_POLICIES: Shared = Shared::new(options);

/// Stand-ins for the CRDs of the Prometheus operator, with the fields that the chart writes and no others.
pub(crate) const MONITORS: &str = include_str!("monitors.yaml");

const NAMESPACES: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: idissuer-operator}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: bank}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: shop}}
";

/// The control plane with what the objects need, which only one test can bring there.
async fn prepared() -> &'static ControlPlane {
    static PREPARED: OnceCell<()> = OnceCell::const_new();
    let control_plane = ALONE.control_plane().await.unwrap();
    let prepare = async || {
        control_plane.kubectl().apply(NAMESPACES).await.unwrap();
        control_plane.kubectl().apply(MONITORS).await.unwrap();
        control_plane.await_crds().await.unwrap();
    };
    PREPARED.get_or_init(prepare).await;
    control_plane
}

/// That the API server would take them, and knows all of their fields.
async fn accepts(control_plane: &ControlPlane, what: &str, manifest: &str) {
    let arguments = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "--output=name",
        "--filename=-",
    ];
    let accepted = control_plane.kubectl().run_with_input(&arguments, manifest).await;
    let accepted = accepted.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(accepted.lines().count() > 0, "{what}: nothing was applied");
}

fn values(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[tokio::test]
async fn the_api_server_accepts_all_that_the_chart_comes_to() {
    let control_plane = prepared().await;
    let everything = values(include_str!("../house/chart/everything.yaml"));
    let mut in_namespaces = everything.clone();
    in_namespaces["scope"] = json!({"namespaces": ["shop", "bank"]});
    let sets = [
        ("the defaults", json!({"issuer": {"url": "https://api.idissuer.pl"}})),
        ("everything", everything),
        ("everything in two namespaces", in_namespaces),
        ("as little as can be", values(include_str!("../house/chart/nothing.yaml"))),
        (
            "injection without resources",
            json!({
                "issuer": {"url": "https://api.idissuer.pl"},
                "injection": {"enabled": true, "resources": {"requests": null, "limits": null}},
            }),
        ),
    ];
    for (what, values) in sets {
        let objects = chart::render("shop", &values).await;
        // No pod is accepted before its service account is there.
        let accounts = chart::manifest(chart::of_kind(&objects, "ServiceAccount"));
        if !accounts.is_empty() {
            control_plane.kubectl().apply(&accounts).await.unwrap();
        }
        accepts(control_plane, what, &chart::manifest(&objects)).await;
    }
}

#[tokio::test]
async fn the_test_of_a_chart_without_a_login_fails_and_says_what_it_needs() {
    let objects = chart::render("shop", &json!({})).await;
    let pod = &chart::of_kind(&objects, "Pod")[0]["spec"];
    let arguments: Vec<String> = serde_json::from_value(pod["containers"][0]["args"].clone()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_idissuer")).args(&arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    for value in ["test.login.secretName", "test.simulator.enabled"] {
        assert!(said.contains(value), "{said}");
    }
}

#[tokio::test]
async fn the_program_understands_every_argument_that_the_chart_gives_it() {
    let login = json!({"issuer": {"url": "https://api.idissuer.pl"}, "test": {"login": {"secretName": "a"}}});
    for values in [values(include_str!("../house/chart/everything.yaml")), login] {
        let objects = chart::render("shop", &values).await;
        let deployment = chart::of_kind(&objects, "Deployment")
            .into_iter()
            .find(|object| object["metadata"]["name"] == chart::FULL_NAME)
            .map(|object| &object["spec"]["template"]["spec"]);
        let test = chart::of_kind(&objects, "Pod").into_iter().next().map(|object| &object["spec"]);
        for pod in [deployment.unwrap(), test.unwrap()] {
            let arguments: Vec<String> =
                serde_json::from_value(pod["containers"][0]["args"].clone()).unwrap();
            let mut program = Command::new(env!("CARGO_BIN_EXE_idissuer"));
            let output = program.args(&arguments).env("KUBECONFIG", "/nowhere").output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            // It gets as far as looking for a cluster.
            assert!(said.contains("/nowhere does not exist"), "{arguments:?}: {said}");
        }
    }
}

/// What `kubectl kustomize` makes of a folder of `deploy/`.
async fn kustomized(control_plane: &ControlPlane, folder: &str) -> String {
    let path = format!("{}/deploy/{folder}", env!("CARGO_MANIFEST_DIR"));
    control_plane.kubectl().run(&["kustomize", &path]).await.unwrap()
}

#[tokio::test]
async fn the_api_server_accepts_the_base_and_its_overlays_and_all_in_one_file() {
    let control_plane = prepared().await;
    for folder in ["base", "overlays/one-namespace", "overlays/with-simulator"] {
        accepts(control_plane, folder, &kustomized(control_plane, folder).await).await;
    }
    accepts(control_plane, "install.yaml", include_str!("../../deploy/install.yaml")).await;
    // As its comment says.
    let path = concat!("--filename=", env!("CARGO_MANIFEST_DIR"), "/deploy/install.yaml");
    let selector = "--selector=app.kubernetes.io/instance=idissuer-operator";
    let removal = ["delete", path, selector, "--ignore-not-found", "--dry-run=server", "--output=name"];
    assert_eq!(
        control_plane.kubectl().run(&removal).await.unwrap(),
        "",
        "it keeps the CRD and the namespace"
    );
}

/// The manifests in a folder of `deploy/samples`, each with its path.
pub(crate) fn samples(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples").join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let samples: Vec<_> = paths
        .filter(|path| path.is_file())
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    assert!(samples.len() >= 4, "{samples:?}");
    samples
}

pub(crate) fn parts(manifest: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(manifest).unwrap()
}

fn arguments(objects: &[Value]) -> Vec<String> {
    let operator = |object: &&&Value| object["metadata"]["name"] == "idissuer-operator";
    let deployments = chart::of_kind(objects, "Deployment");
    let container = &deployments.iter().find(operator).unwrap()["spec"]["template"]["spec"]["containers"][0];
    serde_json::from_value(container["args"].clone()).unwrap()
}

#[tokio::test]
async fn the_overlay_of_one_namespace_binds_nothing_in_the_whole_cluster() {
    let objects = parts(&kustomized(prepared().await, "overlays/one-namespace").await);
    assert_eq!(chart::of_kind(&objects, "ClusterRoleBinding"), Vec::<&Value>::new());
    let bindings = chart::of_kind(&objects, "RoleBinding");
    let of_secrets: Vec<_> = bindings.iter().filter(|it| it["roleRef"]["kind"] == "ClusterRole").collect();
    assert_eq!(of_secrets.len(), 1);
    assert_eq!(of_secrets[0]["metadata"]["namespace"], "shop");
    assert!(arguments(&objects).contains(&"--namespace=shop".to_owned()));
}

#[tokio::test]
async fn the_overlay_with_a_simulator_knows_the_accounts_of_the_samples() {
    let objects = parts(&kustomized(prepared().await, "overlays/with-simulator").await);
    let url = "--issuer-url=http://idissuer-simulator.idissuer-operator.svc:8480";
    let given = arguments(&objects);
    assert_eq!(given.iter().filter(|it| it.starts_with("--issuer-url")).collect::<Vec<_>>(), [url]);
    let simulator = objects.iter().map(Value::to_string).find(|it| it.contains("--token-lifetime")).unwrap();
    for sample in ["simple", "templated", "several-consumers", "sharing", "login-only"] {
        let path = format!("{}/deploy/samples/{sample}.yaml", env!("CARGO_MANIFEST_DIR"));
        let objects = parts(&std::fs::read_to_string(path).unwrap());
        for secret in chart::of_kind(&objects, "Secret") {
            let keys = secret["stringData"].as_object().unwrap();
            let user = keys.values().filter_map(Value::as_str).find(|value| value.contains('@')).unwrap();
            assert!(simulator.contains(&format!("--user={user}:change-me")), "{sample}: {user}");
        }
    }
}

#[tokio::test]
async fn the_api_server_accepts_every_sample() {
    let control_plane = prepared().await;
    let samples = samples("").into_iter().chain(samples("sidecar"));
    for (path, text) in samples {
        accepts(control_plane, &path, &text).await;
    }
}

#[tokio::test]
async fn an_object_with_an_unknown_field_is_rejected() {
    let control_plane = prepared().await;
    let unknown = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}, payload: {}}";
    let arguments = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-"];
    let error = control_plane.kubectl().run_with_input(&arguments, unknown).await.unwrap_err();
    assert!(error.to_string().contains("payload"), "{error}");
}

/// What the API server says to a credential; `None` if it would take it.
async fn refusal(namespace: &TestNamespace, name: &str, issuer: Option<&str>) -> Option<String> {
    let spec = issuer.map_or(json!({}), |url| json!({"issuer": {"url": url}}));
    let (arguments, text) =
        (["apply", "--dry-run=server", "--filename=-"], credential(name, spec).to_string());
    namespace.kubectl().run_with_input(&arguments, &text).await.err().map(|error| error.to_string())
}

#[tokio::test]
async fn the_admission_policy_lets_each_namespace_use_its_issuers_only() {
    let control_plane = UNDER_POLICIES.control_plane().await.unwrap();
    let shop = TestNamespace::create(control_plane, "policy-shop").await.unwrap();
    let other = TestNamespace::create(control_plane, "policy-other").await.unwrap();
    let rules = json!([
        {"namespaces": [shop.name()], "issuers": ["https://Shop.example.com:443/", "http://plain.example.com:80"]},
        {"namespaces": ["*"], "issuers": ["https://all.example.com:8443"]},
    ]);
    // Another test of this control plane has its own rules for followers.
    let followers = json!([{"namespaces": ["*"], "credentials": ["*"]}]);
    let values = json!({
        "issuer": {"url": "https://default.example.com"},
        "admissionPolicy": {"enabled": true, "rules": rules, "followers": followers},
    });
    // What stands when the policy comes.
    let old = credential("old", json!({"issuer": {"url": "https://old.example.com"}}));
    other.kubectl().apply(&old.to_string()).await.unwrap();
    let objects = chart::render("shop", &values).await;
    let is_policy = |object: &&Value| object["apiVersion"] == "admissionregistration.k8s.io/v1";
    let policy = chart::manifest(objects.iter().filter(is_policy));
    control_plane.kubectl().apply(&policy).await.unwrap();
    wait::until("the policy", LIMIT, async || {
        refusal(&other, "probe", Some("https://nobody.example.com")).await.is_some()
    })
    .await;

    for (namespace, issuer, is_allowed) in [
        (&shop, Some("https://shop.example.com"), true),
        (&shop, Some("HTTPS://SHOP.example.com:443/"), true),
        (&shop, Some("http://plain.example.com"), true),
        (&shop, Some("http://plain.example.com:443"), false),
        (&shop, Some("https://shop.example.com:4430"), false),
        (&shop, Some("https://shop.example.com.evil.example"), false),
        (&shop, Some("https://all.example.com:8443"), true),
        (&shop, None, false),
        (&other, Some("https://shop.example.com"), false),
        (&other, Some("https://all.example.com:8443/"), true),
        (&other, Some("https://all.example.com"), false),
    ] {
        let told = refusal(namespace, "tried", issuer).await;
        assert_eq!(told.is_none(), is_allowed, "{issuer:?} in {}: {told:?}", namespace.name());
        if let Some(told) = told {
            assert!(told.contains("is not allowed in the namespace"), "{told}");
        }
    }

    // What stood before may be labelled, but not turned to another issuer.
    let kubectl = other.kubectl();
    kubectl.run(&["label", "iic", "old", "team=billing"]).await.unwrap();
    let told = refusal(&other, "old", Some("https://older.example.com")).await.unwrap();
    assert!(told.contains("https://older.example.com is not allowed"), "{told}");
}

#[tokio::test]
async fn the_admission_policy_lets_credentials_follow_those_of_other_namespaces_as_its_rules_say() {
    let control_plane = UNDER_POLICIES.control_plane().await.unwrap();
    let shop = TestNamespace::create(control_plane, "follow-shop").await.unwrap();
    let other = TestNamespace::create(control_plane, "follow-other").await.unwrap();
    let followers = json!([
        {"namespaces": [shop.name()], "credentials": ["platform/billing", "shared/*"]},
        {"namespaces": ["*"], "credentials": ["public/token"]},
    ]);
    let rules = json!([{"namespaces": ["*"], "issuers": ["*"]}]);
    let values = json!({"admissionPolicy": {"enabled": true, "rules": rules, "followers": followers}});
    let objects = chart::render("follow", &values).await;
    let is_policy = |object: &&Value| object["apiVersion"] == "admissionregistration.k8s.io/v1";
    let policy = chart::manifest(objects.iter().filter(is_policy));
    control_plane.kubectl().apply(&policy).await.unwrap();
    let refusal = async |namespace: &TestNamespace, reference: Value| {
        let text = credential("follower", json!({"credentialRef": reference})).to_string();
        let arguments = ["apply", "--dry-run=server", "--filename=-"];
        namespace.kubectl().run_with_input(&arguments, &text).await.err().map(|error| error.to_string())
    };
    let of = |namespace: &str, name: &str| json!({"namespace": namespace, "name": name});
    wait::until("the policy", LIMIT, async || refusal(&other, of("platform", "secret")).await.is_some())
        .await;
    for (namespace, reference, is_allowed) in [
        (&shop, of("platform", "billing"), true),
        (&shop, of("platform", "other"), false),
        (&shop, of("shared", "anything"), true),
        (&shop, of("public", "token"), true),
        (&other, of("platform", "billing"), false),
        (&other, of("public", "token"), true),
        (&other, of("public", "other"), false),
        (&other, of(other.name(), "own"), true),
        (&other, json!({"name": "own"}), true),
    ] {
        let told = refusal(namespace, reference.clone()).await;
        assert_eq!(told.is_none(), is_allowed, "{reference} in {}: {told:?}", namespace.name());
        if let Some(told) = told {
            assert!(told.contains("may not follow"), "{told}");
        }
    }
}
