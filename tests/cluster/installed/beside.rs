//! The sidecar in pods: it holds the program back until there is a token, lets a Job end, comes by annotation, and brings
//! tokens sooner than the kubelet.

use idissuer_testbed::{Program, wait};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use super::consumer::{LastSeen, PROGRAM};
use super::place::{CALM_ISSUER, ISSUER, LIFETIME, LIMIT, Place, SHOP, VERSION};
use super::publications::Publications;

const ROTATIONS: usize = 4;
/// What the profile `restricted` wants of each container.
const RESTRICTED: &str = "{allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}";

/// A pod with a native sidecar that takes tokens from the target `billing` at the API server, and its rights.
fn pod_with_sidecar() -> String {
    format!(
        "
apiVersion: v1
kind: ServiceAccount
metadata: {{name: reports, namespace: {SHOP}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: read-billing, namespace: {SHOP}}}
rules: [{{apiGroups: [''], resources: [secrets], resourceNames: [billing], verbs: [get, list, watch]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: read-billing, namespace: {SHOP}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: read-billing}}
subjects: [{{kind: ServiceAccount, name: reports}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: reports, namespace: {SHOP}}}
spec:
  serviceAccountName: reports
  terminationGracePeriodSeconds: 1
  securityContext: {{runAsNonRoot: true, runAsUser: 1234, fsGroup: 65532, seccompProfile: {{type: RuntimeDefault}}}}
  initContainers:
  - name: idissuer
    image: idissuer:{VERSION}
    restartPolicy: Always
    args: [sidecar, --source=secret, --secret=billing, --output-dir=/token]
    startupProbe: {{httpGet: {{path: /startup, port: 9440}}, periodSeconds: 1, failureThreshold: 300}}
    securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}, readOnlyRootFilesystem: true}}
    volumeMounts: [{{name: token, mountPath: /token}}]
  containers:
  - name: main
    image: {PROGRAM}
    imagePullPolicy: Never
    args: [consume, '{ISSUER}/v2/authorized', /token/token]
    securityContext: {RESTRICTED}
    volumeMounts: [{{name: token, mountPath: /token, readOnly: true}}]
  volumes: [{{name: token, emptyDir: {{medium: Memory}}}}]
"
    )
}

/// A pod that the chart's policy gives a sidecar.
fn pod_with_annotation() -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: annotated, namespace: {SHOP}, annotations: {{idissuer.pl/inject-secret: billing}}}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {{runAsNonRoot: true, runAsUser: 1234, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: main
    image: {PROGRAM}
    imagePullPolicy: Never
    args: [consume, '{ISSUER}/v2/authorized', /run/idissuer/token]
    securityContext: {RESTRICTED}
"
    )
}

/// A Job whose program calls the issuer once, without a token of its own: through the proxy of a sidecar that logs in.
fn job_through_proxy() -> String {
    format!(
        "
apiVersion: v1
kind: Secret
metadata: {{name: nightly-login, namespace: {SHOP}}}
stringData: {{username: demo@idissuer.pl, password: demo}}
---
apiVersion: batch/v1
kind: Job
metadata: {{name: nightly, namespace: {SHOP}}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      securityContext: {{runAsNonRoot: true, runAsUser: 1234, fsGroup: 1234, seccompProfile: {{type: RuntimeDefault}}}}
      initContainers:
      - name: idissuer
        image: idissuer:{VERSION}
        restartPolicy: Always
        args: [sidecar, --source=login, --login-dir=/login, '--issuer-url={CALM_ISSUER}', --output-dir=/token,
          --proxy-listen=8081, '--upstream={CALM_ISSUER}', --allow-plain-upstream]
        startupProbe: {{httpGet: {{path: /startup, port: 9440}}, periodSeconds: 1, failureThreshold: 300}}
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}, readOnlyRootFilesystem: true}}
        volumeMounts: [{{name: login, mountPath: /login, readOnly: true}}, {{name: token, mountPath: /token}}]
      containers:
      - name: main
        image: {PROGRAM}
        imagePullPolicy: Never
        args: [get, 'http://127.0.0.1:8081/v2/authorized']
        securityContext: {RESTRICTED}
      volumes:
      - {{name: login, secret: {{secretName: nightly-login}}}}
      - {{name: token, emptyDir: {{medium: Memory}}}}
