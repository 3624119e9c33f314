//! Reading and writing the target Secret.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

use super::api_server::{ApiServerError, FIELD_MANAGER, byte_strings, version_of};
use super::large_reads::ReadPermit;
use super::reconciliation::{Reconciliation, SecretRead};
use super::trim;
use crate::api::{self, IdIssuerCredential};
use crate::core::credential::TokenOrigin;
use crate::core::observed::{CredentialSpec, LastSeen, Published};
use crate::core::reason::Reason;
use crate::core::target::{
    self, ControllerOwner, Identity, Manifest, ObjectVersion, TargetSnapshot, TokenAnnotations,
};
use crate::core::template::Data;
use crate::core::time::Moment;
use crate::core::token::{Fingerprint, IssuedToken};

/// Reads the target, and keeps of it what a decision needs.
pub(super) async fn read(reconciliation: &mut Reconciliation<'_>) -> Result<(), ApiServerError> {
    let Ok(spec) = &reconciliation.spec else { return Ok(()) };
    let name = spec.target.secret.clone();
    let SecretRead { key, revision, permit, secret } = reconciliation.read_secret(&name).await?;
    let now = reconciliation.context.clock.now();
    let fingerprint = reconciliation.state.known.published().map(|published| published.fingerprint.clone());
    let mut read = None;
    if let Some(secret) = secret {
        let kept = keep(&secret, fingerprint.as_ref(), now.wall);
        read = Some(TargetSnapshot {
            intact: is_intact(reconciliation, &permit, &secret, &kept).await?,
            ..kept
        });
    }
    let seen = read.as_ref().map_or(LastSeen::Absent, |read| LastSeen::Version(read.version.clone()));
    reconciliation.context.registry.secrets.on_read(&key, seen, revision);
    reconciliation.state.known.on_target_read(read);
    Ok(())
}

fn keep(secret: &Secret, fingerprint: Option<&Fingerprint>, now: jiff::Timestamp) -> TargetSnapshot {
    let controller = secret.owner_references().iter().find(|owner| owner.controller == Some(true));
    let values = secret.data.iter().flatten().map(|(_, value)| value.0.as_slice());
    TargetSnapshot {
        version: version_of(secret),
        secret_type: secret.type_.clone().unwrap_or_else(|| "Opaque".into()),
        immutable: secret.immutable.unwrap_or_default(),
        deleting: secret.metadata.deletion_timestamp.is_some(),
        names_credential: secret.annotations().get(api::CREDENTIAL_ANNOTATION).cloned(),
        controller: controller.map(|owner| ControllerOwner {
            is_credential: owner.kind == api::KIND && owner.api_version.split('/').next() == Some(api::GROUP),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        }),
        token: fingerprint.and_then(|fingerprint| target::recognise(values, fingerprint, now)),
        intact: false,
    }
}

/// Whether all that we own of a target is as we would write it with the published token: then another writer changed
/// what is not ours.
async fn is_intact(
    reconciliation: &mut Reconciliation<'_>,
    permit: &ReadPermit,
    found: &Secret,
    read: &TargetSnapshot,
) -> Result<bool, ApiServerError> {
    let Some(published) = reconciliation.state.known.published() else { return Ok(false) };
    if published.generation != Some(reconciliation.generation()) {
        return Ok(false);
    }
    let held = reconciliation.state.session().and_then(|session| session.token());
    let held = held.filter(|token| token.fingerprint == published.fingerprint);
    let access = held.map(|token| token.access.clone()).or_else(|| read.token.clone());
    let Some(access) = access else { return is_kept(reconciliation, permit, found).await };
    let token = published.with_text(access);
    let rendered = trim::with_full_spec_under(reconciliation, Some(permit), |spec, identity| {
        render(spec, identity, &token).is_ok_and(|wanted| holds_all(found, &wanted))
    });
    Ok(rendered.await?.unwrap_or_default())
}

/// The same for a target that does not contain the bare token in a key: its annotations name the token, and we own
/// every key. Anyone who changes a value takes it over.
async fn is_kept(
    reconciliation: &mut Reconciliation<'_>,
    permit: &ReadPermit,
    found: &Secret,
) -> Result<bool, ApiServerError> {
    let Some(published) = reconciliation.state.known.published().cloned() else { return Ok(false) };
    let kept = trim::with_full_spec_under(reconciliation, Some(permit), |spec, identity| {
        let Published { validity, fingerprint, .. } = &published;
        let annotations = TokenAnnotations::of(validity, fingerprint, spec.renew_before, spec.jitter);
        let manifest = Manifest { data: Data::default(), annotations };
        let mut keys = spec.target.template.keys();
        holds_all(found, &secret(&manifest, spec, identity)) && keys.all(|key| is_owned(found, key))
    });
    Ok(kept.await?.unwrap_or_default())
}

