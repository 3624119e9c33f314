//! What the process keeps of a credential: what decides. A large template is read again when it is rendered.

use std::collections::BTreeMap;

use kube::{Resource as _, ResourceExt};

use super::api_server::{ApiServerError, CallDeadline};
use super::context::Context;
use super::guarded::Guarded;
use super::large_reads::ReadPermit;
use super::reconciliation::Reconciliation;
use super::spec;
use super::state::CredentialState;
use crate::api::{
    IdIssuerCredential, IdIssuerCredentialStatus, RENEW_REQUESTED_AT_ANNOTATION, Template, TemplateMetadata,
};
use crate::core::observed::CredentialSpec;
use crate::core::reason::Reason;
use crate::core::target::Identity;
use crate::core::template;

/// Marks an omitted template. The API server rejects an annotation with this name, so nobody else can set it.
pub(super) const LEFT_OUT_TEMPLATE_ANNOTATION: &str = "idissuer.pl//template-left-out";
/// Marks an omitted status. The API server rejects this name, too.
pub(super) const LEFT_OUT_STATUS_ANNOTATION: &str = "idissuer.pl//status-left-out";
/// The largest template that is kept, with its keys, labels and annotations.
const KEPT_MAX_SIZE: usize = 4 * 1024;

/// Drops what a tenant can make large before anything else sees it.
pub(super) fn trim(object: &mut Guarded) {
    let request = object.0.as_ref().ok().and_then(IdIssuerCredential::renew_request).map(str::to_owned);
    object.meta_mut().annotations =
        request.map(|it| BTreeMap::from([(RENEW_REQUESTED_AT_ANNOTATION.to_owned(), it)]));
    if let Ok(credential) = &mut object.0 {
        leave_out_template(credential);
    }
}

fn leave_out_template(credential: &mut IdIssuerCredential) {
    let Some(template) = &mut credential.spec.target.template else { return };
    if size(template) > KEPT_MAX_SIZE {
        let type_ = std::mem::take(&mut template.type_);
        *template = Template { type_, ..Template::default() };
        credential.annotations_mut().insert(LEFT_OUT_TEMPLATE_ANNOTATION.to_owned(), String::new());
    }
}

/// Drops the status but for who keeps and claims the credential. What it said must be remembered elsewhere.
pub(super) fn leave_out_status(credential: &mut IdIssuerCredential) {
    let Some(status) = &mut credential.status else { return };
    let (controller, claimed_by) = (status.controller.take(), status.claimed_by.take());
    *status = IdIssuerCredentialStatus { controller, claimed_by, ..IdIssuerCredentialStatus::default() };
    credential.annotations_mut().insert(LEFT_OUT_STATUS_ANNOTATION.to_owned(), String::new());
}

/// Whether the status of a credential was left out.
pub(super) fn is_status_left_out(credential: &IdIssuerCredential) -> bool {
    credential.annotations().contains_key(LEFT_OUT_STATUS_ANNOTATION)
}

fn size(Template { data, metadata: TemplateMetadata { labels, annotations }, .. }: &Template) -> usize {
    let texts = data.iter().chain(labels).chain(annotations);
    texts.map(|(key, value)| key.len() + value.len()).sum()
}

/// Whether the template of a credential was left out.
pub(super) fn is_trimmed(credential: &IdIssuerCredential) -> bool {
    credential.annotations().contains_key(LEFT_OUT_TEMPLATE_ANNOTATION)
}

/// Whether it is known what a credential's specification wants, or follows from what is kept of it.
pub(super) fn is_validated(state: &CredentialState, credential: &IdIssuerCredential) -> bool {
    !is_trimmed(credential) || state.is_spec_known(credential.metadata.generation)
}

/// What a specification wants, without the template where that is large.
pub(super) fn trim_spec(mut spec: CredentialSpec) -> CredentialSpec {
    spec.target.template = template::Template::default();
    (spec.target.labels, spec.target.annotations) = (BTreeMap::new(), BTreeMap::new());
    spec
}

