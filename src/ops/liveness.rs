//! Whether the process makes progress. A restart helps only against what this says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The liveness of a process, which `/livez` shows. It never depends on an issuer, the API server or the wall clock.
#[derive(Clone, Debug, Default)]
pub struct Liveness(Arc<AtomicBool>);

impl Liveness {
    /// Says whether the work has come to a standstill.
    pub fn set_stuck(&self, is_stuck: bool) {
        self.0.store(is_stuck, Ordering::Relaxed);
    }

    /// Whether the work has come to a standstill.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
