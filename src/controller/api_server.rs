//! The calls to the Kubernetes API server: each with a time limit, each naming what failed.
//!
//! Nothing that is read or written here passes through Debug: a Secret's would print its data.

mod version_list;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::ACCEPT;
use jiff::SignedDuration;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{
    Api, ApiResource, DynamicObject, PartialObjectMeta, Patch, PatchParams, PostParams, Request,
};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

use super::api_call::{self, CallError};
use super::large_reads::ReadPermit;
use crate::api::{IdIssuerCredential, IdIssuerCredentialStatus};
use crate::core::adaptive_timeout::AdaptiveTimeout;
use crate::core::object_name::NamespacedName;
use crate::core::observed::CaBundleKind;
use crate::core::target::{Identity, ObjectVersion};

/// Under this name the operator owns what it writes (server-side apply).
pub const FIELD_MANAGER: &str = "idissuer-operator";
/// The resourceVersion that makes an apply a create: no object has it, so the API server answers 409 if there is an
/// object, and creates one otherwise.
const CREATE_ONLY: &str = "1";
/// What both ways to write a status are called.
const WRITE_STATUS: &str = "write status of IdIssuerCredential";
/// An answer without the rest of the object, which is known.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// The time limit for the calls of one credential.
pub(super) struct CallDeadline<'a> {
    timeout: &'a mut AdaptiveTimeout,
    /// The limit of those that are known to take long.
    slow: SignedDuration,
}

impl<'a> CallDeadline<'a> {
    /// By what is known of these calls, and at most this.
    pub(super) fn new(timeout: &'a mut AdaptiveTimeout, slow: SignedDuration) -> Self {
        Self { timeout, slow }
    }

    /// What is not fenced ends before another replica can act. By default a lease outlasts its holder's renew deadline by
    /// as much as a call usually may take.
    pub(super) fn within(self, left: Option<SignedDuration>) -> Self {
        Self { slow: left.map_or(self.slow, |left| left.min(self.slow)), ..self }
    }
}

/// A call to the API server that failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}: {cause}")]
pub(super) struct ApiServerError {
    operation: &'static str,
    object: String,
    #[source]
    cause: Box<CallError>,
}

impl ApiServerError {
    /// Someone changed the object in between, or it exists although it should be created, or it is gone.
    #[must_use]
    pub(super) fn is_conflict(&self) -> bool {
        matches!(*self.cause, CallError::Refused { code: 409, .. })
    }

    /// The same error, with nothing in it of what was to be written: an admission webhook may quote what it refuses.
    fn without(mut self, secret: &Secret) -> Self {
        if let CallError::Refused { message, .. } = &mut *self.cause {
            let quotes = |value: &ByteString| {
                let text = String::from_utf8_lossy(&value.0);
                !text.is_empty() && (message.contains(&*text) || message.contains(&STANDARD.encode(&value.0)))
            };
            if secret.data.iter().flatten().any(|(_, value)| quotes(value)) {
                "the answer quotes the Secret, and is not shown".clone_into(message);
            }
        }
        self
    }

    /// What the API server answered.
    #[must_use]
    pub(super) fn answer(&self) -> String {
        self.cause.to_string()
    }

    /// The same without what differs from call to call: the time limit follows the API server's speed.
    #[must_use]
    pub(super) fn lasting_answer(&self) -> String {
        match &*self.cause {
            CallError::TimedOut(_) => "the API server did not answer in time".to_owned(),
            cause => cause.to_string(),
        }
    }

    /// What was to be done, with which object.
    #[must_use]
    pub(super) fn call(&self) -> String {
        format!("{} {}", self.operation, self.object)
    }

    /// The API server rejected the request; an immediate retry would not help.
    #[must_use]
    pub(super) fn is_refusal(&self) -> bool {
        matches!(*self.cause, CallError::Refused { code: 400..=407 | 410..=428 | 430..=499, .. })
    }
}

/// The API server, as the controller uses it.
#[derive(Clone)]
pub(super) struct ApiServer {
    client: Client,
}

