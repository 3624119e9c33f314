//! What the process keeps of a credential: what decides. A large template is read again when it is rendered.

use std::collections::BTreeMap;

use kube::{Resource as _, ResourceExt};
use tokio::sync::Semaphore;

use super::cluster::{Allowance, ClusterError};
use super::intent;
use super::memory::Memory;
use super::reconcile::{Context, Guarded, Work};
use crate::api::{IdIssuerCredential, RENEW_REQUESTED_AT_ANNOTATION, Template, TemplateMetadata};
use crate::core::observed::Intent;
use crate::core::reason::Reason;
use crate::core::target::Identity;
use crate::core::template;

/// Says that a template was left out. The API server takes no annotation of such a name, so nobody else can set it.
const LEFT_OUT: &str = "idissuer.pl//template-left-out";
/// The largest template that is kept, with its keys, labels and annotations.
const KEPT_MAX_SIZE: usize = 4 * 1024;
/// How many of the larger ones are in memory at once.
const READ_AT_ONCE: usize = 4;

/// Bounds how many credentials are in memory whole.
pub(super) struct WholeReads(Semaphore);

impl Default for WholeReads {
    fn default() -> Self {
        Self(Semaphore::new(READ_AT_ONCE))
    }
}

/// Drops what decides nothing before anything else sees it: a tenant can make an object a megabyte large, and the
/// annotation that kubectl leaves holds all of it once more.
pub(super) fn trim(object: &mut Guarded) {
    let request = object.0.as_ref().ok().and_then(IdIssuerCredential::renew_request).map(str::to_owned);
    let meta = object.meta_mut();
    (meta.managed_fields, meta.labels, meta.finalizers, meta.owner_references) = (None, None, None, None);
    meta.annotations = request.map(|it| BTreeMap::from([(RENEW_REQUESTED_AT_ANNOTATION.to_owned(), it)]));
    match &mut object.0 {
        Ok(credential) => leave_out_template(credential),
        // It may quote what could not be read.
        Err(invalid) => invalid.error = String::new(),
    }
}

fn leave_out_template(credential: &mut IdIssuerCredential) {
    let Some(template) = &mut credential.spec.target.template else { return };
    if size(template) > KEPT_MAX_SIZE {
        let type_ = std::mem::take(&mut template.type_);
        *template = Template { type_, ..Template::default() };
        credential.annotations_mut().insert(LEFT_OUT.to_owned(), String::new());
    }
}

fn size(Template { data, metadata: TemplateMetadata { labels, annotations }, .. }: &Template) -> usize {
    let texts = data.iter().chain(labels).chain(annotations);
    texts.map(|(key, value)| key.len() + value.len()).sum()
}

/// Whether the template of a credential was left out.
pub(super) fn is_slim(credential: &IdIssuerCredential) -> bool {
    credential.annotations().contains_key(LEFT_OUT)
}

/// Whether it is known what a credential's specification wants, or follows from what is kept of it.
pub(super) fn is_judged(memory: &Memory, credential: &IdIssuerCredential) -> bool {
    !is_slim(credential) || memory.knows_intent(credential.metadata.generation)
}

/// What a specification wants, without the template where that is large.
pub(super) fn slim(mut intent: Intent) -> Intent {
    intent.target.template = template::Template::default();
    (intent.target.labels, intent.target.annotations) = (BTreeMap::new(), BTreeMap::new());
    intent
}

/// Shows what the specification wants, with its template, to somebody who looks at it and lets it go: only so many large
/// ones exist at once. Nothing is awaited meanwhile, so whoever waits for a share holds none. None if it is not known any
/// more: then the watch is about to show another specification.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub(super) async fn with_whole<T>(
    work: &mut Work<'_>,
    look: impl FnOnce(&Intent, &Identity) -> T,
) -> Result<Option<T>, ClusterError> {
    let Ok(intent) = &work.intent else { return Ok(None) };
    if !is_slim(work.credential) {
        return Ok(Some(look(intent, &work.identity)));
    }
    let context = work.context;
    let _permit = context.whole_reads.0.acquire().await;
    let read = read(context, work.credential, work.memory.allowance()).await?;
    Ok(read.and_then(Result::ok).map(|intent| look(&intent, &work.identity)))
}

/// Finds out whether a specification can be carried out whose template was left out. None if it is another one by now.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub(super) async fn judge(
    context: &Context,
    credential: &IdIssuerCredential,
    allowance: Allowance<'_>,
) -> Result<Option<Result<Intent, Reason>>, ClusterError> {
    let _permit = context.whole_reads.0.acquire().await;
    Ok(read(context, credential, allowance).await?.map(|intent| intent.map(slim)))
}

async fn read(
    context: &Context,
    credential: &IdIssuerCredential,
    allowance: Allowance<'_>,
) -> Result<Option<Result<Intent, Reason>>, ClusterError> {
    let (namespace, name) = (credential.namespace().unwrap_or_default(), credential.name_any());
    let read = context.cluster.read_credential(&namespace, &name, allowance).await?;
    let is_same = |read: &IdIssuerCredential| {
        read.metadata.uid == credential.metadata.uid
            && read.metadata.generation == credential.metadata.generation
    };
    Ok(read.filter(is_same).map(|whole| intent::parse(&whole, &context.allow_list, &context.target_policy)))
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
        assert!(!is_slim(&small));
        assert_eq!(small.spec.target.template.unwrap().data["a"], "x");
        let text = "x".repeat(KEPT_MAX_SIZE);
        for large in [
            json!({"type": "example.org/token", "data": {"a": text}}),
            json!({"type": "example.org/token", "metadata": {"annotations": {"a": text}}}),
        ] {
            let large = trimmed(&large, &json!({}));
            assert!(is_slim(&large));
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
