//! One watched area: the whole cluster, or one namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::api_server::version_of;
use super::context::Context;
use super::dispatcher::Dispatcher;
use super::guarded::Guarded;
use super::list_pages::{self, PageSizes};
use super::packed::PackedCredential;
use super::reconcile::finish;
use super::registry::{CredentialNews, CredentialSnapshot, Registry, StatusSnapshot};
use super::status_watch::StatusMark;
use super::waker::{Waker, wake};
use super::watch_metrics::WatchMetrics;
use super::{sharing, trim};
use crate::api::{CaBundleKind, IdIssuerCredential};
use crate::core::object_name::NamespacedName;

/// The pages of the list of credentials. A tenant can make each a megabyte large.
const CREDENTIAL_PAGES: PageSizes = PageSizes { large: 500, small: 10 };
/// The pages of the list of Secrets, of which only the metadata is listed: that can be a quarter of a megabyte.
const SECRET_PAGES: PageSizes = PageSizes { large: 1000, small: 20 };
/// How many credentials are finished at once when the process stops.
const FINISHED_AT_ONCE: usize = 64;

/// The API of an area: of one namespace, or of all.
pub(super) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    namespace.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace))
}

/// Watches credentials and has them worked on until `stop` is cancelled and the last work has ended. Returns the names of
/// all.
pub(super) async fn reconcile_all(
    client: Client,
    namespace: Option<String>,
    context: Arc<Context>,
    mut woken: UnboundedReceiver<NamespacedName>,
    watching: watcher::Config,
    stop: CancellationToken,
) -> Vec<NamespacedName> {
    // A list that begins under the lease is as new as a leader needs.
    tokio::select! {
        () = context.leader_election.first_claimed() => {}
        () = stop.cancelled() => return Vec::new(),
    }
    let credentials = api::<Guarded>(&client, namespace.as_deref());
    let events = list_pages::watch(credentials, watching, CREDENTIAL_PAGES).default_backoff();
    let events = WatchMetrics::of(&context).count("idissuercredentials", events).modify(trim::trim);
    let mut events = std::pin::pin!(events);
    let mut news = News { context: Arc::clone(&context), listed: BTreeMap::new() };
    let mut dispatcher = Dispatcher::new(context);
    while !stop.is_cancelled() {
        tokio::select! {
            Some(event) = events.next() => news.take_in(event, &mut dispatcher),
            Some(key) = woken.recv() => dispatcher.wake(key),
            () = dispatcher.step() => {}
            () = stop.cancelled() => {}
        }
    }
    dispatcher.finish().await
}

/// Once the process stops and the last calls have ended: what they brought is written.
pub(super) async fn finish_all(credentials: Vec<NamespacedName>, context: &Context) {
    let finishing = credentials.into_iter().map(|key| async move {
        if let Err(error) = finish(&key, context).await {
            tracing::warn!("{error}");
        }
    });
    futures::stream::iter(finishing).buffer_unordered(FINISHED_AT_ONCE).collect::<()>().await;
}

/// The error of a watch, without content that could not be parsed.
pub(super) fn describe_watch_error(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.message.clone(),
        _ => "the API server could not be reached, or its answer not be understood".into(),
    }
}

/// Takes in what the watch of credentials shows, and wakes those with work; our own status writes cause none, changes by
/// others are restored.
struct News {
    context: Arc<Context>,
    /// Those of the present list, and whether they have work. They are kept and woken when it is complete: before, nobody
    /// knows which of them are managed.
    listed: BTreeMap<NamespacedName, (PackedCredential, bool)>,
}

impl News {
    fn take_in(&mut self, event: Result<Event<Guarded>, watcher::Error>, dispatcher: &mut Dispatcher) {
        let Context { registry, metrics, leader_election, .. } = &*self.context;
        match event {
            Err(error) => tracing::warn!("watch IdIssuerCredentials: {}", describe_watch_error(&error)),
            Ok(Event::Apply(object)) => {
                let (key, news) = self.see(&object);
                if let Some(packed) = pack(object, &key, registry) {
                    registry.credentials.keep(&key, packed);
                }
                dispatcher.wake_all(news.placed);
                dispatcher.wake_all(news.is_work.then_some(key));
            }
            Ok(Event::InitApply(object)) => {
                // No place is given before the list is complete.
                let (key, CredentialNews { is_work, .. }) = self.see(&object);
                // A list that failed may have shown it, too.
                let had_work = self.listed.get(&key).is_some_and(|(_, had_work)| *had_work);
                if let Some(packed) = pack(object, &key, registry) {
                    self.listed.insert(key, (packed, is_work || had_work));
                }
            }
            Ok(Event::Delete(object)) => {
                let key = key(&object);
                let (uid, placed) = registry.on_credential_deleted(&key);
                if let Some(uid) = uid {
                    metrics.forget_credential(&uid);
                }
                dispatcher.forget(&key);
                dispatcher.wake_all(placed);
            }
            Ok(Event::Init) => registry.on_credential_relist(leader_election.term()),
            Ok(Event::InitDone) => {
                let (gone, placed) = registry.on_credential_list_end();
                for uid in &gone {
                    metrics.forget_credential(uid);
                }
                let listed = std::mem::take(&mut self.listed);
                let with_work = listed.into_iter().filter_map(|(key, (packed, is_work))| {
                    registry.credentials.keep(&key, packed);
                    is_work.then_some(key)
                });
                let with_work: Vec<_> = with_work.collect();
                dispatcher.wake_all(placed);
                dispatcher.wake_all(with_work);
            }
        }
    }

