//! The output directory: all files of one token appear at once, and readers never see a partial update.
//!
//! It is laid out as the kubelet lays out a Secret, so that what watches one can watch the other:
//!
//! ```text
//! ..2026_11_24_03_02_35.123456789/   the files of one token, written once and never changed
//! ..data -> ..2026_11_24_03_02_35…   swapped by a rename: this is the commit
//! token -> ..data/token              what programs open; made before the first commit, so all appear with it
//! ```
//!
//! The previous directory stays until the next commit, for readers that just opened it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::file::read;
use crate::core::template::Data;

/// The link that names the directory of the present token.
pub(super) const DATA_LINK: &str = "..data";
/// The link that is about to take its place.
const NEW_DATA_LINK: &str = "..data_tmp";
/// A visible link that is about to take another's place.
const NEW_NAME_LINK: &str = "..name_tmp";
/// New files in a directory with this bit get its group: a volume's fsGroup.
pub(super) const SET_GROUP_ID: u32 = 0o2000;

/// Why files could not be published or read.
#[derive(Debug, thiserror::Error)]
pub enum OutputDirError {
    /// A step failed.
    #[error("{operation} {}: {source}{}", path.display(), cure(source))]
    Step {
        /// The operation.
        operation: &'static str,
        /// The path.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Something else has the name of a file.
    #[error("publish {}: the file exists and does not belong to the sidecar; remove it, or choose another --output-dir", .0.display())]
    Foreign(PathBuf),
}

impl OutputDirError {
    /// The outcome, for metrics.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Foreign(_) => "foreign",
            Self::Step { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "full",
                io::ErrorKind::ReadOnlyFilesystem => "read_only",
                io::ErrorKind::PermissionDenied => "forbidden",
                _ => "failed",
            },
        }
    }
}

fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room, or raise the volume's sizeLimit"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; mount the volume writable for the sidecar",
        io::ErrorKind::PermissionDenied => {
            "; let the sidecar's user write there (fsGroup, or the owner of the directory)"
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            "; mount a volume there, or make the directory"
        }
        _ => "",
    }
}

/// Names the step that failed.
fn step(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OutputDirError {
    move |source| OutputDirError::Step { operation, path: path.to_owned(), source }
}

/// The permission bits of the published files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(u32);

impl FileMode {
    /// Only the owner can read and write.
    pub(super) const PRIVATE: Self = Self(0o600);

    /// Permission bits that let the owner read, and nobody execute.
    #[must_use]
    pub fn new(bits: u32) -> Option<Self> {
        (bits & 0o400 != 0 && bits & !0o666 == 0).then_some(Self(bits))
    }

    /// Whether everyone on the machine or in the pod may read.
    #[must_use]
    pub fn is_world_readable(self) -> bool {
        self.0 & 0o007 != 0
    }

    /// Whether the files' group may read.
    #[must_use]
    pub fn is_group_readable(self) -> bool {
        self.0 & 0o040 != 0
    }

    /// The mode of the directory: everyone who may read the files may enter it.
    fn of_directory(self) -> u32 {
        let readers = self.0 & 0o044;
        0o700 | readers | readers >> 2
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04o}", self.0)
    }
}

/// Whether there was anything to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The files are new.
    Anew,
    /// They stood there already.
    Before,
}

/// The output directory.
#[derive(Clone, Debug)]
pub struct OutputDir {
    path: PathBuf,
    mode: FileMode,
}

