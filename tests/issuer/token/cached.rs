//! The cache: when a token is printed again, and for whom.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::time::Duration;

use idissuer_simulator::User;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{finished, now, started};
use crate::stage::{HOUR, NAME, SECRET, Stage};

#[tokio::test]
async fn ten_calls_side_by_side_are_one_login_and_later_ones_none() {
    let stage = Stage::prepare(HOUR).await;
    let children: Vec<_> = (0..10).map(|_| started(&mut stage.command(&[]), "")).collect();
    let mut tokens = Vec::new();
    for child in children {
        tokens.push(stage.accepted(finished(child).await).await);
    }
    tokens.push(stage.token(&["--min-ttl", "600"]).await);
    tokens.dedup();
    assert_eq!((tokens.len(), stage.counts().logins_accepted), (1, 1));
}

#[tokio::test]
async fn each_form_holds_the_token_and_nothing_else_is_printed() {
    let stage = Stage::prepare(HOUR).await;
    let token = stage.token(&[]).await;
    let header = stage.run(&["--output", "header"]).await;
    assert_eq!((header.code, header.out), (0, format!("Authorization: Bearer {token}\n")));
    let run = stage.run(&["--output", "json"]).await;
    let json: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((&json["token"], &json["token_type"]), (&json!(token), &json!("Bearer")));
    let (left, expires) = (json["expires_in"].as_i64().unwrap(), json["expires_at"].as_str().unwrap());
    assert!((3500..=3600).contains(&left) && expires.parse::<Timestamp>().is_ok(), "{json}");
}

#[tokio::test]
async fn a_token_is_replaced_when_it_ends_too_soon_and_one_that_cannot_live_that_long_costs_no_login() {
    let stage = Stage::prepare(Duration::from_secs(600)).await;
    let first = stage.token(&[]).await;
    stage.run(&["--min-ttl", "601"]).await.assert_failed(3, &["--min-ttl", "600 s"]);
    assert_eq!(stage.counts().logins_accepted, 1);
    age(&stage, 300);
    assert_eq!(stage.token(&[]).await, first);
    assert_ne!(stage.token(&["--min-ttl", "400"]).await, first);
    age(&stage, 590);
    stage.token(&[]).await;
    assert_eq!(stage.counts().logins_accepted, 3);
}

#[tokio::test]
async fn a_clock_that_was_set_back_and_a_cache_that_cannot_be_read_lead_to_a_login() {
    let stage = Stage::prepare(HOUR).await;
    let first = stage.token(&[]).await;
    age(&stage, -120);
    let second = stage.token(&[]).await;
    fs::write(stage.entry().join("..data/token"), "two words").unwrap();
    let third = stage.token(&[]).await;
    fs::write(stage.entry().join("..login.json"), "{").unwrap();
    let fourth = stage.token(&[]).await;
    assert!(first != second && second != third && third != fourth, "{first} {second} {third} {fourth}");
    assert_eq!(stage.counts().logins_accepted, 4);
}

/// Lets the cached token be older by so many seconds.
fn age(stage: &Stage, seconds: i64) {
    let path = stage.entry().join("..data/token.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for time in ["issued_at", "expires_at"] {
        let at: Timestamp = json[time].as_str().unwrap().parse().unwrap();
        json[time] = json!((at - jiff::SignedDuration::from_secs(seconds)).to_string());
    }
    fs::write(&path, json.to_string()).unwrap();
}

#[tokio::test]
async fn a_cached_token_is_never_that_of_another_user_issuer_or_password_file() {
    let mut stage = Stage::prepare(HOUR).await;
    stage.issuer.set_user(&User::new("other@example.org", "another"));
    let mut tokens = vec![stage.token(&[]).await];
    stage.write_login("other@example.org", "another");
    tokens.push(stage.token(&[]).await);
    tokens.push(stage.accepted(stage.typed(NAME, SECRET).await).await);
    tokens.push(stage.accepted(stage.typed("other@example.org", "another\n").await).await);
    assert_eq!(stage.accepted(stage.typed("other@example.org", "another").await).await, tokens[3]);
    stage.url = stage.url.replace("127.0.0.1", "localhost");
    tokens.push(stage.token(&[]).await);
    let count = tokens.len();
    tokens.sort();
    tokens.dedup();
    assert_eq!((tokens.len(), stage.issuer.counts().total().logins_accepted), (count, 5));
}

