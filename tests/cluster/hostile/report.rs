//! The report of a hostile soak.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::clients::Reads;
use super::port::Probes;
use super::setup::{HONEST, LIFETIME, Setup};
use super::tenant::Attacks;

/// The memory that the operator may use here, in MiB: far below the limit of the chart, which holds 20,000 credentials.
const MEMORY_LIMIT: u64 = 192;
/// After the last attack, everything has to be in order within this time.
const CALM: Duration = Duration::from_secs(30);

pub(super) struct Report {
    time: Duration,
    accepted: usize,
    refused: usize,
    ready: usize,
    probes_good: usize,
    probes_failed: usize,
    restarts: usize,
    is_up: bool,
    peak_mebibytes: u64,
    rejections: u64,
    permitted: usize,
    stolen: usize,
    attacks: Attacks,
}

impl Report {
    pub(super) async fn of(
        setup: &Setup,
        reads: &Reads,
        probes: &Probes,
        attacks: Attacks,
        time: Duration,
    ) -> Self {
        let end = tokio::time::Instant::now() + CALM;
        let mut served = setup.ready().await.unwrap_or_default();
        while served < HONEST && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(500)).await;
            served = setup.ready().await.unwrap_or_default();
        }
        let (permitted, stolen) = setup.followed().await.unwrap_or((0, usize::MAX));
        Self {
            permitted,
            stolen,
            time,
            accepted: reads.accepted.load(Ordering::Relaxed),
            refused: reads.refused.load(Ordering::Relaxed),
            ready: served,
            probes_good: probes.good.load(Ordering::Relaxed),
            probes_failed: probes.failed.load(Ordering::Relaxed),
            restarts: probes.restarts.load(Ordering::Relaxed),
            is_up: setup.operator.process().exit_code().is_none()
                && !setup.operator.output().contains("panicked"),
            peak_mebibytes: setup
                .operator
                .process()
                .memory("VmHWM")
                .map_or(u64::MAX, |kibibytes| kibibytes / 1024),
            rejections: setup.issuer.counts().total().logins_rejected,
            attacks,
        }
    }

    pub(super) fn complaint(&self) -> Option<&'static str> {
        if !self.is_up {
            Some("the operator ended or panicked")
        } else if self.refused > 0 {
            Some("a token of an honest namespace was refused")
        } else if self.stolen > 0 {
            Some("the tenant has a token of an honest credential that does not permit it")
        } else if self.restarts > 0 {
            Some("a kubelet would have restarted the operator")
        } else if self.peak_mebibytes >= MEMORY_LIMIT {
            Some("the operator took more memory than the chart lets it have")
        } else if self.ready < HONEST {
            Some("not every honest credential was ready in the end")
        } else if self.accepted == 0 || self.attacks.is_empty() {
            Some("nothing was tried")
        } else {
            None
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (minutes, lifetime) = (self.time.as_secs() / 60, LIFETIME.as_secs());
        writeln!(
            to,
            "\nhostile soak of {minutes} min: {HONEST} honest credentials, tokens of {lifetime} s\n"
        )?;
        let mut row = |name: &str, value: String| writeln!(to, "  {name:<44}{value:>14}");
        row("READS OF HONEST TOKENS", (self.accepted + self.refused).to_string())?;
        row("  refused (must be 0)", self.refused.to_string())?;
        row("HONEST CREDENTIALS READY AT THE END", format!("{} of {HONEST}", self.ready))?;
        row("PROBES OF /livez", (self.probes_good + self.probes_failed).to_string())?;
        row("  failed", self.probes_failed.to_string())?;
        row("  restarts by a kubelet (must be 0)", self.restarts.to_string())?;
        row("MEMORY AT MOST, MiB", format!("{} of {MEMORY_LIMIT}", self.peak_mebibytes))?;
        row("LOGINS REJECTED AT THE ISSUER", self.rejections.to_string())?;
        row("TOKENS OF OTHERS THAT THE TENANT HAS", (self.permitted + self.stolen).to_string())?;
        row("  without permission (must be 0)", self.stolen.to_string())?;
        row("ATTACKS (refused by the API server)", String::new())?;
        for (attack, (made, refused)) in &self.attacks {
            row(&format!("  {attack:?}"), format!("{made} ({refused})"))?;
        }
        Ok(())
    }
}
