//! Reading the login Secret and the CA bundle, and finding the account that they name.

use k8s_openapi::api::core::v1::Secret;

use super::api_server::{ApiServerError, version_of};
use super::reconciliation::Reconciliation;
use super::state::{CredentialState, LoginSnapshot};
use crate::account::{AttemptRecorder, Session, Tenant};
use crate::core::credential::LoginFound;
use crate::core::observed::{
    AccountReference, CaBundleKind, CaBundleReference, CredentialSpec, LastSeen, LoginReference,
};
use crate::core::reason::Reason;
use crate::core::time::{Moment, to_second};
use crate::core::username_password::LoginPair;
use crate::issuer::{BundleRefusal, IssuerAddress, Trust};

/// Reads the login that the spec names. User name and password stay in memory until they are sent or the credential is
/// idle; login Secrets are not cached.
pub(super) async fn read(work: &mut Reconciliation<'_>) -> Result<(), ApiServerError> {
    let Ok(spec) = work.spec.clone() else { return Ok(()) };
    let reference = &spec.account.login;
    let key = work.sibling(&reference.secret);
    let revision = work.context.registry.secrets.revision(&key);
    let share = work.context.share(&key.namespace).await;
    let secret = work
        .context
        .api_server
        .read_secret(&key.namespace, &key.name, &share, work.state.allowance())
        .await?;
    let seen = secret.as_ref().map_or(LastSeen::Absent, |secret| LastSeen::Version(version_of(secret)));
    work.context.registry.secrets.on_read(&key, seen.clone(), revision);
    let parsed = parse(secret.as_ref(), reference);
    // Reading the bundle takes its own share.
    drop((secret, share));
    let bundle_seen = bundle_seen(work, &spec);
    let now = work.context.clock.now();
    let tenant: Tenant = key.namespace.as_str().into();
    let (outcome, pair) = match parsed {
        Err(reason) => (Err(reason), None),
        Ok(pair) => match trust(work, &spec.account, now).await? {
            Err(reason) => (Err(reason), None),
            Ok(trust) => {
                let site = IssuerAddress { endpoint: spec.account.endpoint.clone(), trust };
                let source = format!("{}/{}", key.namespace, key.name);
                remember_rejections(work, &tenant, &site, &pair, now);
                let accounts = &work.context.accounts;
                match accounts
                    .blocked_until(&tenant, &site, &pair)
                    .filter(|_| !work.state.known.is_accepted(&spec, &seen))
                {
                    Some(until) => (Err(put_off(reference, until)), None),
                    None => (Ok(accounts.open(site, &pair, &source)), Some(pair)),
                }
            }
        },
    };
    if let Ok(session) = &outcome {
        remember(work, session, pair.as_ref(), &seen, now);
    }
    let reference = spec.account.clone();
    let generation = work.credential.metadata.generation;
    work.state.login = Some(LoginSnapshot {
        seen,
        reference,
        bundle_seen,
        at: now,
        outcome,
        pair,
        membership: None,
        tenant,
        generation,
    });
    work.state.join_account(&work.identity.uid, &spec, generation);
    Ok(())
}

/// Forgets a login whose CA bundle could not be used, if the watch has shown another Secret in that one's place.
pub(super) fn forget_replaced_bundle(work: &mut Reconciliation<'_>) {
    let Ok(spec) = &work.spec else { return };
    let seen = bundle_seen(work, spec);
    if work.state.login.as_ref().is_some_and(|reading| reading.is_bundle_replaced(&seen)) {
        work.state.login = None;
    }
}

/// The last known version of the Secret with the CA bundle. Nothing watches `ConfigMap`s.
fn bundle_seen(work: &Reconciliation<'_>, spec: &CredentialSpec) -> LastSeen {
    let bundle = spec.account.ca_bundle.as_ref().filter(|bundle| bundle.kind == CaBundleKind::Secret);
    bundle.map_or(LastSeen::Unknown, |bundle| {
        work.context.registry.secrets.last_seen(&work.sibling(&bundle.name))
    })
}

