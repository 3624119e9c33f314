//! Stopping: the first signal drains, the second aborts, and so does a drain that takes too long.

use std::io;
use std::process;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How much longer than the drain limit the process waits before it terminates anyway.
pub const MARGIN: Duration = Duration::from_secs(1);

/// Cancels the token at the first SIGTERM or SIGINT; ends the process with code 1 at the second, or when it is still there
/// `limit` after the first.
///
/// Signals have a thread of their own: whatever the work hangs in, a file system that does not answer among it, the process
/// ends.
///
/// # Errors
/// When signal handlers cannot be registered.
pub fn on_signal(limit: Duration) -> io::Result<CancellationToken> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt) = {
        let _within = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; a second signal ends the process at once");
        cancelled.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = tokio::time::sleep(limit) => tracing::warn!("work did not stop in time; terminating"),
        }
        process::exit(1);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(told))?;
    Ok(stop)
}
