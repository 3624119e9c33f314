//! The requirements of a node on the machine, and how they are met.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use super::cgroup;
use crate::error::{Error, Result};
use crate::tools::tell;

/// What is looked for, and the Debian package that brings it. `pkg-config` and `libseccomp-dev` are for the build of runc,
/// wrk makes load, and libfaketime gives programs of tests another time.
const NEEDS: [(&str, &str); 8] = [
    ("/usr/bin/nsenter", "util-linux"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
    ("/usr/bin/pkg-config", "pkg-config"),
    ("/usr/include/seccomp.h", "libseccomp-dev"),
    ("/usr/bin/wrk", "wrk"),
    // The library itself lies in a folder that is named after the machine's architecture.
    ("/usr/share/doc/libfaketime/copyright", "libfaketime"),
];

/// Where Debian has the plugins.
pub(super) const CNI_PLUGINS: &str = "/usr/lib/cni";

/// Why this machine can have no node, in a sentence, if so.
pub(super) fn unavailable() -> Option<String> {
    if !is_root() {
        return Some("a node needs root, for its namespaces, mounts and cgroups".to_owned());
    }
    for (namespace, flag) in [("a network namespace", "--net"), ("a mount namespace", "--mount")] {
        let made = Command::new("unshare").args([flag, "true"]).stdin(Stdio::null()).output();
        if !made.is_ok_and(|output| output.status.success()) {
            return Some(format!("a node needs {namespace} of its own: `unshare {flag} true` fails here"));
        }
    }
    let missing = missing();
    if !missing.is_empty() && !Path::new("/usr/bin/apt-get").exists() {
        return Some(format!("a node needs what Debian has in {}", missing.join(", ")));
    }
    cgroup::unavailable()
}

pub(super) fn prepare() -> Result<()> {
    if let Some(reason) = unavailable() {
        return Err(Error::NodeUnavailable(reason));
    }
    if missing().is_empty() {
        return Ok(());
    }
    // One at a time, of all tests of all processes: apt does not wait for itself.
    let path = super::slot::locks()?.join("packages");
    let lock = File::create(&path).map_err(Error::file("create", &path))?;
    lock.lock().map_err(Error::file("lock", &path))?;
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    tell(&format!("installing {} for a node", missing.join(", ")));
    apt(&["update", "--quiet"])?;
    // Somebody else may be installing.
    let mut arguments =
        vec!["install", "--quiet", "--yes", "--no-install-recommends", "-oDPkg::Lock::Timeout=300"];
    arguments.extend(missing);
    apt(&arguments)
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().nth(1));
    effective == Some("0")
}

fn missing() -> Vec<&'static str> {
    NEEDS.iter().filter(|(path, _)| !Path::new(path).exists()).map(|(_, package)| *package).collect()
}

fn apt(arguments: &[&str]) -> Result<()> {
    let program = || format!("apt-get {}", arguments.join(" "));
    let output = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Spawn { program: program(), source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Command { program: program(), output: String::from_utf8_lossy(&output.stderr).into_owned() })
}
