//! Files of Debian packages that `make tools` unpacks: to install them would start servers.

use std::path::{Path, PathBuf};

/// A file of an unpacked package, or of the installed one.
#[must_use]
pub fn unpacked(package: &str, file: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let unpacked = cache.map(|cache| cache.join("idissuer-testbed").join(package).join(file));
    unpacked.into_iter().chain([Path::new("/").join(file)]).find(|place| place.exists())
}
