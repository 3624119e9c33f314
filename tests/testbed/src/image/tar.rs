//! Tar archives whose bytes depend on their content alone: no time, no owner, files in the order in which they are added.

use std::io::Result;

use tar::{Builder, Header};

/// A tar archive that is being written.
pub(super) struct Archive(Builder<Vec<u8>>);

impl Archive {
    pub(super) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// Adds a file that everyone may read, and also run if it is a program.
    pub(super) fn file(&mut self, name: &str, content: &[u8], is_program: bool) -> Result<()> {
        let mut header = Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(if is_program { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        self.0.append_data(&mut header, name, content)
    }

    pub(super) fn finish(self) -> Result<Vec<u8>> {
        self.0.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn archive() -> Vec<u8> {
        let mut archive = Archive::new();
        archive.file("a/one", b"1", true).unwrap();
        archive.file("two", &[b'2'; 1024], false).unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn what_is_written_is_read_with_its_content_and_mode_and_without_time_and_owner() {
        let archive = archive();
        let mut archive = tar::Archive::new(archive.as_slice());
        let found = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let (path, header) = (entry.path().unwrap().display().to_string(), entry.header());
            let numbers = [header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()];
            assert_eq!(numbers, [0; 3], "{path}");
            (path, content, header.mode().unwrap())
        });
        let written = [("a/one", "1".to_owned(), 0o755), ("two", "2".repeat(1024), 0o644)];
        let written = written.map(|(path, content, mode)| (path.to_owned(), content, mode));
        assert_eq!(found.collect::<Vec<_>>(), written);
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        assert_eq!(archive(), archive());
    }
}
