//! When a sidecar that logs in by itself asks the issuer, and what it remembers of that on the volume.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::token::HeldToken;
use crate::core::account::Next;
use crate::core::login_attempts::{LoginAttempts, RejectionKind};
use crate::core::observed::AccountView;
use crate::core::schedule::Jitter;
use crate::core::time::{Moment, to_second};
use crate::core::token::Fingerprint;

/// Which version of the login files this is: by their place in the file system, never by what they hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FilesIdentity(pub String);

/// What the volume remembers of a login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RecordFormat", into = "RecordFormat")]
pub struct Record {
    /// The issuer of the attempt.
    pub issuer: String,
    /// The files that it stood in.
    pub files: FilesIdentity,
    /// The attempts. One without a known response counts as rejected.
    pub attempts: LoginAttempts,
    /// The token that it last brought, by name.
    pub fingerprint: Option<String>,
}

/// The record as it is on the volume.
#[derive(Serialize, Deserialize)]
struct RecordFormat {
    issuer: String,
    files: FilesIdentity,
    attempted: Option<Timestamp>,
    answer: AnswerFormat,
    rejections: u32,
    accepted: Option<Timestamp>,
    fingerprint: Option<String>,
}

/// How the last attempt ended, as it is on the volume.
#[derive(Serialize, Deserialize)]
enum AnswerFormat {
    /// The attempt was started; the response is unknown so far, or forever.
    Awaited,
    /// It was accepted.
    Accepted,
    /// It was rejected, in this way.
    #[serde(untagged)]
    Rejected(RejectionKind),
}

impl From<RecordFormat> for Record {
    fn from(format: RecordFormat) -> Self {
        let RecordFormat { issuer, files, attempted, answer, rejections, accepted, fingerprint } = format;
        let rejection = match answer {
            AnswerFormat::Rejected(kind) => Some(kind),
            AnswerFormat::Awaited | AnswerFormat::Accepted => None,
        };
        let attempts = LoginAttempts { attempted, accepted, rejections, rejection };
        Self { issuer, files, attempts, fingerprint }
    }
}

impl From<Record> for RecordFormat {
    fn from(record: Record) -> Self {
        let Record { issuer, files, attempts, fingerprint } = record;
        let LoginAttempts { attempted, accepted, rejections, rejection } = attempts;
        let answer = match rejection {
            Some(kind) => AnswerFormat::Rejected(kind),
            None if rejections > 0 => AnswerFormat::Awaited,
            None => AnswerFormat::Accepted,
        };
        Self { issuer, files, attempted, answer, rejections, accepted, fingerprint }
    }
}

impl Record {
    /// Of the first attempt with a login.
    #[must_use]
    pub fn of_attempt(issuer: String, files: FilesIdentity, now: Timestamp, rejections: u32) -> Self {
        let attempts = LoginAttempts { attempted: Some(now), rejections, ..LoginAttempts::default() };
        Self { issuer, files, attempts, fingerprint: None }
    }

    /// The record to keep, given the state of the account.
    #[must_use]
    pub fn after(&self, account: &AccountView) -> Self {
        let mut record = self.clone();
        let attempts = &mut record.attempts;
        attempts.accepted = account.accepted.map(|accepted| to_second(accepted.wall)).or(attempts.accepted);
        if let Some(last_failure) = &account.last_failure {
            if let Some(kind) = RejectionKind::of(last_failure.failure.cause) {
                attempts.rejection = Some(kind);
                attempts.rejections = account.rejections;
                attempts.attempted = Some(to_second(last_failure.last.wall));
            }
        } else if let Some(token) = &account.token {
            (attempts.rejection, attempts.rejections) = (None, 0);
            record.fingerprint = Some(token.fingerprint.to_string());
        }
        record
    }

    /// Whether the response to the last attempt is unknown.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.attempts.rejections > 0 && self.attempts.rejection.is_none()
    }

    /// What is left of it when the attempt was certainly not sent.
    #[must_use]
    pub fn retracted(&self) -> Option<Self> {
        let rejections = self.attempts.rejections.saturating_sub(1);
        let attempts = LoginAttempts { rejections, ..self.attempts.clone() };
        (rejections > 0).then(|| Self { attempts, ..self.clone() })
    }

    /// Whether it is of this login.
    #[must_use]
    pub fn is_of(&self, issuer: &str, files: &FilesIdentity) -> bool {
        self.issuer == issuer && self.files == *files
    }

    /// Whether the login was rejected and never accepted: the same files are not attempted again. (For other responses,
    /// the account's budget has already made three attempts.)
    #[must_use]
    pub fn is_final(&self) -> bool {
        let is_plain =
            matches!(self.attempts.rejection, Some(RejectionKind::Rejected | RejectionKind::Forbidden));
        self.attempts.accepted.is_none() && is_plain
    }

    /// Whether this token came by this login.
    #[must_use]
    pub fn brought(&self, token: &Fingerprint) -> bool {
        self.fingerprint.as_deref() == Some(token.as_str())
    }
}

