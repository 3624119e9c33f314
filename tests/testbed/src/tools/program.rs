//! The programs that the testbed can find or build.

use super::module::{self, Module};

/// The version of Kubernetes in `tools/go.mod`, stamped into the programs: unstamped, they report a version that
/// clients cannot parse.
const KUBERNETES_VERSION: &str = "v1.37.2";

/// A program of the control plane or of a node, or one to talk to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// The store of the API server.
    Etcd,
    /// The API server.
    KubeApiServer,
    /// Garbage collection, namespace deletion, default service accounts.
    KubeControllerManager,
    /// The client that users have.
    Kubectl,
    /// Gives pods their node.
    KubeScheduler,
    /// Runs the pods of a node.
    Kubelet,
    /// Makes the addresses of Services work on a node.
    KubeProxy,
    /// Runs the containers of a node.
    Containerd,
    /// Stands between containerd and one pod.
    ContainerdShim,
    /// Talks to containerd.
    Ctr,
    /// Starts one container.
    Runc,
    /// The names of Services: `CoreDNS`.
    Dns,
    /// What the sandboxes of pods, and pods of tests, run.
    Pod,
    /// Installs charts.
    Helm,
    /// The Helm before, which many still use.
    Helm3,
}

impl Program {
    /// Those of a control plane, in the order in which they are built.
    pub const CONTROL_PLANE: [Self; 4] =
        [Self::Etcd, Self::KubeApiServer, Self::KubeControllerManager, Self::Kubectl];

    /// Those of a node, in the order in which they are built.
    pub const NODE: [Self; 9] = [
        Self::KubeScheduler,
        Self::Kubelet,
        Self::KubeProxy,
        Self::Containerd,
        Self::Ctr,
        Self::ContainerdShim,
        Self::Runc,
        Self::Dns,
        Self::Pod,
    ];

    /// Those that install charts.
    pub const HELM: [Self; 2] = [Self::Helm, Self::Helm3];

    /// The name of its file, in `KUBEBUILDER_ASSETS` as well as in the cache.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiServer => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::Containerd => "containerd",
            Self::ContainerdShim => "containerd-shim-runc-v2",
            Self::Ctr => "ctr",
            Self::Runc => "runc",
            Self::Dns => "testbed-dns",
            Self::Pod => "testbed-pod",
            Self::Helm => "helm",
            Self::Helm3 => "helm3",
        }
    }

    /// The Go package that it is built from.
    pub(super) const fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiServer => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::KubeScheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::Kubelet => "k8s.io/kubernetes/cmd/kubelet",
            Self::KubeProxy => "k8s.io/kubernetes/cmd/kube-proxy",
            Self::Containerd => "github.com/containerd/containerd/v2/cmd/containerd",
            Self::ContainerdShim => "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            Self::Ctr => "github.com/containerd/containerd/v2/cmd/ctr",
            Self::Runc => "github.com/opencontainers/runc",
            Self::Dns => "idissuer-testbed/tools/node/dns",
            Self::Pod => "idissuer-testbed/tools/node/pod",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Helm3 => "helm.sh/helm/v3/cmd/helm",
        }
    }

    /// The Go module whose versions it is built with.
    pub(super) const fn module(self) -> &'static Module {
        match self {
            Self::Etcd
            | Self::KubeApiServer
            | Self::KubeControllerManager
            | Self::Kubectl
            | Self::KubeScheduler
            | Self::Kubelet
            | Self::KubeProxy => &module::KUBERNETES,
            Self::Containerd | Self::ContainerdShim | Self::Ctr | Self::Runc | Self::Dns | Self::Pod => {
                &module::NODE
            }
            Self::Helm => &module::HELM,
            Self::Helm3 => &module::HELM3,
        }
    }

    /// Whether it needs a C compiler, and of C libraries libseccomp.
    pub(super) const fn needs_c(self) -> bool {
        matches!(self, Self::Runc)
    }

    /// How long a cold build takes on two cores, in the order of [`Program::CONTROL_PLANE`], [`Program::NODE`] and
    /// [`Program::HELM`]: each builds on what Go cached for the one before.
    pub(super) const fn usual_minutes(self) -> u32 {
        match self {
            // It is built first, with the packages that the others share.
            Self::KubeControllerManager => 9,
            _ => 1,
        }
    }
}

/// Arguments of `go build`, the same for every program of a module. They are part of the cache folder's name.
pub(super) fn build_flags(module: &Module) -> Vec<String> {
    let component = "k8s.io/component-base/version";
    let mut parts = KUBERNETES_VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut stamps = format!(
        "-s -w -X {component}.gitVersion={KUBERNETES_VERSION} -X {component}.gitMajor={major} -X {component}.gitMinor={minor}"
    );
    if !module.stamps.is_empty() {
        stamps.push(' ');
        stamps.push_str(module.stamps);
    }
    // The tag counts for runc alone: without it, it refuses pods that ask for the default seccomp profile.
    ["-mod=readonly", "-buildvcs=false", "-trimpath", "-tags", "seccomp", "-ldflags", &stamps]
        .map(str::to_owned)
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamped_version_is_the_one_that_is_built() {
        let go_mod = include_str!("../../tools/go.mod");
        assert!(go_mod.contains(&format!("k8s.io/kubernetes {KUBERNETES_VERSION} ")));
    }
}
