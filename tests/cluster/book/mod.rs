//! The commands and manifests of the book work as they are pasted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

mod flux;
mod page;
mod runbooks;
mod targets;
mod tasks;

/// Puts `idissuer` and the plugin of kubectl into `bin` below a folder. Returns the beginning of a script that uses them.
fn install_programs(folder: &Path) -> String {
    let bin = folder.join("bin");
    fs::create_dir(&bin).unwrap();
    for name in ["idissuer", "kubectl-idissuer"] {
        symlink(env!("CARGO_BIN_EXE_idissuer"), bin.join(name)).unwrap();
    }
    format!("export HOME={} PATH={}:$PATH\n", folder.display(), bin.display())
}
