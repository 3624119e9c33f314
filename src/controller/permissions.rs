//! Which permissions the operator lacks at the API server, found out from every answer.
//!
//! A revoked permission shows up in the next call that needs it: a watch, or a write that leaves no trace for users. So
//! missing permissions of all calls are reported here, in the log and in readiness.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, Request, Response, StatusCode, Uri};
use jiff::SignedDuration;
use kube::Client;
use kube::client::Body;

use super::list_pages;
use crate::core::time::Moment;
use crate::ops::clock::Clock;
use crate::ops::metrics::Metrics;
use crate::ops::readiness::Readiness;

/// A permission that is not requested again in this time may no longer be needed, for example after the deletion of a
/// namespace. Failed calls are retried within a minute.
const REMEMBERED: SignedDuration = SignedDuration::from_secs(90);

/// One call that the API server may refuse.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Permission {
    /// To be known at all.
    Identity,
    /// To do this with that kind of object.
    Verb { verb: &'static str, resource: String, namespace: Option<String> },
}

impl Permission {
    /// The permission that a request needs; `None` if its path names no resource.
    fn of(method: &Method, uri: &Uri) -> Option<Self> {
        let segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
        let (group, rest) = match &segments[..] {
            ["api", _, rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let (plural, subresource) = match rest {
            [plural] | [plural, _] => (*plural, None),
            [plural, _, subresource] => (*plural, Some(*subresource)),
            _ => return None,
        };
        let is_watch = uri.query().is_some_and(|query| query.split('&').any(|it| it == "watch=true"));
        let verb = match (method.as_str(), rest.len()) {
            ("GET", 1) if is_watch => "watch",
            ("GET", 1) => "list",
            ("GET", _) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", _) => "delete",
            _ => return None,
        };
        let group = if group.is_empty() { String::new() } else { format!(".{group}") };
        let subresource = subresource.map(|it| format!("/{it}")).unwrap_or_default();
        Some(Self::Verb { verb, resource: format!("{plural}{group}{subresource}"), namespace })
    }

    /// Whether work stops without it. A missing Event blocks nothing, a `ConfigMap` only the credentials that name it,
    /// which report this themselves, and labels of namespaces only those whom a selector would permit.
    fn is_vital(&self) -> bool {
        match self {
            Self::Identity => true,
            Self::Verb { resource, .. } => {
                !["events", "configmaps", "namespaces"].iter().any(|kind| resource.starts_with(kind))
            }
        }
    }

    /// That it is there again, without the words by which people look for what is missing.
    fn regained_message(&self) -> String {
        match self {
            Self::Identity => {
                "authorized again: the API server accepts this operator's token or certificate".into()
            }
            Self::Verb { verb, resource, namespace } => {
                format!("allowed again: permission to {verb} {resource} in {}", place(namespace.as_deref()))
            }
        }
    }
}

fn place(namespace: Option<&str>) -> String {
    namespace.map_or_else(|| "all namespaces".to_owned(), |namespace| format!("namespace {namespace}"))
}

/// What is wrong and the cure.
impl fmt::Display for Permission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => write!(
                formatter,
                "unauthorized: the API server does not accept this operator's token or certificate; renew it in the kubeconfig or the service account"
            ),
            Self::Verb { verb, resource, namespace } => write!(
                formatter,
                "forbidden: permission to {verb} {resource} in {} is missing; add it to the operator's Role or ClusterRole, and bind that to its service account",
                place(namespace.as_deref())
            ),
        }
    }
}

/// The permissions that were missing when they were last needed.
pub(super) struct Permissions {
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    missing: Mutex<BTreeMap<Permission, Moment>>,
}

impl Permissions {
    /// A client whose responses are checked; readiness shows the result. Its large pages are bounded.
    pub(super) fn watch_client(
        client: Client,
        readiness: &Readiness,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Client {
        let permissions = Arc::new(Self { clock, metrics, missing: Mutex::default() });
        let checked = Arc::clone(&permissions);
        readiness.check("rights", move || checked.blocking());
        let namespace = client.default_namespace().to_owned();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (client, permissions) = (client.clone(), Arc::clone(&permissions));
            async move {
                let address = request.uri().clone();
                let answer = permissions.send(&client, request).await?;
                Ok::<_, kube::Error>(list_pages::bounded(&address, answer))
            }
        });
        Client::new(service, namespace)
    }

    async fn send(&self, client: &Client, request: Request<Body>) -> kube::Result<Response<Body>> {
        let permission = Permission::of(request.method(), request.uri());
        let answer = client.send(request).await;
        if let Some(Permission::Verb { verb, resource, .. }) = &permission {
            let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            self.metrics.api_request(verb, resource, code);
        }
        let answer = answer?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.on_denied(Permission::Identity);
            return Ok(answer);
        }
        self.on_allowed(&Permission::Identity);
        let Some(permission) = permission else { return Ok(answer) };
        if answer.status() != StatusCode::FORBIDDEN {
            self.on_allowed(&permission);
            return Ok(answer);
        }
        let (head, body) = answer.into_parts();
        let body = body.collect_bytes().await?;
        if is_rbac_denial(&body) {
            self.on_denied(permission);
        } else {
            self.on_allowed(&permission);
        }
        Ok(Response::from_parts(head, Body::from(body)))
    }

    fn on_denied(&self, permission: Permission) {
        let now = self.clock.now();
        let mut missing = self.missing();
        if !missing.contains_key(&permission) {
            tracing::warn!("{permission}");
        }
        missing.insert(permission, now);
    }

    fn on_allowed(&self, permission: &Permission) {
        if self.missing().remove(permission).is_some() {
            tracing::info!("{}", permission.regained_message());
        }
    }

    /// What keeps the work from being done, for people.
    fn blocking(&self) -> Vec<String> {
        let now = self.clock.now();
        let mut missing = self.missing();
        missing.retain(|_, seen| !seen.plus(REMEMBERED).is_reached(now));
        missing.keys().filter(|permission| permission.is_vital()).map(ToString::to_string).collect()
    }

    fn missing(&self) -> MutexGuard<'_, BTreeMap<Permission, Moment>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a 403 means a missing permission. Quotas, policies and terminating namespaces answer 403 too.
