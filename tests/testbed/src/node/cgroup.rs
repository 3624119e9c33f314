//! The cgroups of a node: by them its processes are found, and ended, whatever they have become.
//!
//! `/sys/fs/cgroup` is one hierarchy (version 2) or a folder of several (version 1). A node has the folder `<name>` in
//! each of them, with `node` for its own processes and `pods` for those of its pods.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::slot::Slot;
use crate::error::{Error, Result};

const ROOT: &str = "/sys/fs/cgroup";

/// In which the node's own processes are counted, under version 1: one is enough to find them, and this one also tells
/// the memory of the whole node.
const TRACKER: &str = "memory";

pub(super) fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from(ROOT);
    if is_unified() {
        return vec![root];
    }
    let Ok(entries) = fs::read_dir(&root) else {
        return Vec::new();
    };
    entries
        .flatten()
        // Links are second names.
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .filter(|folder| folder.join("cgroup.procs").exists())
        .collect()
}

/// Tests of one process look at the same time.
static PROBES: AtomicU32 = AtomicU32::new(0);

/// What pods are given shares and limits of.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Why a node cannot have cgroups, if so.
pub(super) fn unavailable() -> Option<String> {
    let root = Path::new(ROOT);
    let missing: Vec<&str> = if is_unified() {
        delegate(root);
        let passed_on = fs::read_to_string(root.join("cgroup.subtree_control")).unwrap_or_default();
        let has = |name: &&str| passed_on.split_whitespace().any(|controller| controller == *name);
        CONTROLLERS.into_iter().filter(|name| !has(name)).collect()
    } else {
        CONTROLLERS.into_iter().filter(|name| !root.join(name).join("cgroup.procs").exists()).collect()
    };
    if !missing.is_empty() {
        return Some(format!("a node needs the cgroup controllers {} below {ROOT}", missing.join(", ")));
    }
    let name = format!("idissuer-probe-{}-{}", std::process::id(), PROBES.fetch_add(1, Ordering::Relaxed));
    let probe = hierarchies().first()?.join(name);
    let made = fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe));
    made.err().map(|error| format!("a node needs to make cgroups below {ROOT}: {error}"))
}

/// Makes the cgroups of `slot`, and returns the file that takes its own processes.
pub(super) fn create(slot: &Slot) -> Result<PathBuf> {
    if is_unified() {
        delegate(Path::new(ROOT));
    }
    let mut own = None;
    for folder in slot.cgroups() {
        for part in ["node", "pods"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
            if folder.parent().is_some_and(|hierarchy| hierarchy.join("cpuset.cpus").exists()) {
                copy_cpuset(&folder)?;
                copy_cpuset(&path)?;
            }
        }
        if is_unified() {
            delegate(&folder);
            delegate(&folder.join("pods"));
        }
        if is_unified() || folder.starts_with(Path::new(ROOT).join(TRACKER)) {
            own = Some(folder.join("node/cgroup.procs"));
        }
    }
    own.ok_or(Error::NodeUnavailable(format!("there is no {TRACKER} cgroup below {ROOT}")))
}

fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Lets the children of `folder` have its controllers (version 2). A controller that cannot be passed on is one that no
/// pod gets.
fn delegate(folder: &Path) {
    let controllers = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// A new cpuset (version 1) has no processors, and takes no process until it gets some.
fn copy_cpuset(folder: &Path) -> Result<()> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let target = folder.join(name);
        let source = folder.parent().map(|parent| parent.join(name)).unwrap_or_default();
        let value = fs::read(&source).map_err(Error::file("read", &source))?;
        fs::write(&target, value).map_err(Error::file("write", &target))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tests_may_ask_at_once_whether_there_can_be_a_node() {
        let ask = |_| std::thread::spawn(|| (0..500).map(|_| unavailable()).collect::<Vec<_>>());
        let threads: Vec<_> = (0..4).map(ask).collect();
        let mut answers: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
}
