//! An API server in memory, for tests that run in tokio's paused time: months of a controller's life in seconds.
//!
//! ```
//! use std::sync::Arc;
//! use idissuer_testbed::memory::MemoryApi;
//! use k8s_openapi::api::core::v1::Secret;
//! use kube::Api;
//! use serde_json::json;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let api = MemoryApi::new(Arc::new(jiff::Timestamp::now));
//! let login = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "shop"}});
//! api.apply("test", &login)?;
//! let secrets: Api<Secret> = Api::namespaced(api.client("operator"), "shop");
//! assert!(secrets.get("login").await?.metadata.uid.is_some());
//! assert_eq!(api.count("operator", "get", "secrets"), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It serves what the operator uses: Secrets, Leases, Events (`events.k8s.io`), `IdIssuerCredentials` and namespaces to a
//! [`kube::Client`]: get, list, watch, create, merge patch, simple JSON patch, forced server-side apply and delete, whole or
//! as metadata. It has no sockets, threads or chance, and tells the time only by the clock it is given and by tokio's.
//!
//! A table in the testbed's own tests holds it to the real API server. It leaves out all else, such as schemas and their
//! defaults, rights, garbage collection, label selectors, pages of lists, dry runs, and `managedFields` in what it returns,
//! but for those of a Secret that is read alone.

mod change;
mod fault;
mod fields;
mod managers;
mod object;
mod request;
mod resource;
mod rules;
mod service;
mod shared;
mod status;
mod store;
mod watch;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use kube::core::Status;
use serde_json::Value;
use tower::service_fn;

pub use change::Change;
pub use fault::{Fault, RequestFacts};
pub use fields::merge_patch;

use object::metadata;
use resource::Resource;
use shared::Shared;
use status::{Outcome, bad_request};
use store::Key;
use write::{Deed, Write};