fn is_rbac_denial(body: &[u8]) -> bool {
    let status: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = status.as_ref().and_then(|status| status["message"].as_str());
    message.is_some_and(|message| message.contains("\" cannot ") && message.contains(" resource \""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::clock::SystemClock;

    fn permission(method: &str, uri: &str) -> Option<String> {
        Permission::of(&method.parse().unwrap(), &uri.parse().unwrap())
            .map(|permission| permission.to_string())
    }

    #[test]
    fn the_permission_that_a_call_needs_is_named() {
        let credentials = "/apis/idissuer.pl/v1alpha1";
        for (method, uri, part) in [
            ("GET", "/api/v1/secrets?limit=500".to_owned(), "list secrets in all namespaces"),
            ("GET", "/api/v1/secrets?&watch=true&timeoutSeconds=9".into(), "watch secrets in all namespaces"),
            ("GET", "/api/v1/namespaces/shop/secrets/billing".into(), "get secrets in namespace shop"),
            (
                "PATCH",
                "/api/v1/namespaces/shop/secrets/billing?force=true".into(),
                "patch secrets in namespace shop",
            ),
            (
                "PUT",
                format!("{credentials}/namespaces/shop/idissuercredentials/billing/status"),
                "update idissuercredentials.idissuer.pl/status in namespace shop",
            ),
            (
                "POST",
                "/apis/events.k8s.io/v1/namespaces/shop/events".into(),
                "create events.events.k8s.io in",
            ),
        ] {
            let sentence = permission(method, &uri).unwrap();
            assert!(sentence.contains(&format!("permission to {part}")), "{uri}: {sentence}");
        }
        assert_eq!(permission("GET", "/version"), None);
        assert_eq!(permission("GET", "/api/v1/namespaces/shop/secrets/billing/a/b"), None);
    }

    #[test]
    fn a_quota_and_a_policy_are_no_missing_permissions() {
        let is_missing = |message: &str| {
            let status = serde_json::json!({"kind": "Status", "code": 403, "message": message});
            is_rbac_denial(status.to_string().as_bytes())
        };
        assert!(is_missing(
            r#"secrets "billing" is forbidden: User "system:serviceaccount:a:b" cannot patch resource "secrets" in API group "" in the namespace "shop""#
        ));
        assert!(!is_missing(r#"secrets "billing" is forbidden: exceeded quota: full, requested: secrets=1"#));
        assert!(!is_missing(
            r#"secrets "billing" is forbidden: ValidatingAdmissionPolicy 'x' denied request: nobody writes this"#
        ));
        assert!(!is_rbac_denial(b"Forbidden"));
    }

    #[test]
    fn a_missing_permission_is_reported_until_it_is_there_or_no_longer_needed() {
        let (clock, metrics) = (Arc::new(SystemClock::start()), Arc::new(Metrics::new()));
        let permissions = Permissions { clock, metrics, missing: Mutex::default() };
        let of = |uri: &str| Permission::of(&Method::GET, &uri.parse().unwrap()).unwrap();
        let (secrets, events) = (of("/api/v1/secrets"), of("/apis/events.k8s.io/v1/events"));
        permissions.on_denied(secrets.clone());
        permissions.on_denied(events);
        assert_eq!(permissions.blocking().len(), 1, "Events hold up nothing");
        permissions.on_denied(Permission::Identity);
        assert_eq!(permissions.blocking().len(), 2);
        permissions.on_allowed(&secrets);
        assert!(permissions.blocking()[0].starts_with("unauthorized"));
        let long_ago = permissions.clock.now().minus(REMEMBERED);
        permissions.missing().insert(Permission::Identity, long_ago);
        assert!(permissions.blocking().is_empty());
    }
}
