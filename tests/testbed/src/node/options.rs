//! What a node can be asked to be.

use std::time::Duration;

/// How to start a [`Node`](crate::Node).
#[derive(Clone, Debug)]
pub struct NodeOptions {
    pub(super) name: String,
    pub(super) sync_frequency: Duration,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self { name: "node".to_owned(), sync_frequency: Duration::from_secs(10) }
    }
}

impl NodeOptions {
    /// A node named `node`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names it.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How often kubelet looks at a pod when nothing has happened to it: a changed Secret is in the pod's files after
    /// at most about this time. kubelet's own default is a minute; here it is 10 s.
    #[must_use]
    pub fn sync_frequency(mut self, frequency: Duration) -> Self {
        self.sync_frequency = frequency;
        self
    }
}
