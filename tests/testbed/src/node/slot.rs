//! What one node of this machine has to itself: a number, and the names and addresses that follow from it.

use std::fs::{self, File};
use std::io::Read;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::undertaker::Undertaker;
use crate::error::{Error, Result};
use crate::process::WorkFolder;

/// More nodes than this at one time no machine has memory for.
const SLOTS: u8 = 64;

/// One place for the whole machine, as the names are: the holder of another lock would take a running node for what is
/// left of a dead one.
const LOCKS: &str = "/run/idissuer-testbed";

pub(super) fn locks() -> Result<&'static Path> {
    let folder = Path::new(LOCKS);
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    Ok(folder)
}

/// A number below [`SLOTS`] that no other node has.
#[derive(Debug)]
pub(super) struct Slot {
    number: u8,
    /// Also held by the undertaker, which may outlive this process: the number is free when the node is gone.
    lock: File,
}

impl Slot {
    /// Takes a free number, and clears what a dead process may have left under any of them. It leaves nothing, unless
    /// its undertaker was killed as well.
    pub(super) fn take() -> Result<Self> {
        let locks = locks()?;
        let mut taken = None;
        for number in 0..SLOTS {
            let path = locks.join(number.to_string());
            let mut options = File::options();
            // Its content is the note of who had it last.
            options.create(true).read(true).write(true).truncate(false);
            let lock = options.open(&path).map_err(Error::file("open", &path))?;
            if lock.try_lock().is_err() {
                continue;
            }
            let slot = Self { number, lock };
            slot.clear()?;
            if taken.is_none() {
                taken = Some(slot);
            }
        }
        taken.ok_or(Error::NoFreeSlot)
    }

    /// Records the folder of the node, for the next owner of the number.
    pub(super) fn note(&self, folder: &Path) -> Result<()> {
        self.write_note(folder.as_os_str().as_encoded_bytes())
    }

    fn clear(&self) -> Result<()> {
        let link = PathBuf::from("/sys/class/net").join(self.name());
        if link.exists() || self.cgroups().iter().any(|folder| folder.exists()) {
            drop(Undertaker::employ(self, None)?);
        }
        let folder = PathBuf::from(self.read_note()?);
        if WorkFolder::is_one(&folder) && folder.exists() {
            fs::remove_dir_all(&folder).map_err(Error::file("remove", &folder))?;
        }
        self.write_note(b"")
    }

    fn read_note(&self) -> Result<String> {
        let mut note = String::new();
        (&self.lock).read_to_string(&mut note).map_err(Error::file("read", LOCKS))?;
        Ok(note)
    }

    fn write_note(&self, note: &[u8]) -> Result<()> {
        let failed = |source| Error::File { operation: "write", path: LOCKS.into(), source };
        self.lock.set_len(0).map_err(failed)?;
        self.lock.write_all_at(note, 0).map_err(failed)
    }

    /// The name of its cgroup and of its network link. A link's name has at most 15 bytes.
    pub(super) fn name(&self) -> String {
        format!("idissuer-node{}", self.number)
    }

    pub(super) fn host_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 231, self.number, 1)
    }

    pub(super) fn node_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 231, self.number, 2)
    }

    /// Where its pods get their addresses from.
    pub(super) fn pod_range(&self) -> String {
        format!("10.232.{}.0/24", self.number)
    }

    pub(super) fn share_lock(&self) -> Result<File> {
        self.lock.try_clone().map_err(Error::file("keep", "the lock of a node"))
    }

    /// The folders of its cgroup: one, or with version 1 one in each hierarchy.
    pub(super) fn cgroups(&self) -> Vec<PathBuf> {
        super::cgroup::hierarchies().into_iter().map(|hierarchy| hierarchy.join(self.name())).collect()
    }
}
