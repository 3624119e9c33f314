//! The locations of the programs: `KUBEBUILDER_ASSETS`, or a cache folder into which they are built once.

mod build;
mod module;
mod program;

use std::env;
use std::path::PathBuf;

pub(crate) use build::tell;
pub use program::Program;

use crate::error::{Error, Result};

/// Finds the programs, and builds those that are missing.
#[derive(Clone, Debug)]
pub struct Tools {
    assets: Option<PathBuf>,
    cache: PathBuf,
}

impl Tools {
    /// Looks at the environment: `KUBEBUILDER_ASSETS`, then `XDG_CACHE_HOME` or `HOME`.
    ///
    /// # Errors
    /// When the environment names no place for the cache.
    pub fn locate() -> Result<Self> {
        Ok(Self { assets: folder_of("KUBEBUILDER_ASSETS"), cache: cache_root()? })
    }

    /// The folder of what the testbed builds with `program`. Its name changes with the versions and the build flags,
    /// so that a fresh clone finds what another one built, and an upgrade builds anew.
    #[must_use]
    pub fn cache_folder(&self, program: Program) -> PathBuf {
        self.cache.join(program.module().digest())
    }

    /// Where `program` is, if it is there already.
    #[must_use]
    pub fn find(&self, program: Program) -> Option<PathBuf> {
        [self.assets.clone(), Some(self.cache_folder(program))]
            .into_iter()
            .flatten()
            .map(|folder| folder.join(program.name()))
            .find(|path| path.is_file())
    }

    /// Where `program` is. If it is missing, it is built first, which takes minutes and is reported on standard error.
    ///
    /// This blocks. Parallel processes wait for the one that builds.
    ///
    /// # Errors
    /// When it is missing and there is no Go, or Go cannot build it.
    pub fn provide(&self, program: Program) -> Result<PathBuf> {
        match self.find(program) {
            Some(path) => Ok(path),
            None => build::build(self, program),
        }
    }
}

/// The folder that all versions of the testbed share on this machine.
pub(crate) fn cache_root() -> Result<PathBuf> {
    folder_of("XDG_CACHE_HOME")
        .or_else(|| folder_of("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("idissuer-testbed"))
        .ok_or(Error::NoCacheFolder)
}

fn folder_of(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
