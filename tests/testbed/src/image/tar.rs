//! As much of the tar format as an image needs: regular files with short names.

/// Tar knows nothing smaller.
const BLOCK: usize = 512;

/// A tar archive in the making.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    /// Adds a file that everyone may read, or also run. The same content always gives the same archive: it has no time.
    pub(super) fn file(&mut self, name: &str, content: &[u8], is_program: bool) {
        self.bytes.extend_from_slice(&header(name, content.len(), is_program));
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }

    /// The archive with its end mark.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 2 * BLOCK]);
        self.bytes
    }
}

fn header(name: &str, size: usize, is_program: bool) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut field = |offset: usize, text: &str| {
        header[offset..offset + text.len()].copy_from_slice(text.as_bytes());
    };
    field(0, name);
    field(100, if is_program { "0000755" } else { "0000644" });
    field(108, "0000000");
    field(116, "0000000");
    field(124, &format!("{size:011o}"));
    field(136, "00000000000");
    // The sum counts its own field as spaces.
    field(148, "        ");
    field(156, "0");
    field(257, "ustar");
    field(263, "00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;
    use crate::process::WorkFolder;

    #[test]
    fn tar_reads_what_was_written() {
        let folder = WorkFolder::create().unwrap();
        let path = folder.path().join("archive.tar");
        let mut archive = Archive::default();
        archive.file("a/one", b"1", true);
        archive.file("two", &[b'2'; 1024], false);
        fs::write(&path, archive.finish()).unwrap();
        let output = Command::new("tar").arg("-xf").arg(&path).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert_eq!(fs::read(folder.path().join("a/one")).unwrap(), b"1");
        assert_eq!(fs::read(folder.path().join("two")).unwrap(), [b'2'; 1024]);
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a/one"), mode("two")), (0o755, 0o644));
    }
}
