//! Exact counts per user, and a log of calls. Neither holds a secret.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::AddAssign,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Fingerprint, Reason};

/// The user that calls are counted for which name none, or present a token that was never issued.
pub const UNKNOWN_USER: &str = "(unknown)";

/// Calls in the log; older ones are dropped. A day of 100 users with a token a minute.
const LOG_CAPACITY: usize = 144_000;

/// What a call was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// User name and password for a token.
    Login,
    /// A refresh token for a token.
    Refresh,
    /// The authorized endpoint.
    Authorized,
    /// None of them: a wrong path, method or body.
    Other,
}

/// The issuer's own result of a call, before a fault changes the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done.
    Accepted,
    /// It was refused.
    Refused(Reason),
    /// A fault came before any work was done.
    NotReached,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRecord {
    /// Counts up from 1.
    pub sequence: u64,
    /// When it arrived, by the true clock.
    pub at: Timestamp,
    /// What it was for.
    pub operation: Operation,
    /// Whose it was, or [`UNKNOWN_USER`].
    pub user: String,
    /// What the issuer thought of it.
    pub outcome: Outcome,
    /// The fault that it met.
    pub fault: Option<&'static str>,
    /// The status that was answered; none where the connection was closed, left hanging or filled with garbage.
    pub status: Option<u16>,
    /// Of the refresh token that a refresh, or the access token that a use presented.
    pub presented: Option<Fingerprint>,
    /// Of the access token that was issued, whether or not the answer got through.
    pub issued: Option<Fingerprint>,
    /// When that access token expires, by the true clock.
    pub expires: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(crate) struct CallLog {
    calls: VecDeque<CallRecord>,
    sequence: u64,
}

impl CallLog {
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Numbers `call` and keeps it.
    pub(crate) fn push(&mut self, mut call: CallRecord) {
        self.sequence += 1;
        call.sequence = self.sequence;
        if self.calls.len() == LOG_CAPACITY {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }

    pub(crate) fn since(&self, sequence: u64) -> Vec<CallRecord> {
        let start = self.calls.partition_point(|call| call.sequence <= sequence);
        self.calls.range(start..).cloned().collect()
    }
}

/// The counts of every user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Counts(BTreeMap<String, UserCounts>);

impl Counts {
    /// The counts of one user; all zero for one never seen.
    #[must_use]
    pub fn of(&self, user: &str) -> UserCounts {
        self.0.get(user).copied().unwrap_or_default()
    }

    /// The sum over all users; of the maximum in flight, the greatest.
    #[must_use]
    pub fn total(&self) -> UserCounts {
        self.0.values().fold(UserCounts::default(), |mut total, counts| {
            total += *counts;
            total
        })
    }

    /// Each user that made a call, with the counts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, UserCounts)> {
        self.0.iter().map(|(user, counts)| (user.as_str(), *counts))
    }

    pub(crate) fn entry(&mut self, user: &str) -> &mut UserCounts {
        if !self.0.contains_key(user) {
            self.0.insert(user.to_owned(), UserCounts::default());
        }
        self.0.entry(user.to_owned()).or_default()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// What one user's calls came to. A call whose answer was lost counts by what the issuer did, and as a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserCounts {
    /// Logins that opened a session.
    pub logins_accepted: u64,
    /// Logins refused for any reason, a locked user among them.
    pub logins_rejected: u64,
    /// Times that wrong passwords locked the user.
    pub lockouts: u64,
    /// Refreshes that issued a token.
    pub refreshes_accepted: u64,
    /// Refreshes refused for any reason.
    pub refreshes_refused: u64,
    /// Refreshes that presented a spent refresh token.
    pub refresh_tokens_reused: u64,
    /// Calls of the authorized endpoint with a valid token.
    pub authorized_accepted: u64,
    /// Calls of the authorized endpoint with an expired token.
    pub authorized_expired: u64,
    /// Calls of the authorized endpoint with no token, or one that is not good for another reason.
    pub authorized_invalid: u64,
    /// Calls to a wrong path, with a wrong method, or with a body that cannot be read.
    pub misdirected: u64,
    /// Calls that met a fault.
    pub faults: u64,
    /// The most logins and refreshes that were in flight at one time.
    pub in_flight_maximum: u64,
}

impl AddAssign for UserCounts {
    fn add_assign(&mut self, other: Self) {
        self.logins_accepted += other.logins_accepted;
        self.logins_rejected += other.logins_rejected;
        self.lockouts += other.lockouts;
        self.refreshes_accepted += other.refreshes_accepted;
        self.refreshes_refused += other.refreshes_refused;
        self.refresh_tokens_reused += other.refresh_tokens_reused;
        self.authorized_accepted += other.authorized_accepted;
        self.authorized_expired += other.authorized_expired;
        self.authorized_invalid += other.authorized_invalid;
        self.misdirected += other.misdirected;
        self.faults += other.faults;
        self.in_flight_maximum = self.in_flight_maximum.max(other.in_flight_maximum);
    }
}
