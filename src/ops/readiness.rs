//! Named gates that a process has to pass before it is ready.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The gates of a process. It is ready once all are open.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    gates: Arc<Mutex<Vec<(&'static str, String)>>>,
    opened: Arc<Mutex<Vec<&'static str>>>,
    checks: Arc<Mutex<Vec<(&'static str, Check)>>>,
    facts: Vec<(&'static str, String)>,
}

/// Returns the current problems, one sentence each.
struct Check(Box<dyn Fn() -> Vec<String> + Send + Sync>);

impl fmt::Debug for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Check")
    }
}

/// One closed gate. Dropping it without opening keeps it closed forever.
#[derive(Debug)]
pub struct ReadinessGate {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// Names the process, and shows its identity beside the gates.
    #[must_use]
    pub fn of(facts: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self { facts: facts.into_iter().collect(), ..Self::default() }
    }

    /// The identity of this process.
    #[must_use]
    pub fn facts(&self) -> &[(&'static str, String)] {
        &self.facts
    }

    /// Adds a closed gate; `waits_for` names what opens it.
    #[must_use]
    pub fn gate(&self, name: &'static str, waits_for: impl Into<String>) -> ReadinessGate {
        self.lock().push((name, waits_for.into()));
        ReadinessGate { name, readiness: self.clone() }
    }

    /// Adds a check, which runs on every request: the process is not ready while it reports a problem.
    pub fn check(&self, name: &'static str, check: impl Fn() -> Vec<String> + Send + Sync + 'static) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.push((name, Check(Box::new(check))));
    }

    /// What the checks find: the name of each, and what is wrong.
    #[must_use]
    pub fn findings(&self) -> Vec<(&'static str, String)> {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let found = checks.iter().flat_map(|(name, check)| (check.0)().into_iter().map(|text| (*name, text)));
        found.collect()
    }

    /// The names of what is well: the open gates, and the checks without a finding.
    #[must_use]
    pub fn passed(&self) -> Vec<&'static str> {
        let mut names = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        names.extend(checks.iter().filter(|(_, check)| (check.0)().is_empty()).map(|(name, _)| *name));
        names
    }

    /// The closed gates: name, and what each waits for.
    #[must_use]
    pub fn closed(&self) -> Vec<(&'static str, String)> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(&'static str, String)>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadinessGate {
    /// Opens it for good.
    pub fn open(self) {
        self.readiness.opened.lock().unwrap_or_else(PoisonError::into_inner).push(self.name);
        let mut gates = self.readiness.lock();
        if let Some(index) = gates.iter().position(|(name, _)| *name == self.name) {
            gates.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[test]
    fn a_check_is_carried_out_whenever_somebody_asks() {
        let (readiness, is_wrong) = (Readiness::default(), Arc::new(AtomicBool::new(true)));
        let state = Arc::clone(&is_wrong);
        readiness.check("rights", move || {
            state.load(Relaxed).then(|| "one is missing".into()).into_iter().collect()
        });
        assert_eq!(readiness.findings(), [("rights", "one is missing".to_owned())]);
        assert!(readiness.passed().is_empty());
        is_wrong.store(false, Relaxed);
        assert_eq!((readiness.findings(), readiness.passed()), (Vec::new(), vec!["rights"]));
    }

    #[test]
    fn ready_means_that_every_gate_was_opened_and_a_dropped_one_stays_closed() {
        let readiness = Readiness::default();
        let crd = readiness.gate("crd", "the CRD to be served");
        let watches = readiness.gate("watches", "the first lists");
        crd.open();
        assert_eq!(readiness.closed(), [("watches", "the first lists".to_owned())]);
        assert_eq!(readiness.passed(), ["crd"]);
        drop(watches);
        assert_eq!(readiness.closed().len(), 1);
    }
}
