//! The gates before the issuers: a call waits here for its turn, see [`crate::core::gate`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::core::endpoint::Origin;
use crate::core::gate::{Entrant, Gate};
use crate::core::moment::Moment;

type Turn = oneshot::Sender<Pass>;

/// One gate an origin.
#[derive(Default)]
pub(super) struct Gates(Mutex<HashMap<Origin, Gate<Turn>>>);

/// Someone who is through; dropping it, also unseen, makes room for the next.
pub(super) struct Pass {
    gates: Arc<Gates>,
    origin: Origin,
    entrant: Entrant,
    is_used: bool,
}

impl Gates {
    /// Waits for its turn. `None` is never answered: the gate keeps everyone who waits until it is their turn.
    pub(super) async fn enter(
        self: &Arc<Self>,
        origin: &Origin,
        entrant: Entrant,
        now: Moment,
    ) -> Option<Pass> {
        let (turn, pass) = oneshot::channel();
        {
            let mut gates = self.lock();
            let gate = gates.entry(origin.clone()).or_default();
            gate.ask(entrant, turn, now);
            self.admit(gate, origin);
        }
        pass.await.ok()
    }

    /// Lets through whoever may; one who does not wait any more makes room at once.
    fn admit(self: &Arc<Self>, gate: &mut Gate<Turn>, origin: &Origin) {
        while let Some((entrant, turn)) = gate.admit() {
            let pass = Pass { gates: Arc::clone(self), origin: origin.clone(), entrant, is_used: true };
            if let Err(mut unused) = turn.send(pass) {
                // Its end would lock the gates, which are locked.
                unused.is_used = false;
                gate.leave(&unused.entrant);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, Gate<Turn>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.is_used {
            return;
        }
        let mut gates = self.gates.lock();
        let Some(gate) = gates.get_mut(&self.origin) else { return };
        gate.leave(&self.entrant);
        self.gates.admit(gate, &self.origin);
        if gate.is_idle() {
            gates.remove(&self.origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::endpoint::DEFAULT_ISSUER;
    use crate::core::gate::Errand;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn the_fifteenth_of_a_tenant_waits_until_one_leaves_and_one_that_gave_up_takes_no_room() {
        let gates = Arc::new(Gates::default());
        let origin = Origin::parse(DEFAULT_ISSUER).unwrap();
        let now = Moment { wall: jiff::Timestamp::UNIX_EPOCH, monotonic: jiff::SignedDuration::ZERO };
        let entrant =
            || Entrant { tenant: "shop".into(), errand: Errand::Renewal { overdue: now }, failures: 0 };
        let mut passes = Vec::new();
        for _ in 0..14 {
            passes.push(gates.enter(&origin, entrant(), now).now_or_never().flatten().expect("room"));
        }
        assert!(gates.enter(&origin, entrant(), now).now_or_never().is_none(), "asked, and gave up");
        let mut unseen = Box::pin(gates.enter(&origin, entrant(), now));
        let mut last = Box::pin(gates.enter(&origin, entrant(), now));
        assert!((&mut unseen).now_or_never().is_none() && (&mut last).now_or_never().is_none());
        passes.pop();
        drop(unseen);
        let pass =
            last.now_or_never().flatten().expect("its turn, after one that was let through and did not look");
        drop((pass, passes));
        assert!(gates.lock().is_empty());
    }
}
