//! The watch of namespaces, for selectors of their labels. It starts with the first selector.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use super::super::context::Context;
use super::super::watch_metrics::WatchMetrics;
use super::super::watches::describe_watch_error;
use super::index::SharingIndex;
use crate::core::sharing::Labels;

/// How many namespaces, of which only the metadata is listed: that can be a quarter of a megabyte.
const NAMESPACES_A_PAGE: u32 = 20;

/// Watches the metadata of namespaces, once a credential selects them by their labels.
pub(in crate::controller) fn watch_namespaces(
    context: &Context,
    (client, watching, stop): (Client, watcher::Config, CancellationToken),
) -> impl Future<Output = ()> + Send + use<> {
    watch(client, Arc::clone(&context.registry.sharing), WatchMetrics::of(context), watching, stop)
}

async fn watch(
    client: Client,
    sharing: Arc<SharingIndex>,
    metrics: WatchMetrics,
    watching: watcher::Config,
    stop: CancellationToken,
) {
    tokio::select! {
        () = sharing.labels_needed() => {}
        () = stop.cancelled() => return,
    }
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client);
    let events = watcher(namespaces, watching.page_size(NAMESPACES_A_PAGE)).default_backoff();
    let events = metrics.count("namespaces", events);
    let mut events = std::pin::pin!(events.take_until(stop.cancelled_owned()));
    let mut listed = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(namespace)) => {
                sharing.on_namespace(&namespace.name_any(), Some(labels(&namespace)));
            }
            Ok(Event::Delete(namespace)) => sharing.on_namespace(&namespace.name_any(), None),
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(namespace)) => {
                listed.insert(namespace.name_any(), labels(&namespace));
            }
            Ok(Event::InitDone) => sharing.on_namespaces_listed(std::mem::take(&mut listed)),
            Err(error) => tracing::warn!("watch Namespaces: {}", describe_watch_error(&error)),
        }
    }
}

fn labels(namespace: &PartialObjectMeta<Namespace>) -> Labels {
    namespace.labels().clone()
}
