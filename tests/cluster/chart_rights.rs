//! The chart grants the operator exactly the permissions that it uses: the operator goes through everything
//! that can happen to a credential, and the audit log shows its requests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use idissuer::api::IdIssuerCredential;
use idissuer_simulator::{Server, Simulator, Tls};
use idissuer_testbed::proxy::Proxy;
use idissuer_testbed::{AuditRequest, ControlPlane, Mark, Options, Shared, TestNamespace, wait};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::chart::{self, FULL_NAME};
use crate::operator::{
    HOUR, LIMIT, LOGIN, NAME, Operator, PASSWORD, Stage, USER, credential, issuer, token_status,
};

const LIFETIME: Duration = Duration::from_secs(24);
/// The `ConfigMap` and the Secret that hold the authority of the other issuer.
const AUTHORITY: &str = "issuer-ca";

/// A control plane of its own: the operator works in all of its namespaces.
static ALONE: Shared =
    Shared::new(|| Options::new().crd(include_str!("../../crds/idissuer.pl_idissuercredentials.yaml")));

type Right = (String, String, String);

/// Used only if the watch of a new leader lags behind its list of versions, or if that list fails. Nothing here brings that
/// about; `succession` in the simulation does.
const RARELY_USED: (&str, &str, &str) = ("idissuer.pl", "idissuercredentials", "get");

/// An operator with the chart's permissions and arguments.
struct Installed {
    stage: Stage,
    other_issuer: Server,
    home: TestNamespace,
    objects: Vec<Value>,
    proxies: Vec<Proxy>,
}