impl ApiServer {
    /// Calls through this client.
    #[must_use]
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Reads a Secret; `None` if it does not exist.
    ///
    /// # Errors
    /// When the API server does not answer, or refuses.
    pub(super) async fn read_secret(
        &self,
        namespace: &str,
        name: &str,
        _: &ReadPermit,
        deadline: CallDeadline<'_>,
    ) -> Result<Option<Secret>, ApiServerError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        call(deadline, "read Secret", namespace, name, api.get_opt(name)).await
    }

    /// Reads the current status and resourceVersion of a credential, which a watch may show later; `None` if it does
    /// not exist. Its spec may be invalid.
    ///
    /// # Errors
    /// When the API server does not answer, or refuses.
    pub(super) async fn read_status(
        &self,
        namespace: &str,
        name: &str,
        deadline: CallDeadline<'_>,
    ) -> Result<Option<(IdIssuerCredentialStatus, String)>, ApiServerError> {
        let resource = ApiResource::erase::<IdIssuerCredential>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let read = call(deadline, "read IdIssuerCredential", namespace, name, api.get_opt(name)).await?;
        Ok(read.map(|mut object| {
            let status = object.data.get_mut("status").map(serde_json::Value::take);
            let status = status.and_then(|status| serde_json::from_value(status).ok()).unwrap_or_default();
            (status, object.resource_version().unwrap_or_default())
        }))
    }

    /// Reads the current credential; `None` if it does not exist.
    ///
    /// # Errors
    /// When the API server does not answer, or refuses.
    pub(super) async fn read_credential(
        &self,
        namespace: &str,
        name: &str,
        _: &ReadPermit,
        deadline: CallDeadline<'_>,
    ) -> Result<Option<IdIssuerCredential>, ApiServerError> {
        let api: Api<IdIssuerCredential> = Api::namespaced(self.client.clone(), namespace);
        call(deadline, "read IdIssuerCredential", namespace, name, api.get_opt(name)).await
    }

    /// Reads one key of a Secret or `ConfigMap`: `None` if the object does not exist, `Some(None)` if it has no such key.
    ///
    /// # Errors
    /// When the API server does not answer, or refuses.
    pub(super) async fn read_key(
        &self,
        namespace: &str,
        kind: CaBundleKind,
        name: &str,
        key: &str,
        permit: &ReadPermit,
        deadline: CallDeadline<'_>,
    ) -> Result<Option<Option<Vec<u8>>>, ApiServerError> {
        if kind == CaBundleKind::Secret {
            let secret = self.read_secret(namespace, name, permit, deadline).await?;
            return Ok(secret.map(|secret| Some(secret.data?.remove(key)?.0)));
        }
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let map = call(deadline, "read ConfigMap", namespace, name, api.get_opt(name)).await?;
        Ok(map.map(|map| Some(map.data?.remove(key)?.into_bytes())))
    }

    /// Writes a target by forced server-side apply. With `version` it must be that very version; without, it must not
    /// exist. That makes a long limit harmless: what arrives after another replica has begun replaces nothing of it.
    ///
    /// # Errors
    /// A conflict when it is another version; else when the API server does not answer, or refuses.
    pub(super) async fn apply_target(
        &self,
        mut target: Secret,
        version: Option<&ObjectVersion>,
        deadline: CallDeadline<'_>,
    ) -> Result<ObjectVersion, ApiServerError> {
        target.metadata.uid = version.map(|version| version.uid.to_string());
        let fence = version.map_or(CREATE_ONLY, |version| &version.resource_version);
        target.metadata.resource_version = Some(fence.to_owned());
        let (namespace, name) = (target.namespace().unwrap_or_default(), target.name_any());
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let patch = Patch::Apply(&target);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        // Only the metadata comes back: the data is known, and need not travel.
        let write = api.patch_metadata(&name, &parameters, &patch);
        let written = call(deadline, "apply Secret", &namespace, &name, write).await;
        Ok(version_of(&written.map_err(|error| error.without(&target))?))
    }

    /// Writes the status of this very version of a credential, whole: what anybody else has put there is gone. Returns the
    /// resourceVersion that this makes.
    ///
    /// This is the form that costs the API server the least.
    ///
    /// # Errors
    /// A conflict when it is another version or credential; else when the API server does not answer or refuses.
    pub(super) async fn replace_status(
        &self,
        Identity { object, uid }: &Identity,
        version: &str,
        status: &IdIssuerCredentialStatus,
        deadline: CallDeadline<'_>,
    ) -> Result<String, ApiServerError> {
        let (namespace, name) = object.parts();
        let body = json!({
            "apiVersion": IdIssuerCredential::api_version(&()),
            "kind": IdIssuerCredential::kind(&()),
            "metadata": {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": version},
            "status": status,
        });
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let request = Request::new(IdIssuerCredential::url_path(&(), Some(namespace)));
        let request = request.replace_subresource("status", name, &parameters, body.to_string().into_bytes());
        let write = async {
            let mut request = request.map_err(kube::Error::BuildRequest)?;
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA_ONLY));
            self.client.request::<PartialObjectMeta<IdIssuerCredential>>(request).await
        };
        let written = call(deadline, WRITE_STATUS, namespace, name, write).await?;
        Ok(written.resource_version().unwrap_or_default())
    }

    /// The same for whatever version there is, as long as it is this credential.
    ///
    /// # Errors
    /// When the API server does not answer or refuses, or the credential is not that one any more.
    pub(super) async fn overwrite_status(
        &self,
        Identity { object, uid }: &Identity,
        status: &IdIssuerCredentialStatus,
        deadline: CallDeadline<'_>,
    ) -> Result<String, ApiServerError> {
        let (namespace, name) = object.parts();
        let api: Api<PartialObjectMeta<IdIssuerCredential>> = Api::namespaced(self.client.clone(), namespace);
        // A server-side apply would leave what another writer has added.
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": "/status", "value": status},
        ]);
        let unusable = |_| failed(WRITE_STATUS, namespace, name, CallError::Unusable);
        let patch = Patch::<()>::Json(serde_json::from_value(patch).map_err(unusable)?);
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let write = api.patch_status(name, &parameters, &patch);
        let written = call(deadline, WRITE_STATUS, namespace, name, write).await?;
        Ok(written.resource_version().unwrap_or_default())
    }

    /// Changes the fields of a credential's status by which controllers coordinate; with `version`, only of that
    /// version. Returns the new resourceVersion.
    ///
    /// # Errors
    /// A conflict when it is another version; else when the API server does not answer, or refuses.
    pub(super) async fn mark_status(
        &self,
        key: &NamespacedName,
        version: Option<&str>,
        marks: serde_json::Value,
        deadline: CallDeadline<'_>,
    ) -> Result<String, ApiServerError> {
        let (namespace, name) = key.parts();
        let api: Api<PartialObjectMeta<IdIssuerCredential>> = Api::namespaced(self.client.clone(), namespace);
        let metadata = version.map_or_else(|| json!({}), |version| json!({"resourceVersion": version}));
        let patch = Patch::Merge(json!({"metadata": metadata, "status": marks}));
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let write = api.patch_status(name, &parameters, &patch);
        let marked = call(deadline, "mark status of IdIssuerCredential", namespace, name, write).await?;
        Ok(marked.resource_version().unwrap_or_default())
    }
}