/// The clock of creation times.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
/// How many requests there were: by user, verb, and [target](RequestFacts::target).
pub type Counts = BTreeMap<(String, &'static str, String), u64>;

/// An API server in memory. Clones share everything.
#[derive(Clone, Debug)]
pub struct MemoryApi {
    shared: Arc<Shared>,
}

impl MemoryApi {
    /// An API server without objects.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { shared: Arc::new(Shared::new(clock)) }
    }

    /// A client of `user`, for whom faults, counts and changes know its requests. It may do everything.
    ///
    /// It has to be made within a tokio runtime, and works in that one only.
    #[must_use]
    pub fn client(&self, user: &str) -> Client {
        let (shared, user) = (Arc::clone(&self.shared), Arc::<str>::from(user));
        let service =
            service_fn(move |request| service::answer(Arc::clone(&shared), Arc::clone(&user), request));
        Client::new(service, "default")
    }

    /// An object as it is now, `resource` in plural.
    #[must_use]
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let resource = Resource::of_plural(resource)?;
        let store = self.shared.store();
        store.find(&resource, &Key::new(namespace, name)).map(|stored| Arc::clone(&stored.object.value))
    }

    /// The objects of a namespace, or of all when it is empty, in the order of their names.
    #[must_use]
    pub fn list(&self, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
        let Some(resource) = Resource::of_plural(resource) else { return Vec::new() };
        let store = self.shared.store();
        let found = store.collections.get(&resource).into_iter();
        found
            .flat_map(|collection| collection.in_namespace(namespace))
            .map(|(_, stored)| Arc::clone(&stored.object.value))
            .collect()
    }

    /// Applies an object, forced, past all faults and counts. Its `metadata` says where.
    ///
    /// # Errors
    /// What the API would refuse, it refuses here too.
    pub fn apply(&self, manager: &str, object: &Value) -> Result<Arc<Value>, Box<Status>> {
        let (resource, key) = place(object)?;
        self.write_at(manager, resource, key, false, Deed::Apply(object.clone()))
    }

    /// Lays a merge patch over an object, past all faults and counts.
    ///
    /// # Errors
    /// What the API would refuse, it refuses here too.
    pub fn merge(
        &self,
        manager: &str,
        resource: &str,
        (namespace, name): (&str, &str),
        patch: &Value,
    ) -> Result<Arc<Value>, Box<Status>> {
        let resource = Resource::of_plural(resource).ok_or_else(status::unknown_path)?;
        let key = Key::new(namespace, name);
        self.write_at(manager, resource, key, false, Deed::Merge(patch.clone()))
    }

    /// Lays a merge patch over the status of an object, past all faults and counts.
    ///
    /// # Errors
    /// What the API would refuse, it refuses here too.
    pub fn merge_status(
        &self,
        manager: &str,
        resource: &str,
        (namespace, name): (&str, &str),
        patch: &Value,
    ) -> Result<Arc<Value>, Box<Status>> {
        let resource = Resource::of_plural(resource).ok_or_else(status::unknown_path)?;
        let key = Key::new(namespace, name);
        self.write_at(manager, resource, key, true, Deed::Merge(patch.clone()))
    }

    /// Deletes an object if it is there, past all faults and counts. Finalizers hold it as they do for clients.
    pub fn delete(&self, manager: &str, resource: &str, namespace: &str, name: &str) {
        let Some(resource) = Resource::of_plural(resource) else { return };
        // An error says that there is no such object.
        let _ = self.write_at(manager, resource, Key::new(namespace, name), false, Deed::Delete);
    }

    /// Calls this before each request of a client; it may return a fault. It replaces the one before, and may
    /// itself use the API.
    pub fn set_fault(&self, fault: impl Fn(&RequestFacts) -> Option<Fault> + Send + Sync + 'static) {
        self.shared.hooks().fault = Some(Arc::new(fault));
    }

    /// No faults any more.
    pub fn clear_fault(&self) {
        self.shared.hooks().fault = None;
    }

    /// Calls this for every change of any object, direct ones too, before the writer has its answer. On a runtime of one
    /// thread, in their order. It may itself use the API.
    pub fn observe(&self, observer: impl Fn(&Change) + Send + Sync + 'static) {
        self.shared.hooks().observers.push(Arc::new(observer));
    }

    /// Ends all open watches of a user with a broken connection.
    pub fn break_watches(&self, user: &str) {
        let mut wakers = Vec::new();
        for watch in self.shared.store().watches.values_mut().filter(|watch| watch.user == user) {
            watch.is_broken = true;
            wakers.extend(watch.waker.take());
        }
        wakers.into_iter().for_each(std::task::Waker::wake);
    }

    /// While silent, the watches of a user send nothing. They end by their own time limit, and the next ones send
    /// nothing either. One that is still open when the silence ends sends what it has missed.
    pub fn silence_watches(&self, user: &str, silent: bool) {
        let mut store = self.shared.store();
        if silent {
            store.silent.insert(user.to_owned());
        } else {
            store.silent.remove(user);
        }
        let watches = store.watches.values_mut().filter(|watch| watch.user == user);
        let wakers: Vec<_> = watches.filter_map(|watch| watch.waker.take()).collect();
        drop(store);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }

    /// Forgets all history: a watch that continues from an older version gets an Expired error.
    pub fn compact(&self) {
        let mut store = self.shared.store();
        let version = store.version;
        for resource in resource::RESOURCES {
            let collection = store.collections.entry(resource).or_default();
            collection.forget(0);
            collection.forgotten = version;
        }
    }

    /// The newest resourceVersion.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.shared.store().version
    }

    /// All requests of clients since the last [reset](Self::reset_counts), refused and lost ones too.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.hooks().counts.clone()
    }

    /// How often a user did this, `target` being like `secrets` or `idissuercredentials/status`.
    #[must_use]
    pub fn count(&self, user: &str, verb: &'static str, target: &str) -> u64 {
        let key = (user.to_owned(), verb, target.to_owned());
        self.shared.hooks().counts.get(&key).copied().unwrap_or_default()
    }

    /// Counts from zero again.
    pub fn reset_counts(&self) {
        self.shared.hooks().counts.clear();
    }

    fn write_at(
        &self,
        manager: &str,
        resource: Resource,
        key: Key,
        to_status: bool,
        deed: Deed,
    ) -> Outcome<Arc<Value>> {
        let (user, manager) = (manager.to_owned(), Some(manager.to_owned()));
        let write = Write { user, manager, resource, key, to_status, deed };
        Ok(Arc::clone(&self.shared.write(&write)?.object.value))
    }
}

/// Where an object belongs, by what it says itself.
fn place(object: &Value) -> Outcome<(Resource, Key)> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let resource = Resource::of_kind(text("apiVersion"), text("kind"));
    let resource = resource.ok_or_else(|| bad_request("an object of this kind is not served"))?;
    match (metadata(object, "namespace"), metadata(object, "name")) {
        (Some(namespace), Some(name)) => Ok((resource, Key::new(namespace, name))),
        (None, Some(name)) if resource.is_global() => Ok((resource, Key::new("", name))),
        _ => Err(bad_request("an object of the API server in memory has a name and a namespace")),
    }
}
