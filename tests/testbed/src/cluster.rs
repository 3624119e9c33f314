//! A control plane and its node, as one.

use crate::control_plane::{ControlPlane, Controllers, Options};
use crate::error::Result;
use crate::node::Node;

/// A control plane with a node: a Kubernetes that runs pods.
///
/// ```no_run
/// use std::path::Path;
/// use idissuer_testbed::{Cluster, Node, Options, Result};
///
/// # async fn test() -> Result<()> {
/// if !Node::available_for_test() {
///     return Ok(());
/// }
/// let cluster = Cluster::start(Options::new()).await?;
/// let program = Path::new("target/x86_64-unknown-linux-gnu/release/program");
/// cluster.node().import_program(program, "localhost/program:1").await?;
/// cluster.control_plane().kubectl().run(&[
///     "run", "first", "--image=localhost/program:1", "--image-pull-policy=Never",
/// ]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order.
    node: Node,
    control_plane: ControlPlane,
}

impl Cluster {
    /// Starts both, the control plane with all controllers, and waits until the node is ready for pods.
    ///
    /// # Errors
    /// When there can be no node here, or a part does not start.
    pub async fn start(options: Options) -> Result<Self> {
        let control_plane = Box::pin(ControlPlane::start(options.controllers(Controllers::All))).await?;
        let node = Box::pin(Node::start(&control_plane)).await?;
        Ok(Self { node, control_plane })
    }

    /// Its control plane.
    #[must_use]
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// Its node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }
}
