//! The source `secret-dir`: updates of a mounted Secret by the kubelet, and of plain files by a person.

use std::fs;
use std::time::{Duration, Instant};

use super::{HOUR, LIMIT, Sidecar};
use crate::secret_volume::swap;

async fn following(volume: &str) -> Sidecar {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    let (directory, output) = (sidecar.path(volume), sidecar.path("output"));
    sidecar.arguments = ["sidecar", "--admin-addr", "127.0.0.1:0"].map(str::to_owned).to_vec();
    sidecar.add(&["--secret-dir", directory.to_str().unwrap(), "--output-dir", output.to_str().unwrap()]);
    sidecar
}

#[tokio::test]
async fn every_rotation_of_a_mounted_secret_arrives_at_once() {
    let mut sidecar = following("secret").await;
    let volume = sidecar.path("secret");
    sidecar.start().await;
    sidecar.until_logged("SourceUnreadable").await;
    fs::create_dir(&volume).unwrap();
    swap(&volume, "..1", &[("token", "token-1"), ("expires_at", "2100-01-01T00:00:00Z")]);
    let mut token = sidecar.token().await;
    assert_eq!(token, "token-1");
    let json: serde_json::Value = serde_json::from_str(&sidecar.file("token.json").unwrap()).unwrap();
    assert_eq!(json["expires_at"], "2100-01-01T00:00:00Z");
    let mut latencies = Vec::new();
    for number in 2..22 {
        let next = format!("token-{number}");
        #[expect(clippy::disallowed_methods, reason = "it is the true time that counts")]
        let start = Instant::now();
        swap(&volume, &format!("..{number}"), &[("token", &next), ("expires_at", "2100-01-01T00:00:00Z")]);
        while sidecar.file("token").is_none_or(|found| found == token) {
            assert!(start.elapsed() < LIMIT, "{}", sidecar.process().output_tail());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        latencies.push(start.elapsed());
        token = sidecar.file("token").unwrap();
        assert_eq!(token, next);
    }
    latencies.sort();
    let (median, slowest) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
    eprintln!(
        "from a mounted Secret to the files: median {} ms, slowest {} ms",
        median.as_millis(),
        slowest.as_millis()
    );
    // A check every ten seconds finds changes without an event.
    assert!(median < Duration::from_secs(2), "{latencies:?}: events were not seen");
}

#[tokio::test]
async fn an_expired_or_invalid_token_is_reported_and_never_published() {
    let mut sidecar = following("secret").await;
    let volume = sidecar.path("secret");
    fs::create_dir(&volume).unwrap();
    sidecar.start().await;
    fs::write(volume.join("token"), "good").unwrap();
    assert_eq!(sidecar.token().await, "good", "plain files will do");
    let json: serde_json::Value = serde_json::from_str(&sidecar.file("token.json").unwrap()).unwrap();
    assert!(json["expires_at"].is_null(), "nobody knows");
    fs::write(volume.join("token"), "two words\n").unwrap();
    sidecar.until_logged("TokenUnusable").await;
    fs::write(volume.join("expires_at"), "2001-01-01T00:00:00Z").unwrap();
    fs::write(volume.join("token"), "dead").unwrap();
    sidecar.until_logged("TokenExpired").await;
    assert_eq!(sidecar.file("token").as_deref(), Some("good"));
    assert_eq!(sidecar.page("/readyz").await.0, 200, "the one that was published is not known to be dead");
    assert!(!sidecar.output().contains("two words"), "{}", sidecar.output());
}