impl Installed {
    async fn start(control_plane: &'static ControlPlane, name: &str, is_namespaced: bool) -> Self {
        let mut stage = Stage::prepare(control_plane, name, issuer(LIFETIME)).await;
        let home = TestNamespace::create(control_plane, &format!("{name}-home")).await.unwrap();
        let other_issuer = Simulator::start(issuer(HOUR).tls(Tls::localhost())).await.unwrap();
        let namespaces = if is_namespaced { vec![stage.namespace.name()] } else { vec![] };
        let values = json!({
            "issuer": {"url": stage.issuer.url(), "allowed": [other_issuer.url()]},
            "scope": {"namespaces": namespaces},
            "sharing": {"namespaceSelectors": is_namespaced},
            // The first line has the admin address.
            "logFormat": "text",
        });
        let objects = chart::render(home.name(), &values).await;
        let rights = objects.iter().filter(|object| object["apiVersion"] == "rbac.authorization.k8s.io/v1");
        control_plane.kubectl().apply(&chart::manifest(rights)).await.unwrap();

        let container =
            &chart::of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0];
        let arguments = container["args"].as_array().unwrap().iter().map(|it| it.as_str().unwrap());
        stage.operator.arguments = arguments
            .map(|it| if it.starts_with("--admin-addr=") { "--admin-addr=127.0.0.1:0" } else { it })
            .map(str::to_owned)
            .collect();
        stage.operator.user = format!("system:serviceaccount:{}:{FULL_NAME}", home.name());
        let proxies = vec![stage.operator.go_through_proxy(control_plane, None)];
        stage.write_login(USER, PASSWORD).await;
        stage.operator.start(control_plane).await;
        stage.operator.until_ready().await;
        Self { stage, other_issuer, home, objects, proxies }
    }

    async fn live(&mut self) {
        let stage = &self.stage;
        stage.apply(json!({})).await;
        stage.until_correct(NAME).await;
        let first = stage.ready().await;
        stage.renewed(token_status(&first)).await;
        stage.until_correct(NAME).await;
        stage.secrets().delete(NAME, &DeleteParams::default()).await.unwrap();
        stage.until_correct(NAME).await;
        stage.edit_target(json!({"stringData": {"token": "edited"}})).await;
        stage.until_correct(NAME).await;
        // Twice, for an Event that repeats is patched.
        for _ in 0..2 {
            stage.write_login(USER, "mistyped").await;
            stage.until_condition("Stalled", "True", "LoginRejected").await;
            stage.write_login(USER, PASSWORD).await;
            stage.until_condition("LoginAccepted", "True", "LoginAccepted").await;
        }
        self.be_claimed().await;
        self.trust_the_other_issuer().await;
        self.fail_over().await;
        let stage = &self.stage;
        stage.apply(json!({"suspend": true})).await;
        stage.credentials().delete(NAME, &DeleteParams::default()).await.unwrap();
        wait::gone(&stage.secrets(), NAME, LIMIT).await;
        self.stage.operator.stop().await;
    }

    /// Another controller asks whether this one is alive: it answers, whatever version the credential is of.
    async fn be_claimed(&self) {
        let claim = json!({"status": {"claimedBy": "elsewhere/operator"}});
        let parameters = PatchParams::default();
        self.stage.credentials().patch_status(NAME, &parameters, &Patch::Merge(claim)).await.unwrap();
        let is_answered =
            |it: &IdIssuerCredential| it.status.as_ref().is_some_and(|status| status.claimed_by.is_none());
        self.stage.until(NAME, "an answer to the claim", is_answered).await;
    }

    /// Another replica stands by, and takes over: it reads each status, for a watch may show it later.
    async fn fail_over(&mut self) {
        let mut replica = self.stage.prepare_replica("replica");
        replica.user.clone_from(&self.stage.operator.user);
        self.proxies.push(replica.go_through_proxy(self.stage.control_plane, None));
        replica.start(self.stage.control_plane).await;
        let told = async |replica: &Operator, what: &str| {
            wait::until(what, LIMIT, async || replica.output().contains(what)).await;
        };
        told(&replica, "standing by").await;
        self.stage.operator.stop().await;
        told(&replica, "leading lease").await;
        self.stage.operator = replica;
        let before = self.stage.ready().await;
        self.stage.renewed(token_status(&before)).await;
    }

    /// Its authority comes from a `ConfigMap` for the one credential, and from a Secret for the other.
    async fn trust_the_other_issuer(&self) {
        let pem = self.other_issuer.ca_pem().unwrap();
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": AUTHORITY}, "data": {"ca.crt": pem}});
        let maps = self.stage.namespace.api::<ConfigMap>();
        maps.patch(AUTHORITY, &PatchParams::apply("idissuer-tests"), &Patch::Apply(map)).await.unwrap();
        self.stage.write_secret(AUTHORITY, &[("ca.crt", pem.as_bytes())]).await;
        for kind in ["ConfigMap", "Secret"] {
            let bundle = json!({"kind": kind, "name": AUTHORITY, "key": "ca.crt"});
            let name = format!("by-{}", kind.to_lowercase());
            let issuer = json!({"url": self.other_issuer.url(), "caBundleRef": bundle});
            self.stage.apply_as(&name, json!({"issuer": issuer})).await;
            self.stage.ready_as(&name).await;
        }
    }

    /// What the operator asked for, but not the paths that are no objects.
    fn requests(&self) -> Vec<AuditRequest> {
        let audit = self.stage.control_plane.audit();
        let mut requests = audit.of_user_since(&self.stage.operator.user, Mark::START).unwrap();
        requests.retain(|request| !request.resource.starts_with('/'));
        requests
    }

    /// A credential selects namespaces by their labels.
    async fn select_namespaces(&self) {
        let selector = json!({"matchLabels": {"team": "sales"}});
        self.stage.apply_as("selecting", json!({"allowedNamespaces": {"selector": selector}})).await;
        wait::until("a watch of namespaces", LIMIT, async || {
            self.requests().iter().any(|it| it.verb == "watch" && it.resource == "namespaces")
        })
        .await;
    }

    /// That what is granted is used, and what is used is granted. The table is printed.
    fn assert_minimal(&self, scope: &str) {
        let requests = self.requests();
        let refused: Vec<_> = requests.iter().filter(|request| request.code == 403).collect();
        assert!(refused.is_empty(), "used and not granted: {refused:#?}");
        let (granted, used) = (granted(&self.objects), used(&requests));
        eprintln!("\nRights of the operator, {scope}:\n{}", table(&granted, &used));
        let is_rare = |(group, resource, verb): &Right| (&**group, &**resource, &**verb) == RARELY_USED;
        let idle: Vec<_> =
            granted.iter().filter(|right| !used.contains_key(*right) && !is_rare(right)).collect();
        assert!(idle.is_empty(), "granted and never used: {idle:#?}");
        let missing: Vec<_> = used.keys().filter(|right| !granted.contains(*right)).collect();
        assert!(missing.is_empty(), "used and not granted by the chart: {missing:#?}");
    }

    /// That it reads those Secrets only that a credential names, and of all others at most the metadata.
    fn assert_discreet(&self) {
        let named = [LOGIN, NAME, AUTHORITY, "by-configmap", "by-secret", "selecting"];
        for request in self.requests().iter().filter(|it| it.resource == "secrets" && it.verb == "get") {
            assert!(named.contains(&request.name.as_str()), "{request:?}");
        }
        let mut lists = 0;
        for request in self.proxies.iter().flat_map(Proxy::requests) {
            let is_list = request.path.ends_with("/secrets") || request.path.ends_with("/api/v1/namespaces");
            if request.method == "GET" && is_list {
                lists += 1;
                let is_of_metadata = |accepted: &str| accepted.contains("as=PartialObjectMetadata");
                assert!(request.accept.split(',').all(is_of_metadata), "{request:?}");
            }
        }
        assert!(lists > 0, "the proxy saw no list and no watch");
    }
}