/// Asks the account for a new token; whether a call was started. `record` is carried out once it is its turn.
pub(super) fn obtain(
    state: &mut CredentialState,
    override_hold: bool,
    record: Option<AttemptRecorder>,
    now: Moment,
) -> bool {
    let Some(reading) = &mut state.login else { return false };
    let pair = reading.pair.take();
    let Ok(session) = &reading.outcome else { return false };
    let is_to_be_recorded = record.is_some();
    let is_begun = session.obtain_recorded(&reading.tenant, pair, override_hold, record);
    if is_begun && is_to_be_recorded {
        state.known.on_attempt_queued(now);
    }
    is_begun
}

/// Forgets user name and password that were read and are not needed.
pub(super) fn clear_pair(state: &mut CredentialState) {
    if let Some(reading) = &mut state.login {
        reading.pair = None;
    }
}

fn put_off(login: &LoginReference, until: Moment) -> Reason {
    Reason::LoginRateLimited { secret: login.secret.clone(), until: to_second(until.wall) }
}

/// Restores the rejections in status, before the user name is checked.
fn remember_rejections(
    work: &mut Reconciliation<'_>,
    tenant: &Tenant,
    site: &IssuerAddress,
    pair: &LoginPair,
    now: Moment,
) {
    if let Some((count, last)) = work.state.known.rejections_for_limit(now) {
        work.context.accounts.remember_rejections(tenant, site, pair, count, last);
    }
}

/// Restores what status remembers of the account.
fn remember(
    work: &mut Reconciliation<'_>,
    session: &Session,
    pair: Option<&LoginPair>,
    seen: &LastSeen,
    now: Moment,
) {
    let generation = work.generation();
    let (Ok(spec), known) = (&work.spec, &mut work.state.known) else { return };
    let blank = pair.is_some_and(LoginPair::password_has_blank);
    let found = LoginFound { key: session.key(), seen, blank, spec, generation };
    session.remember(|account| known.restore_account(account, found, now));
}

fn parse(secret: Option<&Secret>, reference: &LoginReference) -> Result<LoginPair, Reason> {
    let name = || reference.secret.clone();
    let secret = secret.ok_or_else(|| Reason::LoginSecretMissing { secret: name() })?;
    let value = |key: &str| secret.data.as_ref()?.get(key).map(|value| value.0.as_slice());
    LoginPair::parse(
        (&reference.username_key, value(&reference.username_key)),
        (&reference.password_key, value(&reference.password_key)),
    )
    .map_err(|(key, defect)| Reason::LoginSecretUnusable { secret: name(), key: key.to_owned(), defect })
}

/// Whom the issuer's certificate is trusted by. The CA bundle is read at a first issue and after TLS failed.
async fn trust(
    work: &mut Reconciliation<'_>,
    account: &AccountReference,
    now: Moment,
) -> Result<Result<Trust, Reason>, ApiServerError> {
    let Some(CaBundleReference { kind, name, key }) = &account.ca_bundle else {
        return Ok(Ok(Trust::PublicRoots));
    };
    if let Some(trust) = work.state.login.as_ref().and_then(|reading| reading.trust(account, now)) {
        return Ok(Ok(trust));
    }
    let (object, key_name) = (format!("{kind} {name}"), key.clone());
    let namespace = &work.identity.namespace;
    let share = work.context.share(namespace).await;
    let allowance = work.state.allowance();
    let pem = work.context.api_server.read_key(namespace, *kind, name, key, &share, allowance).await?;
    let Some(pem) = pem else { return Ok(Err(Reason::CaBundleMissing { object, key: key_name })) };
    let accepted = work.context.bundles.accept(namespace, &pem);
    Ok(accepted.map(Trust::Bundle).map_err(|refusal| match refusal {
        BundleRefusal::Defective(_) => Reason::CaBundleInvalid { object, key: key_name },
        BundleRefusal::TooLarge => Reason::CaBundleTooLarge { object, key: key_name },
        BundleRefusal::TooMany => Reason::CaBundlesTooMany { object },
    }))
}
