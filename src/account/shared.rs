//! What all sessions of the process share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::call_limiters::CallLimiters;
use super::call_limits::CallLimits;
use super::members::Member;
use crate::core::endpoint::Origin;
use crate::issuer::IssuerClient;
use crate::ops::clock::Clock;
use crate::ops::metrics::Metrics;

/// How long a call to the issuer may continue after the process is asked to stop.
pub const STOP_GRACE: Duration = Duration::from_secs(3);

/// What sessions need to carry out calls.
pub(super) struct Shared {
    pub(super) issuer: IssuerClient,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) call_limiters: Arc<CallLimiters<Origin>>,
    pub(super) call_limits: CallLimits,
    /// Whether this process may call now. Another one may use the accounts when it may not.
    pub(super) may_call: Box<dyn Fn() -> bool + Send + Sync>,
    /// Receives one message per member when a call ends. Unbounded, because it contains at most one message per member
    /// and call, and a session must never wait for a member.
    pub(super) ended: UnboundedSender<Member>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}
