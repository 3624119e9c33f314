//! Records what issuers were asked and gave, and finds calls that were too many.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use idissuer_simulator::Fingerprint;
use jiff::{SignedDuration, Timestamp};

/// Calls that one process may have in flight at one issuer.
const GATE: u32 = 16;
/// Calls of one login that come to an issuer from processes that do not lead, between one change of the leader and the
/// next: what a process had in flight when it was stopped.
const STRAYS: u32 = 1;
/// Rejections of one login within a quarter of an hour, unless somebody asks for more.
const QUICK_REJECTIONS: usize = 3;
/// Rejections of one login within an hour; of one that was never accepted, however many requests there are.
const HOURLY_REJECTIONS: usize = 4;

/// What is wrong, in the order in which it was found.
#[derive(Clone, Default)]
pub(crate) struct Findings(Arc<Mutex<Vec<String>>>);

impl Findings {
    pub(crate) fn add(&self, now: Timestamp, finding: impl Into<String>) {
        let finding = format!("{now:.0}: {}", finding.into());
        tracing::error!("found: {finding}");
        self.0.lock().unwrap().push(finding);
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) account: usize,
    /// The password of the login that it comes from.
    pub(crate) password: Arc<str>,
    pub(crate) order: u64,
    pub(crate) issued: Timestamp,
    pub(crate) expires: Timestamp,
}

impl Given {
    pub(crate) fn lifetime(&self) -> SignedDuration {
        self.expires.duration_since(self.issued)
    }

    /// The time from which the token is overdue.
    pub(crate) fn margin(&self) -> Timestamp {
        self.expires - SignedDuration::from_secs(300).min(self.lifetime() / 10)
    }
}

/// What a call was, as far as its request says.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) account: usize,
    /// Of this login, or of the one that the refresh token comes from.
    pub(crate) password: Arc<str>,
    /// The refresh token; none: it is a login.
    pub(crate) refresh: Option<String>,
}

impl Asked {
    fn session(&self, process: &str) -> Session {
        (process.to_owned(), self.account, Arc::clone(&self.password))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) logins: u64,
    pub(crate) logins_rejected: u64,
    pub(crate) refreshes: u64,
    /// Calls that never came to an issuer.
    pub(crate) unsent: u64,
    /// Calls of processes that did not lead any more.
    pub(crate) strays: u64,
}

impl Calls {
    pub(crate) fn sent(&self) -> u64 {
        self.logins + self.refreshes
    }
}

/// A process, an account and its password: one session.
type Session = (String, usize, Arc<str>);

#[derive(Default)]
struct Books {
    given: HashMap<Fingerprint, Given>,
    presented: HashSet<String>,
    in_flight: BTreeMap<Session, u32>,
    at_issuer: BTreeMap<(String, usize), u32>,
    most_at_issuer: u32,
    logins: BTreeMap<usize, Logins>,
    leader_changes: Vec<Timestamp>,
    holder: Option<String>,
    /// Calls of others since it does, by account and password.
    strays: BTreeMap<(usize, Arc<str>), u32>,
    calls: Calls,
}

#[derive(Default)]
struct Logins {
    /// Since the last one that was accepted: when, and with which password.
    rejected: Vec<(Timestamp, String)>,
    /// The times of all rejections of the user name within an hour before the last one.
    limited: Vec<Timestamp>,
    /// The times of requests for another attempt.
    lifts: Vec<Timestamp>,
    proven: HashSet<Arc<str>>,
}

impl Logins {
    /// Whether the next attempt of this password by itself lies ahead, or there is none.
    fn is_waiting(&self, password: &str, now: Timestamp) -> bool {
        let mut rejected = self.rejected.iter().filter(|(_, presented)| presented == password);
        let pause = match rejected.clone().count() {
            0 => return false,
            1 => SignedDuration::from_mins(5),
            // A quarter of an hour after the first, which may have been just before.
            2 => SignedDuration::from_mins(15),
            _ if self.proven.contains(password) => SignedDuration::from_hours(1),
            _ => return true,
        };
        rejected.next_back().is_some_and(|(last, _)| now < *last + pause)
    }
}

#[derive(Default)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
    findings: Findings,
}

impl Ledger {
    pub(crate) fn new(findings: Findings) -> Self {
        Self { books: Mutex::default(), findings }
    }

