//! Readers in a tight loop see only complete tokens: through paths, and through an open directory.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use idissuer::core::template::Data;
use idissuer::sidecar::output_dir::{FileMode, OutputDir, Written};
use idissuer_testbed::process::WorkFolder;
use idissuer_testbed::{variable, wait};
use jiff::Timestamp;

use super::{LIMIT, Sidecar};

/// How many publications there are; `PUBLICATIONS=5000` for more.
const PUBLICATIONS: u64 = 500;
/// The files of one publication: small, a page, and more than one write of a reader's buffer.
const SIZES: [(&str, usize); 4] = [("a", 10), ("b", 4096), ("c", 100_000), ("d", 1)];
const MODE: u32 = 0o440;
/// How often a process that publishes without a pause is killed.
const KILLS: u64 = 40;

/// The number of a publication, over and over.
fn content(number: u64, size: usize) -> Vec<u8> {
    format!("{number:08};").into_bytes().into_iter().cycle().take(size.max(9)).collect()
}

fn data(number: u64) -> Data {
    SIZES.iter().map(|(name, size)| ((*name).to_owned(), content(number, *size).into())).collect()
}

#[derive(Default)]
struct LastSeen {
    reads: AtomicU64,
    /// A reader was so slow that what it had opened was gone: two publications later.
    overtaken: AtomicU64,
    is_over: AtomicBool,
}

/// Which publication a file is of; it has to be whole, and of the right mode.
fn read(path: &Path, size: usize) -> io::Result<u64> {
    let mut file = fs::File::open(path)?;
    assert_eq!(file.metadata()?.permissions().mode() & 0o7777, MODE, "{}", path.display());
    let mut found = Vec::new();
    file.read_to_end(&mut found)?;
    assert!(found.len() >= 9, "{} holds {} bytes only", path.display(), found.len());
    let number = std::str::from_utf8(&found[..8]).unwrap().parse().unwrap();
    assert_eq!(found.len(), size.max(9), "{} of publication {number}", path.display());
    assert!(found == content(number, size), "{} is torn", path.display());
    Ok(number)
}

