//! What a sidecar that logs in by itself remembers on its volume, beside the files that it publishes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::file::read;
use super::output_dir::write_new;
use crate::core::sidecar::attempts::Record;

/// The name of the record; hidden from readers of token files.
const NAME: &str = "..login.json";

/// The file with the record; without a volume the record is in memory only.
pub(super) struct RecordFile(Option<PathBuf>);

impl RecordFile {
    /// In this directory, if there is one.
    pub(super) fn of(directory: Option<&Path>) -> Self {
        Self(directory.map(|directory| directory.join(NAME)))
    }

    /// Where it is.
    pub(super) fn place(&self) -> String {
        self.0.as_ref().map_or_else(|| NAME.to_owned(), |path| path.display().to_string())
    }

    /// What an earlier process wrote; nothing if that cannot be understood.
    pub(super) fn load(&self) -> Option<Record> {
        let content = read(self.0.as_ref()?).ok()?;
        serde_json::from_slice(&content).ok()
    }

    /// Writes the record, or removes it, down to the disk.
    pub(super) fn save(&self, record: Option<&Record>) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        if let Some(record) = record {
            let new = path.with_extension("json_tmp");
            remove(&new)?;
            write_new(&new, &serde_json::to_vec(record)?, 0o600)?;
            fs::rename(&new, path)?;
        } else {
            remove(path)?;
        }
        File::open(path.parent().unwrap_or(path))?.sync_all()
    }
}

/// Removes a file, which need not be there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::sidecar::attempts::FilesIdentity;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_record_survives_the_process_and_only_its_user_may_read_it() {
        let place = tempfile::tempdir().unwrap();
        let file = RecordFile::of(Some(place.path()));
        assert_eq!(file.load(), None);
        let record = Record::of_attempt(
            "https://i".into(),
            FilesIdentity("..1".into()),
            jiff::Timestamp::UNIX_EPOCH,
            1,
        );
        file.save(Some(&record)).unwrap();
        fs::write(place.path().join("..login.json_tmp"), "of a process that was killed").unwrap();
        file.save(Some(&record)).unwrap();
        assert_eq!(RecordFile::of(Some(place.path())).load(), Some(record));
        let mode = fs::metadata(place.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        file.save(None).unwrap();
        assert_eq!(file.load(), None);
        fs::write(place.path().join(NAME), "no record").unwrap();
        assert_eq!(file.load(), None);
    }

    #[test]
    fn without_a_volume_nothing_is_remembered_and_nothing_fails() {
        let file = RecordFile::of(None);
        let record = Record::of_attempt(
            "https://i".into(),
            FilesIdentity("..1".into()),
            jiff::Timestamp::UNIX_EPOCH,
            1,
        );
        file.save(Some(&record)).unwrap();
        assert_eq!(file.load(), None);
    }
}
