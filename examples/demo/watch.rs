//! What happens in the cluster.

use futures::stream::{self, BoxStream, StreamExt as _};
use idissuer::api::IdIssuerCredential;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};

/// The namespace of the samples: the one that kubectl uses when it is told none.
const NAMESPACE: &str = "default";

/// Something seen.
pub(crate) enum Sight {
    /// A credential as it stands now.
    Credential(Box<IdIssuerCredential>),
    /// There is no such credential any more.
    CredentialGone(String),
    /// A Secret as it stands now.
    Secret(Box<Secret>),
    /// There is no such Secret any more.
    SecretGone(String),
}

/// Watches credentials and Secrets, and goes on after any failure.
pub(crate) fn sights(client: &Client) -> BoxStream<'static, Sight> {
    let credentials: Api<IdIssuerCredential> = Api::namespaced(client.clone(), NAMESPACE);
    let credentials = watcher::watcher(credentials, watcher::Config::default()).default_backoff();
    let credentials = credentials.filter_map(async |event| match event.ok()? {
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
            Some(Sight::Credential(Box::new(object)))
        }
        watcher::Event::Delete(object) => Some(Sight::CredentialGone(object.metadata.name?)),
        watcher::Event::Init | watcher::Event::InitDone => None,
    });
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let secrets = watcher::watcher(secrets, watcher::Config::default()).default_backoff();
    let secrets = secrets.filter_map(async |event| match event.ok()? {
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
            Some(Sight::Secret(Box::new(object)))
        }
        watcher::Event::Delete(object) => Some(Sight::SecretGone(object.metadata.name?)),
        watcher::Event::Init | watcher::Event::InitDone => None,
    });
    stream::select(credentials, secrets).boxed()
}
