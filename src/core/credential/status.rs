//! What status holds of one credential. The controller maps it to the resource and back; nothing else knows the wire.

use jiff::{SignedDuration, Timestamp};

use super::login::LoginHistory;
use crate::core::account::RefreshSupport;
use crate::core::conditions::{Condition, ConditionStatus, ConditionType, Wanted, merge};
use crate::core::observed::{AccountReference, Published};
use crate::core::reason::Reason;
use crate::core::sharing::Followers;
use crate::core::target::ObjectVersion;
use crate::core::time::Moment;
use crate::core::token::{Fingerprint, Grant, LifetimeSource, Validity};

/// The status of a credential.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The generation of the specification that it answers.
    pub observed_generation: Option<i64>,
    /// The conditions, in their order.
    pub conditions: Vec<Condition>,
    /// The name of the target.
    pub secret_name: Option<String>,
    /// The version of the target that was written last.
    pub target: Option<ObjectVersion>,
    /// The token in the target.
    pub token: Option<TokenRecord>,
    /// What was learned of the issuer.
    pub refresh_support: Option<RefreshSupport>,
    /// The attempts to log in.
    pub login: Option<LoginHistory>,
    /// The failures since the last success.
    pub failures: Option<FailureRecord>,
    /// Who follows it; none if nobody does.
    pub followers: Option<Followers>,
    /// The controller that keeps the credential.
    pub controller: Option<String>,
    /// The request for a renewal that was acted on last.
    pub last_handled_renew_request: Option<String>,
}

/// The token in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// When it was asked for.
    pub issued: Timestamp,
    /// When it expires.
    pub expiration: Timestamp,
    /// When the next one is due.
    pub renewal: Timestamp,
    /// How its lifetime is known.
    pub source: LifetimeSource,
    /// Its name.
    pub fingerprint: Fingerprint,
    /// How it was obtained.
    pub grant: Grant,
    /// The uid of the credential that was followed; none if it is its own login's, or if an earlier version wrote this.
    pub owner_uid: Option<String>,
}

/// The failures since the last success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureRecord {
    /// How many there were.
    pub count: u32,
    /// When the last one was.
    pub last: Timestamp,
    /// The last one in one word.
    pub reason: String,
    /// The last one in a sentence.
    pub message: Option<String>,
    /// When it is tried again.
    pub next_attempt: Option<Timestamp>,
}

impl Status {
    /// Whether it calls this generation ready: only then is it certain that the target was rendered for it.
    #[must_use]
    pub fn is_ready(&self, generation: i64) -> bool {
        let generation = Some(generation);
        let is_ready = |it: &Condition| {
            it.is(ConditionType::Ready, ConditionStatus::True) && it.observed_generation == generation
        };
        self.observed_generation == generation && self.conditions.iter().any(is_ready)
    }

    /// The status of a resource that cannot be read at all: what stood there stays, but for the conditions.
    #[must_use]
    pub fn malformed(self, generation: i64, controller: &str, now: Timestamp) -> Self {
        let reason = Reason::MalformedResource;
        let wanted = [
            Some(Wanted::new(ConditionType::Ready, ConditionStatus::False, &reason)),
            Some(Wanted::new(ConditionType::Stalled, ConditionStatus::True, &reason)),
            Wanted::kept(ConditionType::LoginAccepted, &self.conditions),
        ];
        let conditions = merge(&self.conditions, wanted.into_iter().flatten(), Some(generation), now);
        Self {
            observed_generation: Some(generation),
            conditions,
            controller: Some(controller.to_owned()),
            ..self
        }
    }
}

impl TokenRecord {
    /// The token that the target holds. Another process wrote this by a clock that was behind ours by so much: the token
    /// would look younger than it is, and be renewed too late.
    #[must_use]
    pub fn published(
        &self,
        generation: Option<i64>,
        account: Option<AccountReference>,
        clock_behind: SignedDuration,
        now: Moment,
    ) -> Published {
        let ours = |time: Timestamp| time.saturating_sub(clock_behind).unwrap_or(time);
        Published {
            fingerprint: self.fingerprint.clone(),
            validity: Validity::recorded(ours(self.issued), ours(self.expiration), self.source, now),
            grant: self.grant,
            generation,
            account,
            key: None,
            owner_uid: self.owner_uid.clone(),
        }
    }
}