/// The version of an object as it was read or written.
#[must_use]
pub(super) fn version_of(object: &impl ResourceExt) -> ObjectVersion {
    ObjectVersion {
        uid: object.uid().unwrap_or_default().into(),
        resource_version: object.resource_version().unwrap_or_default().into(),
    }
}

/// The data of a Secret in the form that Kubernetes' type wants.
#[must_use]
pub(super) fn byte_strings(data: &crate::core::template::Data) -> BTreeMap<String, ByteString> {
    data.iter().map(|(key, value)| (key.clone(), ByteString(value.to_vec()))).collect()
}

async fn call<T>(
    CallDeadline { timeout, slow }: CallDeadline<'_>,
    operation: &'static str,
    namespace: &str,
    name: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApiServerError> {
    let limit = timeout.limit(operation, slow).unsigned_abs();
    let note = |took| match took {
        Some(took) => timeout.answered(operation, took),
        None => timeout.unanswered(),
    };
    let answer = api_call::measured_call(limit, request, note).await;
    answer.map_err(|cause| failed(operation, namespace, name, cause))
}

fn failed(operation: &'static str, namespace: &str, name: &str, cause: CallError) -> ApiServerError {
    ApiServerError { operation, object: format!("{namespace}/{name}"), cause: Box::new(cause) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_quotes_the_secret_is_not_shown() {
        let data = [("token".to_owned(), ByteString(b"eyJ-secret".to_vec()))];
        let secret = Secret { data: Some(data.into()), ..Secret::default() };
        for (message, is_shown) in [
            ("exceeded quota: secrets", true),
            ("admission webhook denied: eyJ-secret", false),
            ("admission webhook denied: ZXlKLXNlY3JldA==", false),
        ] {
            let cause = Box::new(CallError::Refused { message: message.to_owned(), code: 403 });
            let error = ApiServerError { operation: "apply Secret", object: "shop/billing".into(), cause };
            let shown = error.without(&secret).to_string();
            assert_eq!(shown.contains(message), is_shown, "{shown}");
            assert!(shown.starts_with("apply Secret shop/billing: "), "{shown}");
        }
    }
}
