//! The namespaces of a node: a network and a view of the mounts of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::slot::Slot;
use super::{cgroup, command};
use crate::error::{Error, Result};
use crate::process::{Grace, Supervised, WorkFolder};

/// It takes some milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

/// Puts itself into the cgroup `$1`, then becomes the rest.
const JOIN: &str = r#"echo $$ >"$1" && shift && exec "$@""#;

/// Namespaces, held by a process that does nothing else. What is started [inside](Self::inside) goes with them.
#[derive(Debug)]
pub(super) struct Space {
    holder: Supervised,
    cgroup: PathBuf,
}

impl Space {
    /// Makes the namespaces, and the link from this machine to them.
    pub(super) async fn create(slot: &Slot, folder: &Arc<WorkFolder>) -> Result<Self> {
        let cgroup = cgroup::create(slot)?;
        let mut unshare = Command::new("/bin/sh");
        unshare
            .args(["-c", JOIN, "join"])
            .arg(&cgroup)
            .args(["unshare", "--net", "--mount", "--", "/bin/sh", "-c", include_str!("space.sh"), "space"])
            .arg(folder.path());
        let holder = Supervised::spawn("space", &unshare, Grace::NONE, folder)?;
        let start = Instant::now();
        while !holder.output().contains("ready") {
            if holder.exit_code().is_some() || start.elapsed() > LIMIT {
                return Err(Error::Command {
                    program: "the namespaces of the node".to_owned(),
                    output: holder.output_tail(),
                });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let space = Self { holder, cgroup };
        space.link(slot).await?;
        Ok(space)
    }

    /// The program and the first arguments that start another program inside.
    pub(super) fn inside(&self, program: &Path) -> (PathBuf, Vec<String>) {
        let arguments = ["-c", JOIN, "join"].map(str::to_owned).into_iter().chain([
            self.cgroup.display().to_string(),
            "nsenter".to_owned(),
            format!("--target={}", self.holder.pid()),
            "--net".to_owned(),
            "--mount".to_owned(),
            "--".to_owned(),
            program.display().to_string(),
        ]);
        (PathBuf::from("/bin/sh"), arguments.collect())
    }

    /// A pair of interfaces, one here and one inside. Pods are reached over it, and reach what listens on this
    /// machine's end.
    async fn link(&self, slot: &Slot) -> Result<()> {
        let (name, host, node) = (slot.name(), slot.host_address(), slot.node_address());
        let holder = self.holder.pid().to_string();
        let inside = format!("--target={holder}");
        let (host_range, node_range) = (format!("{host}/24"), format!("{node}/24"));
        let (host, node) = (host.to_string(), node.to_string());
        let pods = slot.pod_range();
        for arguments in [
            ["ip", "link", "add", &name, "type", "veth", "peer", "name", "node", "netns", &holder].as_slice(),
            &["ip", "address", "add", &host_range, "dev", &name],
            &["ip", "link", "set", &name, "up"],
            &["nsenter", &inside, "--net", "ip", "address", "add", &node_range, "dev", "node"],
            &["nsenter", &inside, "--net", "ip", "link", "set", "node", "up"],
            &["nsenter", &inside, "--net", "ip", "route", "add", "default", "via", &host],
            // Of a pod that is gone. Without it, what is sent there would go back here, and forth again.
            &["nsenter", &inside, "--net", "ip", "route", "add", "unreachable", &pods],
            &["ip", "route", "add", &pods, "via", &node, "dev", &name],
        ] {
            command::run(arguments[0], &arguments[1..]).await?;
        }
        Ok(())
    }
}
