//! Which containers use a Secret, and whether they see its next value.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};
use serde::Serialize;

/// How a container uses a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Use {
    /// As mounted files, which the kubelet updates.
    Files,
    /// As files mounted with a subPath, which are never updated.
    SubPath,
    /// As environment variables, which never change.
    Environment,
    /// To pull images, which the kubelet reads at each pull.
    ImagePull,
}

impl Use {
    /// Whether a new token reaches it without a restart.
    pub(super) fn sees_changes(self) -> bool {
        matches!(self, Self::Files | Self::ImagePull)
    }

    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Files => "mounted files",
            Self::SubPath => "subPath mount",
            Self::Environment => "environment",
            Self::ImagePull => "image pulls",
        }
    }
}

/// A container that uses a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Consumer {
    pub(super) pod: String,
    /// Empty for the pod as a whole.
    pub(super) container: String,
    pub(super) uses: Use,
    pub(super) sees_new_tokens: bool,
}

/// Who uses this Secret, by pod and container.
pub(super) fn consumers(pods: &[Pod], secret: &str) -> Vec<Consumer> {
    let mut found = BTreeSet::new();
    for pod in pods.iter().filter(|pod| !has_ended(pod)) {
        let (Some(name), Some(spec)) = (&pod.metadata.name, &pod.spec) else { continue };
        found.extend(of_pod(spec, secret).into_iter().map(|(container, uses)| Consumer {
            pod: name.clone(),
            container,
            uses,
            sees_new_tokens: uses.sees_changes(),
        }));
    }
    found.into_iter().collect()
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn of_pod(spec: &PodSpec, secret: &str) -> Vec<(String, Use)> {
    let mut found = Vec::new();
    if spec.image_pull_secrets.iter().flatten().any(|it| it.name == secret) {
        found.push((String::new(), Use::ImagePull));
    }
    let holds = |volume: &&Volume| holds(volume, secret);
    let volumes: BTreeSet<_> =
        spec.volumes.iter().flatten().filter(holds).map(|volume| volume.name.as_str()).collect();
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        let mounts = container.volume_mounts.iter().flatten();
        for mount in mounts.filter(|mount| volumes.contains(mount.name.as_str())) {
            let is_part = |path: &Option<String>| path.as_ref().is_some_and(|path| !path.is_empty());
            let uses = if is_part(&mount.sub_path) || is_part(&mount.sub_path_expr) {
                Use::SubPath
            } else {
                Use::Files
            };
            found.push((container.name.clone(), uses));
        }
        if is_in_environment(container, secret) {
            found.push((container.name.clone(), Use::Environment));
        }
    }
    found
}

fn holds(volume: &Volume, secret: &str) -> bool {
    let is_whole = volume.secret.as_ref().is_some_and(|it| it.secret_name.as_deref() == Some(secret));
    let sources = volume.projected.iter().flat_map(|it| it.sources.iter().flatten());
    let is_part = |it: &k8s_openapi::api::core::v1::VolumeProjection| {
        it.secret.as_ref().is_some_and(|projection| projection.name == secret)
    };
    is_whole || sources.into_iter().any(is_part)
}

fn is_in_environment(container: &Container, secret: &str) -> bool {
    let sources = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    let is_key = sources.filter_map(|source| source.secret_key_ref.as_ref()).any(|key| key.name == secret);
    let whole = container.env_from.iter().flatten().filter_map(|source| source.secret_ref.as_ref());
    is_key || whole.into_iter().any(|it| it.name == secret)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod with one container.
    #[expect(clippy::needless_pass_by_value, reason = "the callers write it in place")]
    pub(in crate::plugin) fn pod(name: &str, mut spec: Value, container: Value) -> Pod {
        let mut whole = json!({"name": "main"});
        whole.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        spec["containers"] = json!([whole]);
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn each_use_of_a_secret_is_found_and_only_files_see_changes() {
        let volume = json!({"volumes": [{"name": "token", "secret": {"secretName": "billing"}}]});
        let projected = json!({"volumes": [
            {"name": "token", "projected": {"sources": [{"secret": {"name": "billing"}}]}},
        ]});
        let mounts = |extra: Value| {
            let mut mount = json!({"name": "token", "mountPath": "/run"});
            mount.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            json!({"volumeMounts": [mount]})
        };
        let from_key = json!({"env": [
            {"name": "PLAIN", "value": "x"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "billing", "key": "token"}}},
        ]});
        let cases = [
            (volume.clone(), mounts(json!({})), Some(Use::Files)),
            (projected, mounts(json!({})), Some(Use::Files)),
            (volume.clone(), mounts(json!({"subPath": "token"})), Some(Use::SubPath)),
            (volume.clone(), mounts(json!({"subPathExpr": "$(X)"})), Some(Use::SubPath)),
            (volume, json!({}), None),
            (json!({}), from_key, Some(Use::Environment)),
            (json!({}), json!({"envFrom": [{"secretRef": {"name": "billing"}}]}), Some(Use::Environment)),
            (json!({}), json!({"envFrom": [{"secretRef": {"name": "other"}}]}), None),
            (json!({"imagePullSecrets": [{"name": "billing"}]}), json!({}), Some(Use::ImagePull)),
        ];
        for (spec, container, expected) in cases {
            let found = consumers(&[pod("reports", spec.clone(), container.clone())], "billing");
            let uses: Vec<_> = found.iter().map(|it| it.uses).collect();
            assert_eq!(uses, expected.into_iter().collect::<Vec<_>>(), "{spec} {container}");
            assert!(found.iter().all(|it| it.sees_new_tokens == it.uses.sees_changes()));
        }
    }

    #[test]
    fn pods_that_have_ended_do_not_count() {
        let mut ended = pod("job", json!({}), json!({"envFrom": [{"secretRef": {"name": "billing"}}]}));
        assert_eq!(consumers(std::slice::from_ref(&ended), "billing").len(), 1);
        ended.status = serde_json::from_value(json!({"phase": "Succeeded"})).unwrap();
        assert_eq!(consumers(&[ended], "billing"), []);
    }
}