    pub(crate) fn given(&self, token: &str) -> Option<Given> {
        self.books.lock().unwrap().given.get(&Fingerprint::of(token)).cloned()
    }

    pub(crate) fn begins(&self, process: &str, issuer: usize, asked: &Asked, now: Timestamp) {
        let mut books = self.books.lock().unwrap();
        let in_flight = books.in_flight.entry(asked.session(process)).or_default();
        *in_flight += 1;
        if *in_flight > 1 {
            self.findings.add(now, format!("{process} has two calls of account {} in flight", asked.account));
        }
        let at_issuer = books.at_issuer.entry((process.to_owned(), issuer)).or_default();
        *at_issuer += 1;
        let at_issuer = *at_issuer;
        books.most_at_issuer = books.most_at_issuer.max(at_issuer);
        if at_issuer > GATE {
            self.findings.add(now, format!("{process} has {at_issuer} calls in flight at issuer {issuer}"));
        }
    }

    /// It has ended, or was given up.
    pub(crate) fn ends(&self, process: &str, issuer: usize, asked: &Asked) {
        let mut books = self.books.lock().unwrap();
        *books.in_flight.get_mut(&asked.session(process)).unwrap() -= 1;
        *books.at_issuer.get_mut(&(process.to_owned(), issuer)).unwrap() -= 1;
    }

    pub(crate) fn unsent(&self) {
        self.books.lock().unwrap().calls.unsent += 1;
    }

    pub(crate) fn arrives(&self, process: &str, asked: &Asked, now: Timestamp) {
        let mut books = self.books.lock().unwrap();
        // Where there is no lease, it never changes hands.
        if !books.leader_changes.is_empty() && books.holder.as_deref() != Some(process) {
            books.calls.strays += 1;
            let strays = books.strays.entry((asked.account, Arc::clone(&asked.password))).or_default();
            *strays += 1;
            if *strays > STRAYS {
                let finding =
                    format!("{process} does not lead, and calls again for account {}", asked.account);
                self.findings.add(now, finding);
            }
        }
        let Some(refresh) = &asked.refresh else {
            books.calls.logins += 1;
            return;
        };
        books.calls.refreshes += 1;
        if !books.presented.insert(refresh.clone()) {
            self.findings.add(now, format!("account {} presents a refresh token twice", asked.account));
        }
    }

    /// The issuer said "not now": nothing was spent.
    pub(crate) fn put_off(&self, asked: &Asked) {
        if let Some(refresh) = &asked.refresh {
            self.books.lock().unwrap().presented.remove(refresh);
        }
    }

    /// The issuer gave a token, whether or not the answer arrives.
    pub(crate) fn gives(&self, asked: &Asked, token: Fingerprint, issued: Timestamp, expires: Timestamp) {
        let mut books = self.books.lock().unwrap();
        let (account, password) = (asked.account, Arc::clone(&asked.password));
        let order = books.given.len() as u64;
        books.given.insert(token, Given { account, password, order, issued, expires });
    }

    /// The issuer accepted user name and password, for all that is known.
    pub(crate) fn accepts(&self, asked: &Asked) {
        let mut books = self.books.lock().unwrap();
        let logins = books.logins.entry(asked.account).or_default();
        logins.rejected.clear();
        logins.proven.insert(Arc::clone(&asked.password));
    }

    /// Whether the issuer has accepted this password before.
    pub(crate) fn is_proven(&self, asked: &Asked) -> bool {
        let books = self.books.lock().unwrap();
        books.logins.get(&asked.account).is_some_and(|logins| logins.proven.contains(&asked.password))
    }