/// How old the second consecutive token that is called expired must be before it is replaced; it doubles from there.
const FIRST_MIN_AGE: SignedDuration = SignedDuration::from_secs(10);
/// The longest such age. A token that was used for longer has expired in truth.
const LONGEST_MIN_AGE: SignedDuration = SignedDuration::from_mins(10);

/// Consecutive tokens that users called expired while they were new: then the clock of the caller is wrong, not the
/// tokens, and new ones do not help.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpiryStreak {
    last: Option<Fingerprint>,
    in_a_row: u32,
}

impl ExpiryStreak {
    /// A caller reported this token as expired.
    pub fn on_reported_expired(&mut self, held: &HeldToken, now: Moment) {
        if self.last.as_ref() == Some(&held.fingerprint) {
            return;
        }
        let is_new = held.issued.is_some_and(|issued| !issued.plus(LONGEST_MIN_AGE).is_reached(now));
        self.in_a_row = if is_new { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = Some(held.fingerprint.clone());
    }

    /// Whether this token is called expired.
    #[must_use]
    pub fn is_of(&self, held: &HeldToken) -> bool {
        self.last.as_ref() == Some(&held.fingerprint)
    }

    /// Whether the next token waits, since this one was called expired as its predecessor was.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.in_a_row > 1
    }

    /// How old the last token must be before it is replaced.
    fn min_age(&self) -> SignedDuration {
        match self.in_a_row.checked_sub(2) {
            None => SignedDuration::ZERO,
            Some(doublings) => FIRST_MIN_AGE.saturating_mul(1 << doublings.min(10)).min(LONGEST_MIN_AGE),
        }
    }
}

/// The input of the decision.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The account that the login files name.
    pub account: &'a AccountView,
    /// What is remembered of this very login.
    pub record: Option<&'a Record>,
    /// Whether this process recorded the attempt that comes next.
    pub is_attempt_recorded: bool,
    /// The token that is held.
    pub held: Option<&'a HeldToken>,
    /// Whether this login brought it; another one is replaced at once.
    pub is_own: bool,
    /// Which tokens were called expired.
    pub expiry_streak: &'a ExpiryStreak,
    /// How much earlier a renewal comes, so that many do not fall together.
    pub jitter: Jitter,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plan {
    /// Nothing until this moment, or until something changes.
    Wait(Option<Moment>),
    /// Record an attempt with a login that was never accepted.
    Record,
    /// Ask the issuer for a token.
    Obtain,
    /// Nothing until the login files are others: they were rejected, and never accepted.
    Hold,
}

/// Decides about the login of a sidecar.
#[must_use]
pub fn decide(observed: &Observed<'_>, now: Moment) -> Plan {
    if let Some(due) = due(observed, now).filter(|due| !due.is_reached(now)) {
        return Plan::Wait(Some(due));
    }
    let is_trial = !observed.account.is_proven();
    match observed.account.next {
        Next::InFlight => Plan::Wait(None),
        _ if is_trial && observed.record.is_some_and(Record::is_final) => Plan::Hold,
        Next::Held => Plan::Wait(None),
        Next::Wait(until) => Plan::Wait(Some(until)),
        Next::Login if is_trial && !observed.is_attempt_recorded => Plan::Record,
        Next::Refresh | Next::Login => Plan::Obtain,
    }
}

