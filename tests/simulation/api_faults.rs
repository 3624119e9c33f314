//! The current faults of the API server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use idissuer_testbed::memory::{Fault, MemoryApi, RequestFacts};

use crate::process::Links;

/// One thing that is wrong with the API server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ApiFault {
    Unreachable,
    Fails(u16),
    /// It carries out requests and never answers.
    LosesAnswers,
    Slow(Duration),
    RefusesSecrets,
}

impl ApiFault {
    fn fault(self, request: &RequestFacts) -> Option<Fault> {
        match self {
            Self::Unreachable => Some(Fault::Unreachable),
            Self::Fails(code) => Some(Fault::refuse(code, "InternalError")),
            // What ends the wait for a list or a watch that is never answered is the client's limit on reads, which only
            // the program sets.
            Self::LosesAnswers => (!matches!(request.verb, "list" | "watch")).then_some(Fault::Lost),
            Self::Slow(by) => Some(Fault::Delay(by)),
            Self::RefusesSecrets => {
                let is_write = request.resource == "secrets" && request.verb == "patch";
                is_write.then(|| Fault::refuse(403, "Forbidden"))
            }
        }
    }
}

struct Faults {
    /// Each with the share of requests that meets it.
    current: Vec<(ApiFault, f64)>,
    chances: fastrand::Rng,
}

/// All that is wrong with the API server.
#[derive(Clone)]
pub(crate) struct ApiFaults(Arc<Mutex<Faults>>);

impl ApiFaults {
    /// Nothing is wrong yet, but for the wires of processes.
    pub(crate) fn over(api: &MemoryApi, links: &Links, seed: u64) -> Self {
        let faults = Faults { current: Vec::new(), chances: fastrand::Rng::with_seed(seed) };
        let api_faults = Self(Arc::new(Mutex::new(faults)));
        let (links, of_all) = (links.clone(), api_faults.clone());
        api.set_fault(move |request| {
            let own = links.get(&request.user).and_then(|link| link.api_fault());
            own.or_else(|| of_all.fault(request))
        });
        api_faults
    }

    fn fault(&self, request: &RequestFacts) -> Option<Fault> {
        let Faults { current, chances } = &mut *self.0.lock().unwrap();
        current.iter().find_map(|(trouble, share)| {
            let is_met = *share >= 1.0 || chances.f64() < *share;
            is_met.then(|| trouble.fault(request)).flatten()
        })
    }

    pub(crate) fn begins(&self, trouble: ApiFault, share: f64) {
        self.0.lock().unwrap().current.push((trouble, share));
    }

    pub(crate) fn ends(&self, trouble: ApiFault) {
        let current = &mut self.0.lock().unwrap().current;
        if let Some(index) = current.iter().position(|(other, _)| *other == trouble) {
            current.remove(index);
        }
    }
}
