//! Bounds how much of tenants' objects is in memory: each may hold a megabyte.

use std::sync::Arc;

use crate::account::call_limiters::{CallLimiters, Permit};
use crate::core::call_limiter::{CallRequest, Capacity};
use crate::core::time::Moment;

/// How many objects of tenants, each of which may hold a megabyte, are read at once.
const READ_AT_ONCE: usize = 8;

/// Bounds how many objects of tenants are in memory whole, fairly by namespace.
pub(super) struct LargeReads(Arc<CallLimiters<()>>);

/// A permit to hold one object of a tenant in memory. A holder must not request a second one, or all could wait for
/// each other.
pub(super) struct ReadPermit {
    _permit: Option<Permit<()>>,
}

impl Default for LargeReads {
    fn default() -> Self {
        Self(Arc::new(CallLimiters::new(Capacity::of(READ_AT_ONCE))))
    }
}

impl LargeReads {
    /// Waits for a permit.
    pub(super) async fn enter(&self, namespace: &str, now: Moment) -> ReadPermit {
        ReadPermit { _permit: self.0.enter(&(), CallRequest::in_turn(namespace.into(), now), now).await }
    }
}