impl OutputDir {
    /// The directory at this path. It must exist: creating it would hide a missing volume.
    #[must_use]
    pub fn new(path: PathBuf, mode: FileMode) -> Self {
        Self { path, mode }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mode of the published files.
    #[must_use]
    pub fn mode(&self) -> FileMode {
        self.mode
    }

    /// The content of a file as it was published last; none if it was not.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, OutputDirError> {
        let path = self.path.join(DATA_LINK).join(name);
        match read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            outcome => outcome.map(Some).map_err(step("read", &path)),
        }
    }

    /// Whether files could be published here, found out without leaving anything.
    ///
    /// # Errors
    /// Why not.
    pub fn probe(&self) -> Result<(), OutputDirError> {
        let path = self.path.join("..probe");
        fs::create_dir(&path).and_then(|()| fs::remove_dir(&path)).map_err(step("make directory", &path))
    }

    /// Publishes these files and no others, all at one moment. What is there already is not written again.
    ///
    /// # Errors
    /// When it fails; then the previous files stay unchanged.
    pub fn publish(&self, data: &Data, now: Timestamp) -> Result<Written, OutputDirError> {
        let present = self.present()?;
        let is_there = present.as_ref().is_some_and(|version| self.holds(&self.path.join(version), data));
        if is_there {
            self.link_names(data)?;
            return Ok(Written::Before);
        }
        let version = self.write_version(data, now)?;
        let committed = self.link_names(data).and_then(|()| self.commit(&version));
        if committed.is_err() {
            // Nothing names it. What cannot be removed now is removed with the next commit.
            let _ = fs::remove_dir_all(self.path.join(&version));
        }
        committed?;
        self.clean_up(data, &version, present.as_deref());
        Ok(Written::Anew)
    }

    /// The name of the directory that holds the present token.
    fn present(&self) -> Result<Option<OsString>, OutputDirError> {
        let link = self.path.join(DATA_LINK);
        match fs::read_link(&link) {
            Ok(target) => Ok(Some(target.into_os_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(OutputDirError::Foreign(link)),
            Err(error) => Err(step("read", &link)(error)),
        }
    }

    /// Whether a directory holds these files, with the right modes, and no others.
    fn holds(&self, version: &Path, data: &Data) -> bool {
        let is_same = |(name, content): (&String, &Zeroizing<Vec<u8>>)| {
            let path = version.join(name);
            let mode = fs::symlink_metadata(&path).map(|metadata| metadata.permissions().mode() & 0o7777);
            mode.is_ok_and(|mode| mode == self.mode.0) && read(&path).is_ok_and(|found| found == *content)
        };
        let count = fs::read_dir(version).map(Iterator::count);
        count.is_ok_and(|count| count == data.len()) && data.iter().all(is_same)
    }

    /// Writes the files into a new directory, down to the disk.
    fn write_version(&self, data: &Data, now: Timestamp) -> Result<OsString, OutputDirError> {
        let (name, path) = self.make_version(now)?;
        let outcome = self.fill_version(&path, data);
        if outcome.is_err() {
            let _ = fs::remove_dir_all(&path);
        }
        outcome.map(|()| name)
    }

    fn make_version(&self, now: Timestamp) -> Result<(OsString, PathBuf), OutputDirError> {
        // Of one clock reading there may be two: the clock was set back, or ticks slowly.
        let mut time = now;
        loop {
            let name = OsString::from(time.strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string());
            let path = self.path.join(&name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok((name, path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    time = time.saturating_add(std::time::Duration::from_nanos(1)).unwrap_or(now);
                }
                Err(error) => return Err(step("make directory", &path)(error)),
            }
        }
    }

    fn fill_version(&self, version: &Path, data: &Data) -> Result<(), OutputDirError> {
        // The umask has its say in what is made, and none in what is set. The volume's group stays.
        let before = fs::metadata(version).map_err(step("look at", version))?.permissions().mode();
        let mode = self.mode.of_directory() | before & SET_GROUP_ID;
        fs::set_permissions(version, Permissions::from_mode(mode)).map_err(step("set mode of", version))?;
        for (name, content) in data {
            let path = version.join(name);
            write_new(&path, content, self.mode.0).map_err(step("write", &path))?;
        }
        sync(version)
    }

    /// Makes the visible links of these files that are not there yet. Before the first commit they lead nowhere.
    fn link_names(&self, data: &Data) -> Result<(), OutputDirError> {
        for name in data.keys() {
            let (path, target) = (self.path.join(name), Path::new(DATA_LINK).join(name));
            match fs::read_link(&path) {
                Ok(present) if present == target => {}
                // Of a directory that a program or person laid out by hand.
                Ok(_) => self.replace_symlink(NEW_NAME_LINK, &target, &path)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    symlink(&target, &path).map_err(step("make link", &path))?;
                }
                Err(_) => return Err(OutputDirError::Foreign(path)),
            }
        }
        Ok(())
    }

    /// From here on the new files are the files.
    fn commit(&self, version: &OsStr) -> Result<(), OutputDirError> {
        self.replace_symlink(NEW_DATA_LINK, Path::new(version), &self.path.join(DATA_LINK))?;
        sync(&self.path)
    }

    /// Puts a link in place of another, or of none, at one moment.
    fn replace_symlink(&self, temporary: &str, target: &Path, path: &Path) -> Result<(), OutputDirError> {
        let temporary = self.path.join(temporary);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(step("remove", &temporary)(error));
            }
            _ => {}
        }
        symlink(target, &temporary).map_err(step("make link", &temporary))?;
        fs::rename(&temporary, path).map_err(step("replace link", path))
    }

    /// Removes names that are published no more, and directories that neither the present nor the previous commit names,
    /// those of a process that was killed among them. What stays is removed another time.
    fn clean_up(&self, data: &Data, version: &OsStr, previous: Option<&OsStr>) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let text = name.to_string_lossy();
            let outcome = if is_version(&text) && name != version && Some(name.as_os_str()) != previous {
                fs::remove_dir_all(&path)
            } else if !data.contains_key(&*text)
                && fs::read_link(&path).is_ok_and(|target| target == Path::new(DATA_LINK).join(&name))
            {
                fs::remove_file(&path)
            } else {
                Ok(())
            };
            if let Err(error) = outcome {
                tracing::warn!("remove {}: {error}", path.display());
            }
        }
    }
}

/// Whether a directory of this name is one that holds a token: `..2026_`.
fn is_version(name: &str) -> bool {
    name.strip_prefix("..")
        .and_then(|rest| rest.split_once('_'))
        .is_some_and(|(year, _)| year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Writes a file that was not there, with these permission bits, down to the disk.
pub(super) fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Brings the entries of a directory down to the disk.
fn sync(directory: &Path) -> Result<(), OutputDirError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(step("sync", directory))
}

#[cfg(test)]
pub(crate) mod tests;
