//! The source that watches one Secret at the API server, and asks for no other.
//!
//! Nothing of a Secret passes through Debug, and nothing of it is kept but the token.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::DefaultBackoff;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;

use super::TokenSender;
use crate::core::sidecar::error::SourceError;
use crate::core::sidecar::files::TOKEN_JSON;
use crate::core::sidecar::token::{HeldToken, TokenFields, follow};
use crate::ops::clock::Clock;

/// How often the watch is re-established, in seconds: a stalled watch hides a new token until then.
const WATCH_SECONDS: u32 = 60;
/// The API server no longer has the version that a watch starts from. A new list helps.
const VERSION_GONE: u16 = 410;
/// How often the current token is checked without a change: it may have expired.
const LOOK: std::time::Duration = std::time::Duration::from_secs(10);

/// The keys, or file names, of a token and its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKeys {
    /// The bare token.
    pub token: String,
}

impl SecretKeys {
    /// The key of the token, of its expiry, and of both as JSON.
    pub(in crate::sidecar) fn all(&self) -> [&str; 3] {
        [&self.token, "expires_at", TOKEN_JSON]
    }
}

/// A Secret as a flag names it, `[NAMESPACE/]NAME`: unlike a [`crate::core::object_name::NamespacedName`], its namespace may
/// be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName {
    /// Its namespace; the pod's own if none is given.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// A text that names no Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not [NAMESPACE/]NAME with lower case letters, digits, dashes and dots")]
pub struct SecretNameError;

impl FromStr for SecretName {
    type Err = SecretNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) =
            text.split_once('/').map_or((None, text), |(namespace, name)| (Some(namespace), name));
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        let is_name = |name: &str| (1..=253).contains(&name.len()) && name.bytes().all(allowed);
        if !is_name(name) || !namespace.is_none_or(is_name) {
            return Err(SecretNameError);
        }
        Ok(Self { namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = self.namespace.as_ref().map(|namespace| format!("{namespace}/"));
        write!(formatter, "{}{}", namespace.unwrap_or_default(), self.name)
    }
}

/// The source that watches one Secret.
pub(in crate::sidecar) struct SecretSource {
    name: SecretName,
    keys: SecretKeys,
    client: Client,
    clock: Arc<dyn Clock>,
    sender: TokenSender,
}

impl SecretSource {
    pub(in crate::sidecar) fn new(
        name: SecretName,
        keys: SecretKeys,
        client: Client,
        clock: Arc<dyn Clock>,
        sender: TokenSender,
    ) -> Self {
        let namespace = name.namespace.clone().or_else(|| Some(client.default_namespace().to_owned()));
        Self { name: SecretName { namespace, ..name }, keys, client, clock, sender }
    }

    /// Follows until `stop` is cancelled.
    pub(in crate::sidecar) async fn run(self, stop: CancellationToken) {
        let following = async {
            let mut pauses = DefaultBackoff::default();
            loop {
                // It runs beside the watch: after one of a minute no new token waits for the next.
                let pause = tokio::time::sleep(pauses.next().unwrap_or(LOOK));
                match self.follow().await {
                    Ok(()) => pauses.reset(),
                    Err(error) => self.report(Some(self.error(&error))),
                }
                pause.await;
            }
        };
        let aging = async {
            loop {
                tokio::time::sleep(LOOK).await;
                self.age();
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = following => {}
            () = aging => {}
        }
    }

    /// Takes the current and all later content of the Secret, until the watch ends. Each watch starts with a list: a
    /// resumed watch would stay silent until the next change, and so hide the end of an error.
    async fn follow(&self) -> kube::Result<()> {
        let namespace = self.name.namespace.as_deref().unwrap_or("default");
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        // Pinned to the one name, a Role that names it is enough for lists and watches too.
        let one = format!("metadata.name={}", self.name.name);
        let list = api.list(&ListParams::default().fields(&one)).await?;
        let error = self.take(list.items.first());
        let version = list.metadata.resource_version.unwrap_or_default();
        let watch = WatchParams::default().fields(&one).timeout(WATCH_SECONDS);
        let mut changes = api.watch(&watch, &version).await?.boxed();
        tracing::trace!(secret = %self.name, version, "starting the watch");
        // Not before: a Secret that can be listed but not watched is not a working source.
        self.report(error);
        while let Some(change) = changes.try_next().await? {
            match change {
                WatchEvent::Added(secret) | WatchEvent::Modified(secret) => {
                    self.report(self.take(Some(&secret)));
                }
                WatchEvent::Deleted(_) => self.report(self.take(None)),
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(status) if status.code == VERSION_GONE => return Ok(()),
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            }
        }
        Ok(())
    }

    /// Passes on the token of the Secret if it changed, or reports the problem.
    fn take(&self, secret: Option<&Secret>) -> Option<SourceError> {
        let Some(secret) = secret else {
            return Some(SourceError::SecretMissing { secret: self.name.to_string() });
        };
        let key = |name: &str| secret.data.as_ref()?.get(name).map(|ByteString(bytes)| bytes.as_slice());
        let [token, expires_at, json] = self.keys.all().map(key);
        let now = self.clock.now();
        let found = HeldToken::found(TokenFields { token, expires_at, json }, now).map_err(|defect| {
            let place = format!("key {} of Secret {}", self.keys.token, self.name);
            SourceError::TokenUnusable { place, defect }
        });
        let place = format!("Secret {}", self.name);
        match found.and_then(|found| follow(self.sender.token().as_deref(), found, &place, now)) {
            Ok(Some(token)) => {
                self.sender.send(token);
                None
            }
            Ok(None) => None,
            Err(error) => Some(error),
        }
    }

    /// Reports when the current token expires.
    fn age(&self) {
        let now = self.clock.now();
        let is_dead = self.sender.token().is_some_and(|token| token.is_expired(now));
        if is_dead && self.sender.is_healthy() {
            self.report(Some(SourceError::TokenExpired { place: format!("Secret {}", self.name) }));
        }
    }

    fn report(&self, error: Option<SourceError>) {
        self.sender.report(error, None);
    }

    /// What an error of the API server means, without whatever the client could not parse.
    fn error(&self, error: &kube::Error) -> SourceError {
        match error {
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
                SourceError::SecretForbidden { secret: self.name.to_string() }
            }
            _ => SourceError::ApiServerUnreachable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_with_or_without_its_namespace() {
        for text in ["billing", "shop/billing.token-1"] {
            assert_eq!(text.parse::<SecretName>().unwrap().to_string(), text);
        }
        for text in ["", "/billing", "shop/", "a/b/c", "Billing", "a,metadata.name!=b", "a=b"] {
            assert_eq!(text.parse::<SecretName>(), Err(SecretNameError), "{text}");
        }
    }
}
