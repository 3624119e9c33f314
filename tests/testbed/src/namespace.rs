//! A namespace for one test.

use std::fmt;
use std::thread;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client, Config, Resource, ResourceExt};

use crate::control_plane::{self, ControlPlane};
use crate::error::{Error, Result};
use crate::inventory;
use crate::kubectl::Kubectl;

/// The label of everything that tests create in a shared control plane.
const LABEL: &str = "idissuer-testbed";
/// How long the end of a test may be held up by showing and deleting its namespace.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A namespace with a name of its own, deleted when it is dropped, also by a panic.
///
/// If it is dropped by a panic, everything that lies in it and its Events are printed first, so that a failed test shows
/// what it failed on. Of Secrets it shows the metadata only.
pub struct TestNamespace {
    name: String,
    client: Client,
    config: Config,
    kubectl: Kubectl,
}

impl TestNamespace {
    /// Creates a namespace whose name is `prefix` and a random ending.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn create(control_plane: &ControlPlane, prefix: &str) -> Result<Self> {
        let client = control_plane.client()?;
        let namespace = Namespace {
            metadata: ObjectMeta {
                generate_name: Some(format!("{prefix}-")),
                labels: Some([(LABEL.to_owned(), "true".to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let name = Api::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .map_err(Error::api(format!("create a namespace {prefix}")))?
            .name_any();
        Ok(Self {
            kubectl: control_plane.kubectl().in_namespace(&name),
            config: control_plane.config().clone(),
            client,
            name,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A client of the administrator, for the runtime of this test.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The objects of one kind in it.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType: Default, Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// kubectl, for what lies in it.
    #[must_use]
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// What lies in it and its Events, for a person to read. Of Secrets it shows the metadata only.
    pub async fn inventory(&self) -> String {
        inventory::of_namespace(&self.client, &self.name).await
    }
}

impl fmt::Debug for TestNamespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TestNamespace").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for TestNamespace {
    /// On a thread and a runtime of its own: the test's own runtime may be what is ending.
    fn drop(&mut self) {
        let failed = thread::panicking();
        let (name, config) = (self.name.clone(), self.config.clone());
        let end = thread::spawn(move || end(&name, config, failed));
        if let Ok(Some(inventory)) = end.join() {
            #[expect(clippy::print_stderr, reason = "it belongs to the output of the test")]
            {
                eprintln!("--- namespace {} ---\n{inventory}---", self.name);
            }
        }
    }
}

/// Deletes the namespace, and does not wait until it is gone. Returns what lay there, if that is wanted.
fn end(name: &str, config: Config, with_inventory: bool) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let work = async {
        let client = control_plane::client(config).ok()?;
        let inventory =
            if with_inventory { Some(inventory::of_namespace(&client, name).await) } else { None };
        let namespaces: Api<Namespace> = Api::all(client);
        let _ = namespaces.delete(name, &DeleteParams::background()).await;
        inventory
    };
    runtime.block_on(async { tokio::time::timeout(END_LIMIT, work).await.ok().flatten() })
}
