//! The files that the programs of a node are given. Those that may be YAML are JSON, which is YAML.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Node;
use super::available::CNI_PLUGINS;
use super::programs::Programs;
use super::slot::Slot;
use crate::control_plane::ControlPlane;
use crate::error::{Error, Result};
use crate::kubeconfig;

/// The image of the sandbox of each pod.
pub(super) const PAUSE_IMAGE: &str = "localhost/idissuer-testbed/pause:1";
/// The end of every name of a Service.
const DOMAIN: &str = "cluster.local";
/// The API server's certificate has this name; the address by which the node reaches it is not in there.
const SERVER_NAME: &str = "kubernetes";

#[derive(Debug)]
pub(super) struct Files {
    pub(super) kubelet: PathBuf,
    pub(super) kubelet_kubeconfig: PathBuf,
    pub(super) kube_proxy: PathBuf,
    pub(super) scheduler_kubeconfig: PathBuf,
    pub(super) containerd: PathBuf,
    pub(super) dns: PathBuf,
}

#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) control_plane: &'a ControlPlane,
    /// Where the node reaches the API server.
    pub(super) api_server: SocketAddr,
    pub(super) slot: &'a Slot,
    pub(super) programs: &'a Programs,
    pub(super) folder: &'a Path,
}

impl Files {
    pub(super) fn write(subject: Subject<'_>) -> Result<Self> {
        let folder = subject.folder;
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(Error::file("write", &path))?;
            Ok::<_, Error>(path)
        };
        write("ca.crt", &subject.control_plane.authority())?;
        // Names of the outside are not resolved: there is no way there.
        write("resolv.conf", "")?;
        let networks = folder.join("networks");
        fs::create_dir(&networks).map_err(Error::file("create", &networks))?;
        write("networks/10-pods.conflist", &network(subject).to_string())?;
        let node_user = format!("system:node:{}", Node::NAME);
        let proxy_kubeconfig = identity(subject, "kube-proxy", "system:kube-proxy", None)?;
        let dns_kubeconfig = identity(subject, "dns", "testbed:dns", Some("system:masters"))?;
        Ok(Self {
            kubelet: write("kubelet.yaml", &kubelet(subject).to_string())?,
            kubelet_kubeconfig: identity(subject, "kubelet", &node_user, Some("system:nodes"))?,
            kube_proxy: write("kube-proxy.yaml", &kube_proxy(subject, &proxy_kubeconfig).to_string())?,
            scheduler_kubeconfig: subject.control_plane.kubeconfig_as("system:kube-scheduler", None)?,
            containerd: write("containerd.toml", &containerd(subject))?,
            dns: write("Corefile", &dns(subject, &dns_kubeconfig))?,
        })
    }
}

/// A kubeconfig that holds inside the node.
fn identity(subject: Subject<'_>, name: &str, user: &str, group: Option<&str>) -> Result<PathBuf> {
    let path = subject.folder.join(format!("{name}.kubeconfig"));
    let identity = subject.control_plane.identity(user, group)?;
    let server = format!("https://{}", subject.api_server);
    let authority = subject.control_plane.authority();
    kubeconfig::write_with_server_name(&path, &server, SERVER_NAME, &authority, &identity)?;
    Ok(path)
}

fn kubelet(subject: Subject<'_>) -> Value {
    let Subject { slot, folder, .. } = subject;
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": slot.node_address(),
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": folder.join("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}/pods", slot.name()),
        "cgroupsPerQOS": true,
        "enforceNodeAllocatable": [],
        "clusterDNS": [slot.node_address()],
        "clusterDomain": DOMAIN,
        "containerRuntimeEndpoint": format!("unix://{}", socket(folder).display()),
        // A machine that is short of disk is still good enough for a test.
        "evictionHard": { "memory.available": "1Mi" },
        "imageGCHighThresholdPercent": 100,
        "failCgroupV1": false,
        "failSwapOn": false,
        "localStorageCapacityIsolation": false,
        "makeIPTablesUtilChains": false,
        // The default (-999) needs a capability that a container as test machine may not have.
        "oomScoreAdj": 0,
        "podLogsDir": folder.join("log/pods"),
        "resolvConf": folder.join("resolv.conf"),
        // How late a changed Secret is in the files of a pod. The default is a minute.
        "syncFrequency": "10s",
        // Tests wait for the next look. The defaults are for nodes of hundreds of pods.
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
    })
}

fn kube_proxy(subject: Subject<'_>, kubeconfig: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": { "kubeconfig": kubeconfig },
        "clusterCIDR": subject.slot.pod_range(),
        "hostnameOverride": Node::NAME,
        // These are settings of the machine, not of the network namespace.
        "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
        // Tests wait for new Services.
        "nftables": { "minSyncPeriod": "100ms" },
    })
}

/// Each pod has a link of its own to the node. On a bridge, the answer of a Service's pod would go past the node, which
/// has to put the Service's address back in.
fn network(subject: Subject<'_>) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "ranges": [[{ "subnet": subject.slot.pod_range() }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
                "dataDir": subject.folder.join("addresses"),
            },
        }],
    })
}

fn containerd(subject: Subject<'_>) -> String {
    let Subject { folder, programs, .. } = subject;
    let (state, socket) = (folder.join("containerd"), socket(folder));
    let (state, socket) = (state.display(), socket.display());
    let (networks, runc) = (folder.join("networks"), programs.runc.display());
    let networks = networks.display();
    format!(
        r#"version = 3
root = "{state}/root"
state = "{state}/state"

[grpc]
address = "{socket}"

[plugins."io.containerd.cri.v1.images"]
# Works on every file system, and for small images copies are as good.
snapshotter = "native"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.runtime"]
disable_apparmor = true
netns_mounts_under_state_dir = true
# A test machine that is itself a container may not be allowed to lower it.
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{CNI_PLUGINS}"]
conf_dir = "{networks}"

[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
"#
    )
}

/// The outside has no names: there is no way there.
fn dns(subject: Subject<'_>, kubeconfig: &Path) -> String {
    let address = subject.slot.node_address();
    let kubeconfig = kubeconfig.display();
    format!(
        "\
.:53 {{
    bind {address}
    errors
    kubernetes {DOMAIN} {{
        kubeconfig {kubeconfig}
        ttl 0
    }}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"
    )
}

pub(super) fn socket(folder: &Path) -> PathBuf {
    folder.join("containerd.sock")
}