/// From when on a new token is wanted; none: it is wanted already.
fn due(observed: &Observed<'_>, now: Moment) -> Option<Moment> {
    let held = observed.held.filter(|_| observed.is_own)?;
    let renewal = held.renewal(observed.jitter, now);
    if !observed.expiry_streak.is_of(held) {
        return renewal;
    }
    let retry = held.issued?.plus(observed.expiry_streak.min_age());
    Some(renewal.map_or(retry, |renewal| renewal.earlier(retry, now)))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::core::account::{Account, Strategy, Throttle};
    use crate::core::backoff::RandomFraction;
    use crate::core::retry::{Failure, Sent};
    use crate::core::testing::{
        BILLING, at, misconfigured, obtained, pair, reason_name, rejected, token, transient,
    };

    /// Nobody called a token expired.
    static NOBODY: LazyLock<ExpiryStreak> = LazyLock::new(ExpiryStreak::default);

    fn record(rejection: Option<RejectionKind>, accepted: bool) -> Record {
        let record = Record::of_attempt("https://i".into(), FilesIdentity("a".into()), at(0).wall, 1);
        let accepted = accepted.then(|| at(0).wall);
        Record { attempts: LoginAttempts { accepted, rejection, ..record.attempts }, ..record }
    }

    fn view(account: &Account) -> AccountView {
        AccountView::of(BILLING, account, Throttle::default(), Strategy::Login, at(0))
    }

    fn decided<'a>(change: impl FnOnce(&mut Observed<'a>), account: &'a AccountView) -> Plan {
        let mut observed = Observed {
            account,
            record: None,
            is_attempt_recorded: false,
            held: None,
            is_own: true,
            expiry_streak: &NOBODY,
            jitter: Jitter::NONE,
        };
        change(&mut observed);
        decide(&observed, at(0))
    }

    fn proven() -> Account {
        let mut account = Account::default();
        account.remember_accepted(at(-10));
        account
    }

    #[test]
    fn a_login_that_was_never_accepted_is_recorded_before_it_is_presented() {
        let new = Account::default();
        assert_eq!(decided(|_| (), &view(&new)), Plan::Record);
        assert_eq!(decided(|it| it.is_attempt_recorded = true, &view(&new)), Plan::Obtain);
        assert_eq!(decided(|_| (), &view(&proven())), Plan::Obtain, "one that was needs no record");
    }

    #[test]
    fn once_rejected_it_is_not_presented_again_unless_it_was_accepted_before() {
        for kind in [RejectionKind::Rejected, RejectionKind::Forbidden] {
            let (never, once) = (record(Some(kind), false), record(Some(kind), true));
            assert_eq!(decided(|it| it.record = Some(&never), &view(&Account::default())), Plan::Hold);
            let mut account = proven();
            assert_eq!(decided(|it| it.record = Some(&once), &view(&account)), Plan::Obtain);
            account.remember_rejections(once.attempts.failure(false).unwrap(), 1, at(0));
            assert_eq!(decided(|it| it.record = Some(&once), &view(&account)), Plan::Wait(Some(at(300))));
        }
    }

    #[test]
    fn an_attempt_whose_answer_was_lost_waits_for_minutes_and_is_recorded_again() {
        let awaited = record(None, false);
        let mut account = Account::default();
        account.remember_rejections(awaited.attempts.failure(false).unwrap(), 1, at(0));
        assert_eq!(decided(|it| it.record = Some(&awaited), &view(&account)), Plan::Wait(Some(at(300))));
        let mut account = Account::default();
        account.remember_rejections(awaited.attempts.failure(false).unwrap(), 1, at(-300));
        assert_eq!(decided(|it| it.record = Some(&awaited), &view(&account)), Plan::Record);
        let mut account = Account::default();
        account.remember_rejections(rejected(), 3, at(-10_000));
        assert_eq!(
            decided(|it| it.record = Some(&awaited), &view(&account)),
            Plan::Wait(None),
            "three times at most"
        );
    }

    #[test]
    fn a_token_is_renewed_on_schedule_or_when_it_is_of_another_login_or_called_expired() {
        let held = HeldToken::issued(&token("t", at(0), 3600));
        let account = proven();
        assert_eq!(decided(|it| it.held = Some(&held), &view(&account)), Plan::Wait(Some(at(2700))));
        let old = HeldToken::issued(&token("t", at(-2700), 3600));
        assert_eq!(decided(|it| it.held = Some(&old), &view(&account)), Plan::Obtain);
        let foreign = |it: &mut Observed<'_>| it.is_own = false;
        assert_eq!(decided(foreign, &view(&account)), Plan::Obtain);
    }

    #[test]
    fn a_token_called_expired_is_replaced_at_once_and_the_next_ones_ever_more_slowly() {
        let (account, mut expiry_streak) = (proven(), ExpiryStreak::default());
        let decided = |held: &HeldToken, expiry_streak: &ExpiryStreak| {
            let observed = Observed {
                account: &view(&account),
                record: None,
                is_attempt_recorded: false,
                held: Some(held),
                is_own: true,
                expiry_streak,
                jitter: Jitter::NONE,
            };
            decide(&observed, at(0))
        };
        let long = HeldToken::issued(&token("long", at(-1000), 3600));
        assert_eq!(decided(&long, &expiry_streak), Plan::Wait(Some(at(1700))));
        expiry_streak.on_reported_expired(&long, at(0));
        assert_eq!(decided(&long, &expiry_streak), Plan::Obtain);
        for (number, min_age) in (1..).zip([10, 20, 40, 80, 160, 320, 600, 600]) {
            let new = HeldToken::issued(&token(&number.to_string(), at(0), 3600));
            assert_eq!(decided(&new, &expiry_streak), Plan::Wait(Some(at(2700))), "nobody complained yet");
            expiry_streak.on_reported_expired(&new, at(1));
            expiry_streak.on_reported_expired(&new, at(2));
            assert!(expiry_streak.is_suspect());
            assert_eq!(decided(&new, &expiry_streak), Plan::Wait(Some(at(min_age))), "{number}");
        }
        let short = HeldToken::issued(&token("short", at(0), 60));
        expiry_streak.on_reported_expired(&short, at(1));
        assert_eq!(decided(&short, &expiry_streak), Plan::Wait(Some(at(30))), "its own renewal comes before");
        expiry_streak.on_reported_expired(&long, at(0));
        assert_eq!(decided(&long, &expiry_streak), Plan::Obtain, "one that was good for long");
        assert!(!expiry_streak.is_suspect());
    }

    #[test]
    fn a_record_is_read_as_the_version_before_wrote_it_and_written_the_same() {
        let text = |answer: &str, rejections: u32, accepted: &str| {
            format!(
                r#"{{"issuer":"https://i","files":"a","attempted":"2027-01-15T08:00:00Z","answer":"{answer}","rejections":{rejections},"accepted":{accepted},"fingerprint":null}}"#
            )
        };
        let kinds = RejectionKind::ALL.map(|kind| (format!("{kind:?}"), 2, "null", Some(kind)));
        let accepted = r#""2027-01-15T08:00:00Z""#;
        let others = [("Awaited".to_owned(), 1, "null", None), ("Accepted".to_owned(), 0, accepted, None)];
        for (answer, rejections, accepted, rejection) in kinds.into_iter().chain(others) {
            let text = text(&answer, rejections, accepted);
            let record: Record = serde_json::from_str(&text).unwrap();
            assert!(record.is_of("https://i", &FilesIdentity("a".into())), "{text}");
            assert_eq!((record.attempts.rejections, record.attempts.rejection), (rejections, rejection));
            assert_eq!(record.attempts.accepted.is_some(), rejections == 0, "{text}");
            assert_eq!(record.is_awaited(), answer == "Awaited", "{text}");
            assert_eq!(serde_json::to_string(&record).unwrap(), text);
        }
    }

    #[test]
    fn what_is_remembered_follows_how_the_attempt_ended() {
        let call = |outcome: Result<(), Failure>| {
            let mut account = Account::default();
            let call = account.begin(Strategy::Login, Some(pair()), at(0)).unwrap();
            let outcome = outcome.map(|()| obtained("t", at(0), 3600));
            account.finish(call, outcome, at(1), RandomFraction::new(0.5));
            record(None, false).after(&view(&account))
        };
        let accepted = call(Ok(()));
        assert_eq!((accepted.attempts.rejection, accepted.attempts.rejections), (None, 0));
        assert!(accepted.brought(&Fingerprint::of(b"t")) && accepted.attempts.accepted.is_some());
        let turned_down = call(Err(rejected()));
        assert_eq!(
            (turned_down.attempts.rejection, turned_down.attempts.rejections),
            (Some(RejectionKind::Rejected), 1)
        );
        assert!(turned_down.is_final() && !accepted.is_final());
        let unclear = call(Err(misconfigured()));
        let rejected = (unclear.attempts.rejection, unclear.attempts.rejections);
        assert_eq!(rejected, (Some(RejectionKind::PathWrong), 1));
        let told = unclear.attempts.failure(false).map(|failure| reason_name(&failure));
        assert_eq!((told, unclear.is_final()), (Some("IssuerMisconfigured"), false), "tried three times");
        let unheard = call(Err(transient(Sent::Maybe, None)));
        assert!(unheard.is_awaited() && unheard.attempts.rejections == 1);
        assert_eq!(unheard.attempts.attempted, Some(at(0).wall));
        assert_eq!(unheard.retracted(), None);
        let attempts = LoginAttempts { rejections: 2, ..unheard.attempts.clone() };
        let before = Record { attempts, ..unheard }.retracted();
        assert_eq!(before.map(|record| record.attempts.rejections), Some(1), "of the one before");
    }

    #[test]
    fn a_record_knows_its_login_and_its_token_again() {
        let record = record(None, true);
        let attempts = LoginAttempts { rejections: 0, ..record.attempts };
        let fingerprint = Some(Fingerprint::of(b"t").to_string());
        let record = Record { attempts, fingerprint, ..record };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        assert!(record.is_of("https://i", &FilesIdentity("a".into())));
        assert!(!record.is_of("https://i", &FilesIdentity("b".into())));
        assert!(!record.is_of("https://j", &FilesIdentity("a".into())));
        assert!(record.brought(&Fingerprint::of(b"t")) && !record.brought(&Fingerprint::of(b"u")));
        assert_eq!(record.attempts.failure(false), None);
    }
}