/// Whether the value of a key is as we have applied it.
fn is_owned(found: &Secret, key: &str) -> bool {
    let field = format!("f:{key}");
    found.managed_fields().iter().any(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:data"].get(&field).is_some())
    })
}

/// Whether the target already contains everything that is to be written, whatever else it contains.
fn holds_all(found: &Secret, wanted: &Secret) -> bool {
    fn is_within<V: PartialEq>(
        wanted: Option<&BTreeMap<String, V>>,
        found: Option<&BTreeMap<String, V>>,
    ) -> bool {
        let stands = |(key, value): (&String, &V)| found.and_then(|found| found.get(key)) == Some(value);
        wanted.into_iter().flatten().all(stands)
    }
    let (before, ours) = (&found.metadata, &wanted.metadata);
    is_within(ours.labels.as_ref(), before.labels.as_ref())
        && is_within(ours.annotations.as_ref(), before.annotations.as_ref())
        && is_within(wanted.data.as_ref(), found.data.as_ref())
        && wanted
            .owner_references()
            .iter()
            .all(|owner| found.owner_references().iter().any(|it| is_same(it, owner)))
}

/// Whether two references are the same in all that is set here.
fn is_same(found: &OwnerReference, wanted: &OwnerReference) -> bool {
    let block_owner_deletion = wanted.block_owner_deletion;
    OwnerReference { block_owner_deletion, ..found.clone() } == *wanted
}

/// Writes a token that the account holds.
pub(super) async fn publish(
    reconciliation: &mut Reconciliation<'_>,
    token: &IssuedToken,
    repair: bool,
    fence: Option<ObjectVersion>,
) -> Result<(), ApiServerError> {
    let is_new =
        reconciliation.state.known.published().is_none_or(|old| old.fingerprint != token.fingerprint);
    let account = reconciliation.spec.as_ref().ok().map(|spec| spec.account.clone());
    let key = reconciliation.state.session().map(|session| session.key());
    let due = renewal_time(reconciliation);
    let owner_uid = reconciliation.owner_uid().map(str::to_owned);
    let origin = TokenOrigin { account, key, owner_uid };
    let begun = reconciliation.context.clock.now();
    let outcome = match rendered(reconciliation, token).await {
        // Reading a large template, and waiting for that, takes time.
        Ok(Some(secret)) if reconciliation.is_still_offered() => {
            write(reconciliation, secret, (token, origin), fence, repair).await
        }
        Ok(_) => Ok(false),
        Err(error) => Err(error),
    };
    if is_new && !repair {
        reconciliation.trace_secret(&token.fingerprint, begun, &outcome);
    }
    match &outcome {
        Ok(true) if is_new && !repair => {
            let (metrics, now) = (&reconciliation.context.metrics, reconciliation.context.clock.now());
            metrics.renewal(token.grant, "published");
            let lateness = due.map(|due| -due.remaining(now));
            metrics.published(lateness, now.monotonic - token.validity.issued.monotonic);
        }
        Ok(_) => {}
        Err(_) => reconciliation.context.metrics.renewal(token.grant, "write_failed"),
    }
    outcome.map(drop)
}

/// When the published token was to be replaced: at the time in status, which is cut to the second, or where the schedule wants it
/// later.
fn renewal_time(reconciliation: &Reconciliation<'_>) -> Option<Moment> {
    let now = reconciliation.context.clock.now();
    let reported = Moment::at_wall(reconciliation.state.known.status().token.as_ref()?.renewal, now);
    let wanted = reconciliation.observed(now).schedule().map(|schedule| schedule.renewal);
    Some(wanted.map_or(reported, |wanted| wanted.not_before(reported)))
}

/// Writes the token that was found in the target, and is held nowhere else.
pub(super) async fn publish_read_back(
    reconciliation: &mut Reconciliation<'_>,
    fence: Option<ObjectVersion>,
) -> Result<(), ApiServerError> {
    let Some((token, origin)) = reconciliation.state.known.read_back() else { return Ok(()) };
    let is_repair =
        reconciliation.state.known.published().is_some_and(|published| published.generation.is_some());
    let Some(secret) = rendered(reconciliation, &token).await? else { return Ok(()) };
    write(reconciliation, secret, (&token, origin), fence, is_repair).await.map(drop)
}

/// The target as it is to be written; none if it cannot be.
async fn rendered(
    reconciliation: &mut Reconciliation<'_>,
    token: &IssuedToken,
) -> Result<Option<Secret>, ApiServerError> {
    let rendered =
        trim::with_full_spec(reconciliation, |spec, identity| render(spec, identity, token)).await?;
    match rendered {
        None => Ok(None),
        Some(Err(reason)) => {
            refused(reconciliation, reason);
            Ok(None)
        }
        Some(Ok(secret)) => Ok(Some(secret)),
    }
}

