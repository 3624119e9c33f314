//! Call limiters with waiting: a call waits here until its turn, see [`crate::core::call_limiter`].

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::core::call_limiter::{CallLimiter, CallRequest, Capacity, Load};
use crate::core::time::Moment;

type Waiter<K> = oneshot::Sender<Permit<K>>;
type ByKey<K> = HashMap<K, CallLimiter<Waiter<K>>>;

/// One call limiter per key, such as an issuer's origin; all have the same capacity.
pub(crate) struct CallLimiters<K: Clone + Eq + Hash> {
    capacity: Capacity,
    by_key: Mutex<ByKey<K>>,
}

/// A permit; dropping it, even unseen, admits the next call.
pub(crate) struct Permit<K: Clone + Eq + Hash> {
    call_limiters: Arc<CallLimiters<K>>,
    key: K,
    request: CallRequest,
    is_used: bool,
}

impl<K: Clone + Eq + Hash> CallLimiters<K> {
    /// No call holds a permit or waits.
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self { capacity, by_key: Mutex::default() }
    }

    /// Waits for a permit. `None` never happens in practice: the limiter answers every waiting call.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        key: &K,
        request: CallRequest,
        now: Moment,
    ) -> Option<Permit<K>> {
        let (waiter, permit) = oneshot::channel();
        {
            let mut call_limiters = self.lock();
            let limiter = call_limiters.entry(key.clone()).or_insert_with(|| CallLimiter::new(self.capacity));
            limiter.enqueue(request, waiter, now);
            self.admit(limiter, key);
        }
        permit.await.ok()
    }

    /// What runs and waits, for each key.
    pub(crate) fn load(&self) -> Vec<Load> {
        self.lock().values().map(CallLimiter::load).collect()
    }

    /// Admits calls that may start; a call that no longer waits frees its place at once.
    fn admit(self: &Arc<Self>, limiter: &mut CallLimiter<Waiter<K>>, key: &K) {
        while let Some((request, waiter)) = limiter.admit() {
            let permit = Permit { call_limiters: Arc::clone(self), key: key.clone(), request, is_used: true };
            if let Err(mut unused) = waiter.send(permit) {
                // Dropping the permit would lock the limiters, which are already locked.
                unused.is_used = false;
                limiter.release(&unused.request);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ByKey<K>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Drop for Permit<K> {
    fn drop(&mut self) {
        if !self.is_used {
            return;
        }
        let mut call_limiters = self.call_limiters.lock();
        let Some(limiter) = call_limiters.get_mut(&self.key) else { return };
        limiter.release(&self.request);
        self.call_limiters.admit(limiter, &self.key);
        if limiter.is_idle() {
            call_limiters.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::call_limiter::Priority;
    use crate::core::endpoint::{DEFAULT_ISSUER, Origin};
    use futures::FutureExt as _;

    #[tokio::test]
    async fn the_fifteenth_of_a_tenant_waits_until_one_leaves_and_one_that_gave_up_takes_no_room() {
        let call_limiters = Arc::new(CallLimiters::new(Capacity::ISSUER));
        let origin = Origin::parse(DEFAULT_ISSUER).unwrap();
        let now = Moment { wall: jiff::Timestamp::UNIX_EPOCH, monotonic: jiff::SignedDuration::ZERO };
        let request = || CallRequest {
            tenant: "shop".into(),
            priority: Priority::Renewal { overdue: now },
            failures: 0,
        };
        let mut permits = Vec::new();
        for _ in 0..14 {
            permits
                .push(call_limiters.enter(&origin, request(), now).now_or_never().flatten().expect("room"));
        }
        assert!(call_limiters.enter(&origin, request(), now).now_or_never().is_none(), "asked, and gave up");
        let mut unseen = Box::pin(call_limiters.enter(&origin, request(), now));
        let mut last = Box::pin(call_limiters.enter(&origin, request(), now));
        assert!((&mut unseen).now_or_never().is_none() && (&mut last).now_or_never().is_none());
        permits.pop();
        drop(unseen);
        let permit =
            last.now_or_never().flatten().expect("its turn, after one that was let through and did not look");
        drop((permit, permits));
        assert!(call_limiters.lock().is_empty());
    }
}
