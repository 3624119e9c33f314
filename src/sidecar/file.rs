//! Reads files that others may write or replace at any time: opens regular files only, and limits their size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::core::sidecar::error::{FileError, SourceError};
use crate::ops::descriptors;

/// The most that is read of a file; far more than a token, a login or a bundle of certificates takes.
const READ_LIMIT: u64 = 1024 * 1024;

/// Reads a file into a buffer that is wiped.
///
/// # Errors
/// When it cannot be read; the error contains a [`FileError`] if it must not be read.
pub(crate) fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = open(path)?;
    let length = usize::try_from(file.metadata()?.len().min(READ_LIMIT)).unwrap_or(0);
    // With one byte to spare, reading to the end makes no second buffer.
    let mut content = Zeroizing::new(Vec::with_capacity(length + 1));
    file.take(READ_LIMIT + 1).read_to_end(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|length| length > READ_LIMIT) {
        return Err(io::Error::other(FileError::TooLarge));
    }
    Ok(content)
}

/// Reads a text.
///
/// # Errors
/// As [`read`], and when it is not UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let content = read(path)?;
    let text = std::str::from_utf8(&content).map_err(|_| io::Error::other("it is not UTF-8 text"))?;
    Ok(text.to_owned())
}

/// The reason for an error of [`read`]; `otherwise` if the cause is neither the kind of the file nor this process.
pub(super) fn file_error(error: &io::Error, file: String, otherwise: SourceError) -> SourceError {
    match FileError::of(error) {
        Some(defect) => SourceError::FileUnfit { file, defect },
        None if descriptors::are_lacking(error) => SourceError::TooManyOpenFiles { file },
        None => otherwise,
    }
}

/// Opens a regular file for reading. Opening a FIFO would block until it has a writer.
pub(super) fn open(path: &Path) -> io::Result<File> {
    ensure_regular(&fs::metadata(path)?)?;
    let file = OpenOptions::new().read(true).custom_flags(open_nonblocking()).open(path)?;
    // Another one may have taken its place.
    ensure_regular(&file.metadata()?)?;
    Ok(file)
}

/// Gives a file this time, and makes it if it is not there.
pub(super) fn touch(path: &Path, now: std::time::SystemTime) -> io::Result<()> {
    match fs::metadata(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
        Ok(metadata) => ensure_regular(&metadata)?,
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true).custom_flags(open_nonblocking()).open(path)?.set_modified(now)
}

fn open_nonblocking() -> i32 {
    (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed()
}

fn ensure_regular(metadata: &fs::Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let defect = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_fifo() => FileError::Fifo,
        () if kind.is_socket() => FileError::Socket,
        () if kind.is_dir() => FileError::Directory,
        () => FileError::Device,
    };
    Err(io::Error::other(defect))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_is_no_regular_file_is_named_and_not_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        fs::create_dir(path("directory")).unwrap();
        File::create(path("large")).unwrap().set_len(READ_LIMIT + 1).unwrap();
        fs::write(path("file"), "text").unwrap();
        let defect = |path: &Path| read(path).err().and_then(|error| FileError::of(&error));
        for (name, expected) in [
            ("fifo", Some(FileError::Fifo)),
            ("socket", Some(FileError::Socket)),
            ("directory", Some(FileError::Directory)),
            ("large", Some(FileError::TooLarge)),
            ("absent", None),
            ("file", None),
        ] {
            assert_eq!(defect(&path(name)), expected, "{name}");
        }
        assert_eq!(defect(Path::new("/dev/null")), Some(FileError::Device));
        assert_eq!(read_text(&path("file")).unwrap(), "text");
        let touched = touch(&path("fifo"), std::time::SystemTime::UNIX_EPOCH).unwrap_err();
        assert_eq!(FileError::of(&touched), Some(FileError::Fifo));
    }
}
