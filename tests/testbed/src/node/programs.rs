//! The programs of a node, and their command lines.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::available;
use super::files::Files;
use super::slot::Slot;
use super::space::Space;
use crate::control_plane::Component;
use crate::error::Result;
use crate::process::WorkFolder;
use crate::tools::{Program, Tools};

#[derive(Debug)]
pub(super) struct Programs {
    kubelet: PathBuf,
    kube_proxy: PathBuf,
    scheduler: PathBuf,
    containerd: PathBuf,
    shim: PathBuf,
    dns: PathBuf,
    pub(super) runc: PathBuf,
    pub(super) ctr: PathBuf,
    pub(super) pod: PathBuf,
}

impl Programs {
    /// Blocks, for minutes if one must be built.
    pub(super) fn provide() -> Result<Self> {
        available::prepare()?;
        let tools = Tools::locate()?;
        Ok(Self {
            scheduler: tools.provide(Program::KubeScheduler)?,
            kubelet: tools.provide(Program::Kubelet)?,
            kube_proxy: tools.provide(Program::KubeProxy)?,
            containerd: tools.provide(Program::Containerd)?,
            ctr: tools.provide(Program::Ctr)?,
            shim: tools.provide(Program::ContainerdShim)?,
            runc: tools.provide(Program::Runc)?,
            dns: tools.provide(Program::Dns)?,
            pod: tools.provide(Program::Pod)?,
        })
    }
}

/// The programs as parts that can be stopped and started.
#[derive(Debug)]
pub(super) struct Components {
    // Dropped in this order.
    pub(super) kubelet: Component,
    pub(super) scheduler: Component,
    pub(super) kube_proxy: Component,
    pub(super) dns: Component,
    pub(super) containerd: Component,
}

impl Components {
    pub(super) fn new(
        programs: &Programs,
        files: &Files,
        slot: &Slot,
        space: &Space,
        folder: &Arc<WorkFolder>,
    ) -> Self {
        let inside = |name: &'static str, program: &Path, arguments: Vec<String>| {
            let (program, mut all) = space.inside(program);
            all.extend(arguments);
            Component::new(name, program, all, folder)
        };
        let kubelet = vec![
            format!("--config={}", files.kubelet.display()),
            format!("--kubeconfig={}", files.kubelet_kubeconfig.display()),
            format!("--root-dir={}", folder.path().join("kubelet").display()),
            format!("--cert-dir={}", folder.path().join("kubelet/pki").display()),
            format!("--hostname-override={}", super::Node::NAME),
            format!("--node-ip={}", slot.node_address()),
        ];
        let scheduler = vec![
            format!("--kubeconfig={}", files.scheduler_kubeconfig.display()),
            "--leader-elect=false".to_owned(),
            // Serves nothing: no port to find for it.
            "--secure-port=0".to_owned(),
        ];
        // containerd looks for the shim in its PATH.
        let shim_folder = programs.shim.parent().unwrap_or(Path::new("/")).display().to_string();
        let path = format!("PATH={shim_folder}:/usr/sbin:/usr/bin:/sbin:/bin");
        let containerd = vec![
            path,
            programs.containerd.display().to_string(),
            format!("--config={}", files.containerd.display()),
        ];
        Self {
            kubelet: inside("kubelet", &programs.kubelet, kubelet),
            scheduler: Component::new("kube-scheduler", programs.scheduler.clone(), scheduler, folder),
            kube_proxy: inside(
                "kube-proxy",
                &programs.kube_proxy,
                vec![format!("--config={}", files.kube_proxy.display())],
            ),
            dns: inside("dns", &programs.dns, vec![format!("-conf={}", files.dns.display())]),
            containerd: inside("containerd", Path::new("/usr/bin/env"), containerd),
        }
    }

    pub(super) fn all(&self) -> [&Component; 5] {
        [&self.kubelet, &self.scheduler, &self.kube_proxy, &self.dns, &self.containerd]
    }

    pub(super) fn output_tails(&self) -> String {
        self.all().iter().fold(String::new(), |mut text, part| {
            let _ = writeln!(text, "--- {}\n{}", part.name(), part.output_tail());
            text
        })
    }
}
