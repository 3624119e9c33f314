//! Who may read what: users, groups and permission bits.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid, getgroups};

use super::{Finding, bad, good};
use crate::sidecar::folder::{DATA_LINK, FileMode, SET_GROUP_ID};

const GROUP_MAY_PASS: u32 = 0o010;
const ALL_MAY_PASS: u32 = 0o001;
const ALL: u32 = 0o007;

/// Whom a process acts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    user: u32,
    /// The first of them is the group of what it makes.
    groups: Vec<u32>,
}

impl Identity {
    /// Of this process.
    pub(super) fn own() -> Self {
        let first = getegid().as_raw();
        let others = getgroups().unwrap_or_default().into_iter().map(rustix::process::Gid::as_raw);
        let groups = std::iter::once(first).chain(others.filter(|group| *group != first)).collect();
        Self { user: geteuid().as_raw(), groups }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, groups } = self;
        let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
        write!(formatter, "user {user} of the groups {}", groups.join(", "))
    }
}

/// Whose a file or directory is, and its permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    mode: u32,
    user: u32,
    group: u32,
}

impl From<&fs::Metadata> for Rights {
    fn from(metadata: &fs::Metadata) -> Self {
        Self { mode: metadata.mode() & 0o7777, user: metadata.uid(), group: metadata.gid() }
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "mode {:o}, user {} and group {}", self.mode, self.user, self.group)
    }
}

/// Who can read what is published in a directory of these rights; bad if it lets others pass than may read the files.
pub(super) fn readers(place: &str, directory: Rights, files: FileMode, own: &Identity) -> Finding {
    let group = match own.groups.first() {
        Some(own) if directory.mode & SET_GROUP_ID == 0 => *own,
        _ => directory.group,
    };
    let (group_passes, all_pass) = (directory.mode & GROUP_MAY_PASS != 0, directory.mode & ALL_MAY_PASS != 0);
    let is_for_all = files.is_world_readable();
    let is_for_group = files.is_group_readable() && !is_for_all;
    if is_for_all && !all_pass {
        return bad(format!(
            "files of mode {files} are for everybody, and {place} has {directory}; let everybody pass (chmod a+x)"
        ));
    }
    if is_for_group && group != directory.group && group_passes && !all_pass {
        return bad(format!(
            "{place} has {directory}, and the files in it would have group {group}, so that nobody but user {} could read them; have its group handed on (chmod g+s, or fsGroup in the pod's securityContext)",
            own.user
        ));
    }
    let who = match () {
        () if is_for_all => "everybody".to_owned(),
        () if is_for_group && (all_pass || group_passes) => {
            format!("user {} and group {group}; another program needs that group (fsGroup)", own.user)
        }
        () => format!("user {} alone", own.user),
    };
    good(format!("what is published in {place} can be read by {who}"))
}

/// Says so when everybody on the machine can read a file that holds a secret. Of volumes of Kubernetes only the
/// containers see anything that mount them, and theirs are readable for all by default.
pub(super) fn open_to_all(path: &Path) -> Option<Finding> {
    let is_volume = path.parent().is_some_and(|directory| directory.join(DATA_LINK).is_symlink());
    let rights = Rights::from(&fs::metadata(path).ok()?);
    (!is_volume && rights.mode & ALL != 0).then(|| {
        let place = path.display();
        bad(format!(
            "{place} has {rights}, so that everybody on this machine may read or change it; chmod 0400 it"
        ))
    })
}

/// Says what keeps this process from reading a file, if its rights do.
pub(super) fn obstacle(path: &Path, own: &Identity) -> Option<Finding> {
    let denied = denied(path)?;
    let rights = Rights::from(&fs::metadata(&denied).ok()?);
    let place = denied.display();
    Some(bad(format!(
        "{place} has {rights}, which keeps out {own}; give it to one of these groups (fsGroup in the pod's securityContext), or let all read it (the volume's defaultMode)"
    )))
}

/// The directory on the way to a file that may not be passed, or the file itself that may not be read.
fn denied(path: &Path) -> Option<PathBuf> {
    let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    if !File::open(path).is_err_and(|error| is_denied(&error)) {
        return None;
    }
    let path = by_data_link(path);
    let mut steps: Vec<&Path> = path.ancestors().collect();
    steps.reverse();
    let blocking = steps.windows(2).find(|step| fs::metadata(step[1]).is_err_and(|error| is_denied(&error)));
    Some(blocking.map_or(path.as_path(), |step| step[0]).to_owned())
}

/// The way that the link of a name in a volume takes.
fn by_data_link(path: &Path) -> PathBuf {
    let through = path.parent().zip(path.file_name()).map(|(parent, name)| parent.join(DATA_LINK).join(name));
    let is_volume = |through: &PathBuf| through.parent().is_some_and(Path::is_symlink);
    through.filter(is_volume).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(mode: u32, user: u32, group: u32) -> Rights {
        Rights { mode, user, group }
    }

    #[test]
    fn those_who_may_read_what_is_published_are_named_and_whether_they_can_reach_it() {
        let own = Identity { user: 65532, groups: vec![100, 2000] };
        let file_mode = |bits| FileMode::new(bits).unwrap();
        for (directory, mode, is_good, who) in [
            // An emptyDir with fsGroup, and one without.
            (rights(0o2777, 0, 2000), 0o440, true, "user 65532 and group 2000"),
            (rights(0o777, 0, 0), 0o440, true, "user 65532 and group 100"),
            (rights(0o777, 0, 0), 0o444, true, "everybody"),
            (rights(0o700, 65532, 100), 0o400, true, "user 65532 alone"),
            (rights(0o700, 65532, 100), 0o440, true, "user 65532 alone"),
            (rights(0o750, 65532, 100), 0o440, true, "user 65532 and group 100"),
            (rights(0o2750, 65532, 2000), 0o440, true, "user 65532 and group 2000"),
            // Directories that let others pass than may read.
            (rights(0o750, 65532, 2000), 0o440, false, "group 100, so that nobody but user 65532"),
            (rights(0o750, 65532, 100), 0o444, false, "for everybody"),
        ] {
            let found = readers("/out", directory, file_mode(mode), &own);
            assert_eq!(found.is_good, is_good, "{directory} {mode:o}: {found:?}");
            assert!(found.text.contains(who), "{directory} {mode:o}: {found:?}");
        }
    }
}