/// Passes the full spec, with its template, to a function. `None` if it is no longer known: then the watch will show
/// another spec soon.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub(super) async fn with_full_spec<T>(
    reconciliation: &mut Reconciliation<'_>,
    look: impl FnOnce(&CredentialSpec, &Identity) -> T,
) -> Result<Option<T>, ApiServerError> {
    // What is kept whole need not wait.
    let permit = match &reconciliation.spec {
        Ok(_) if is_trimmed(reconciliation.credential) => {
            Some(reconciliation.context.read_permit(&reconciliation.identity.object.namespace).await)
        }
        Ok(_) | Err(_) => None,
    };
    with_full_spec_under(reconciliation, permit.as_ref(), look).await
}

/// The same for a function that reads another object with this permit.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub(super) async fn with_full_spec_under<T>(
    reconciliation: &mut Reconciliation<'_>,
    permit: Option<&ReadPermit>,
    look: impl FnOnce(&CredentialSpec, &Identity) -> T,
) -> Result<Option<T>, ApiServerError> {
    let Ok(spec) = &reconciliation.spec else { return Ok(None) };
    let Some(permit) = permit.filter(|_| is_trimmed(reconciliation.credential)) else {
        return Ok(Some(look(spec, &reconciliation.identity)));
    };
    let read =
        read(reconciliation.context, reconciliation.credential, permit, reconciliation.state.call_deadline())
            .await?;
    Ok(read.and_then(Result::ok).map(|spec| look(&spec, &reconciliation.identity)))
}

/// Finds out whether a specification can be carried out whose template was left out. None if it is another one by now.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub(super) async fn validate(
    context: &Context,
    credential: &IdIssuerCredential,
    deadline: CallDeadline<'_>,
) -> Result<Option<Result<CredentialSpec, Reason>>, ApiServerError> {
    let permit = context.read_permit(&credential.namespace().unwrap_or_default()).await;
    Ok(read(context, credential, &permit, deadline).await?.map(|spec| spec.map(trim_spec)))
}

async fn read(
    context: &Context,
    credential: &IdIssuerCredential,
    permit: &ReadPermit,
    deadline: CallDeadline<'_>,
) -> Result<Option<Result<CredentialSpec, Reason>>, ApiServerError> {
    let (namespace, name) = (credential.namespace().unwrap_or_default(), credential.name_any());
    let read = context.api_server.read_credential(&namespace, &name, permit, deadline).await?;
    let is_same = |read: &IdIssuerCredential| {
        read.metadata.uid == credential.metadata.uid
            && read.metadata.generation == credential.metadata.generation
    };
    Ok(read.filter(is_same).map(|whole| spec::parse(&whole, &context.allow_list, &context.target_policy)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn trimmed(template: &serde_json::Value, annotations: &serde_json::Value) -> IdIssuerCredential {
        let mut object: Guarded = serde_json::from_value(json!({
            "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential",
            "metadata": {
                "name": "billing", "namespace": "shop", "annotations": annotations,
                "labels": {"a": "b"}, "finalizers": ["example.org/wait"],
            },
            "spec": {"loginSecretRef": {"name": "login"}, "target": {"template": template}},
        }))
        .unwrap();
        trim(&mut object);
        object.0.unwrap()
    }

    #[test]
    fn a_small_template_is_kept_and_a_large_one_is_left_out_but_for_its_type() {
        let small = trimmed(&json!({"data": {"a": "x"}}), &json!({}));
        assert!(!is_trimmed(&small));
        assert_eq!(small.spec.target.template.unwrap().data["a"], "x");
        let text = "x".repeat(KEPT_MAX_SIZE);
        for large in [
            json!({"type": "example.org/token", "data": {"a": text}}),
            json!({"type": "example.org/token", "metadata": {"annotations": {"a": text}}}),
        ] {
            let large = trimmed(&large, &json!({}));
            assert!(is_trimmed(&large));
            assert_eq!(large.spec.target.template.unwrap().type_, "example.org/token");
            assert!(serde_json::to_string(&large.metadata).unwrap().len() < 200);
        }
    }

    #[test]
    fn of_its_metadata_nothing_is_kept_that_a_tenant_can_make_large() {
        let request = "r".repeat(100_000);
        let object = trimmed(
            &json!({}),
            &json!({"idissuer.pl/renew-requested-at": request, "idissuer.pl/x": request}),
        );
        assert_eq!(object.renew_request().map(str::len), Some(256));
        assert!(object.labels().is_empty() && object.finalizers().is_empty());
        assert_eq!(object.annotations().len(), 1);
    }
}
