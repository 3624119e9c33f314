//! The files with user name and password.

use std::io;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::version::{read_of_one_version, version_of};
use crate::core::sidecar::attempts::FilesIdentity;
use crate::core::sidecar::error::SourceError;
use crate::core::username_password::LoginPair;
use crate::sidecar::file::{file_error, read};

/// The files with user name and password.
#[derive(Clone, Debug)]
pub struct LoginFiles {
    /// The directory, such as a mounted Secret.
    pub directory: PathBuf,
    /// The name of the file with the user name.
    pub username: String,
    /// The name of the file with the password.
    pub password: String,
}

/// User name and password as they stood in the files of this identity.
pub(in crate::sidecar) struct LoginReading {
    pub(in crate::sidecar) pair: LoginPair,
    pub(in crate::sidecar) identity: FilesIdentity,
}

/// One of the two, by its path; without bytes it is not there.
struct Half {
    file: String,
    bytes: Option<Zeroizing<Vec<u8>>>,
}

impl LoginFiles {
    /// Reads both of one version.
    pub(in crate::sidecar) fn read(&self) -> Result<LoginReading, SourceError> {
        let (pair, version) = read_of_one_version(|| self.identity().0, || self.pair());
        Ok(LoginReading { pair: pair?, identity: FilesIdentity(version) })
    }

    fn pair(&self) -> Result<LoginPair, SourceError> {
        let (username, password) = (self.half(&self.username)?, self.half(&self.password)?);
        let pair = LoginPair::parse(
            (&username.file, username.bytes.as_deref().map(Vec::as_slice)),
            (&password.file, password.bytes.as_deref().map(Vec::as_slice)),
        );
        pair.map_err(|(file, defect)| SourceError::LoginDefective { file: file.to_owned(), defect })
    }

    fn half(&self, name: &str) -> Result<Half, SourceError> {
        let path = self.directory.join(name);
        let file = path.display().to_string();
        match read(&path) {
            Ok(bytes) => Ok(Half { file, bytes: Some(bytes) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Half { file, bytes: None }),
            Err(error) => Err(file_error(&error, file.clone(), SourceError::LoginUnreadable { file })),
        }
    }

    fn identity(&self) -> FilesIdentity {
        FilesIdentity(version_of(&self.directory, &[&self.username, &self.password]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::username_password::LoginError;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn files(place: &tempfile::TempDir) -> LoginFiles {
        let name = |name: &str| name.to_owned();
        LoginFiles {
            directory: place.path().to_owned(),
            username: name("username"),
            password: name("password"),
        }
    }

    #[test]
    fn the_identity_follows_the_version_of_a_volume_and_not_what_it_holds() {
        let place = tempfile::tempdir().unwrap();
        for version in ["..1", "..2"] {
            fs::create_dir(place.path().join(version)).unwrap();
            fs::write(place.path().join(version).join("username"), "me").unwrap();
            fs::write(place.path().join(version).join("password"), "same").unwrap();
        }
        symlink("..data/username", place.path().join("username")).unwrap();
        symlink("..data/password", place.path().join("password")).unwrap();
        symlink("..1", place.path().join("..data")).unwrap();
        let first = files(&place).read().unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(first.identity.0, "..1");
        assert_eq!((first.pair.username(), first.pair.password()), ("me", "same"));
        fs::remove_file(place.path().join("..data")).unwrap();
        symlink("..2", place.path().join("..data")).unwrap();
        assert_eq!(files(&place).identity().0, "..2");
    }

    #[test]
    fn plain_files_differ_by_inode_size_and_age() {
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
        write("username", "me");
        write("password", "one");
        let first = files(&place).identity();
        assert_eq!(files(&place).identity(), first, "nothing changed");
        write("password", "other");
        let second = files(&place).identity();
        assert_ne!(second, first);
        write("new", "other");
        fs::rename(place.path().join("new"), place.path().join("password")).unwrap();
        assert_ne!(files(&place).identity(), second, "another file of the same size");
    }

    #[test]
    fn each_defect_is_named_with_its_file_and_nothing_of_what_is_in_it() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("username"), "me").unwrap();
        let defect = || files(&place).read().err().unwrap();
        let path = place.path().join("password").display().to_string();
        let expected = |defect| SourceError::LoginDefective { file: path.clone(), defect };
        assert_eq!(defect(), expected(LoginError::Missing));
        fs::write(&path, "hunter2\n").unwrap();
        assert_eq!(defect(), expected(LoginError::LineBreak));
        assert!(!defect().message().contains("hunter2"));
    }
}
