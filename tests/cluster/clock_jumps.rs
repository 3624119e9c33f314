//! The operator's wall clock jumps forward and back: the real program runs with `libfaketime`. Its
//! monotonic clock goes on, as on a machine whose time is set.

use std::path::{Path, PathBuf};
use std::time::Duration;

use idissuer_testbed::{skip, wait};
use serde_json::json;

use crate::CLUSTER;
use crate::operator::{LIMIT, Stage, issuer, now, token_status};
use crate::renewing::Reader;

/// Renewed after half of it, less a little jitter.
const LIFETIME: Duration = Duration::from_secs(12);
/// The least time between two renewals that no clock has caused.
const INTERVAL: i64 = 5;
const HOUR: i64 = 3600;

/// The library that gives a program another time, if it is installed.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|library| library.exists())
}

/// Sets the clock of a program that runs with this file: so many seconds ahead of the true time.
fn set_clock(file: &Path, ahead: i64) {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{ahead:+}")).unwrap();
    std::fs::rename(&new, file).unwrap();
}

#[tokio::test]
async fn a_wall_clock_that_jumps_two_hours_forwards_and_back_lets_no_token_die_and_costs_no_login() {
    let Some(library) = library() else {
        return skip("there is no libfaketime to give the program another time: run `make tools` as root");
    };
    let folder = CLUSTER.control_plane().await.unwrap().folder().path();
    let mut clock = PathBuf::new();
    let stage = Stage::start_with("clock-jumps", issuer(LIFETIME), |operator, _| {
        clock = folder.join(format!("{}.clock", operator.user));
        set_clock(&clock, 0);
        operator.environment = vec![
            ("LD_PRELOAD", library.into()),
            ("FAKETIME_TIMESTAMP_FILE", clock.clone().into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ];
    })
    .await;
    stage.apply(json!({})).await;
    let mut last = stage.ready().await;
    let (reader, begin) = (Reader::start(&stage), now());
    for ahead in [2 * HOUR, 0] {
        set_clock(&clock, ahead);
        last = stage.renewed(token_status(&last)).await;
        last = stage.renewed(token_status(&last)).await;
        let expiration = token_status(&last).expiration_time.0;
        let shown = expiration.duration_since(now()).as_secs();
        assert!(
            (ahead - 2..ahead + 14).contains(&shown),
            "{shown} s left, by a clock that is {ahead} s ahead"
        );
    }
    reader.stop().await;
    wait::until("the jumps being told", LIMIT, async || {
        stage.operator.output().matches("the wall clock jumped").count() == 2
    })
    .await;
    let (counts, elapsed) = (stage.counts(), now().duration_since(begin).as_secs());
    assert_eq!((counts.logins_accepted, counts.refresh_tokens_reused), (1, 0), "{counts:?}");
    // Each jump makes the token look dead, or leaves it as it is.
    let most = u64::try_from(elapsed / INTERVAL + 2).unwrap();
    assert!(counts.refreshes_accepted <= most, "{counts:?} in {elapsed} s");
}
