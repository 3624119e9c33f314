//! The reconciliation of one credential: what it is about, and what one look at it shows.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use super::api_server::ApiServerError;
use super::context::Context;
use super::large_reads::ReadPermit;
use super::registry::CacheRevision;
use super::sharing::Followed;
use super::spec;
use super::state::{CredentialState, ValidatedSpec};
use crate::api::IdIssuerCredential;
use crate::core::credential::Inputs;
use crate::core::object_name::NamespacedName;
use crate::core::observed::{AccountReference, CredentialSpec, LastSeen, Login, Observed};
use crate::core::reason::Reason;
use crate::core::sharing::Followers;
use crate::core::target::Identity;
use crate::core::time::Moment;

/// A Secret that was just read.
pub(super) struct SecretRead {
    /// Which one.
    pub(super) key: NamespacedName,
    /// What the watch had shown before.
    pub(super) revision: CacheRevision,
    /// The permit to hold it in memory.
    pub(super) permit: ReadPermit,
    /// The Secret, if it exists.
    pub(super) secret: Option<Secret>,
}

/// The reconciliation of one credential that could be read.
pub(super) struct Reconciliation<'a> {
    pub(super) context: &'a Context,
    pub(super) credential: &'a IdIssuerCredential,
    pub(super) identity: Identity,
    pub(super) spec: ValidatedSpec,
    pub(super) state: &'a mut CredentialState,
    pub(super) generation_since: Moment,
    login_seen: LastSeen,
    target_seen: LastSeen,
    /// What the credential that this one follows offers.
    followed: Followed,
    is_wanted_by_followers: bool,
    followers: Option<Followers>,
}

impl<'a> Reconciliation<'a> {
    pub(super) fn new(
        context: &'a Context,
        credential: &'a IdIssuerCredential,
        key: &NamespacedName,
        state: &'a mut CredentialState,
        verdict: Option<Result<CredentialSpec, Reason>>,
    ) -> Self {
        let identity = Identity { object: key.clone(), uid: credential.uid().unwrap_or_default() };
        let generation = credential.metadata.generation;
        let parse = || {
            verdict.unwrap_or_else(|| spec::parse(credential, &context.allow_list, &context.target_policy))
        };
        let spec = match context.registry.quotas.check(key) {
            Ok(()) => state.spec(generation, parse),
            Err(limit) => Err(Reason::TooManyCredentials { limit }),
        };
        let (login_seen, target_seen) = (LastSeen::Unknown, LastSeen::Unknown);
        let generation_since = context.registry.credentials.generation_since(key);
        let generation_since = generation_since.unwrap_or_else(|| context.clock.now());
        Self {
            context,
            credential,
            identity,
            spec,
            state,
            generation_since,
            login_seen,
            target_seen,
            followed: Followed::default(),
            is_wanted_by_followers: false,
            followers: None,
        }
    }

    /// Refreshes what may have changed by itself: the watches and the time.
    pub(super) fn look(&mut self) -> Moment {
        let now = self.context.clock.now();
        self.state.known.update_renew_request(self.credential.renew_request(), now);
        if let Ok(spec) = self.spec.clone() {
            let (secrets, target) = (&self.context.registry.secrets, self.sibling(&spec.target.secret));
            self.target_seen = match self.state.known.published() {
                Some(_) => secrets.last_seen(&target),
                None => secrets.last_seen_of_new_target(&target),
            };
            match &spec.account {
                AccountReference::Own(account) => {
                    self.state.followed = None;
                    self.login_seen =
                        self.context.registry.secrets.last_seen(&self.sibling(&account.login.secret));
                    self.state.join_account(&self.identity.uid, &spec, self.credential.metadata.generation);
                    self.is_wanted_by_followers = self.is_wanted_by_followers(now);
                    self.followers = self.followers();
                }
                AccountReference::Followed(owner) => {
                    self.state.login = None;
                    self.followers = Some(Followers::default());
                    self.followed = self.look_at_owner(&spec, owner);
                }
            }
        }
        now
    }

    pub(super) fn observed(&self, now: Moment) -> Observed<'_> {
        let login = self.spec.as_ref().map(|spec| match &spec.account {
            AccountReference::Own(_) => self.state.login(&self.login_seen, spec, now),
            AccountReference::Followed(owner) => self.followed.login(owner),
        });
        let inputs = Inputs {
            identity: &self.identity,
            generation: self.generation(),
            generation_since: self.generation_since,
            spec: self.spec.as_deref(),
            login_seen: &self.login_seen,
            login: login.unwrap_or(Login::Unread),
            is_login_at_hand: self.state.login.as_ref().is_some_and(|snapshot| snapshot.pair.is_some()),
            is_wanted_by_followers: self.is_wanted_by_followers,
            followers: self.followers.as_ref(),
            owner_uid: self.owner_uid(),
            reads_namespace_labels: self.context.reads_namespace_labels,
            target_seen: &self.target_seen,
            namespace_pause: self.context.writes.pause(&self.identity.object.namespace, now),
            is_stopping: self.context.stop.is_cancelled(),
        };
        self.state.known.observe(inputs, now)
    }

    pub(super) fn generation(&self) -> i64 {
        self.credential.metadata.generation.unwrap_or_default()
    }

    /// The uid of the credential that this one follows with its permission.
    pub(super) fn owner_uid(&self) -> Option<&str> {
        self.followed.owner_uid()
    }

    pub(super) fn key(&self) -> NamespacedName {
        self.identity.object.clone()
    }

    /// Another object of the credential's namespace.
    pub(super) fn sibling(&self, name: &str) -> NamespacedName {
        self.identity.object.sibling(name)
    }

    /// Reads a Secret of the credential's namespace whole. The permit bounds how much is in memory: keep it as long as the
    /// Secret.
    pub(super) async fn read_secret(&mut self, name: &str) -> Result<SecretRead, ApiServerError> {
        let key = self.sibling(name);
        let revision = self.context.registry.secrets.revision(&key);
        let permit = self.context.read_permit(&key.namespace).await;
        let deadline = self.state.call_deadline();
        let secret =
            self.context.api_server.read_secret(&key.namespace, &key.name, &permit, deadline).await?;
        Ok(SecretRead { key, revision, permit, secret })
    }
}
