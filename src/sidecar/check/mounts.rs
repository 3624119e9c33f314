//! Mounts that show a part of a volume.

use std::fs;
use std::path::Path;

use super::{Finding, bad};

/// Reports a mounted part of a volume, which is never updated.
pub(super) fn sub_path(path: &Path, mounts: &str) -> Option<Finding> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mount = mounted_part(&path, mounts)?;
    let cure =
        "mount the whole volume as a directory, without subPath, because Kubernetes never updates a subPath";
    Some(bad(format!("{mount} is mounted with subPath; {cure}")))
}

/// The mount point at or below this path that shows a part of a volume, if there is one: by the kernel's list of mounts, in
/// which the fourth word says what of a file system is shown, and the fifth where.
fn mounted_part<'a>(path: &Path, mounts: &'a str) -> Option<&'a str> {
    let entries = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.nth(3)?, words.next()?))
    });
    let is_part = |root: &str| {
        root.contains("/volume-subpaths/")
            || root.split('/').any(|step| step.starts_with("..") && step != "..")
    };
    entries
        .filter(|(root, point)| is_part(root) && Path::new(point).starts_with(path))
        .map(|(_, point)| point)
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_path_differs_from_a_volume_that_is_mounted_whole() {
        let mounts = "\
36 35 0:30 / /run/whole rw - tmpfs tmpfs rw
37 35 0:31 /..2026_11_24_03_02_35.1/token /run/part/token ro - tmpfs tmpfs rw
38 35 8:1 /var/lib/kubelet/pods/1/volume-subpaths/v/c/0 /run/directory rw - ext4 /dev/sda1 rw
39 35 8:1 /var/lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/v /run/empty rw - ext4 /dev/sda1 rw";
        for (path, point) in [
            ("/run/whole", None),
            ("/run/part", Some("/run/part/token")),
            ("/run/directory", Some("/run/directory")),
            ("/run/empty", None),
        ] {
            assert_eq!(mounted_part(Path::new(path), mounts), point, "{path}");
        }
    }
}
