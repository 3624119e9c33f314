use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use tempfile::TempDir;

use super::*;

struct TestDir(TempDir);

impl TestDir {
    fn make() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn output_dir(&self) -> OutputDir {
        OutputDir::new(self.0.path().to_owned(), FileMode::new(0o440).unwrap())
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn versions(&self) -> usize {
        self.entries().iter().filter(|name| is_version(name)).count()
    }
}

fn data(files: &[(&str, &str)]) -> Data {
    let entry = |(name, text): &(&str, &str)| ((*name).to_owned(), Zeroizing::new(text.as_bytes().to_vec()));
    files.iter().map(entry).collect::<BTreeMap<_, _>>()
}

fn second(number: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + number).unwrap()
}

#[test]
fn the_layout_is_the_kubelets_and_a_second_token_takes_the_place_of_the_first() {
    let place = TestDir::make();
    let output_dir = place.output_dir();
    output_dir.publish(&data(&[("token", "a"), ("token.json", "{a}")]), second(0)).unwrap();
    assert_eq!(place.entries(), ["..2027_01_15_08_00_00.000000000", "..data", "token", "token.json"]);
    assert_eq!(fs::read_link(place.0.path().join("token")).unwrap(), Path::new("..data/token"));
    assert_eq!(
        fs::read_link(place.0.path().join("..data")).unwrap(),
        Path::new("..2027_01_15_08_00_00.000000000")
    );
    assert_eq!((place.text("token"), place.text("token.json")), ("a".into(), "{a}".into()));

    output_dir.publish(&data(&[("token", "b"), ("token.json", "{b}")]), second(1)).unwrap();
    assert_eq!((place.text("token"), place.text("token.json")), ("b".into(), "{b}".into()));
    assert_eq!(place.text("..2027_01_15_08_00_00.000000000/token"), "a", "for whoever opened it just before");
    output_dir.publish(&data(&[("token", "c"), ("token.json", "{c}")]), second(2)).unwrap();
    assert_eq!(place.versions(), 2, "the present one and the one before");
    assert_eq!(output_dir.read("token").unwrap().unwrap().as_slice(), b"c");
    assert_eq!(output_dir.read("other").unwrap(), None);
}

#[test]
fn unchanged_content_writes_nothing_and_a_name_that_is_gone_is_put_back() {
    let place = TestDir::make();
    let files = data(&[("token", "a"), ("authorization", "Bearer a")]);
    assert_eq!(place.output_dir().publish(&files, second(0)).unwrap(), Written::Anew);
    let look = || {
        let metadata = |name: &str| fs::symlink_metadata(place.0.path().join(name)).unwrap();
        let entry = |name: &str| (metadata(name).ino(), metadata(name).mtime_nsec());
        (entry("."), entry("..data"), entry("token"), entry("..data/token"))
    };
    let before = look();
    assert_eq!(place.output_dir().publish(&files, second(9)).unwrap(), Written::Before);
    assert_eq!(look(), before);
    fs::remove_file(place.0.path().join("token")).unwrap();
    assert_eq!(place.output_dir().publish(&files, second(9)).unwrap(), Written::Before);
    assert_eq!((place.text("token"), place.versions()), ("a".into(), 1));
}

#[test]
fn modes_are_set_under_any_umask_and_another_mode_is_another_publication() {
    let place = TestDir::make();
    let mode = |path: &str| fs::metadata(place.0.path().join(path)).unwrap().permissions().mode() & 0o7777;
    for (file, directory) in [(0o440, 0o750), (0o400, 0o700), (0o444, 0o755), (0o640, 0o750)] {
        let output_dir = OutputDir::new(place.0.path().to_owned(), FileMode::new(file).unwrap());
        assert_eq!(output_dir.publish(&data(&[("token", "a")]), second(0)).unwrap(), Written::Anew);
        assert_eq!((mode("token"), mode("..data")), (file, directory), "{file:o}");
    }
    for refused in [0o040, 0o500, 0o441, 0o4440, 0] {
        assert_eq!(FileMode::new(refused), None, "{refused:o}");
    }
    assert!(FileMode::new(0o444).unwrap().is_world_readable());
    assert!(!FileMode::new(0o440).unwrap().is_world_readable());
}

