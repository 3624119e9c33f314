//! The clock that the times of a status are read by.

use jiff::{SignedDuration, Timestamp};

use super::cluster::Cluster;
use super::lease::LeaseFacts;
use crate::ops::clock::Clock;

/// How far this machine's clock may differ from the API server's, in seconds: an answer has whole seconds, and takes time.
pub(super) const CLOCKS_DIFFER: i64 = 10;

/// This machine's clock, set right where it differs from the API server's. By a wrong clock, a valid token has expired, and an
/// old failure answers a new request.
pub(super) struct ClusterClock<'a> {
    pub(super) clock: &'a dyn Clock,
    ahead: SignedDuration,
}

impl<'a> ClusterClock<'a> {
    /// Asks the API server for its time. Without an answer, this machine's counts.
    pub(super) async fn read(cluster: &Cluster, clock: &'a dyn Clock) -> Self {
        let server_time = cluster.server_time().await;
        Self { clock, ahead: ahead(clock.now().wall, server_time) }
    }

    /// The clock of the operator with this lease.
    pub(super) fn of_operator(&self, lease: Option<&LeaseFacts>) -> Self {
        let ahead = lease.map(|lease| lease.ahead).unwrap_or_default();
        Self { clock: self.clock, ahead: self.ahead.saturating_sub(ahead) }
    }

    pub(super) fn now(&self) -> Timestamp {
        let wall = self.clock.now().wall;
        wall.saturating_sub(self.ahead).unwrap_or(wall)
    }
}

/// How far this machine's clock is ahead; zero if that may be the time that the answer took.
fn ahead(now: Timestamp, server_time: Option<Timestamp>) -> SignedDuration {
    let ahead = server_time.map(|server_time| now.duration_since(server_time)).unwrap_or_default();
    if ahead.as_secs().abs() > CLOCKS_DIFFER { ahead } else { SignedDuration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::row::tests::time;

    #[test]
    fn a_clock_that_is_right_counts_and_a_wrong_one_is_corrected() {
        let now = time("2026-01-01T02:00:00Z");
        for (server_time, expected) in [
            (None, 0),
            (Some("2026-01-01T01:59:55Z"), 0),
            (Some("2026-01-01T00:00:00Z"), 7200),
            (Some("2026-01-01T02:01:00Z"), -60),
        ] {
            let found = ahead(now, server_time.map(time));
            assert_eq!(found.as_secs(), expected, "{server_time:?}");
        }
    }
}
