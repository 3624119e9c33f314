//! One credential in a list, for people and for programs.

use jiff::Timestamp;
use serde::Serialize;

use super::lifetime::{bar, relative, short};
use super::screen::Tone;
use crate::api::{Grant, IdIssuerCredential, TokenStatus};
use crate::core::conditions::ConditionType;

/// What a list shows of a credential.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) namespace: String,
    pub(super) name: String,
    /// Whether its Secret holds a valid token, by `Ready` and by the clock.
    pub(super) is_good: bool,
    /// The status of `Ready`, or `Unknown`.
    pub(super) ready: String,
    pub(super) reason: String,
    pub(super) message: String,
    /// The reason why no newer token comes, where `Ready` does not say it: of `Stalled`, or of the last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trouble: Option<String>,
    pub(super) suspended: bool,
    /// The name of the target Secret.
    pub(super) secret: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) login_secret: Option<String>,
    /// The credential whose tokens it shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) follows: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<TokenRow>,
}

/// What a list shows of a token.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenRow {
    pub(super) issued_time: Timestamp,
    pub(super) renewal_time: Timestamp,
    pub(super) expiration_time: Timestamp,
    /// Negative once it has expired.
    pub(super) seconds_left: i64,
    pub(super) grant: Grant,
    /// The time that the others are compared with, by the clock of the operator that wrote them.
    #[serde(skip)]
    now: Timestamp,
}

impl TokenRow {
    fn new(token: &TokenStatus, now: Timestamp) -> Self {
        let expiration_time = token.expiration_time.0;
        Self {
            issued_time: token.issued_time.0,
            renewal_time: token.renewal_time.0,
            expiration_time,
            seconds_left: expiration_time.duration_since(now).as_secs(),
            grant: token.grant,
            now,
        }
    }

    /// The time left, on a terminal after a bar.
    pub(super) fn left(&self, is_decorated: bool) -> String {
        let left = self.expiration_time.duration_since(self.now);
        let text = if left.as_secs() > 0 { short(left) } else { format!("expired {} ago", short(left)) };
        let bar = || bar(self.issued_time, self.renewal_time, self.expiration_time, self.now) + " ";
        is_decorated.then(bar).unwrap_or_default() + &text
    }

    /// How urgent it is: overdue tokens are doubtful, expired ones bad.
    pub(super) fn tone(&self) -> Tone {
        let overdue = self.expiration_time.duration_since(self.renewal_time).as_secs() / 2;
        match self.expiration_time.duration_since(self.now).as_secs() {
            ..=0 => Tone::Bad,
            left if left < overdue => Tone::Doubtful,
            _ => Tone::Plain,
        }
    }

    /// When the next renewal is due.
    pub(super) fn renewal(&self) -> String {
        relative(self.renewal_time, self.now)
    }
}

impl Row {
    /// At this time, by the clock of the operator that wrote the status.
    pub(super) fn new(credential: &IdIssuerCredential, now: Timestamp) -> Self {
        let status = credential.status.as_ref();
        let ready = status.and_then(|status| status.condition(ConditionType::Ready.as_str()));
        let token = status.and_then(|it| it.token.as_ref()).map(|token| TokenRow::new(token, now));
        let namespace = credential.metadata.namespace.clone().unwrap_or_default();
        let reason = ready.map_or_else(|| "NoStatus".to_owned(), |it| it.reason.clone());
        let stalled = status.and_then(|it| it.condition(ConditionType::Stalled.as_str()));
        let stalled = stalled.filter(|it| it.status == "True").map(|it| it.reason.clone());
        let failing = || status?.failures.as_ref().map(|failures| failures.reason.clone());
        let reference = credential.spec.credential_ref.as_ref();
        let follows = reference
            .map(|it| format!("{}/{}", it.namespace.as_deref().unwrap_or(namespace.as_str()), it.name));
        Self {
            is_good: ready.is_some_and(|it| it.status == "True")
                && token.as_ref().is_some_and(|token| token.seconds_left > 0),
            ready: ready.map_or_else(|| "Unknown".to_owned(), |it| it.status.clone()),
            trouble: stalled.or_else(failing).filter(|trouble| *trouble != reason),
            reason,
            message: ready.map_or_else(|| NO_STATUS.to_owned(), |it| it.message.clone()),
            suspended: credential.spec.suspend,
            secret: credential.secret_name().to_owned(),
            login_secret: credential.spec.login_secret_ref.as_ref().map(|login| login.name.clone()),
            name: credential.metadata.name.clone().unwrap_or_default(),
            namespace,
            follows,
            token,
        }
    }

    /// Namespace and name.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// How good its state is.
    pub(super) fn tone(&self) -> Tone {
        match self.ready.as_str() {
            _ if self.is_good && self.trouble.is_some() => Tone::Doubtful,
            _ if self.is_good => Tone::Good,
            "Unknown" => Tone::Doubtful,
            _ => Tone::Bad,
        }
    }

    /// The reason, and what keeps a newer token from coming.
    pub(super) fn state(&self) -> String {
        let suspended = (self.suspended && self.reason != "Suspended").then_some("suspended");
        match suspended.or(self.trouble.as_deref()) {
            Some(trouble) => format!("{} ({trouble})", self.reason),
            None => self.reason.clone(),
        }
    }