    /// The issuer did not accept user name and password, or answered one that it never accepted without a token.
    pub(crate) fn rejects(&self, account: usize, password: &str, now: Timestamp) {
        let mut books = self.books.lock().unwrap();
        books.calls.logins_rejected += 1;
        let recent = |minutes| move |at: &Timestamp| *at > now - SignedDuration::from_mins(minutes);
        // A new leader knows the status, which may lack the last rejection.
        let changes = books.leader_changes.iter().copied().filter(recent(60)).count();
        let logins = books.logins.entry(account).or_default();
        logins.rejected.push((now, password.to_owned()));
        logins.limited.retain(recent(60));
        logins.limited.push(now);
        let rejected =
            || logins.rejected.iter().filter(|(_, presented)| presented == password).map(|(at, _)| *at);
        let lifts = logins.lifts.iter().copied().filter(recent(15)).count();
        let quick = rejected().filter(recent(15)).count();
        if quick > QUICK_REJECTIONS + lifts + changes {
            let finding = format!(
                "account {account} was rejected {quick} times in 15 minutes, with {lifts} lifts and {changes} leader changes"
            );
            self.findings.add(now, finding);
        }
        let hourly = rejected().filter(recent(60)).count();
        let is_proven = logins.proven.contains(password);
        let asked = if is_proven { logins.lifts.iter().copied().filter(recent(60)).count() } else { 0 };
        if hourly > HOURLY_REJECTIONS + asked + changes {
            let which = if is_proven { "accepted before" } else { "never accepted" };
            let finding = format!(
                "account {account}, {which}, was rejected {hourly} times in an hour, with {asked} lifts and {changes} leader changes"
            );
            self.findings.add(now, finding);
        }
    }

    /// The next process finds this login recorded as rejected this often, and never as accepted: an attempt of which nobody
    /// knows how it ended counts as well.
    pub(crate) fn remembers(&self, account: usize, password: &str, rejections: usize, last: Timestamp) {
        let mut books = self.books.lock().unwrap();
        let logins = books.logins.entry(account).or_default();
        let known = logins.rejected.iter().filter(|(_, presented)| presented == password).count();
        let more = rejections.saturating_sub(known);
        logins.rejected.extend(std::iter::repeat_n((last, password.to_owned()), more));
        logins.limited.extend(std::iter::repeat_n(last, more));
        logins.proven.remove(password);
    }

    /// Somebody asks for another attempt of the account's login.
    pub(crate) fn lifts(&self, account: usize, now: Timestamp) {
        self.books.lock().unwrap().logins.entry(account).or_default().lifts.push(now);
    }

    /// Another process leads, or none.
    pub(crate) fn leader_changes(&self, holder: Option<String>, now: Timestamp) {
        let mut books = self.books.lock().unwrap();
        books.leader_changes.push(now);
        books.holder = holder;
        books.strays.clear();
    }

    /// Whether the account is waiting or held under the login budget with this password, as far as can be seen from here.
    /// `is_published` says that the process which leads has obtained the published token with this login.
    pub(crate) fn is_held(&self, account: usize, password: &str, is_published: bool, now: Timestamp) -> bool {
        let books = self.books.lock().unwrap();
        let Some(logins) = books.logins.get(&account) else { return false };
        let hour_ago = now - SignedDuration::from_hours(1);
        // Status tells the next process their number and the time of the last one: they all count as made then.
        let last = logins.limited.iter().max().copied().unwrap_or_default();
        let is_told_by_status = books.leader_changes.last().is_some_and(|changed| *changed > last);
        let since = if is_told_by_status && last > hour_ago { Timestamp::MIN } else { hour_ago };
        let recent = logins.limited.iter().filter(|at| **at > since).count();
        // What else was tried with the same user name holds no login that the published token comes from. That one of another
        // namespace was accepted does not count: nobody may learn from an account whether he has guessed its password.
        let is_limited = recent >= HOURLY_REJECTIONS && !is_published;
        is_limited || logins.is_waiting(password, now)
    }

    pub(crate) fn calls(&self) -> Calls {
        self.books.lock().unwrap().calls
    }

