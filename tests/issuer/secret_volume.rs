//! A mounted Secret, as the kubelet keeps it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Puts another version of a Secret in place.
pub(crate) fn swap(volume: &Path, version: &str, files: &[(&str, &str)]) {
    let directory = volume.join(version);
    fs::create_dir(&directory).unwrap();
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
        let link = volume.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(format!("..data/{name}"), link).unwrap();
        }
    }
    let old = fs::read_link(volume.join("..data"));
    symlink(version, volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    if let Ok(old) = old {
        fs::remove_dir_all(volume.join(old)).unwrap();
    }
}
