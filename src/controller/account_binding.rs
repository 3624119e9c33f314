//! Reading the login Secret and the CA bundle, and finding the account that they name.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;

use super::api_server::{ApiServerError, version_of};
use super::reconciliation::{Reconciliation, SecretRead};
use super::state::{CredentialState, LoginSnapshot};
use crate::account::{AttemptRecorder, LoginEvidence, Session, Tenant};
use crate::core::credential::LoginFound;
use crate::core::observed::{
    CaBundleKind, CaBundleReference, CredentialSpec, LastSeen, LoginReference, OwnAccount,
};
use crate::core::reason::Reason;
use crate::core::time::{Moment, to_second};
use crate::core::username_password::LoginPair;
use crate::issuer::{BundleRefusal, IssuerAddress, Trust};
use crate::traces::Cause;

/// Reads the login that the spec names. User name and password stay in memory until they are sent or the credential is
/// idle; login Secrets are not cached.
pub(super) async fn read(reconciliation: &mut Reconciliation<'_>) -> Result<(), ApiServerError> {
    let Ok(spec) = reconciliation.spec.clone() else { return Ok(()) };
    let Some(account) = spec.account.own() else { return Ok(()) };
    let reference = &account.login;
    let SecretRead { key, revision, permit, secret } = reconciliation.read_secret(&reference.secret).await?;
    let seen = secret.as_ref().map_or(LastSeen::Absent, |secret| LastSeen::Version(version_of(secret)));
    reconciliation.context.registry.secrets.on_read(&key, seen.clone(), revision);
    let parsed = parse(secret.as_ref(), reference);
    // Reading the bundle takes its own permit.
    drop((secret, permit));
    let bundle_seen = bundle_seen(reconciliation, &spec);
    let now = reconciliation.context.clock.now();
    let tenant: Tenant = Arc::clone(&key.namespace);
    let (outcome, pair) = match parsed {
        Err(reason) => (Err(reason), None),
        Ok(pair) => match trust(reconciliation, account, now).await? {
            Err(reason) => (Err(reason), None),
            Ok(trust) => {
                let address = IssuerAddress { endpoint: account.endpoint.clone(), trust };
                let source = format!("{}/{}", key.namespace, key.name);
                remember_rejections(reconciliation, &tenant, &address, &pair, now);
                let accounts = &reconciliation.context.accounts;
                let evidence = login_evidence(reconciliation, &spec, &seen);
                match accounts.blocked_until(&tenant, &address, &pair, evidence) {
                    Some(until) => (Err(put_off(reference, until)), None),
                    None => (Ok(accounts.open(address, &pair, &source)), Some(pair)),
                }
            }
        },
    };
    if let Ok(session) = &outcome {
        remember(reconciliation, session, pair.as_ref(), &seen, now);
    }
    let reference = Arc::clone(account);
    let generation = reconciliation.credential.metadata.generation;
    reconciliation.state.login = Some(LoginSnapshot {
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
    reconciliation.state.join_account(&reconciliation.identity.uid, &spec, generation);
    Ok(())
}

/// What speaks for a login that was just read: status, or the published token.
fn login_evidence(
    reconciliation: &Reconciliation<'_>,
    spec: &CredentialSpec,
    seen: &LastSeen,
) -> LoginEvidence {
    let known = &reconciliation.state.known;
    LoginEvidence { obtained_from: known.obtained_from(), is_claimed: known.is_accepted(spec, seen) }
}

/// Forgets a login whose CA bundle could not be used, if the watch has shown another Secret in that one's place.
pub(super) fn forget_replaced_bundle(reconciliation: &mut Reconciliation<'_>) {
    let Ok(spec) = &reconciliation.spec else { return };
    let seen = bundle_seen(reconciliation, spec);
    if reconciliation.state.login.as_ref().is_some_and(|snapshot| snapshot.is_bundle_replaced(&seen)) {
        reconciliation.state.login = None;
    }
}

/// The last known version of the Secret with the CA bundle. Nothing watches `ConfigMap`s.
fn bundle_seen(reconciliation: &Reconciliation<'_>, spec: &CredentialSpec) -> LastSeen {
    let bundle = spec.account.own().and_then(|account| account.ca_bundle.as_ref());
    let bundle = bundle.filter(|bundle| bundle.kind == CaBundleKind::Secret);
    bundle.map_or(LastSeen::Unknown, |bundle| {
        reconciliation.context.registry.secrets.last_seen(&reconciliation.sibling(&bundle.name))
    })
}

/// Asks the account for a new token; whether a call was started. `record` is carried out once it is its turn, and `cause`
/// tells traces of it.
pub(super) fn obtain(
    state: &mut CredentialState,
    override_hold: bool,
    record: Option<AttemptRecorder>,
    cause: Option<Cause>,
    now: Moment,
) -> bool {
    let Some(snapshot) = &mut state.login else { return false };
    let pair = snapshot.pair.take();
    let Ok(session) = &snapshot.outcome else { return false };
    let is_to_be_recorded = record.is_some();
    let is_begun = session.obtain_recorded(&snapshot.tenant, pair, override_hold, record, cause);
    if is_begun && is_to_be_recorded {
        state.known.on_attempt_queued(now);
    }
    is_begun
}

/// Forgets user name and password that were read and are not needed.
pub(super) fn clear_pair(state: &mut CredentialState) {
    if let Some(snapshot) = &mut state.login {
        snapshot.pair = None;
    }
}

fn put_off(login: &LoginReference, until: Moment) -> Reason {
    Reason::LoginRateLimited { secret: login.secret.clone(), until: to_second(until.wall) }
}

/// Restores the rejections in status, before the user name is checked.
fn remember_rejections(
    reconciliation: &mut Reconciliation<'_>,
    tenant: &Tenant,
    address: &IssuerAddress,
    pair: &LoginPair,
    now: Moment,
) {
    if let Some((count, last)) = reconciliation.state.known.rejections_for_limit(now) {
        reconciliation.context.accounts.remember_rejections(tenant, address, pair, count, last);
    }
}

/// Restores what status remembers of the account.
fn remember(
    reconciliation: &mut Reconciliation<'_>,
    session: &Session,
    pair: Option<&LoginPair>,
    seen: &LastSeen,
    now: Moment,
) {
    let generation = reconciliation.generation();
    let (Ok(spec), known) = (&reconciliation.spec, &mut reconciliation.state.known) else { return };
    let blank = pair.is_some_and(LoginPair::password_has_blank);
    let found = LoginFound { key: session.key(), seen, blank, spec, generation };
    session.restore(known, found, now);
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
    reconciliation: &mut Reconciliation<'_>,
    account: &OwnAccount,
    now: Moment,
) -> Result<Result<Trust, Reason>, ApiServerError> {
    let Some(CaBundleReference { kind, name, key }) = &account.ca_bundle else {
        return Ok(Ok(Trust::PublicRoots));
    };
    if let Some(trust) = reconciliation.state.login.as_ref().and_then(|snapshot| snapshot.trust(account, now))
    {
        return Ok(Ok(trust));
    }
    let (object, key_name) = (format!("{kind} {name}"), key.clone());
    let namespace = &reconciliation.identity.object.namespace;
    let permit = reconciliation.context.read_permit(namespace).await;
    let deadline = reconciliation.state.call_deadline();
    let read =
        reconciliation.context.api_server.read_key(namespace, *kind, name, key, &permit, deadline).await?;
    let pem = match read {
        None => return Ok(Err(Reason::CaBundleMissing { object })),
        Some(None) => return Ok(Err(Reason::CaBundleKeyMissing { object, key: key_name })),
        Some(Some(pem)) => pem,
    };
    let accepted = reconciliation.context.bundles.accept(namespace, &pem);
    Ok(accepted.map(Trust::Bundle).map_err(|refusal| match refusal {
        BundleRefusal::Defective(_) => Reason::CaBundleInvalid { object, key: key_name },
        BundleRefusal::TooLarge => Reason::CaBundleTooLarge { object, key: key_name },
        BundleRefusal::TooMany => Reason::CaBundlesTooMany { object },
    }))
}