    /// The most calls of a process that were in flight at one issuer.
    pub(crate) fn most_at_issuer(&self) -> u32 {
        self.books.lock().unwrap().most_at_issuer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(account: usize, refresh: Option<&str>) -> Asked {
        Asked { account, password: "password".into(), refresh: refresh.map(str::to_owned) }
    }

    #[test]
    fn a_seventeenth_call_in_flight_at_an_issuer_is_found() {
        let (findings, now) = (Findings::default(), Timestamp::UNIX_EPOCH);
        let ledger = Ledger::new(findings.clone());
        for account in 0..16 {
            ledger.begins("process", 0, &asked(account, None), now);
        }
        ledger.begins("process", 1, &asked(16, None), now);
        ledger.begins("another", 0, &asked(0, None), now);
        assert_eq!(findings.len(), 0);
        ledger.begins("process", 0, &asked(17, None), now);
        assert_eq!(findings.len(), 1);
        ledger.ends("process", 0, &asked(17, None));
        ledger.ends("process", 0, &asked(3, None));
        ledger.begins("process", 0, &asked(3, None), now);
        assert_eq!(findings.len(), 1);
    }

    #[test]
    fn a_refresh_token_that_was_put_off_may_be_presented_again() {
        let (findings, now) = (Findings::default(), Timestamp::UNIX_EPOCH);
        let ledger = Ledger::new(findings.clone());
        let refresh = asked(0, Some("refresh token"));
        ledger.arrives("process", &refresh, now);
        ledger.put_off(&refresh);
        ledger.arrives("process", &refresh, now);
        assert_eq!(findings.len(), 0);
        ledger.arrives("process", &refresh, now);
        assert_eq!(findings.len(), 1);
    }

    #[test]
    fn a_second_call_of_an_account_by_a_former_leader_is_found_after_each_change_of_leader() {
        let (findings, now) = (Findings::default(), Timestamp::UNIX_EPOCH);
        let ledger = Ledger::new(findings.clone());
        for _ in 0..2 {
            ledger.arrives("alone", &asked(0, None), now);
        }
        assert_eq!(ledger.calls().strays, 0, "nobody needs a lease");
        for leader in [Some("new"), None] {
            let found = findings.len();
            ledger.leader_changes(leader.map(str::to_owned), now);
            for account in 0..2 {
                ledger.arrives("new", &asked(2, None), now);
                ledger.arrives("old", &asked(account, None), now);
            }
            ledger.arrives("old", &asked(0, None), now);
            assert_eq!(findings.len() - found, if leader.is_some() { 1 } else { 2 }, "{leader:?} leads");
        }
    }

    #[test]
    fn a_rejected_login_is_held_until_the_budget_allows_its_next_attempt() {
        let minute = |minutes| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        // Rejected at these minutes, accepted before or not: held so long.
        let cases: [(&[i64], bool, Option<i64>); 6] = [
            (&[0], false, Some(5)),
            (&[0], true, Some(5)),
            (&[0, 5], true, Some(20)),
            (&[0, 5, 15], true, Some(75)),
            (&[0, 5, 15, 75], true, Some(135)),
            (&[0, 5, 15], false, None),
        ];
        for (rejected, is_proven, until) in cases {
            let (findings, case) = (Findings::default(), format!("{rejected:?}, {is_proven}"));
            let ledger = Ledger::new(findings.clone());
            if is_proven {
                ledger.accepts(&asked(0, None));
            }
            for at in rejected {
                ledger.rejects(0, "password", minute(*at));
            }
            let is_held = |at| ledger.is_held(0, "password", is_proven, minute(at));
            assert!(is_held(until.map_or(10_000, |until| until - 1)), "{case}");
            assert!(until.is_none_or(|until| !is_held(until)), "{case}");
            assert!(!ledger.is_held(0, "another", false, minute(10_000)), "{case}");
            assert_eq!(findings.all(), Vec::<String>::new(), "{case}");
        }
    }

    #[test]
    fn an_accepted_login_lifts_no_limit_but_that_of_the_token_which_it_gave() {
        let (ledger, minute) =
            (Ledger::default(), |it| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(it));
        for at in 0..4 {
            ledger.rejects(0, &format!("wrong {at}"), minute(at));
        }
        ledger.accepts(&asked(0, None));
        let is_held = |is_published, at| ledger.is_held(0, "password", is_published, minute(at));
        assert_eq!([is_held(false, 10), is_held(true, 10), is_held(false, 61)], [true, false, false]);
        ledger.leader_changes(Some("next".to_owned()), minute(5));
        assert_eq!([is_held(false, 62), is_held(true, 62), is_held(false, 63)], [true, false, false]);
    }

    #[test]
    fn a_login_that_was_accepted_once_and_is_rejected_every_ten_minutes_is_found_within_the_hour() {
        let (findings, minute) = (Findings::default(), SignedDuration::from_mins(1));
        let ledger = Ledger::new(findings.clone());
        ledger.accepts(&asked(0, None));
        for at in 0..5 {
            assert_eq!(findings.len(), 0);
            ledger.rejects(0, "password", Timestamp::UNIX_EPOCH + 10 * at * minute);
        }
        assert_eq!(findings.len(), 1);
    }
}
