//! The requests of the plugin to the API server. A failure says which right is missing, or what else is wrong.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, ObjectList, PartialObjectMeta, Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde_json::Value;

use super::failure::{CREDENTIALS, Failure, FailureKind, Request};
use crate::api::{IdIssuerCredential, KIND};

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Who writes, in the fields of an object.
const MANAGER: &str = "kubectl-idissuer";
/// How many objects are read at once.
const PAGE: u32 = 500;

/// The API server, and the namespace that is meant where none is named.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) namespace: String,
}

/// Where to look: in one namespace or in all.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope<'a> {
    Namespace(&'a str),
    All,
}

impl<'a> Scope<'a> {
    pub(super) fn namespace(self) -> Option<&'a str> {
        match self {
            Self::Namespace(namespace) => Some(namespace),
            Self::All => None,
        }
    }
}

/// Limits a request, and says what its failure means.
pub(super) async fn send<T>(
    request: Request<'_>,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(LIMIT, call).await {
        Ok(answer) => answer.map_err(|error| request.failure(&error)),
        Err(_) => Err(Failure::new(
            FailureKind::TimedOut,
            format!("{request}: no answer within {} s; check the API server", LIMIT.as_secs()),
        )),
    }
}

impl Cluster {
    /// The objects of one kind in a namespace.
    pub(super) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType: Default, Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn scoped<K>(&self, scope: Scope<'_>) -> Api<K>
    where
        K: Resource<DynamicType: Default, Scope = NamespaceResourceScope>,
    {
        match scope {
            Scope::Namespace(namespace) => self.api(namespace),
            Scope::All => Api::all(self.client.clone()),
        }
    }

    pub(super) async fn credential(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<IdIssuerCredential, Failure> {
        let request =
            Request { verb: "get", resource: CREDENTIALS, namespace: Some(namespace), name: Some(name) };
        send(request, self.api::<IdIssuerCredential>(namespace).get(name)).await
    }

    /// The credentials with these labels, by namespace and name.
    pub(super) async fn credentials(
        &self,
        scope: Scope<'_>,
        selector: Option<&str>,
    ) -> Result<Vec<IdIssuerCredential>, Failure> {
        let label_selector = selector.map(str::to_owned);
        let parameters = ListParams { label_selector, ..ListParams::default() };
        self.list(scope, CREDENTIALS, parameters).await
    }

    /// Changes a credential by a merge patch.
    pub(super) async fn patch(
        &self,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<IdIssuerCredential, Failure> {
        let request =
            Request { verb: "patch", resource: CREDENTIALS, namespace: Some(namespace), name: Some(name) };
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch);
        send(request, self.api::<IdIssuerCredential>(namespace).patch(name, &parameters, &patch)).await
    }

    /// The metadata of a Secret; its values do not travel. None: it does not exist.
    pub(super) async fn secret_metadata(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<PartialObjectMeta<Secret>>, Failure> {
        let request =
            Request { verb: "get", resource: "secrets", namespace: Some(namespace), name: Some(name) };
        send(request, self.api::<Secret>(namespace).get_metadata_opt(name)).await
    }

    pub(super) async fn pods(&self, namespace: &str) -> Result<Vec<Pod>, Failure> {
        self.list(Scope::Namespace(namespace), "pods", ListParams::default()).await
    }

    /// The Events about a credential, the latest last.
    pub(super) async fn events(&self, namespace: &str, name: &str) -> Result<Vec<Event>, Failure> {
        let fields = format!("regarding.kind={KIND},regarding.name={name}");
        let parameters = ListParams::default().fields(&fields);
        let scope = Scope::Namespace(namespace);
        let mut events: Vec<Event> = self.list(scope, "events.events.k8s.io", parameters).await?;
        events.sort_by_key(last_seen);
        Ok(events)
    }

    /// Everything, page by page.
    async fn list<K>(
        &self,
        scope: Scope<'_>,
        resource: &'static str,
        parameters: ListParams,
    ) -> Result<Vec<K>, Failure>
    where
        K: Resource<DynamicType: Default, Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let request = Request { verb: "list", resource, namespace: scope.namespace(), name: None };
        let api = self.scoped::<K>(scope);
        let mut parameters = parameters.limit(PAGE);
        let mut items = Vec::new();
        loop {
            let page: ObjectList<K> = send(request, api.list(&parameters)).await?;
            items.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok(items),
            }
        }
    }
}

/// When an Event was last seen.
pub(super) fn last_seen(event: &Event) -> Option<jiff::Timestamp> {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0);
    let old = event.deprecated_last_timestamp.as_ref().map(|time| time.0);
    series.or_else(|| event.event_time.as_ref().map(|time| time.0)).or(old)
}