    /// Takes in a credential. Returns its name, and what follows from it.
    fn see(&self, object: &Guarded) -> (NamespacedName, CredentialNews) {
        let Context { registry, metrics, clock, peers, .. } = &*self.context;
        let (key, snapshot) = (key(object), snapshot(object, &peers.own));
        let news = registry.on_credential_applied(&key, snapshot, status_snapshot(object), clock.now());
        let key = registry.credentials.shared_key(key);
        peers.warn_if_crd_is_old(registry, &key);
        news.replaced.iter().for_each(|uid| metrics.forget_credential(uid));
        (key, news)
    }
}

fn key(object: &impl ResourceExt) -> NamespacedName {
    NamespacedName::new(object.namespace().unwrap_or_default(), object.name_any())
}

/// Packs what the watch has shown of a credential, without the status if this process has left it so.
fn pack(object: Guarded, key: &NamespacedName, registry: &Registry) -> Option<PackedCredential> {
    let packed = PackedCredential::pack(object, registry.statuses.is_as_left(key));
    packed.inspect_err(|error| error.log(key)).ok()
}

fn snapshot(object: &Guarded, own: &str) -> CredentialSnapshot {
    let credential = object.0.as_ref().ok();
    let status = credential.and_then(|credential| credential.status.as_ref());
    let is_deleting = object.meta().deletion_timestamp.is_some();
    CredentialSnapshot {
        uid: object.uid().unwrap_or_default().into(),
        generation: object.meta().generation,
        renew_request: credential.and_then(IdIssuerCredential::renew_request).map(str::to_owned),
        deleting: is_deleting,
        secrets: credential.map(secrets).unwrap_or_default(),
        controller: status
            .and_then(|status| status.controller.clone())
            .filter(|controller| controller != own),
        sharing: credential.filter(|_| !is_deleting).map(sharing::spec::sharing_role).unwrap_or_default(),
        claim: status.and_then(|status| status.claimed_by.clone()),
    }
}

fn status_snapshot(object: &Guarded) -> StatusSnapshot {
    let created = object.meta().creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    // An unreadable object gives no information.
    let Ok(credential) = &object.0 else { return StatusSnapshot { created, ..StatusSnapshot::default() } };
    let status = credential.status.as_ref();
    let version = object.resource_version();
    StatusSnapshot {
        status: version.and_then(|version| StatusMark::of(status, &version)),
        is_rejected: status.and_then(|it| it.login.as_ref()).is_some_and(|login| login.rejections > 0),
        has_token: status.is_some_and(|status| status.token.is_some()),
        created,
    }
}

/// The Secrets that a credential names, in order.
fn secrets(credential: &IdIssuerCredential) -> Vec<Arc<str>> {
    let bundle = credential.spec.issuer.as_ref().and_then(|issuer| issuer.ca_bundle_ref.as_ref());
    let bundle = bundle.filter(|bundle| bundle.kind == CaBundleKind::Secret);
    let login = credential.spec.login_secret_ref.as_ref().map(|login| &*login.name);
    let bundle = bundle.map(|bundle| &*bundle.name);
    let names: BTreeSet<&str> =
        [Some(credential.secret_name()), login, bundle].into_iter().flatten().collect();
    names.into_iter().map(Arc::from).collect()
}

/// Watches the metadata of the area's Secrets, and wakes the credentials that a change concerns.
///
/// It starts once the credentials are listed: Secrets of the list that no credential names yet are not stored, and so
/// an edit or deletion while no controller ran would be missed.
pub(super) async fn watch_secrets(
    client: Client,
    namespace: Option<String>,
    (registry, metrics): (Arc<Registry>, WatchMetrics),
    waker: Waker,
    watching: watcher::Config,
    stop: CancellationToken,
) {
    tokio::select! {
        () = registry.credentials.synced() => {}
        () = stop.cancelled() => return,
    }
    let secrets = api::<PartialObjectMeta<Secret>>(&client, namespace.as_deref());
    let events = list_pages::watch(secrets, watching, SECRET_PAGES).default_backoff();
    let events = metrics.count("secrets", events);
    let mut events = std::pin::pin!(events.take_until(stop.cancelled_owned()));
    while let Some(event) = events.next().await {
        let concerned = match event {
            Ok(Event::Apply(secret) | Event::InitApply(secret)) => {
                registry.secrets.on_applied(&key(&secret), version_of(&secret))
            }
            Ok(Event::Delete(secret)) => {
                registry.secrets.on_deleted(&key(&secret), &secret.uid().unwrap_or_default())
            }
            Ok(Event::Init) => {
                registry.secrets.on_relist();
                Vec::new()
            }
            Ok(Event::InitDone) => registry.secrets.on_list_end(),
            Err(error) => {
                tracing::warn!("watch Secrets: {}", describe_watch_error(&error));
                Vec::new()
            }
        };
        wake(&waker, concerned);
    }
}
