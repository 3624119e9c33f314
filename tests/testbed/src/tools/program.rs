//! The programs that the testbed can find or build.

/// The version of Kubernetes in `tools/go.mod`, stamped into the programs: unstamped, they report a version that
/// clients cannot parse.
const KUBERNETES_VERSION: &str = "v1.37.2";

/// A program of the control plane, or one to talk to it.
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
}

impl Program {
    /// All of them, in the order in which they are built.
    pub const ALL: [Self; 4] = [Self::Etcd, Self::KubeApiServer, Self::KubeControllerManager, Self::Kubectl];

    /// The name of its file, in `KUBEBUILDER_ASSETS` as well as in the cache.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiServer => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
        }
    }

    /// The Go package that it is built from.
    pub(super) const fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiServer => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
        }
    }

    /// How long a cold build takes on two cores, in the order of [`Program::ALL`]: each builds on what Go cached
    /// for the one before.
    pub(super) const fn usual_minutes(self) -> u32 {
        match self {
            Self::Etcd | Self::Kubectl => 1,
            Self::KubeControllerManager => 2,
            Self::KubeApiServer => 4,
        }
    }
}

/// Arguments of `go build`, the same for every program. They are part of the cache folder's name.
pub(super) fn build_flags() -> Vec<String> {
    let component = "k8s.io/component-base/version";
    let mut parts = KUBERNETES_VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let stamps = format!(
        "-s -w -X {component}.gitVersion={KUBERNETES_VERSION} -X {component}.gitMajor={major} -X {component}.gitMinor={minor}"
    );
    ["-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", &stamps].map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamped_version_is_the_one_that_is_built() {
        let go_mod = include_str!("../../tools/go.mod");
        assert!(go_mod.contains(&format!("k8s.io/kubernetes {KUBERNETES_VERSION} ")));
    }

    #[test]
    fn every_program_is_a_tool_of_the_go_module() {
        let go_mod = include_str!("../../tools/go.mod");
        for program in Program::ALL {
            assert!(go_mod.contains(&format!("\t{}\n", program.package())), "{program:?}");
        }
    }
}