#[test]
fn the_group_of_the_volume_is_the_group_of_the_files() {
    let place = TestDir::make();
    let mode = Permissions::from_mode(0o2770);
    fs::set_permissions(&place.0, mode).unwrap();
    // Only a superuser can give it to another group; where it is not, the bit alone is looked at.
    let _ = std::os::unix::fs::chown(&place.0, None, Some(4711));
    place.output_dir().publish(&data(&[("token", "a")]), second(0)).unwrap();
    let (output_dir, file) =
        (fs::metadata(&place.0).unwrap(), fs::metadata(place.0.path().join("token")).unwrap());
    assert_eq!(file.gid(), output_dir.gid());
    assert_eq!(fs::metadata(place.0.path().join("..data")).unwrap().permissions().mode() & 0o7777, 0o2750);
}

#[test]
fn names_that_are_published_no_more_go_and_foreign_files_stay() {
    let place = TestDir::make();
    let output_dir = place.output_dir();
    fs::write(place.0.path().join("notes"), "mine").unwrap();
    symlink("elsewhere", place.0.path().join("link")).unwrap();
    fs::create_dir(place.0.path().join("..mine")).unwrap();
    output_dir.publish(&data(&[("token", "a"), ("netrc", "x")]), second(0)).unwrap();
    output_dir.publish(&data(&[("token", "b")]), second(1)).unwrap();
    let entries = place.entries();
    assert!(!entries.contains(&"netrc".to_owned()), "{entries:?}");
    for kept in ["notes", "link", "..mine", "token"] {
        assert!(entries.contains(&kept.to_owned()), "{kept} in {entries:?}");
    }
}

#[test]
fn a_foreign_file_of_a_published_name_is_never_overwritten() {
    let place = TestDir::make();
    fs::write(place.0.path().join("token"), "precious").unwrap();
    let error = place.output_dir().publish(&data(&[("token", "a")]), second(0)).unwrap_err();
    assert!(matches!(error, OutputDirError::Foreign(_)), "{error}");
    assert!(error.to_string().contains("; remove it"), "{error}");
    assert_eq!((place.text("token"), place.versions()), ("precious".into(), 0));
}

#[test]
fn what_a_killed_process_left_neither_hinders_nor_stays() {
    let place = TestDir::make();
    let output_dir = place.output_dir();
    output_dir.publish(&data(&[("token", "a")]), second(0)).unwrap();
    // Killed while it wrote, before the commit, and between the links of the commit.
    fs::create_dir(place.0.path().join("..2027_01_15_08_00_01.000000000")).unwrap();
    fs::write(place.0.path().join("..2027_01_15_08_00_01.000000000/token"), "ha").unwrap();
    symlink("..2027_01_15_08_00_01.000000000", place.0.path().join("..data_tmp")).unwrap();
    symlink("..data/new", place.0.path().join("new")).unwrap();
    assert_eq!(place.text("token"), "a");
    output_dir.publish(&data(&[("token", "b")]), second(1)).unwrap();
    assert_eq!((place.text("token"), place.versions()), ("b".into(), 2));
    assert!(!place.entries().iter().any(|name| name == "new" || name == "..data_tmp"));
}

#[test]
fn an_error_names_what_failed_and_the_cure() {
    let missing = OutputDir::new("/nowhere/at/all".into(), FileMode::new(0o440).unwrap());
    let error = missing.publish(&data(&[("token", "a")]), second(0)).unwrap_err().to_string();
    assert!(error.starts_with("make directory /nowhere/at/all/..2027_"), "{error}");
    assert!(error.contains("; mount a volume there"), "{error}");
    for (kind, outcome, part) in [
        (io::ErrorKind::StorageFull, "full", "; make room"),
        (io::ErrorKind::ReadOnlyFilesystem, "read_only", "; mount the volume writable"),
        (io::ErrorKind::PermissionDenied, "forbidden", "fsGroup"),
    ] {
        let error = step("write", Path::new("/run/token"))(kind.into());
        assert!(error.to_string().contains(part) && error.outcome() == outcome, "{error}");
    }
}