"
    )
}

impl Place {
    async fn pod(&self, name: &str) -> Pod {
        self.api::<Pod>(SHOP).get(name).await.unwrap()
    }

    /// Waits until the program of a pod has made calls with so many tokens.
    async fn until_seen(&self, pod: &str, tokens: usize) -> LastSeen {
        let limit = LIMIT + LIFETIME * u32::try_from(tokens).unwrap();
        wait::until("the program's next token", limit, async || {
            let seen = self.seen_by(pod).await;
            if seen.tokens.len() >= tokens && !seen.good.is_empty() {
                Ok(seen)
            } else {
                Err(format!("{pod}: {seen:?}"))
            }
        })
        .await
    }
}

fn is_program_started(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.into_iter().any(|it: &ContainerStatus| it.started == Some(true))
}

fn is_sidecar_running(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    let mut running = statuses.filter(|it| it.state.as_ref().is_some_and(|state| state.running.is_some()));
    running.any(|it| it.name == "idissuer")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and a node: make installed runs it"]
async fn a_sidecar_holds_its_program_back_until_there_is_a_token_and_then_keeps_it_fresh() {
    let Some(place) = Place::start(Program::Helm).await else { return };
    place.knows_program().await;
    place.release("install", &[&format!("issuer.url={ISSUER}"), "injection.enabled=true"]).await;

    place.kubectl().apply(&pod_with_sidecar()).await.unwrap();
    let pods = place.api::<Pod>(SHOP);
    wait::object(&pods, "reports", "a running sidecar", LIMIT, is_sidecar_running).await;
    assert!(!is_program_started(&place.pod("reports").await), "there is no token yet");
    place.has_credential(SHOP, "billing", "").await;
    place.ready(SHOP, "billing").await;
    let (publications, watching) = Publications::watch(place.api(SHOP), "billing");
    wait::object(&pods, "reports", "the program", LIMIT, is_program_started).await;
    let mounted = place.has_consumer("billing").await;

    // The policy takes a moment to be known to the API server: until then pods come without a sidecar.
    wait::until("an injected sidecar", LIMIT, async || {
        place.kubectl().apply(&pod_with_annotation()).await.unwrap();
        let pod = place.pod("annotated").await;
        let has_sidecar = pod.spec.as_ref().is_some_and(|spec| spec.init_containers.is_some());
        if !has_sidecar {
            place.kubectl().run(&["--namespace", SHOP, "delete", "pod", "annotated", "--now"]).await.unwrap();
        }
        has_sidecar
    })
    .await;

    place.kubectl().apply(&job_through_proxy()).await.unwrap();
    let is_complete = |job: &Job| job.status.as_ref().is_some_and(|status| status.succeeded == Some(1));
    wait::object(&place.api::<Job>(SHOP), "nightly", "the end of the Job", LIMIT, is_complete).await;
    let pod = &place.pods(SHOP, "job-name=nightly").await[0];
    let said = place.cluster.node().pod_logs(SHOP, &pod.name_any(), Some("main")).await.unwrap();
    assert!(
        said.contains("demo@idissuer.pl"),
        "the issuer answered to the token that the proxy put in: {said}"
    );

    let pods = [
        ("reports", "whose sidecar asks the API server"),
        ("annotated", "whose sidecar mounts it"),
        (&*mounted, "which mounts it"),
    ];
    for (pod, way) in pods {
        let seen = place.until_seen(pod, ROTATIONS + 1).await;
        assert_eq!(seen.bad, Vec::<String>::new(), "{pod}");
        publications.tell_delays(&format!("{pod}, {way}"), &seen.tokens, ROTATIONS - 1);
    }
    watching.abort();
    place.tell_memory_of("idissuer", SHOP).await;
}
