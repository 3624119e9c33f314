//! The options of a control plane.

/// Which controllers of Kubernetes run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Controllers {
    /// None: for tests of the API alone. Owner references collect nothing, and deleted namespaces stay `Terminating`.
    None,
    /// Those that an operator leans on: garbage collection, namespace deletion, service accounts.
    #[default]
    Essential,
    /// All: for a control plane that has a node.
    All,
}

/// How to start a [`ControlPlane`](crate::ControlPlane).
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) controllers: Controllers,
    pub(super) crds: Vec<String>,
}

impl Options {
    /// The API server with the [essential controllers](Controllers::Essential).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses the controllers.
    #[must_use]
    pub fn controllers(mut self, controllers: Controllers) -> Self {
        self.controllers = controllers;
        self
    }

    /// Installs the definitions in `yaml` before the controllers start.
    ///
    /// The garbage collector looks for new kinds only every 30 s: of a kind that is installed later, deleted owners
    /// leave their dependents behind for that long.
    #[must_use]
    pub fn crd(mut self, yaml: impl Into<String>) -> Self {
        self.crds.push(yaml.into());
        self
    }
}
