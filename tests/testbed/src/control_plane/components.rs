//! The command lines of the parts of a control plane.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use super::component::Component;
use super::files::Files;
use super::options::Controllers;
use crate::error::Result;
use crate::ports::Port;
use crate::process::WorkFolder;
use crate::tools::{Program, Tools};

/// Where Services get their addresses from.
const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The address of the `kubernetes` Service: the first of the range.
pub(super) const SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// Where the API server listens.
pub(super) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What [`Controllers::Essential`] means.
const ESSENTIAL_CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,\
    serviceaccount-controller,serviceaccount-token-controller,root-ca-certificate-publisher-controller,\
    resourcequota-controller,clusterrole-aggregation-controller";

/// The ports of a control plane, kept while it is down too: kubeconfigs name them.
#[derive(Debug)]
pub(super) struct Ports {
    etcd: Port,
    etcd_peer: Port,
    pub(super) api_server: Port,
}

impl Ports {
    pub(super) fn reserve() -> Result<Self> {
        Ok(Self { etcd: Port::reserve()?, etcd_peer: Port::reserve()?, api_server: Port::reserve()? })
    }
}

/// Where the programs are that a control plane needs.
#[derive(Debug)]
pub(super) struct Programs {
    etcd: PathBuf,
    api_server: PathBuf,
    controller_manager: Option<PathBuf>,
    pub(super) kubectl: PathBuf,
}

impl Programs {
    /// Blocks, for minutes if one must be built.
    pub(super) fn provide(controllers: Controllers) -> Result<Self> {
        let tools = Tools::locate()?;
        let controller_manager = match controllers {
            Controllers::None => None,
            Controllers::Essential | Controllers::All => Some(tools.provide(Program::KubeControllerManager)?),
        };
        Ok(Self {
            etcd: tools.provide(Program::Etcd)?,
            api_server: tools.provide(Program::KubeApiServer)?,
            controller_manager,
            kubectl: tools.provide(Program::Kubectl)?,
        })
    }
}

pub(super) fn etcd(programs: &Programs, ports: &Ports, folder: &Arc<WorkFolder>) -> Component {
    let client = format!("http://{ADDRESS}:{}", ports.etcd.number());
    let peer = format!("http://{ADDRESS}:{}", ports.etcd_peer.number());
    let arguments = vec![
        format!("--data-dir={}", folder.path().join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // Survives the end of the process, not that of the machine: enough for tests, and much faster.
        "--unsafe-no-fsync=true".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    Component::new("etcd", programs.etcd.clone(), arguments, folder)
}

pub(super) fn api_server(
    programs: &Programs,
    ports: &Ports,
    files: &Files,
    folder: &Arc<WorkFolder>,
) -> Component {
    let arguments = vec![
        format!("--etcd-servers=http://{ADDRESS}:{}", ports.etcd.number()),
        format!("--bind-address={ADDRESS}"),
        format!("--advertise-address={ADDRESS}"),
        format!("--secure-port={}", ports.api_server.number()),
        format!("--tls-cert-file={}", files.server_certificate.display()),
        format!("--tls-private-key-file={}", files.server_key.display()),
        format!("--client-ca-file={}", files.authority.display()),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-account-key-file={}", files.service_account_public_key.display()),
        format!("--service-account-signing-key-file={}", files.service_account_key.display()),
        "--authorization-mode=Node,RBAC".to_owned(),
        // To a node's kubelet, for logs. Its name is not one that this machine could resolve.
        format!("--kubelet-client-certificate={}", files.kubelet_client_certificate.display()),
        format!("--kubelet-client-key={}", files.kubelet_client_key.display()),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        // There is no endpoint of the `kubernetes` Service to keep: it would be a loopback address.
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--audit-policy-file={}", files.audit_policy.display()),
        format!("--audit-log-path={}", files.audit_log.display()),
        // An event is in the file before its request is answered: a test that got an answer finds it there.
        "--audit-log-mode=blocking".to_owned(),
        // In megabytes, never reached: a mark is an offset in the one file.
        "--audit-log-maxsize=100000".to_owned(),
        // Test control planes come and go; nobody waits for their load balancers.
        "--shutdown-delay-duration=0s".to_owned(),
    ];
    Component::new("kube-apiserver", programs.api_server.clone(), arguments, folder)
}

pub(super) fn controller_manager(
    programs: &Programs,
    files: &Files,
    controllers: Controllers,
    folder: &Arc<WorkFolder>,
) -> Option<Component> {
    let program = programs.controller_manager.clone()?;
    let controllers = match controllers {
        Controllers::None => return None,
        Controllers::Essential => ESSENTIAL_CONTROLLERS,
        Controllers::All => "*",
    };
    let arguments = vec![
        format!("--kubeconfig={}", files.kubeconfig.display()),
        format!("--controllers={controllers}"),
        format!("--root-ca-file={}", files.authority.display()),
        format!("--service-account-private-key-file={}", files.service_account_key.display()),
        "--use-service-account-credentials=false".to_owned(),
        "--leader-elect=false".to_owned(),
        // Serves nothing: no port to find for it.
        "--secure-port=0".to_owned(),
        // The defaults (20 and 30 a second) make tests wait for namespaces to go.
        "--kube-api-qps=200".to_owned(),
        "--kube-api-burst=400".to_owned(),
    ];
    Some(Component::new("kube-controller-manager", program, arguments, folder))
}
