//! What the tests of one process share.

use std::sync::OnceLock;
use std::thread;

use crate::cluster::Cluster;
use crate::control_plane::{ControlPlane, Options};
use crate::error::{Error, Result};
use crate::node::NodeOptions;

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

    /// The control plane. Whoever asks first starts it, the others wait.
    ///
    /// # Errors
    /// When it could not be started. It is not tried again: every test of the process gets the same reason.
    pub async fn control_plane(&'static self) -> Result<&'static ControlPlane> {
        once(&self.cell, || ControlPlane::start((self.options)())).await
    }
}

/// A control plane with a node, as [`Shared`] is one without.
#[derive(Debug)]
pub struct SharedCluster {
    options: fn() -> (Options, NodeOptions),
    cell: OnceLock<Result<Cluster, String>>,
}

impl SharedCluster {
    /// For a static.
    #[must_use]
    pub const fn new(options: fn() -> (Options, NodeOptions)) -> Self {
        Self { options, cell: OnceLock::new() }
    }

    /// The cluster. Whoever asks first starts it, the others wait.
    ///
    /// # Errors
    /// When it could not be started. It is not tried again: every test of the process gets the same reason.
    pub async fn cluster(&'static self) -> Result<&'static Cluster> {
        let start = || {
            let (options, node) = (self.options)();
            Cluster::start(options, node)
        };
        once(&self.cell, start).await
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
async fn once<T, F>(
    cell: &'static OnceLock<Result<T, String>>,
    start: impl FnOnce() -> F + Send + 'static,
) -> Result<&'static T>
where
    T: Send + Sync,
    F: Future<Output = Result<T>>,
{
    let run = move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?
            .block_on(start())
            .map_err(|error| error.chain())
    };
    let get = move || {
        cell.get_or_init(|| {
            thread::spawn(run).join().unwrap_or_else(|_| Err("its start panicked".to_owned()))
        })
    };
    match tokio::task::spawn_blocking(get).await.map_err(Error::Task)? {
        Ok(value) => Ok(value),
        Err(reason) => Err(Error::Shared(reason.clone())),
    }
}
