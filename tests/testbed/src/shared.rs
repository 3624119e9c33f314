//! What the tests of one process share.

use std::sync::OnceLock;
use std::thread;

use crate::control_plane::{ControlPlane, Options};
use crate::error::{Error, Result};

/// A control plane that starts when it is first asked for.
///
/// ```no_run
/// use idissuer_testbed::{Options, Shared};
///
/// static CLUSTER: Shared = Shared::new(|| Options::new().crd("…"));
///
/// # async fn test() -> idissuer_testbed::Result<()> {
/// let client = CLUSTER.control_plane().await?.client()?;
/// # Ok(())
/// # }
/// ```
///
/// A static is never dropped; that the control plane ends with the process is the work of its supervisors.
#[derive(Debug)]
pub struct Shared {
    options: fn() -> Options,
    cell: OnceLock<Result<ControlPlane, String>>,
}

impl Shared {
    /// For a static.
    #[must_use]
    pub const fn new(options: fn() -> Options) -> Self {
        Self { options, cell: OnceLock::new() }
    }

    /// The control plane. The first caller starts it, the others wait.
    ///
    /// # Errors
    /// When it could not be started. It is not tried again: every test of the process gets the same reason.
    pub async fn control_plane(&'static self) -> Result<&'static ControlPlane> {
        let (cell, options) = (&self.cell, self.options);
        let get = move || {
            cell.get_or_init(|| {
                let started = thread::spawn(move || start(options())).join();
                started.unwrap_or_else(|_| Err("its start panicked".to_owned()))
            })
        };
        match tokio::task::spawn_blocking(get).await.map_err(Error::Task)? {
            Ok(value) => Ok(value),
            Err(reason) => Err(Error::Shared(reason.clone())),
        }
    }
}

/// The control plane of tests that need nothing special, started once per process.
///
/// Stop nothing of it: other tests use it at the same time.
///
/// # Errors
/// When it could not be started.
pub async fn shared() -> Result<&'static ControlPlane> {
    static SHARED: Shared = Shared::new(Options::new);
    SHARED.control_plane().await
}

/// Starts it on a runtime of its own: that of the test which happens to be first ends with that test.
fn start(options: Options) -> Result<ControlPlane, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?
        .block_on(ControlPlane::start(options))
        .map_err(|error| error.chain())
}
