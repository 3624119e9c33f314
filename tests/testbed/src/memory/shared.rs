//! What the handles and clients of one API share.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::fault::{Fault, RequestFacts};
use super::status::Outcome;
use super::store::Store;
use super::write::{Write, Written};
use super::{Change, Clock, Counts};

type FaultHook = Arc<dyn Fn(&RequestFacts) -> Option<Fault> + Send + Sync>;
type Observer = Arc<dyn Fn(&Change) + Send + Sync>;

/// What the handles and clients of one API share. Neither lock is held while code of a test runs.
pub(super) struct Shared {
    clock: Clock,
    store: Mutex<Store>,
    hooks: Mutex<Hooks>,
}

#[derive(Default)]
pub(super) struct Hooks {
    pub(super) counts: Counts,
    pub(super) fault: Option<FaultHook>,
    pub(super) observers: Vec<Observer>,
}

impl Shared {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, store: Mutex::default(), hooks: Mutex::default() }
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hooks(&self) -> MutexGuard<'_, Hooks> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, facts: &RequestFacts) {
        let key = (facts.user.clone(), facts.verb, facts.target());
        *self.hooks().counts.entry(key).or_default() += 1;
    }

    pub(super) fn fault(&self, facts: &RequestFacts) -> Option<Fault> {
        let hook = self.hooks().fault.clone();
        hook.and_then(|hook| hook(facts))
    }

    /// Carries out a write, wakes the watches, and calls the observers.
    pub(super) fn write(&self, write: &Write) -> Outcome<Written> {
        let now = (self.clock)();
        let written = self.store().write(write, now);
        let mut written = written?;
        written.wakers.drain(..).for_each(Waker::wake);
        if let Some(change) = &written.change {
            let observers = self.hooks().observers.clone();
            for observer in observers {
                observer(change);
            }
        }
        Ok(written)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}
