//! A client of the API server that follows its configuration: certificates are replaced and tokens rewritten, in files
//! that a client reads once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, StatusCode};
use kube::Client;
use kube::client::Body;
use tokio::sync::Notify;

use super::configuration;

/// How often the files are checked.
const LOOK: Duration = Duration::from_secs(10);

/// The client that is used now, and what asks for another one.
struct CurrentClient {
    client: Mutex<Client>,
    refused: Notify,
}

impl CurrentClient {
    fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A client that `make` replaces when a configuration file changes, or the server rejects our credentials.
pub(super) fn following<F>(client: Client, make: impl Fn() -> F + Send + 'static) -> Client
where
    F: Future<Output = Result<Client, String>> + Send + 'static,
{
    let namespace = client.default_namespace().to_owned();
    let present = Arc::new(CurrentClient { client: Mutex::new(client), refused: Notify::new() });
    tokio::spawn(follow(Arc::downgrade(&present), make));
    let service = tower::service_fn(move |request: Request<Body>| {
        let present = Arc::clone(&present);
        async move {
            let answer = present.client().send(request).await;
            if answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::UNAUTHORIZED) {
                present.refused.notify_one();
            }
            answer
        }
    });
    Client::new(service, namespace)
}

/// Follows for as long as the client is there.
async fn follow<F>(present: std::sync::Weak<CurrentClient>, make: impl Fn() -> F)
where
    F: Future<Output = Result<Client, String>>,
{
    let mut known = file_versions().await;
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(present) = present.upgrade() else { return };
        let is_refused = futures::FutureExt::now_or_never(present.refused.notified()).is_some();
        let found = file_versions().await;
        if found == known && !is_refused {
            continue;
        }
        match make().await {
            Ok(client) => {
                if found != known {
                    tracing::info!("reloaded the changed cluster configuration");
                }
                *present.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
                known = found;
            }
            // Of a certificate and its key one may be there before the other.
            Err(error) => tracing::warn!("reload the cluster configuration: {error}; retrying"),
        }
    }
}

/// Identifies one version of a file.
type FileVersion = Option<(u64, u64, std::time::SystemTime)>;

/// The files of the configuration as they are now.
async fn file_versions() -> BTreeMap<PathBuf, FileVersion> {
    let looking = tokio::task::spawn_blocking(|| {
        let stamp = |path: &PathBuf| {
            use std::os::unix::fs::MetadataExt as _;
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
        };
        configuration::files().into_iter().map(|path| (path.clone(), stamp(&path))).collect()
    });
    looking.await.unwrap_or_default()
}
