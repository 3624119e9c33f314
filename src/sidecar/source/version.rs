//! Files that belong together, read of one version: what fills their directory may do so at any moment.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::sidecar::output_dir::DATA_LINK;

/// How often files that change while they are read are read again at once.
const READINGS: u32 = 3;

/// What was read, and the version that it is of.
pub(super) fn read_of_one_version<T>(version: impl Fn() -> String, read: impl Fn() -> T) -> (T, String) {
    let mut before = version();
    let mut content = read();
    for _ in 1..READINGS {
        let after = version();
        if after == before {
            break;
        }
        (before, content) = (after, read());
    }
    (content, before)
}

/// Which version of these files is there: of a mounted Secret, where its `..data` leads; of others, which files they are,
/// how large and how old. Never what they hold: a digest of a password in a file could be tried out.
pub(super) fn version_of(directory: &Path, names: &[&str]) -> String {
    let link = fs::read_link(directory.join(DATA_LINK));
    link.map_or_else(
        |_| names.iter().map(|name| place_of(&directory.join(name))).collect::<Vec<_>>().join(" "),
        |target| target.display().to_string(),
    )
}

fn place_of(path: &Path) -> String {
    fs::metadata(path).map_or_else(
        |_| "none".to_owned(),
        |it| format!("{}:{}:{}.{:09}", it.ino(), it.size(), it.mtime(), it.mtime_nsec()),
    )
}
