//! Permissions: users, groups and permission bits.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid, getgroups};

use super::{Finding, bad, good};
use crate::sidecar::file::open;
use crate::sidecar::output_dir::{DATA_LINK, FileMode, SET_GROUP_ID};

const GROUP_MAY_PASS: u32 = 0o010;
const ALL_MAY_PASS: u32 = 0o001;
const ALL_MAY_READ: u32 = 0o004;

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
        write!(formatter, "user {user} in groups {}", groups.join(", "))
    }
}

/// Whose a file or directory is, and its permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FilePermissions {
    mode: u32,
    user: u32,
    group: u32,
}

impl FilePermissions {
    /// Whether this user has the access that this bit gives to everyone.
    fn grant(self, who: &Identity, bit: u32) -> bool {
        let shift = match () {
            () if who.user == self.user => 6,
            () if who.groups.contains(&self.group) => 3,
            () => 0,
        };
        self.mode & bit << shift != 0
    }
}

impl From<&fs::Metadata> for FilePermissions {
    fn from(metadata: &fs::Metadata) -> Self {
        Self { mode: metadata.mode() & 0o7777, user: metadata.uid(), group: metadata.gid() }
    }
}

impl fmt::Display for FilePermissions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "mode {:o}, user {} and group {}", self.mode, self.user, self.group)
    }
}

/// Who can read the files in a directory with these permissions. The identity of the program is unknown here, so only
/// clear mistakes are reported as bad.
pub(super) fn readers(place: &str, directory: FilePermissions, files: FileMode, own: &Identity) -> Finding {
    let group = match own.groups.first() {
        Some(own) if directory.mode & SET_GROUP_ID == 0 => *own,
        _ => directory.group,
    };
    let (group_passes, all_pass) = (directory.mode & GROUP_MAY_PASS != 0, directory.mode & ALL_MAY_PASS != 0);
    let is_for_all = files.is_world_readable();
    let is_for_group = files.is_group_readable() && !is_for_all;
    if is_for_all && !all_pass {
        return bad(format!(
            "files of mode {files} are readable for everyone, but {place} has {directory}; allow access for everyone (chmod a+x)"
        ));
    }
    let is_for_both = is_for_group && group != directory.group && group_passes && !all_pass;
    let who = match () {
        () if is_for_all => "everyone".to_owned(),
        () if is_for_both => format!(
            "user {} and members of both groups {group} and {}; to allow only the latter, let files inherit the directory's group (chmod g+s, or fsGroup)",
            own.user, directory.group
        ),
        () if is_for_group && (all_pass || group_passes) => {
            format!(
                "user {} and group {group}; a program that runs as another user needs that group (fsGroup)",
                own.user
            )
        }
        () => format!("only user {}", own.user),
    };
    good(format!("files in {place} can be read by {who}"))
}

/// Reports a file with a secret that everyone on the machine can read. It may be intended: only containers that mount a
/// volume see it, and Kubernetes volumes are world-readable by default.
pub(super) fn world_readable(path: &Path) -> Option<Finding> {
    let path = fs::canonicalize(path).ok()?;
    let mode = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.mode());
    let is_reached = path.ancestors().skip(1).all(|directory| mode(directory) & ALL_MAY_PASS != 0);
    let is_volume = path.ancestors().any(|directory| directory.join(DATA_LINK).is_symlink());
    let is_open = mode(&path) & ALL_MAY_READ != 0 && is_reached && !is_volume;
    is_open.then(|| {
        good(format!(
            "{} can be read by everyone on this machine; restrict it with chmod 0400",
            path.display()
        ))
    })
}

/// Reports why this process cannot read a file, if permissions are the cause.
pub(super) fn denial(path: &Path, own: &Identity) -> Option<Finding> {
    let denied = denied(path)?;
    let metadata = fs::metadata(&denied).ok()?;
    let rights = FilePermissions::from(&metadata);
    let place = denied.display();
    let bit = if metadata.is_dir() { ALL_MAY_PASS } else { ALL_MAY_READ };
    Some(bad(if rights.grant(own, bit) {
        format!("{place} has {rights}, but {own} has no access; check SELinux and AppArmor")
    } else if own.groups.contains(&rights.group) {
        format!(
            "{place} has {rights}, so {own} has no access; let its group read it (chmod g+rX, or defaultMode 0440 of the volume)"
        )
    } else {
        format!(
            "{place} has {rights}, so {own} has no access; change its group to one of these (chgrp, or fsGroup in the pod's securityContext), or let everyone read it (chmod, or the volume's defaultMode)"
        )
    }))
}

/// The directory on the way to a file that may not be passed, or the file itself that may not be read.
fn denied(path: &Path) -> Option<PathBuf> {
    let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    if !open(path).is_err_and(|error| is_denied(&error)) {
        return None;
    }
    let path = through_data_symlink(path);
    let mut steps: Vec<&Path> = path.ancestors().collect();
    steps.reverse();
    let blocking = steps.windows(2).find(|step| fs::metadata(step[1]).is_err_and(|error| is_denied(&error)));
    Some(blocking.map_or(path.as_path(), |step| step[0]).to_owned())
}

/// The way that the link of a name in a volume takes.
fn through_data_symlink(path: &Path) -> PathBuf {
    let through = path.parent().zip(path.file_name()).map(|(parent, name)| parent.join(DATA_LINK).join(name));
    let is_volume = |through: &PathBuf| through.parent().is_some_and(Path::is_symlink);
    through.filter(is_volume).unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(mode: u32, user: u32, group: u32) -> FilePermissions {
        FilePermissions { mode, user, group }
    }

    #[test]
    fn rights_are_those_of_the_owner_else_of_the_group_else_of_all() {
        let own = Identity { user: 65532, groups: vec![100, 2000] };
        for (rights, expected) in [
            (rights(0o400, 65532, 0), true),
            (rights(0o040, 0, 2000), true),
            (rights(0o004, 0, 0), true),
            (rights(0o044, 65532, 2000), false),
            (rights(0o404, 0, 100), false),
            (rights(0o440, 0, 0), false),
        ] {
            assert_eq!(rights.grant(&own, ALL_MAY_READ), expected, "{rights}");
        }
    }

    #[test]
    fn those_who_may_read_what_is_published_are_named_and_whether_they_can_reach_it() {
        let own = Identity { user: 65532, groups: vec![100, 2000] };
        let file_mode = |bits| FileMode::new(bits).unwrap();
        for (directory, mode, is_good, who) in [
            // An emptyDir with fsGroup, and one without.
            (rights(0o2777, 0, 2000), 0o440, true, "user 65532 and group 2000"),
            (rights(0o777, 0, 0), 0o440, true, "user 65532 and group 100"),
            (rights(0o777, 0, 0), 0o444, true, "everyone"),
            (rights(0o700, 65532, 100), 0o400, true, "only user 65532"),
            (rights(0o700, 65532, 100), 0o440, true, "only user 65532"),
            (rights(0o750, 65532, 100), 0o440, true, "user 65532 and group 100"),
            (rights(0o2750, 65532, 2000), 0o440, true, "user 65532 and group 2000"),
            // A volume of which the files do not get the group.
            (rights(0o770, 0, 2000), 0o440, true, "members of both groups 100 and 2000"),
            // A directory that is shut to those who were let in by a flag.
            (rights(0o750, 65532, 100), 0o444, false, "for everyone"),
        ] {
            let found = readers("/out", directory, file_mode(mode), &own);
            assert_eq!(found.is_good, is_good, "{directory} {mode:o}: {found:?}");
            assert!(found.text.contains(who), "{directory} {mode:o}: {found:?}");
        }
    }
}
