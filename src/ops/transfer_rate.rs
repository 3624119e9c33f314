//! How quickly the other end of a request brings its body and takes the answer's.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many bytes the other side must transfer in a second of its own time.
const LEAST_RATE: u32 = 1024;
/// For how long it may move less.
pub const GRACE: Duration = Duration::from_secs(30);

/// The pace of a request. The time in which it is the other end's turn is taken from a credit, and bytes add to it; what
/// others are waited for costs nothing.
#[derive(Debug)]
pub struct TransferRate(Mutex<Credit>);

#[derive(Debug)]
struct Credit {
    credit: Duration,
    /// Since when it is the other end's turn.
    turn: Option<Instant>,
}

impl TransferRate {
    /// At the begin of a request.
    #[must_use]
    pub fn new() -> Self {
        Self(Mutex::new(Credit { credit: GRACE, turn: None }))
    }

    /// It is the other end's turn.
    pub fn waits(&self) {
        self.lock().turn.get_or_insert_with(Instant::now);
    }

    /// The other side transferred these bytes, and it is no longer its turn.
    pub fn moved(&self, bytes: usize) {
        let mut account = self.lock();
        let gain = Duration::from_secs(bytes.try_into().unwrap_or(u64::MAX)) / LEAST_RATE;
        account.credit = account.left().saturating_add(gain).min(GRACE);
        account.turn = None;
    }

    /// Whether the other end is too slow.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.lock().left().is_zero()
    }

    fn lock(&self) -> MutexGuard<'_, Credit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for TransferRate {
    fn default() -> Self {
        Self::new()
    }
}

impl Credit {
    fn left(&self) -> Duration {
        self.credit.saturating_sub(self.turn.map_or(Duration::ZERO, |turn| turn.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moves so many bytes each time, after so many seconds of the other end's turn.
    async fn goes(pace: &TransferRate, bytes: usize, seconds: u64) {
        pace.waits();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        pace.moved(bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_too_slow_and_a_kibibyte_a_second_is_not() {
        let pace = TransferRate::new();
        for _ in 0..1000 {
            goes(&pace, 10 * 1024, 10).await;
            assert!(!pace.is_slow());
        }
        goes(&pace, 1, 20).await;
        assert!(!pace.is_slow());
        pace.waits();
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(pace.is_slow());
        pace.moved(1);
        pace.waits();
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(pace.is_slow(), "a byte buys a millisecond");
        pace.moved(1024 * 1024);
        assert!(!pace.is_slow());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_moved_quickly_buys_no_more_than_the_grace_and_the_upstreams_turn_costs_nothing() {
        let pace = TransferRate::new();
        goes(&pace, 1 << 30, 0).await;
        tokio::time::sleep(10 * GRACE).await;
        assert!(!pace.is_slow(), "it was not its turn");
        pace.waits();
        tokio::time::sleep(GRACE).await;
        assert!(pace.is_slow());
    }
}
