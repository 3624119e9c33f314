//! The pace of the writes of each namespace, so that no tenant floods the API server.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::SignedDuration;

use crate::core::rate_limiter::RateLimiter;
use crate::core::schedule::NAMESPACE_WRITES;
use crate::core::time::Moment;

/// After so many namespaces, those that have been quiet are forgotten.
const NAMESPACES: usize = 1000;
/// How soon credentials retry that wait for their namespace.
const LOOK: SignedDuration = SignedDuration::from_secs(1);

/// The writes of each namespace lately.
#[derive(Default)]
pub(super) struct NamespaceWrites(Mutex<HashMap<String, NamespaceRate>>);

struct NamespaceRate {
    rate_limiter: RateLimiter,
    /// Whether it was logged that the limit is reached; reset when it is full again.
    is_told: bool,
}

impl NamespaceWrites {
    /// A target or a status of this namespace was written.
    pub(super) fn made(&self, namespace: &str, now: Moment) {
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rates.len() >= NAMESPACES {
            rates.retain(|_, it| !it.rate_limiter.is_full(NAMESPACE_WRITES, now));
        }
        let full =
            || NamespaceRate { rate_limiter: RateLimiter::full(NAMESPACE_WRITES, now), is_told: false };
        let NamespaceRate { rate_limiter, is_told } = rates.entry(namespace.to_owned()).or_insert_with(full);
        *is_told &= !rate_limiter.is_full(NAMESPACE_WRITES, now);
        rate_limiter.spend(NAMESPACE_WRITES, now);
        if !*is_told && rate_limiter.pause(NAMESPACE_WRITES, now).is_some() {
            *is_told = true;
            tracing::warn!(
                namespace,
                "writes in this namespace are delayed to 50 a second; check what changes its Secrets and credentials so often"
            );
        }
    }

    /// Until when the next one has to wait, if it has to.
    pub(super) fn pause(&self, namespace: &str, now: Moment) -> Option<Moment> {
        let rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = rates.get(namespace)?.rate_limiter.pause(NAMESPACE_WRITES, now)?;
        Some(until.not_before(now.plus(LOOK)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::at;

    #[test]
    fn a_namespace_has_four_thousand_writes_at_once_and_takes_none_from_another() {
        let writes = NamespaceWrites::default();
        for _ in 0..4_000 {
            assert_eq!(writes.pause("hostile", at(0)), None);
            writes.made("hostile", at(0));
        }
        assert_eq!(writes.pause("hostile", at(0)), Some(at(1)));
        assert_eq!(writes.pause("shop", at(0)), None);
        let mut written = 0;
        while writes.pause("hostile", at(10)).is_none() {
            writes.made("hostile", at(10));
            written += 1;
        }
        assert_eq!(written, 500, "fifty a second");
        let is_told = || writes.0.lock().unwrap()["hostile"].is_told;
        assert!(is_told());
        writes.made("hostile", at(90));
        assert!(!is_told(), "it was full again");
        for number in 0..3_000 {
            writes.made(&number.to_string(), at(100 + number));
        }
        assert!(writes.0.lock().unwrap().len() <= NAMESPACES, "those that are quiet are forgotten");
    }
}
