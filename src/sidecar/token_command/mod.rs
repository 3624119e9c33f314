//! The login of `idissuer token`: one attempt at most, under the lock of its entry in the state folder.
//!
//! What to do is decided in [`crate::core::token_command`].

mod pruning;
mod state_dir;
mod typed_login;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::account::{Accounts, KeyMaker, Tenant};
use crate::core::account::Strategy;
use crate::core::endpoint::{AllowList, Endpoint};
use crate::core::observed::AccountView;
use crate::core::sidecar::attempts::{FilesIdentity, Record};
use crate::core::sidecar::error::SourceError;
use crate::core::sidecar::token::HeldToken;
use crate::core::time::Moment;
use crate::core::token::Fingerprint;
use crate::core::token_command::{
    CallHistory, LoginFailure, LoginLabel, Outcome, begin, bound_times, may_log_in, without_password,
};
use crate::core::username_password::LoginPair;
use crate::issuer::{HttpTransport, IssuerAddress, IssuerClient, Transport, Trust};
use crate::ops::clock::Clock;
use crate::ops::metrics::Metrics;
use crate::sidecar::source::{LoginFiles, bundle};

pub use state_dir::{LockedEntry, StateDirError};

/// As whom, and on whose behalf, the command takes part in its account: it is alone there.
const SELF: &str = "token";
/// What the login is called.
const LOGIN: &str = "the login";

/// Where to log in.
pub struct Issuer {
    /// The addresses.
    pub endpoint: Endpoint,
    /// The CA certificates, if they are private.
    pub ca_file: Option<PathBuf>,
    /// Whether the proxy of the environment is used.
    pub use_environment_proxy: bool,
}

/// A login, with what tells it from another one.
pub struct Login {
    pair: LoginPair,
    identity: FilesIdentity,
    is_typed: bool,
}

/// Why no token came.
pub enum TokenError {
    /// The login, or the issuer.
    Login(LoginFailure),
    /// The process is asked to stop.
    Stopped,
}

impl<T: Into<LoginFailure>> From<T> for TokenError {
    fn from(failure: T) -> Self {
        Self::Login(failure.into())
    }
}

/// A new token, and what could not be written down of it.
pub struct NewToken {
    /// The token.
    pub token: HeldToken,
    /// Why later processes log in again, if they do.
    pub warning: Option<String>,
}

/// The key of the entry for the login that these parts name.
#[must_use]
pub fn entry_key(parts: &[&str]) -> Fingerprint {
    Fingerprint::of(parts.join("\0").as_bytes())
}

impl Login {
    /// The login in these files.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn in_files(files: &LoginFiles) -> Result<Self, SourceError> {
        let reading = files.read()?;
        Ok(Self { pair: reading.pair, identity: reading.identity, is_typed: false })
    }

    /// A typed login; `before` is the record of the entry.
    ///
    /// # Errors
    /// When user name or password cannot be sent.
    pub fn typed(username: &str, password: &[u8], before: Option<&Record>) -> Result<Self, SourceError> {
        let (user, secret) = ("The user name", "The password");
        let pair = LoginPair::parse((user, Some(username.as_bytes())), (secret, Some(password)))
            .map_err(|(half, defect)| SourceError::LoginDefective { file: half.to_owned(), defect })?;

        let identity =
            typed_login::identity(&pair, before.map(|record| &record.files)).ok_or_else(no_random)?;
        Ok(Self { pair, identity, is_typed: true })
    }

    /// What tells its files from others; a typed login has none.
    #[must_use]
    pub fn files(&self) -> Option<&FilesIdentity> {
        (!self.is_typed).then_some(&self.identity)
    }
}