/// All that the roles of the operator allow.
fn granted(objects: &[Value]) -> BTreeSet<Right> {
    let bound: BTreeSet<_> = objects
        .iter()
        .filter(|object| matches!(object["kind"].as_str(), Some("RoleBinding" | "ClusterRoleBinding")))
        .map(|binding| (&binding["roleRef"]["kind"], &binding["roleRef"]["name"]))
        .map(|(kind, name)| (kind.as_str().unwrap(), name.as_str().unwrap()))
        .collect();
    let is_bound = |role: &&Value| {
        let name = role["metadata"]["name"].as_str().unwrap();
        role["kind"].as_str().is_some_and(|kind| bound.contains(&(kind, name)))
    };
    let texts =
        |list: &Value| list.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect();
    let mut rights = BTreeSet::new();
    for rule in objects.iter().filter(is_bound).flat_map(|role| role["rules"].as_array().unwrap()) {
        let part = |name: &str| -> Vec<String> { texts(&rule[name]) };
        for group in part("apiGroups") {
            for resource in part("resources") {
                rights.extend(part("verbs").into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
            }
        }
    }
    rights
}

/// What was asked for, and how often. A patch that created its object took the right to create as well.
fn used(requests: &[AuditRequest]) -> BTreeMap<Right, usize> {
    let mut used = BTreeMap::new();
    for request in requests {
        let resource = match request.subresource.as_str() {
            "" => request.resource.clone(),
            subresource => format!("{}/{subresource}", request.resource),
        };
        let mut verbs = vec![request.verb.as_str()];
        if request.verb == "patch" && request.code == 201 {
            verbs.push("create");
        }
        for verb in verbs {
            *used.entry((request.group.clone(), resource.clone(), verb.to_owned())).or_default() += 1;
        }
    }
    used
}

fn table(granted: &BTreeSet<Right>, used: &BTreeMap<Right, usize>) -> String {
    // Writing to a String cannot fail.
    let mut text = format!("{:<45} {:<8} {:>8}", "resource", "verb", "requests");
    for right in granted.iter().chain(used.keys()).collect::<BTreeSet<_>>() {
        let (group, resource, verb) = right;
        let resource = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
        let times = used.get(right).copied().unwrap_or_default();
        let note = if granted.contains(right) { "" } else { "  not granted" };
        let _ = write!(text, "\n{resource:<45} {verb:<8} {times:>8}{note}");
    }
    text
}

#[tokio::test]
async fn in_the_whole_cluster_the_chart_grants_what_the_operator_uses_and_no_more() {
    let mut installed = Installed::start(ALONE.control_plane().await.unwrap(), "rights-cluster", false).await;
    installed.live().await;
    installed.assert_minimal("whole cluster");
    installed.assert_discreet();
}

#[tokio::test]
async fn in_one_namespace_the_chart_grants_what_the_operator_uses_and_nothing_elsewhere() {
    let control_plane = crate::CLUSTER.control_plane().await.unwrap();
    let mut installed = Installed::start(control_plane, "rights-namespace", true).await;
    let elsewhere: Api<Secret> = installed.home.api();
    let text = credential("elsewhere", json!({})).to_string();
    installed.home.kubectl().apply(&text).await.unwrap();
    installed.select_namespaces().await;
    installed.live().await;
    installed.assert_minimal("one namespace");
    installed.assert_discreet();

    assert!(elsewhere.get_opt("elsewhere").await.unwrap().is_none());
    let kubectl = installed.home.kubectl();
    let status = kubectl.run(&["get", "iic", "elsewhere", "--output=jsonpath={.status}"]).await.unwrap();
    assert_eq!(status, "", "a credential outside of the scope is left alone");
    let user = format!("--as={}", installed.stage.operator.user);
    for verb in ["get", "list", "watch", "create", "patch"] {
        let answer = kubectl.output(&["auth", "can-i", verb, "secrets", &user], "").await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "no", "{verb}");
    }
}
