//! The requests of the plugin to the API server. A failure says which right is missing, or what else is wrong.

use std::future::Future;
use std::time::Duration;

use futures::AsyncBufRead;
use http::header::DATE;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    ApiResource, DynamicObject, GroupVersionKind, ListParams, ObjectList, PartialObjectMeta, Patch,
    PatchParams, PostParams,
};
use kube::{Api, Client, Resource};
use serde_json::{Value, json};

use super::credentials::Credentials;
use super::failure::{CREDENTIALS, Failure, FailureKind, Request};
use super::injection::{Annotated, POD};
use crate::api::{GROUP, IdIssuerCredential, KIND, PLURAL};

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
        let request = Request::about("get", CREDENTIALS, namespace, name);
        send(request, self.api::<IdIssuerCredential>(namespace).get(name)).await
    }

    /// The credentials with these labels, by namespace and name.
    pub(super) async fn credentials(
        &self,
        scope: Scope<'_>,
        selector: Option<&str>,
    ) -> Result<Credentials, Failure> {
        let label_selector = selector.map(str::to_owned);
        let parameters = ListParams { label_selector, ..ListParams::default() };
        let request =
            Request { verb: "list", resource: CREDENTIALS, namespace: scope.namespace(), name: None };
        let resource = ApiResource::erase::<IdIssuerCredential>(&());
        let api: &Api<DynamicObject> = &match scope {
            Scope::Namespace(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            Scope::All => Api::all_with(self.client.clone(), &resource),
        };
        pages(request, parameters, async |parameters| api.list(&parameters).await).await.map(Credentials::of)
    }

    /// Changes a credential by a merge patch.
    pub(super) async fn patch(
        &self,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<IdIssuerCredential, Failure> {
        let request = Request::about("patch", CREDENTIALS, namespace, name);
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
        let request = Request::about("get", "secrets", namespace, name);
        send(request, self.api::<Secret>(namespace).get_metadata_opt(name)).await
    }

    pub(super) async fn pods(&self, namespace: &str) -> Result<Vec<Pod>, Failure> {
        self.list(Scope::Namespace(namespace), "pods", ListParams::default()).await
    }

    /// The pods with these labels.
    pub(super) async fn pods_with(&self, scope: Scope<'_>, selector: &str) -> Result<Vec<Pod>, Failure> {
        self.list(scope, "pods", ListParams::default().labels(selector)).await
    }

    /// A Secret with its values.
    pub(super) async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, Failure> {
        let request = Request::about("get", "secrets", namespace, name);
        send(request, self.api::<Secret>(namespace).get_opt(name)).await
    }

    /// Creates a Secret, or replaces the keys of one that exists.
    pub(super) async fn write_secret(
        &self,
        namespace: &str,
        name: &str,
        secret: &Secret,
        replace: bool,
    ) -> Result<(), Failure> {
        let verb = if replace { "patch" } else { "create" };
        let request = Request::about(verb, "secrets", namespace, name);
        let api = self.api::<Secret>(namespace);
        if replace {
            let parameters =
                PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({"data": secret.data}));
            return send(request, api.patch(name, &parameters, &patch)).await.map(drop);
        }
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        send(request, async {
            match api.create(&parameters, secret).await {
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Err(())),
                created => created.map(|_| Ok(())),
            }
        })
        .await?
        .map_err(|()| {
            let message = format!("Secret {namespace}/{name} exists; add --replace, or choose another name");
            Failure::from(message)
        })
    }

    /// Applies a credential. Fields that others manage are not taken over.
    pub(super) async fn apply(
        &self,
        namespace: &str,
        name: &str,
        manifest: &Value,
    ) -> Result<IdIssuerCredential, Failure> {
        let request = Request::about("patch", CREDENTIALS, namespace, name);
        let parameters = PatchParams::apply(MANAGER);
        send(request, self.api(namespace).patch(name, &parameters, &Patch::Apply(manifest))).await
    }

    pub(super) async fn pod(&self, namespace: &str, name: &str) -> Result<Pod, Failure> {
        let request = Request::about("get", "pods", namespace, name);
        send(request, self.api::<Pod>(namespace).get(name)).await
    }

    /// All Events about credentials.
    pub(super) async fn all_events(&self, namespace: &str) -> Result<Vec<Event>, Failure> {
        let parameters = ListParams::default().fields(&format!("regarding.kind={KIND}"));
        self.list(Scope::Namespace(namespace), "events.events.k8s.io", parameters).await
    }

    /// The metrics of a pod, through the API server.
    pub(super) async fn metrics(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<impl AsyncBufRead + use<>, Failure> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/proxy/metrics");
        let request = http::Request::get(path).body(Vec::new());
        let request =
            request.map_err(|error| format!("ask for the metrics of {namespace}/{name}: {error}"))?;
        let asked = Request::about("get", "pods/proxy", namespace, name);
        send(asked, self.client.request_stream(request)).await
    }

    /// What makes pods, by its metadata.
    pub(super) async fn workloads(&self, scope: Scope<'_>) -> Result<Vec<Annotated>, Failure> {
        let (deployments, stateful_sets, daemon_sets, cron_jobs) = tokio::join!(
            self.annotated::<Deployment>(scope, "deployments.apps", "deployment"),
            self.annotated::<StatefulSet>(scope, "statefulsets.apps", "statefulset"),
            self.annotated::<DaemonSet>(scope, "daemonsets.apps", "daemonset"),
            self.annotated::<CronJob>(scope, "cronjobs.batch", "cronjob"),
        );
        Ok([deployments?, stateful_sets?, daemon_sets?, cron_jobs?].concat())
    }

    /// Pods by their metadata.
    pub(super) async fn annotated_pods(&self, scope: Scope<'_>) -> Result<Vec<Annotated>, Failure> {
        self.annotated::<Pod>(scope, "pods", POD).await
    }

    async fn annotated<K>(
        &self,
        scope: Scope<'_>,
        resource: &'static str,
        kind: &'static str,
    ) -> Result<Vec<Annotated>, Failure>
    where
        K: Resource<DynamicType: Default, Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let request = Request { verb: "list", resource, namespace: scope.namespace(), name: None };
        let api = &self.scoped::<K>(scope);
        let objects: Vec<PartialObjectMeta<K>> =
            pages(request, ListParams::default(), async |parameters| api.list_metadata(&parameters).await)
                .await?;
        Ok(objects.into_iter().map(|object| Annotated::new(kind, object.metadata)).collect())
    }

    /// A Lease, if it exists.
    pub(super) async fn lease(&self, namespace: &str, name: &str) -> Result<Option<Lease>, Failure> {
        let resource = "leases.coordination.k8s.io";
        let request = Request::about("get", resource, namespace, name);
        send(request, self.api::<Lease>(namespace).get_opt(name)).await
    }

    /// The definition of the credentials, if it is installed.
    pub(super) async fn crd(&self) -> Result<Option<CustomResourceDefinition>, Failure> {
        let name = format!("{PLURAL}.{GROUP}");
        let resource = "customresourcedefinitions.apiextensions.k8s.io";
        let request = Request { verb: "get", resource, namespace: None, name: Some(&name) };
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        send(request, api.get_opt(&name)).await
    }

    /// The names of all namespaces.
    pub(super) async fn namespaces(&self) -> Result<Vec<String>, Failure> {
        let request = Request { verb: "list", resource: "namespaces", namespace: None, name: None };
        let api: Api<Namespace> = Api::all(self.client.clone());
        let list = send(request, api.list_metadata(&ListParams::default())).await?;
        Ok(list.items.into_iter().filter_map(|namespace| namespace.metadata.name).collect())
    }

    /// How many monitors of the Prometheus operator select the operator in its namespace. A cluster without that
    /// operator has none.
    pub(super) async fn monitors(&self, namespace: &str) -> Result<usize, Failure> {
        let mut count = 0;
        for (kind, plural, resource) in [
            ("ServiceMonitor", "servicemonitors", "servicemonitors.monitoring.coreos.com"),
            ("PodMonitor", "podmonitors", "podmonitors.monitoring.coreos.com"),
        ] {
            let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", kind);
            let kind = ApiResource::from_gvk_with_plural(&kind, plural);
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
            let request = Request { verb: "list", resource, namespace: Some(namespace), name: None };
            let labels = ListParams::default().labels("app.kubernetes.io/name=idissuer-operator");
            match send(request, api.list_metadata(&labels)).await {
                Ok(list) => count += list.items.len(),
                Err(failure) if failure.kind == FailureKind::NotFound => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(count)
    }

    /// The version of the API server.
    pub(super) async fn server_version(&self) -> Result<String, Failure> {
        let request =
            Request { verb: "get", resource: "/version", namespace: None, name: Some("of the API server") };
        send(request, self.client.apiserver_version()).await.map(|version| version.git_version)
    }

    /// The clock of the API server, in whole seconds; every answer has it.
    pub(super) async fn server_time(&self) -> Option<Timestamp> {
        let request = http::Request::get("/version").body(kube::client::Body::empty()).ok()?;
        let answer = tokio::time::timeout(LIMIT, self.client.send(request)).await.ok()?.ok()?;
        let date = answer.headers().get(DATE)?.to_str().ok()?;
        Timestamp::try_from(httpdate::parse_http_date(date).ok()?).ok()
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
        let api = &self.scoped::<K>(scope);
        pages(request, parameters, async |parameters| api.list(&parameters).await).await
    }
}

/// All objects of a list, page by page.
async fn pages<T: Clone>(
    request: Request<'_>,
    parameters: ListParams,
    list: impl AsyncFn(ListParams) -> kube::Result<ObjectList<T>>,
) -> Result<Vec<T>, Failure> {
    let mut parameters = parameters.limit(PAGE);
    let mut items = Vec::new();
    loop {
        let page = send(request, list(parameters.clone())).await?;
        items.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters.continue_token = Some(token),
            None => return Ok(items),
        }
    }
}

/// When an Event was last seen.
pub(super) fn last_seen(event: &Event) -> Option<jiff::Timestamp> {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0);
    let old = event.deprecated_last_timestamp.as_ref().map(|time| time.0);
    series.or_else(|| event.event_time.as_ref().map(|time| time.0)).or(old)
}