    /// Where its tokens come from.
    pub(super) fn source(&self) -> String {
        let follows = self.follows.as_ref().map(|owner| format!("follows {owner}"));
        follows.or_else(|| self.login_secret.clone()).unwrap_or_default()
    }
}

/// What is to be said of a credential without a status.
pub(super) const NO_STATUS: &str = "no operator has reported on it yet; check that the operator runs, that it has a leader, \
    that it manages this namespace, and that it may write the status (`kubectl idissuer check`)";

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A credential with this spec and status.
    #[expect(clippy::needless_pass_by_value, reason = "the callers write it in place")]
    pub(in crate::plugin) fn credential(spec: Value, status: Value) -> IdIssuerCredential {
        serde_json::from_value(json!({
            "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential",
            "metadata": {"name": "billing", "namespace": "shop", "generation": 1}, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    /// A condition of this type.
    pub(in crate::plugin) fn condition(type_: &str, status: &str, reason: &str) -> Value {
        json!({
            "type": type_, "status": status, "reason": reason, "message": format!("message of {reason}"),
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        })
    }

    /// A token that lives for an hour from midnight.
    pub(in crate::plugin) fn token(fingerprint: &str) -> Value {
        json!({
            "issuedTime": "2026-01-01T00:00:00Z", "renewalTime": "2026-01-01T00:45:00Z",
            "expirationTime": "2026-01-01T01:00:00Z", "lifetimeSource": "ExpiresIn",
            "fingerprint": fingerprint, "grant": "Refresh",
        })
    }

    pub(in crate::plugin) fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_credential_is_good_while_it_is_ready_and_its_token_lives() {
        let status =
            json!({"conditions": [condition("Ready", "True", "TokenPublished")], "token": token("a")});
        let credential = credential(json!({"loginSecretRef": {"name": "login"}}), status);
        let row = Row::new(&credential, time("2026-01-01T00:16:48Z"));
        assert!(row.is_good);
        assert_eq!((row.path().as_str(), row.source().as_str()), ("shop/billing", "login"));
        let shown = row.token.as_ref().unwrap();
        assert_eq!(shown.left(false), "43m12s");
        assert_eq!(shown.left(true), "███|██████░░░ 43m12s");
        assert_eq!(shown.renewal(), "in 28m12s");
        // Its operator is dead, and says nothing of it.
        let late = time("2026-01-01T01:00:05Z");
        let row = Row::new(&credential, late);
        assert!(!row.is_good && row.ready == "True");
        assert_eq!(row.tone(), Tone::Bad);
        assert_eq!(row.token.as_ref().unwrap().left(false), "expired 5s ago");
    }

    #[test]
    fn what_will_go_wrong_is_seen_while_the_token_still_works() {
        let failures = json!({
            "consecutiveFailures": 3, "lastFailureTime": "2026-01-01T00:10:00Z", "reason": "IssuerUnreachable",
        });
        let (ready, stalled) =
            (condition("Ready", "True", "TokenPublished"), condition("Stalled", "True", "LoginRejected"));
        let expired = condition("Ready", "False", "IssuerUnreachable");
        for (status, state, tone) in [
            (json!({"conditions": [ready], "token": token("a")}), "TokenPublished", Tone::Good),
            (
                json!({"conditions": [ready, stalled], "failures": failures, "token": token("a")}),
                "TokenPublished (LoginRejected)",
                Tone::Doubtful,
            ),
            (
                json!({"conditions": [ready], "failures": failures, "token": token("a")}),
                "TokenPublished (IssuerUnreachable)",
                Tone::Doubtful,
            ),
            (json!({"conditions": [expired], "failures": failures}), "IssuerUnreachable", Tone::Bad),
        ] {
            let credential = credential(json!({"loginSecretRef": {"name": "login"}}), status);
            let row = Row::new(&credential, time("2026-01-01T00:16:48Z"));
            assert_eq!((row.state().as_str(), row.tone()), (state, tone));
        }
    }

    #[test]
    fn a_token_is_coloured_by_its_urgency() {
        let token = serde_json::from_value(token("a")).unwrap();
        for (now, tone) in [
            ("2026-01-01T00:44:00Z", Tone::Plain),
            ("2026-01-01T00:50:00Z", Tone::Plain),
            ("2026-01-01T00:53:00Z", Tone::Doubtful),
            ("2026-01-01T01:00:00Z", Tone::Bad),
        ] {
            assert_eq!(TokenRow::new(&token, time(now)).tone(), tone, "{now}");
        }
    }

    #[test]
    fn a_credential_without_a_status_says_what_to_check() {
        let row = Row::new(
            &credential(json!({"credentialRef": {"name": "owner"}, "suspend": true}), Value::Null),
            time("2026-01-01T00:00:00Z"),
        );
        assert_eq!((row.ready.as_str(), row.is_good), ("Unknown", false));
        assert_eq!(
            (row.source().as_str(), row.state().as_str()),
            ("follows shop/owner", "NoStatus (suspended)")
        );
        assert!(row.message.contains("check that the operator runs"));
    }
}