/// Applies the target; returns whether it was written. If someone else was faster, the target is read and
/// decided on again.
async fn write(
    reconciliation: &mut Reconciliation<'_>,
    secret: Secret,
    (token, origin): (&IssuedToken, TokenOrigin),
    fence: Option<ObjectVersion>,
    is_repair: bool,
) -> Result<bool, ApiServerError> {
    let key = reconciliation.sibling(&secret.name_any());
    let revision = reconciliation.context.registry.secrets.revision(&key);
    let deadline = reconciliation.state.call_deadline();
    match reconciliation.context.api_server.apply_target(secret, fence.as_ref(), deadline).await {
        Ok(version) => {
            reconciliation.context.registry.secrets.on_written(&key, version.clone(), revision);
            wrote(reconciliation, token, origin, version, is_repair);
            Ok(true)
        }
        Err(error) if error.is_conflict() => read(reconciliation).await.map(|()| false),
        Err(error) if error.is_refusal() => {
            read(reconciliation).await?;
            let is_explained = |spec: &CredentialSpec| {
                reconciliation.state.known.explains_refusal(&reconciliation.identity, &spec.target)
            };
            if !reconciliation.spec.as_deref().is_ok_and(is_explained) {
                let (namespace, name) = reconciliation.identity.object.parts();
                tracing::warn!(namespace, name, "{error}");
                refused(reconciliation, Reason::target_write_refused(key.name.to_string(), &error.answer()));
            }
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn refused(reconciliation: &mut Reconciliation<'_>, reason: Reason) {
    let (now, random_fraction) =
        (reconciliation.context.clock.now(), reconciliation.context.clock.random_fraction());
    let (generation, pace) = (reconciliation.generation(), reconciliation.state.pace());
    reconciliation.state.known.on_write_refused(reason, generation, pace, now, random_fraction);
}

fn wrote(
    reconciliation: &mut Reconciliation<'_>,
    token: &IssuedToken,
    origin: TokenOrigin,
    version: ObjectVersion,
    is_repair: bool,
) {
    let (now, generation) = (reconciliation.context.clock.now(), reconciliation.generation());
    let (namespace, name) = reconciliation.identity.object.parts();
    reconciliation.context.writes.made(namespace, now);
    if let Ok(spec) = &reconciliation.spec {
        let secret = &spec.target.secret;
        let trace_id = reconciliation.context.tracer.trace_id(&token.fingerprint);
        let trace_id = trace_id.map(tracing::field::display);
        tracing::info!(namespace, name, secret, fingerprint = %token.fingerprint, trace_id, "token published");
    }
    reconciliation.state.known.on_target_written(token, origin, generation, version, now);
    if is_repair {
        reconciliation.state.known.on_target_repaired(now);
    }
}

/// The target as it is to be written.
fn render(spec: &CredentialSpec, identity: &Identity, token: &IssuedToken) -> Result<Secret, Reason> {
    let annotations =
        TokenAnnotations::of(&token.validity, &token.fingerprint, spec.renew_before, spec.jitter);
    let manifest = target::render(&spec.target, identity, token, annotations)?;
    Ok(secret(&manifest, spec, identity))
}

fn secret(manifest: &Manifest, spec: &CredentialSpec, identity: &Identity) -> Secret {
    let TokenAnnotations { issued, expiration, renewal, fingerprint } = &manifest.annotations;
    let mut labels = spec.target.labels.clone();
    labels.insert(api::MANAGED_BY_LABEL.into(), api::MANAGED_BY.into());
    let own = [
        (api::CREDENTIAL_ANNOTATION, identity.object.name.to_string()),
        (api::ISSUED_TIME_ANNOTATION, issued.to_string()),
        (api::EXPIRATION_TIME_ANNOTATION, expiration.to_string()),
        (api::RENEWAL_TIME_ANNOTATION, renewal.to_string()),
        (api::FINGERPRINT_ANNOTATION, fingerprint.to_string()),
    ];
    let mut annotations: BTreeMap<String, String> = spec.target.annotations.clone();
    annotations.extend(own.map(|(key, value)| (key.to_owned(), value)));
    Secret {
        metadata: ObjectMeta {
            name: Some(spec.target.secret.clone()),
            namespace: Some(identity.object.namespace.to_string()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: spec.target.owned.then(|| vec![owner(identity)]),
            ..ObjectMeta::default()
        },
        type_: Some(spec.target.secret_type.clone()),
        data: Some(byte_strings(&manifest.data)),
        ..Secret::default()
    }
}

/// For the garbage collector. It does not block the credential's deletion, which would need a further right.
fn owner(identity: &Identity) -> OwnerReference {
    OwnerReference {
        api_version: IdIssuerCredential::api_version(&()).into_owned(),
        kind: IdIssuerCredential::kind(&()).into_owned(),
        name: identity.object.name.to_string(),
        uid: identity.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}
