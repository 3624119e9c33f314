//! The gates before the issuers: a call waits here for its turn, see [`crate::core::gate`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::core::endpoint::Origin;
use crate::core::gate::{Errand, Gate};
use crate::core::moment::Moment;

/// One gate an origin.
#[derive(Default)]
pub(super) struct Gates(Mutex<HashMap<Origin, Gate<oneshot::Sender<()>>>>);

/// Someone who is through; dropping it makes room for the next.
pub(super) struct Pass {
    gates: Arc<Gates>,
    origin: Origin,
    errand: Errand,
}

impl Gates {
    /// Waits for its turn.
    pub(super) async fn enter(self: &Arc<Self>, origin: &Origin, errand: Errand, now: Moment) -> Pass {
        let (sender, turn) = oneshot::channel();
        {
            let mut gates = self.lock();
            let gate = gates.entry(origin.clone()).or_default();
            gate.ask(errand, sender, now);
            admit(gate);
        }
        // The gate keeps every sender until it is its turn, so this ends by being let through.
        let _ = turn.await;
        Pass { gates: Arc::clone(self), origin: origin.clone(), errand }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, Gate<oneshot::Sender<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets through whoever may; one who does not wait any more makes room at once.
fn admit(gate: &mut Gate<oneshot::Sender<()>>) {
    while let Some((errand, turn)) = gate.admit() {
        if turn.send(()).is_err() {
            gate.leave(errand);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut gates = self.gates.lock();
        let Some(gate) = gates.get_mut(&self.origin) else { return };
        gate.leave(self.errand);
        admit(gate);
        if gate.is_idle() {
            gates.remove(&self.origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::endpoint::DEFAULT_ISSUER;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn the_seventeenth_waits_until_one_leaves_and_one_that_gave_up_is_skipped() {
        let gates = Arc::new(Gates::default());
        let origin = Origin::parse(DEFAULT_ISSUER).unwrap();
        let now = Moment { wall: jiff::Timestamp::UNIX_EPOCH, monotonic: jiff::SignedDuration::ZERO };
        let errand = Errand::Renewal { overdue: now };
        let mut passes = Vec::new();
        for _ in 0..16 {
            passes.push(gates.enter(&origin, errand, now).now_or_never().expect("room"));
        }
        assert!(gates.enter(&origin, errand, now).now_or_never().is_none(), "asked, and gave up");
        let mut last = Box::pin(gates.enter(&origin, errand, now));
        assert!((&mut last).now_or_never().is_none(), "sixteen are through");
        passes.pop();
        let pass = last.now_or_never().expect("its turn");
        drop((pass, passes));
        assert!(gates.lock().is_empty());
    }
}
