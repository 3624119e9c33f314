//! The source that logs in by itself: the only member of one account, see [`crate::account`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::login_files::{LoginFiles, LoginReading};
use super::{Changes, TokenSender};
use crate::account::{Accounts, Member, Membership, Session, Tenant};
use crate::core::account::{Next, Strategy};
use crate::core::decide::Trigger;
use crate::core::endpoint::Endpoint;
use crate::core::login_attempts::RejectionKind;
use crate::core::observed::AccountView;
use crate::core::retry::{RetryClass, Sent};
use crate::core::schedule::Jitter;
use crate::core::sidecar::attempts::{ExpiryStreak, FilesIdentity, Observed, Plan, Record, decide};
use crate::core::sidecar::error::SourceError;
use crate::core::sidecar::token::HeldToken;
use crate::core::time::Moment;
use crate::core::username_password::LoginPair;
use crate::issuer::{CaBundle, IssuerAddress, Trust};
use crate::ops::clock::Clock;
use crate::sidecar::file::{file_error, read};
use crate::sidecar::record_file::RecordFile;
use crate::traces::Tracer;

/// As whom, and on whose behalf, a sidecar takes part in its account: it is alone there.
const SELF: &str = "sidecar";
/// The steps of one turn: record an attempt, make it, and track its progress.
const STEPS: u32 = 3;

/// The dependencies of the source.
pub(in crate::sidecar) struct LoginParts {
    /// The files with user name and password.
    pub(in crate::sidecar) files: LoginFiles,
    /// Where the issuer is called.
    pub(in crate::sidecar) endpoint: Endpoint,
    /// The issuer's CA certificates, if they are private.
    pub(in crate::sidecar) ca_file: Option<PathBuf>,
    /// How new tokens are obtained.
    pub(in crate::sidecar) strategy: Strategy,
    /// The sessions of the process, of which there is one.
    pub(in crate::sidecar) accounts: Accounts,
    /// Receives the end of calls.
    pub(in crate::sidecar) ended: UnboundedReceiver<Member>,
    /// What is remembered of the login.
    pub(in crate::sidecar) record: RecordFile,
    /// Time and chance.
    pub(in crate::sidecar) clock: Arc<dyn Clock>,
    /// What is traced.
    pub(in crate::sidecar) tracer: Tracer,
}

/// The source that logs in by itself.
pub(in crate::sidecar) struct LoginSource {
    parts: LoginParts,
    sender: TokenSender,
    session: Option<Arc<Session>>,
    record: Option<Record>,
    /// Whether the volume contains the current record.
    is_record_saved: bool,
    is_attempt_recorded: bool,
    expiry_streak: ExpiryStreak,
    /// Whether the password holds a blank or an invisible character.
    has_blank: bool,
    jitter: Jitter,
    tenant: Tenant,
    membership: Option<Membership>,
}

impl LoginSource {
    pub(in crate::sidecar) fn new(parts: LoginParts, sender: TokenSender) -> Self {
        let jitter = Jitter::seeded_by(&parts.clock.random_fraction().value().to_string());
        let record = parts.record.load();
        Self {
            parts,
            sender,
            session: None,
            record,
            is_record_saved: true,
            is_attempt_recorded: false,
            expiry_streak: ExpiryStreak::default(),
            has_blank: false,
            jitter,
            tenant: SELF.into(),
            membership: None,
        }
    }