/// Reads each file by its path, over and over: none is missing, and none older than what was read before.
fn read_by_paths(output: &Path, seen: &LastSeen) {
    let mut newest = 0;
    while !seen.is_over.load(Ordering::Acquire) {
        for (name, size) in SIZES {
            let number = read(&output.join(name), size).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(number >= newest, "{name} of {number} after {newest}");
            newest = number;
            seen.reads.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Opens the directory that `..data` names, and reads all files in it: they are of one publication.
fn read_by_directory(output: &Path, seen: &LastSeen) {
    while !seen.is_over.load(Ordering::Acquire) {
        let directory = fs::File::open(output.join("..data")).unwrap();
        let inside = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        let numbers: io::Result<Vec<u64>> =
            SIZES.iter().map(|(name, size)| read(&inside.join(name), *size)).collect();
        match numbers {
            Ok(numbers) => assert!(numbers.iter().all(|number| *number == numbers[0]), "mixed: {numbers:?}"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                seen.overtaken.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => panic!("{error}"),
        }
        seen.reads.fetch_add(1, Ordering::Relaxed);
    }
}

fn publish(place: &Path, number: u64) {
    let folder = OutputDir::new(place.to_owned(), FileMode::new(MODE).unwrap());
    let time = Timestamp::from_second(1_800_000_000 + i64::try_from(number).unwrap()).unwrap();
    assert_eq!(folder.publish(&data(number), time).unwrap(), Written::Anew);
}

/// Two readers of each kind. They end, and fail if they saw what they should not, once `is_over`.
fn start_readers(place: &Path, seen: &Arc<LastSeen>) -> Vec<JoinHandle<()>> {
    let readers = [read_by_paths, read_by_directory, read_by_paths, read_by_directory];
    let start = |reader: fn(&Path, &LastSeen)| {
        let (path, seen) = (place.to_owned(), Arc::clone(seen));
        std::thread::spawn(move || reader(&path, &seen))
    };
    readers.map(|reader| start(reader)).into()
}

/// Ends the readers; nothing is left but two publications, and the names.
fn end(place: &Path, seen: &LastSeen, readers: Vec<JoinHandle<()>>) {
    seen.is_over.store(true, Ordering::Release);
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(fs::read_dir(place).unwrap().count(), 2 + 1 + SIZES.len(), "nothing else is left");
}

#[test]
fn no_reader_sees_a_torn_empty_mixed_or_wrong_mode_file_through_hundreds_of_publications() {
    let asked = variable("PUBLICATIONS").and_then(|number| number.parse().ok());
    let publications: u64 = asked.unwrap_or(PUBLICATIONS);
    let place = WorkFolder::create().unwrap();
    publish(place.path(), 0);
    let seen = Arc::new(LastSeen::default());
    let readers = start_readers(place.path(), &seen);
    (1..=publications).for_each(|number| publish(place.path(), number));
    end(place.path(), &seen, readers);
    let (reads, overtaken) = (seen.reads.load(Ordering::Relaxed), seen.overtaken.load(Ordering::Relaxed));
    eprintln!("{publications} publications, {reads} reads, {overtaken} readers of a directory overtaken");
    assert!(reads > publications && overtaken * 20 < reads, "{reads} reads, {overtaken} overtaken");
}

#[test]
#[ignore = "the next test runs it as a process, and kills that"]
fn publish_until_killed() {
    let place = PathBuf::from(variable("PLACE").unwrap());
    let next = read(&place.join("a"), 10).map_or(0, |last| last + 1);
    for number in next.. {
        publish(&place, number);
    }
}

#[test]
fn no_reader_sees_anything_of_a_publication_in_whose_middle_the_process_is_killed() {
    let place = WorkFolder::create().unwrap();
    let newest = || read(&place.path().join("a"), 10).unwrap();
    publish(place.path(), 0);
    publish(place.path(), 1);
    let seen = Arc::new(LastSeen::default());
    let readers = start_readers(place.path(), &seen);
    let mut met = 0;
    for kill in 0..KILLS {
        let before = newest();
        let mut publisher = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "sidecar::hammer::publish_until_killed"])
            .env("PLACE", place.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while newest() == before {
            assert!(publisher.try_wait().unwrap().is_none(), "it publishes until it is killed");
        }
        // At another moment of the publication each time.
        std::thread::sleep(Duration::from_micros(kill * 137 % 5_000));
        publisher.kill().unwrap();
        publisher.wait().unwrap();
        met += u64::from(fs::read_dir(place.path()).unwrap().count() > 2 + 1 + SIZES.len());
    }
    publish(place.path(), newest() + 1);
    end(place.path(), &seen, readers);
    assert!(met >= KILLS / 4, "only {met} of {KILLS} kills met a publication");
}

#[tokio::test]
async fn a_sidecar_that_is_killed_while_it_publishes_leaves_whole_files_of_one_token() {
    let mut sidecar = Sidecar::prepare(Duration::from_secs(2)).await;
    let (mut tokens, mut round) = (BTreeSet::new(), 0);
    sidecar.start().await;
    sidecar.token().await;
    // Tokens live for two seconds and are renewed after one; the kills come anywhere in between. On a slow machine some
    // come before there is another token.
    while round < 12 || tokens.len() < 4 {
        assert!(round < 60, "killed {round} times, with {} tokens in between", tokens.len());
        tokio::time::sleep(Duration::from_millis(130 * (round % 9) + 10 * round)).await;
        round += 1;
        sidecar.process().kill().await.unwrap();
        let token = sidecar.file("token").unwrap();
        assert_eq!(sidecar.file("authorization"), Some(format!("Bearer {token}")), "round {round}");
        let json: serde_json::Value = serde_json::from_str(&sidecar.file("token.json").unwrap()).unwrap();
        assert_eq!(json["token"], token.as_str(), "round {round}");
        tokens.insert(token);
        sidecar.start().await;
    }
    let before = sidecar.file("token").unwrap();
    sidecar.token_after(&before).await;
    // The one before the last goes after the new one is seen.
    wait::until("the end of what was half-written", LIMIT, async || {
        let versions = fs::read_dir(sidecar.path("output")).unwrap().flatten();
        let versions =
            versions.filter(|entry| entry.file_name().to_string_lossy().starts_with("..2")).count();
        if versions == 2 { Ok(()) } else { Err(versions) }
    })
    .await;
}
