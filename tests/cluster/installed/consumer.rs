//! A program that uses tokens: a pod that mounts the target as a directory.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::place::{ISSUER, LIMIT, Place, SHOP};
use idissuer_testbed::wait;

/// The image of the testbed's program for pods.
pub(super) const PROGRAM: &str = "localhost/test/pod:1";

/// What a consumer has seen. Times are in milliseconds of the wall clock.
#[derive(Debug, Default)]
pub(super) struct LastSeen {
    /// When each token, by its fingerprint, first stood in its file.
    pub(super) tokens: BTreeMap<String, u64>,
    pub(super) good: Vec<u64>,
    pub(super) bad: Vec<String>,
}

impl LastSeen {
    /// The longest time without a call that was answered with 200.
    pub(super) fn longest_gap(&self) -> Duration {
        let gaps = self.good.windows(2).map(|pair| pair[1] - pair[0]);
        Duration::from_millis(gaps.max().unwrap_or(u64::MAX))
    }
}

impl Place {
    /// The image of the testbed's program for pods.
    pub(super) async fn knows_program(&self) {
        let node = self.cluster.node();
        node.import_program(node.test_program(), PROGRAM).await.unwrap();
    }

    /// A pod that reads the target of this name and calls the issuer with it each second, from now on.
    pub(super) async fn has_consumer(&self, target: &str) -> String {
        self.knows_program().await;
        let name = format!("{target}-consumer");
        let pod = format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {SHOP}}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: main
    image: {PROGRAM}
    imagePullPolicy: Never
    args: [consume, '{ISSUER}/v2/authorized', /token/token]
    securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
    volumeMounts: [{{name: token, mountPath: /token}}]
  volumes: [{{name: token, secret: {{secretName: {target}}}}}]
"
        );
        self.kubectl().apply(&pod).await.unwrap();
        let is_running =
            |pod: &Pod| pod.status.as_ref().is_some_and(|it| it.phase.as_deref() == Some("Running"));
        let pod = wait::object(&self.api::<Pod>(SHOP), &name, "a running consumer", LIMIT, is_running).await;
        pod.name_any()
    }

    pub(super) async fn seen_by(&self, consumer: &str) -> LastSeen {
        let log = wait::until("the log of the consumer", Duration::from_secs(30), async || {
            self.cluster.node().pod_logs(SHOP, consumer, Some("main")).await
        });
        let mut seen = LastSeen::default();
        for line in log.await.lines() {
            let mut words = line.split(' ');
            match (words.next().and_then(|time| time.parse().ok()), words.next(), words.next()) {
                (Some(time), Some("token"), Some(fingerprint)) => {
                    seen.tokens.entry(fingerprint.to_owned()).or_insert(time);
                }
                (Some(time), Some("call"), Some("200")) => seen.good.push(time),
                _ => seen.bad.push(line.to_owned()),
            }
        }
        seen
    }
}
