//! What is wrong with the API server at the moment.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use idissuer_testbed::memory::{Fault, MemoryApi, RequestFacts};

use crate::process::Links;

/// One thing that is wrong with the API server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ApiTrouble {
    Unreachable,
    /// It answers with this status.
    Fails(u16),
    /// It carries requests out and never answers.
    LosesAnswers,
    /// It takes this long.
    Slow(Duration),
    /// Nobody may write Secrets.
    RefusesSecrets,
}

impl ApiTrouble {
    fn fault(self, annotations: &RequestFacts) -> Option<Fault> {
        match self {
            Self::Unreachable => Some(Fault::Unreachable),
            Self::Fails(code) => Some(Fault::refuse(code, "InternalError")),
            // What ends the wait for a list or a watch that is never answered is the client's limit on reads, which only
            // the program sets.
            Self::LosesAnswers => (!matches!(annotations.verb, "list" | "watch")).then_some(Fault::Lost),
            Self::Slow(by) => Some(Fault::Delay(by)),
            Self::RefusesSecrets => {
                let is_write = annotations.resource == "secrets" && annotations.verb == "patch";
                is_write.then(|| Fault::refuse(403, "Forbidden"))
            }
        }
    }
}

struct Sky {
    /// Each with the share of requests that meets it.
    troubles: Vec<(ApiTrouble, f64)>,
    chances: fastrand::Rng,
}

/// All that is wrong with the API server.
#[derive(Clone)]
pub(crate) struct Weather(Arc<Mutex<Sky>>);

impl Weather {
    /// Nothing is wrong yet, but for the wires of processes.
    pub(crate) fn over(api: &MemoryApi, links: &Links, seed: u64) -> Self {
        let sky = Sky { troubles: Vec::new(), chances: fastrand::Rng::with_seed(seed) };
        let weather = Self(Arc::new(Mutex::new(sky)));
        let (links, of_all) = (links.clone(), weather.clone());
        api.set_fault(move |annotations| {
            let own = links.get(&annotations.user).and_then(|link| link.api_fault());
            own.or_else(|| of_all.fault(annotations))
        });
        weather
    }

    fn fault(&self, annotations: &RequestFacts) -> Option<Fault> {
        let Sky { troubles, chances } = &mut *self.0.lock().unwrap();
        troubles.iter().find_map(|(trouble, share)| {
            let is_met = *share >= 1.0 || chances.f64() < *share;
            is_met.then(|| trouble.fault(annotations)).flatten()
        })
    }

    pub(crate) fn begins(&self, trouble: ApiTrouble, share: f64) {
        self.0.lock().unwrap().troubles.push((trouble, share));
    }

    pub(crate) fn ends(&self, trouble: ApiTrouble) {
        let troubles = &mut self.0.lock().unwrap().troubles;
        if let Some(index) = troubles.iter().position(|(other, _)| *other == trouble) {
            troubles.remove(index);
        }
    }
}