#[tokio::test]
async fn everything_in_the_state_folder_is_for_this_user_alone_and_holds_no_login() {
    let stage = Stage::prepare(HOUR).await;
    stage.token(&[]).await;
    stage.typed(NAME, "mistyped").await;
    stage.accepted(stage.typed(NAME, SECRET).await).await;
    assert!(check(&stage.path("state/idissuer")) > 8, "files are found");
    let typed = fs::read_dir(stage.path("state/idissuer")).unwrap();
    let records = typed.map(|entry| fs::read_to_string(entry.unwrap().path().join("..login.json")).unwrap());
    assert!(
        records.into_iter().any(|record| record.contains(r#""typed""#)),
        "no tag of the accepted password"
    );
}

/// Checks the modes and contents below a folder; returns how many there are.
fn check(path: &Path) -> u32 {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_dir() {
        assert_eq!(mode, 0o700, "{}", path.display());
        let entries = fs::read_dir(path).unwrap().map(|entry| check(&entry.unwrap().path()));
        return 1 + entries.sum::<u32>();
    }
    if metadata.is_file() {
        assert_eq!(mode, 0o600, "{}", path.display());
        let text = fs::read_to_string(path).unwrap();
        assert!([SECRET, NAME, "mistyped"].iter().all(|secret| !text.contains(secret)), "{}", path.display());
    }
    1
}

#[tokio::test]
async fn a_state_folder_that_is_not_this_users_alone_is_refused_before_any_login() {
    let stage = Stage::prepare(HOUR).await;
    let folder = stage.path("state/idissuer");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    stage.run(&[]).await.assert_failed(1, &["0755", "chmod"]);
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    if chown(&folder, Some(65532), None).is_ok() {
        stage.run(&[]).await.assert_failed(1, &["another user (id 65532)", "--state-dir"]);
    }
    fs::remove_dir(&folder).unwrap();
    fs::create_dir(stage.path("elsewhere")).unwrap();
    symlink(stage.path("elsewhere"), &folder).unwrap();
    stage.run(&[]).await.assert_failed(1, &["links are not followed"]);
    fs::remove_file(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    stage.run(&[]).await.assert_failed(1, &["not a folder", "--state-dir"]);
    assert_eq!(stage.issuer.counts().total().logins_accepted, 0);
    let other = stage.path("other");
    stage.token(&["--state-dir", other.to_str().unwrap()]).await;
}

/// Lets a file of JSON have another time in this field.
fn put(path: &Path, field: &str, time: Timestamp) {
    let mut json: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    json[field] = json!(time.to_string());
    fs::write(path, json.to_string()).unwrap();
}

#[tokio::test]
async fn a_login_removes_entries_that_are_long_dead_and_no_others() {
    let stage = Stage::prepare(HOUR).await;
    let old = now() - jiff::SignedDuration::from_hours(31 * 24);
    let (folder, mut dead) = (stage.path("state/idissuer"), Vec::new());
    for name in ["dead", "held", "in-use"] {
        let (before, login) = (entries(&folder), stage.path(name));
        fs::create_dir(&login).unwrap();
        fs::copy(stage.path("login/username"), login.join("username")).unwrap();
        fs::copy(stage.path("login/password"), login.join("password")).unwrap();
        let mut command = stage.bare(&["--login-dir", login.to_str().unwrap()]);
        stage.accepted(finished(started(&mut command, "")).await).await;
        dead.push(entries(&folder).into_iter().find(|it| !before.contains(it)).unwrap());
    }
    stage.typed(NAME, "mistyped").await;
    let rejected = entries(&folder).into_iter().find(|it| !dead.contains(it)).unwrap();
    for entry in dead.iter().take(2).chain([&rejected]) {
        put(&entry.join("..login.json"), "attempted", old);
        if entry.join("..data").exists() {
            put(&entry.join("..data/token.json"), "issued_at", old);
            put(&entry.join("..data/token.json"), "expires_at", old);
        }
    }
    // The rejection is long over, but for the login that it was of.
    fs::write(
        rejected.join("..calls.json"),
        json!({"rejected": [old.to_string()], "failed": null}).to_string(),
    )
    .unwrap();
    for other in ["notes", "..removed-by-a-process-that-was-killed"] {
        fs::create_dir(folder.join(other)).unwrap();
    }
    for entry in entries(&folder) {
        fs::File::open(entry).unwrap().set_modified(old.into()).unwrap();
    }
    let lock = fs::File::open(dead[1].join("..lock")).unwrap();
    lock.lock().unwrap();
    stage.token(&[]).await;
    let left = entries(&folder);
    for (entry, stays) in [(&dead[0], false), (&dead[1], true), (&dead[2], true), (&rejected, true)] {
        assert_eq!(left.contains(entry), stays, "{}", entry.display());
    }
    assert!(folder.join("notes").exists());
    assert_eq!(left.len(), 5, "beside these the new one: {left:?}");
}

fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}
