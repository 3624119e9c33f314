//! Volumes that cannot be written: the old files stay, and the new ones come as soon as they can.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use idissuer_testbed::{skip, wait};

use super::{HOUR, LIMIT, Sidecar};

/// Runs the sidecar with its own small file system as output directory, visible to others through `/proc` only.
async fn with_own_volume(sidecar: &mut Sidecar, size: &str) -> Option<PathBuf> {
    let is_possible = Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|it| it.success());
    if !is_possible {
        skip("`unshare -rm` does not work here");
        return None;
    }
    let output = sidecar.path("output");
    let script = format!("mount -t tmpfs -o size={size} tmpfs {} && exec \"$@\"", output.display());
    let bare = sidecar.command();
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script, "sh"]).arg(bare.get_program()).args(bare.get_args());
    command.env("RUST_LOG", "info");
    sidecar.start_as(&command).await;
    let inside = format!("/proc/{}/root{}", sidecar.process().pid(), output.display());
    Some(PathBuf::from(inside))
}

#[tokio::test]
async fn a_full_disk_keeps_the_old_files_and_is_reported_until_there_is_room() {
    let mut sidecar = Sidecar::prepare(Duration::from_secs(4)).await;
    let Some(output) = with_own_volume(&mut sidecar, "128k").await else { return };
    let file = |name: &str| fs::read_to_string(output.join(name)).ok();
    let first = wait::until("the first token", LIMIT, async || file("token")).await;
    let filler = output.join("filler");
    let _ = fs::write(&filler, vec![0; 1024 * 1024]);
    sidecar.until_logged("make room").await;
    let text = sidecar.page("/readyz").await.1;
    assert!(text.contains("files: "), "{text}");
    let kept = file("token").unwrap();
    assert_eq!(file("authorization"), Some(format!("Bearer {kept}")), "whole, and of one token");
    fs::remove_file(filler).unwrap();
    let healed = async || file("token").is_some_and(|token| token != first && token != kept);
    wait::until("a newer token", LIMIT, healed).await;
    sidecar.until_answered("/readyz", 200).await;
    assert!(!sidecar.page("/readyz").await.1.contains("files: "), "all is well again");
}

#[tokio::test]
async fn a_volume_that_becomes_read_only_keeps_the_old_files_until_it_is_writable() {
    let mut sidecar = Sidecar::prepare(Duration::from_secs(4)).await;
    let Some(output) = with_own_volume(&mut sidecar, "1m").await else { return };
    let file = |name: &str| fs::read_to_string(output.join(name)).ok();
    wait::until("the first token", LIMIT, async || file("token")).await;
    let pid = sidecar.process().pid().to_string();
    let remount = |how: &str| {
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--user", "--mount", "--preserve-credentials"]);
        command.args(["mount", "-o", &format!("remount,{how}")]).arg(sidecar.path("output"));
        assert!(command.status().unwrap().success(), "{how}");
    };
    remount("ro");
    sidecar.until_logged("mount the volume writable for the sidecar").await;
    let kept = file("token").unwrap();
    assert_eq!(file("authorization"), Some(format!("Bearer {kept}")), "whole, and of one token");
    remount("rw");
    wait::until("a newer token", LIMIT, async || file("token").is_some_and(|token| token != kept)).await;
    let newest = file("token").unwrap();
    assert_eq!(sidecar.present(&newest).await, 200);
}

#[tokio::test]
async fn without_a_volume_that_can_be_written_no_untried_login_is_presented() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    fs::remove_dir(sidecar.path("output")).unwrap();
    sidecar.start().await;
    sidecar.until_logged("LoginNotRecorded").await;
    assert_eq!(sidecar.counts().logins_accepted, 0);
    assert_eq!(sidecar.page("/livez").await.0, 200);
    fs::create_dir(sidecar.path("output")).unwrap();
    sidecar.token().await;
}

#[tokio::test]
async fn a_foreign_file_in_the_way_is_named_and_the_token_comes_once_it_is_gone() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    fs::write(sidecar.path("output/token"), "precious").unwrap();
    sidecar.start().await;
    sidecar.until_logged("the file exists and does not belong to the sidecar").await;
    assert_eq!(sidecar.file("token").as_deref(), Some("precious"));
    fs::remove_file(sidecar.path("output/token")).unwrap();
    sidecar.token_after("precious").await;
    assert_eq!(sidecar.counts().logins_accepted, 1, "the token was kept until it could be written");
}
