//! What runs a process: logs, metrics, admin endpoints, readiness gates, shutdown, clock. No domain logic.

pub mod admin;
pub mod clock;
pub mod connections;
pub mod descriptors;
pub mod documentation;
pub mod listener;
pub mod liveness;
pub mod logging;
pub mod metrics;
pub mod readiness;
pub mod shutdown;
pub mod transfer_rate;
pub mod write_timeout;
