//! Removes entries of the state folder that are of no use any more.

use std::fs;
use std::path::Path;

use jiff::Timestamp;

use super::state_dir::LockedEntry;
use crate::core::time::Moment;
use crate::core::token_command::Remains;

/// Begins the name of an entry that is being removed. A process that was killed meanwhile leaves it to the next one.
const REMOVED: &str = "..removed-";
/// How long the name of an entry is: a fingerprint in hexadecimal digits. Nothing else in the folder is touched.
const KEY_LENGTH: usize = 32;

/// Removes dead entries that no process holds. What cannot be removed stays: it does no harm.
pub(super) fn prune(state_dir: &Path, now: Moment) {
    let Ok(entries) = fs::read_dir(state_dir) else { return };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in names {
        if name.starts_with(REMOVED) {
            let _ = fs::remove_dir_all(state_dir.join(name));
        } else if is_key(&name) {
            remove_dead(state_dir, &name, now);
        }
    }
}

fn is_key(name: &str) -> bool {
    name.len() == KEY_LENGTH && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn remove_dead(state_dir: &Path, name: &str, now: Moment) {
    let path = state_dir.join(name);
    let changed = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified()).ok();
    let Some(changed) = changed.and_then(|time| Timestamp::try_from(time).ok()) else { return };
    let Some(entry) = LockedEntry::idle(&path) else { return };
    let (record, calls, token) = (entry.record(), entry.calls(), entry.token(now));
    let remains = Remains { record: record.as_ref(), calls: &calls, token: token.as_ref(), changed };
    if !remains.are_dead(now) {
        return;
    }
    // Under its own name it is gone at once: a process that comes now begins a new entry, and one that waits for the lock
    // notices that it is that of a removed entry.
    let removed = state_dir.join(format!("{REMOVED}{name}"));
    if fs::rename(&path, &removed).is_ok() {
        let _ = fs::remove_dir_all(&removed);
    }
}