    /// Supplies valid tokens until `stop` is cancelled, and takes in the response to a call in progress.
    pub(in crate::sidecar) async fn run(mut self, stop: CancellationToken) {
        let mut changes = Changes::of(self.directories());
        while !stop.is_cancelled() {
            // After a stop request, it no longer waits for a file system.
            let observed = tokio::select! {
                observed = self.observe() => observed,
                () = stop.cancelled() => break,
            };
            let until = self.turn(observed);
            let pause = until.map(|until| until.remaining(self.parts.clock.now()).max(SignedDuration::ZERO));
            let pause = pause.and_then(|pause| Duration::try_from(pause).ok()).unwrap_or(Duration::MAX);
            tokio::select! {
                () = stop.cancelled() => {}
                // A check every few seconds also notices changes of the wall clock, and the end of a suspension.
                () = changes.next() => {}
                _ = self.parts.ended.recv() => {}
                () = self.sender.requested() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.parts.accounts.drain().await;
        let observed = self.observe().await;
        self.turn(observed);
    }

    /// Where the login's files are, for people.
    fn login_place(&self) -> String {
        self.parts.files.directory.display().to_string()
    }

    fn directories(&self) -> Vec<PathBuf> {
        let of_bundle = self.parts.ca_file.as_ref().and_then(|file| file.parent());
        std::iter::once(self.parts.files.directory.clone()).chain(of_bundle.map(PathBuf::from)).collect()
    }

    /// Decides upon what was observed, and acts. Returns when to look again, if time alone leads to that.
    fn turn(&mut self, observed: Result<(LoginReading, IssuerAddress), SourceError>) -> Option<Moment> {
        let (reading, address) = match observed {
            Ok(observed) => observed,
            Err(error) => {
                self.sender.report(Some(error), None);
                return None;
            }
        };
        let session = self.join_account(&reading, address);
        let mut view = self.apply_outcome(&session, &reading.identity);
        self.has_blank = reading.pair.password_has_blank();
        let mut pair = Some(reading.pair);
        for _ in 0..STEPS {
            match self.decide(&view) {
                Plan::Obtain if self.obtain(&session, pair.take()) => {
                    view = session.view(&self.tenant);
                    // The next turn takes in a call that has ended already, and records its outcome before the log
                    // names it.
                    if view.next != Next::InFlight {
                        return None;
                    }
                }
                Plan::Obtain => return None,
                Plan::Record => {
                    if let Err(error) = self.record_attempt(&reading.identity) {
                        self.sender.report(Some(error), None);
                        return None;
                    }
                }
                Plan::Hold => {
                    self.sender.report(self.rejection(), None);
                    return None;
                }
                Plan::Wait(until) => {
                    self.report(&view, until);
                    return until;
                }
            }
        }
        None
    }

    /// Reads the login and its issuer's CA. A file system may hang, and must not block anything else.
    async fn observe(&self) -> Result<(LoginReading, IssuerAddress), SourceError> {
        let (files, ca_file) = (self.parts.files.clone(), self.parts.ca_file.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let reading = files.read()?;
            let trust = ca_file.map_or(Ok(Trust::PublicRoots), |path| bundle(&path).map(Trust::Bundle))?;
            Ok((reading, trust))
        });
        let unread = || SourceError::LoginUnreadable { file: self.login_place() };
        let (reading, trust) = reading.await.unwrap_or_else(|_| Err(unread()))?;
        Ok((reading, IssuerAddress { endpoint: self.parts.endpoint.clone(), trust }))
    }

    /// Asks the account for a token; whether a call was started.
    fn obtain(&self, session: &Arc<Session>, pair: Option<LoginPair>) -> bool {
        let trigger = if self.sender.token().is_some() { Trigger::Due } else { Trigger::FirstToken };
        let cause = self.parts.tracer.cause(None, trigger.name(), self.parts.clock.now());
        session.obtain_recorded(&self.tenant, pair, false, None, cause)
    }

    fn decide(&self, view: &AccountView) -> Plan {
        let held = self.sender.token();
        let observed = Observed {
            account: view,
            record: self.record.as_ref(),
            is_attempt_recorded: self.is_attempt_recorded,
            is_own: held.as_ref().is_some_and(|held| self.is_own(held, view)),
            expiry_streak: &self.expiry_streak,
            held: held.as_deref(),
            jitter: self.jitter,
        };
        decide(&observed, self.parts.clock.now())
    }

    /// Whether this login brought a token, in this process or in an earlier one.
    fn is_own(&self, held: &HeldToken, view: &AccountView) -> bool {
        view.token.as_ref().is_some_and(|token| token.fingerprint == held.fingerprint)
            || self.record.as_ref().is_some_and(|record| record.brought(&held.fingerprint))
    }

    /// Joins the account of the current login files. A different account than before gets the record on the volume.
    fn join_account(&mut self, reading: &LoginReading, address: IssuerAddress) -> Arc<Session> {
        let source = self.login_place();
        let session = self.parts.accounts.open(address, &reading.pair, &source);
        let is_same = self.session.as_ref().is_some_and(|before| Arc::ptr_eq(before, &session));
        if is_same {
            if self.record.as_ref().is_some_and(|record| record.files != reading.identity) {
                self.retry_login(&session, &reading.identity);
            }
            return session;
        }
        self.session = Some(Arc::clone(&session));
        self.membership = Some(session.join(SELF.into(), self.parts.strategy));
        self.is_attempt_recorded = false;
        let issuer = self.parts.endpoint.origin.to_string();
        self.record.take_if(|record| !record.is_of(&issuer, &reading.identity));
        self.restore_record(&session, reading.pair.password_has_blank());
        session
    }

    /// The same login is in changed files. This requests an attempt: the reason why the issuer did not accept it may be
    /// fixed.
    fn retry_login(&mut self, session: &Session, files: &FilesIdentity) {
        session.override_hold(self.parts.clock.now());
        self.is_attempt_recorded = false;
        self.record.take_if(|record| record.attempts.accepted.is_none());
        if let Some(record) = &mut self.record {
            record.files = files.clone();
            self.is_record_saved = false;
        }
    }

    /// Restores an earlier process's record of the account, and the remaining lifetime of the token to replace.
    fn restore_record(&self, session: &Session, password_has_blank: bool) {
        let now = self.parts.clock.now();
        let published = self.sender.token().and_then(|held| held.validity(now));
        if let Some(validity) = published {
            session.remember_published(validity, now);
        }
        if let Some(record) = &self.record {
            session.restore_attempts(&record.attempts, password_has_blank, now);
        }
    }

    /// Takes in what the account has learned since the last turn: a token, or how a login was answered. Returns the
    /// view of the same state, so that nothing is reported before it is recorded.
    fn apply_outcome(&mut self, session: &Session, files: &FilesIdentity) -> AccountView {
        let now = self.parts.clock.now();
        let held = self.sender.token();
        if let Some(held) = held.as_ref().filter(|held| self.sender.is_reported_expired(held)) {
            self.expiry_streak.on_reported_expired(held, now);
            session.call_expired(&held.fingerprint);
        }
        let view = session.view(&self.tenant);
        let is_unsent = is_unsent(&view);
        let record = match &self.record {
            Some(record) if self.is_attempt_recorded && view.next != Next::InFlight && is_unsent => {
                record.retracted()
            }
            Some(record) => Some(record.after(&view)),
            None => view.accepted.map(|_| self.new_record(files, 0).after(&view)),
        };
        let token = view.token.as_deref().map(HeldToken::issued);
        if record != self.record || !self.is_record_saved {
            // An attempt that was certainly not sent needs another record.
            self.is_attempt_recorded &= record.as_ref().is_some_and(Record::is_awaited) && !is_unsent;
            self.record = record;
            self.save_record();
        }
        let is_news = |token: &HeldToken| held.as_ref().is_none_or(|held| !held.is_same(token));
        if let Some(token) = token.filter(|token| !token.is_expired(now) && is_news(token)) {
            self.sender.send(token);
        }
        view
    }

    fn new_record(&self, files: &FilesIdentity, rejections: u32) -> Record {
        let issuer = self.parts.endpoint.origin.to_string();
        Record::of_attempt(issuer, files.clone(), self.parts.clock.now().wall, rejections)
    }

    /// Records an attempt with a login that was never accepted, before it is made.
    fn record_attempt(&mut self, files: &FilesIdentity) -> Result<(), SourceError> {
        let before = self.record.as_ref().map_or(0, |record| record.attempts.rejections);
        let record = self.new_record(files, before + 1);
        if let Err(error) = self.parts.record.save(Some(&record)) {
            let file = self.parts.record.place();
            tracing::warn!("write {file}: {error}");
            return Err(SourceError::LoginNotRecorded { file });
        }
        (self.record, self.is_record_saved) = (Some(record), true);
        self.is_attempt_recorded = true;
        Ok(())
    }

    /// Writes down what is remembered. What cannot be written is kept in memory, and tried again at the next turn.
    fn save_record(&mut self) {
        let outcome = self.parts.record.save(self.record.as_ref());
        if let (Err(error), true) = (&outcome, self.is_record_saved) {
            tracing::warn!("write {}: {error}; retrying", self.parts.record.place());
        }
        self.is_record_saved = outcome.is_ok();
    }

    fn report(&self, view: &AccountView, until: Option<Moment>) {
        let (login, origin) = (self.login_place(), &self.parts.endpoint.origin);
        let of_call = |failure| SourceError::of_call(failure, &login, origin, view.is_proven());
        let error = view
            .last_failure
            .as_ref()
            .map(|last_failure| of_call(&last_failure.failure).delayed(view.login_delay));
        let error =
            error.or_else(|| view.waits_for.map(|cause| SourceError::Issuer(cause.reason(&login, origin))));
        let is_suspect = || {
            self.expiry_streak.is_suspect()
                && self.sender.token().is_some_and(|held| self.expiry_streak.is_of(&held))
        };
        let error = error.or_else(|| is_suspect().then_some(SourceError::TokensCalledExpired));
        self.sender.report(error.clone(), until.filter(|_| error.is_some()));
    }

    /// The rejection for which the login files are not tried again.
    fn rejection(&self) -> Option<SourceError> {
        let forbidden = self.record.as_ref()?.attempts.rejection == Some(RejectionKind::Forbidden);
        Some(SourceError::LoginRejected { forbidden, proven: false, blank: self.has_blank, delay: None })
    }
}

/// The CA certificates in a file.
pub(in crate::sidecar) fn bundle(path: &Path) -> Result<CaBundle, SourceError> {
    let file = path.display().to_string();
    let error = SourceError::CaFile { file: file.clone() };
    let pem = read(path).map_err(|io| file_error(&io, file, error.clone()))?;
    CaBundle::parse(&pem).map_err(|_| error)
}

/// Whether the last call was certainly not sent.
fn is_unsent(account: &AccountView) -> bool {
    account
        .last_failure
        .as_ref()
        .is_some_and(|it| matches!(it.failure.class, RetryClass::Transient { sent: Sent::No, .. }))
}

#[cfg(test)]
mod tests;