/// Obtains a token with this login, unless the record forbids the attempt. The record is written first, so an attempt
/// that is killed counts.
///
/// # Errors
/// When no token came.
pub async fn log_in(
    entry: &LockedEntry,
    issuer: Issuer,
    login: Login,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> Result<NewToken, TokenError> {
    let origin = issuer.endpoint.origin.to_string();
    let (mut record, mut calls) = (entry.record(), entry.calls());
    if bound_times(record.as_mut(), &mut calls, clock.now().wall) {
        // If this fails, so does the record of the next attempt, which is reported.
        let _ = entry.save_calls(&calls).and_then(|()| entry.save_record(record.as_ref()));
    }
    calls.absorb(record.as_ref());
    let before = record.filter(|record| record.is_of(&origin, &login.identity));
    let attempt = Attempt { entry, login, origin, before, clock, stop };
    attempt.run(issuer, calls).await
}

/// One attempt.
struct Attempt<'a> {
    entry: &'a LockedEntry,
    login: Login,
    origin: String,
    before: Option<Record>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

impl Attempt<'_> {
    async fn run(self, issuer: Issuer, mut calls: CallHistory) -> Result<NewToken, TokenError> {
        let trust = issuer
            .ca_file
            .as_deref()
            .map_or(Ok(Trust::PublicRoots), |path| bundle(path).map(Trust::Bundle))?;
        let address = IssuerAddress { endpoint: issuer.endpoint, trust };
        let (tell, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let accounts = self.accounts(&address, issuer.use_environment_proxy, tell)?;
        let tenant: Tenant = SELF.into();
        let pair = &self.login.pair;
        if let Some((count, last)) = calls.rejected_lately(self.clock.now()) {
            accounts.remember_rejections(&tenant, &address, pair, count, last);
        }
        let origin = address.endpoint.origin.clone();
        let label =
            LoginLabel { name: LOGIN, origin: &origin, password_has_blank: pair.password_has_blank() };
        let session = accounts.open(address, pair, LOGIN);
        let _membership = session.join(SELF.into(), Strategy::Login);
        if let Some(record) = &self.before {
            session.restore_attempts(&record.attempts, label.password_has_blank, self.clock.now());
        }
        may_log_in(&session.view(&tenant), self.before.as_ref(), &label)?;
        self.pause(&calls).await?;

        let started = self.clock.now();
        let attempt =
            begin(self.before.as_ref(), self.origin.clone(), self.login.identity.clone(), started.wall);
        let unrecorded = |_| SourceError::LoginNotRecorded { file: self.entry.record_place() };
        self.entry.save_calls(&calls).map_err(unrecorded)?;
        self.entry.save_record(Some(&attempt)).map_err(unrecorded)?;
        if session.obtain(&tenant, Some(pair.clone()), false) {
            // At the end of the call, also of an aborted one, its members are woken.
            let _ = ended.recv().await;
        }
        let account = session.view(&tenant);
        let warning = self.conclude(&account, attempt, &mut calls, started);
        let token = account.token.as_deref().map(HeldToken::issued);
        match token {
            Some(token) => {
                let kept = self.entry.keep(&token, self.clock.now().wall);
                pruning::prune(self.entry.state_dir(), self.clock.now());
                Ok(NewToken { token, warning: warning.or(kept.err()) })
            }
            None if self.stop.is_cancelled() => Err(TokenError::Stopped),
            None => Err(LoginFailure::of_view(&account, &label).into()),
        }
    }

    fn accounts(
        &self,
        address: &IssuerAddress,
        use_environment_proxy: bool,
        ended: tokio::sync::mpsc::UnboundedSender<crate::account::Member>,
    ) -> Result<Accounts, SourceError> {
        let transport: Arc<dyn Transport> = Arc::new(HttpTransport::new(use_environment_proxy));
        let allow_list = Arc::new(AllowList::new(address.endpoint.origin.clone(), Vec::new()));
        let client = IssuerClient::new(transport, allow_list, Arc::clone(&self.clock));
        let keys = KeyMaker::random().ok_or_else(no_random)?;
        let metrics = Arc::new(Metrics::of_sidecar().0);
        let (clock, stop) = (Arc::clone(&self.clock), self.stop.clone());
        Ok(Accounts::new(client, clock, metrics, keys, ended, || true, stop))
    }

    async fn pause(&self, calls: &CallHistory) -> Result<(), TokenError> {
        let pause = Duration::try_from(calls.pause(self.clock.now())).unwrap_or_default();
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(TokenError::Stopped),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    /// Records how the attempt ended. Returns what could not be recorded.
    fn conclude(
        &self,
        account: &AccountView,
        attempt: Record,
        calls: &mut CallHistory,
        started: Moment,
    ) -> Option<String> {
        let outcome = Outcome::of(account, started);
        let record = outcome.settle(self.before.clone(), attempt, account);
        let record = record.map(|record| {
            let accepted = FilesIdentity(typed_login::ACCEPTED.to_owned());
            if self.login.is_typed { without_password(record, accepted) } else { record }
        });
        calls.absorb(record.as_ref());
        calls.failed = outcome.needs_pause().then(|| self.clock.now().wall);
        let saved = self.entry.save_calls(calls).and_then(|()| self.entry.save_record(record.as_ref()));
        saved.err().map(|error| format!("write {}: {error}", self.entry.record_place()))
    }
}

fn no_random() -> SourceError {
    SourceError::LoginUnreadable { file: "the system's random source".to_owned() }
}
