//! One credential with all that belongs to it. What may not be read is named.

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use serde::Serialize;

use crate::api::{DEFAULT_TOKEN_KEY, IdIssuerCredential, IdIssuerCredentialStatus};
use crate::ops::documentation::without_address;
use crate::plugin::cluster::{Cluster, last_seen};
use crate::plugin::consumers::{Consumer, consumers};
use crate::plugin::failure::Failure;
use crate::plugin::lease::{Leases, time_of_holder};
use crate::plugin::lifetime::{relative, short};
use crate::plugin::row::Row;
use crate::plugin::screen::{Screen, Table, Text, Tone, plain};

/// How many Events are shown.
const EVENTS: usize = 10;

/// Something that could be read, or why not.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Part<T> {
    Seen(T),
    NotSeen {
        #[serde(rename = "notShown")]
        why: String,
    },
}

impl<T> Part<T> {
    fn of(outcome: Result<T, Failure>) -> Self {
        match outcome {
            Ok(value) => Self::Seen(value),
            Err(failure) => Self::NotSeen { why: failure.message },
        }
    }
}

/// The Secret with the token, as its metadata shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum TargetState {
    /// It is as the operator wrote it.
    Unchanged,
    /// Someone else wrote it since, and the operator has not answered yet.
    Changed,
    /// It exists, and the operator has not written it.
    NotOurs,
    Missing,
}

/// An Event, for people.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
    type_: String,
    reason: String,
    note: String,
    count: i32,
}

/// All that belongs to a credential.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail {
    credential: Row,
    status: IdIssuerCredentialStatus,
    target: Part<TargetState>,
    events: Part<Vec<EventRow>>,
    consumers: Part<Vec<Consumer>>,
    #[serde(skip)]
    issuer: Option<String>,
    /// By the clock of the operator.
    #[serde(skip)]
    now: Timestamp,
}

impl Detail {
    /// Reads all that this user may read, at this time by the clock of the API server.
    pub(super) async fn read(cluster: &Cluster, name: &str, now: Timestamp) -> Result<Self, Failure> {
        let namespace = &cluster.namespace;
        let credential = cluster.credential(namespace, name).await?;
        let leases = Leases::read(cluster, std::slice::from_ref(&credential)).await;
        let now = time_of_holder(leases.of(&credential), now);
        let secret = credential.secret_name();
        let (target, events, pods) = tokio::join!(
            cluster.secret_metadata(namespace, secret),
            cluster.events(namespace, name),
            cluster.pods(namespace),
        );
        let target = target.map(|secret| target_state(&credential, secret.map(|it| it.metadata)));
        let uid = credential.uid();
        let events = events.map(|events| {
            let ours = events.iter().filter(|event| is_about(event, uid.as_deref()));
            let rows: Vec<_> = ours.map(EventRow::new).collect();
            rows[rows.len().saturating_sub(EVENTS)..].to_vec()
        });
        Ok(Self {
            credential: Row::new(&credential, now),
            target: Part::of(target),
            events: Part::of(events),
            consumers: Part::of(pods.map(|pods| consumers(&pods, secret))),
            issuer: credential.spec.issuer.as_ref().and_then(|issuer| issuer.url.clone()),
            status: credential.status.unwrap_or_default(),
            now,
        })
    }

    /// Whether its Secret holds a valid token.
    pub(super) fn is_good(&self) -> bool {
        self.credential.is_good
    }

    /// What is worth showing again.
    pub(super) fn state(&self) -> String {
        serde_json::to_string(&(&self.status, &self.target, &self.events, &self.consumers))
            .unwrap_or_default()
    }

    /// The text.
    pub(super) fn render(&self, screen: &Screen) -> String {
        let mut text = Text::default();
        for (title, value) in self.lines(screen) {
            text.line(format!("{} {value}", screen.paint(Tone::Title, &format!("{title:<11}"))));
        }
        self.conditions(screen, &mut text);
        self.show_consumers(screen, &mut text);
        self.show_events(screen, &mut text);
        text.finish()
    }

    fn lines(&self, screen: &Screen) -> Vec<(&'static str, String)> {
        let (row, status) = (&self.credential, &self.status);
        let ready = screen.paint(row.tone(), &format!("{}, {}", row.ready, row.state()));
        let mut lines = vec![("Credential", row.path()), ("Ready", ready), ("", row.message.clone())];
        if let Some(token) = &row.token {
            let left = screen.paint(token.tone(), &token.left(screen.is_decorated()));
            lines.push(("Token", format!("{left}, until {}, by {:?}", token.expiration_time, token.grant)));
            lines.push(("Renewal", format!("{} ({})", token.renewal(), token.renewal_time)));
        }
        lines.push(("Login", self.login()));
        lines.push((
            "Issuer",
            self.issuer.clone().unwrap_or_else(|| "the default of the operator (--issuer-url)".to_owned()),
        ));
        lines.push(("Target", self.target()));
        lines.extend(self.followers().map(|followers| ("Followers", followers)));
        if let Some(failures) = &status.failures {
            let ago = relative(failures.last_failure_time.0, self.now);
            let next = next_attempt(failures.next_attempt_time.as_ref().map(|time| time.0), self.now);
            let count = failures.consecutive_failures;
            lines.push(("Failures", format!("{count}, last {ago}, {}; {next}", failures.reason)));
        }
        if let Some(controller) = &status.controller {
            lines.push(("Operator", controller.clone()));
        }
        lines
    }

    /// Those that status names, and how to see the others.
    fn followers(&self) -> Option<String> {
        let followers = self.status.followers.as_ref()?;
        let named = followers.names.join(", ");
        let rest = usize::try_from(followers.count).unwrap_or_default().saturating_sub(followers.names.len());
        if rest == 0 {
            return Some(named);
        }
        let (name, namespace) = (&self.credential.name, &self.credential.namespace);
        Some(format!(
            "{named}, and {rest} more: kubectl idissuer status --followers-of {name} -n {namespace}"
        ))
    }

    fn login(&self) -> String {
        let row = &self.credential;
        if let Some(owner) = &row.follows {
            return format!("none; it shares the tokens of {owner}");
        }
        let login = self.status.login.clone().unwrap_or_default();
        let accepted = login.accepted_time.map_or_else(
            || "never accepted".to_owned(),
            |time| format!("last accepted {}", relative(time.0, self.now)),
        );
        let rejected = match login.rejections {
            0 => String::new(),
            1 => ", 1 rejection".to_owned(),
            count => format!(", {count} rejections in a row"),
        };
        format!("Secret {}, {accepted}{rejected}", row.source())
    }

    fn target(&self) -> String {
        let secret = &self.credential.secret;
        let state = match &self.target {
            Part::NotSeen { why } => return format!("Secret {secret} (not shown: {why})"),
            Part::Seen(TargetState::Unchanged) => "as the operator wrote it",
            Part::Seen(TargetState::Changed) => "changed by someone else since the operator wrote it",
            Part::Seen(TargetState::NotOurs) => "exists, and the operator has not written it",
            Part::Seen(TargetState::Missing) => "does not exist",
        };
        format!("Secret {secret}, {state}")
    }

    fn conditions(&self, screen: &Screen, text: &mut Text) {
        if self.status.conditions.is_empty() {
            return;
        }
        let mut table = Table::new(&["CONDITION", "STATUS", "SINCE", "REASON"]);
        for condition in &self.status.conditions {
            let since = short(self.now.duration_since(condition.last_transition_time.0));
            let status = (tone(condition), condition.status.clone());
            table.add(vec![
                plain(condition.type_.clone()),
                status,
                plain(since),
                plain(condition.reason.clone()),
            ]);
        }
        text.line("");
        text.lines(&table.render(screen, ""));
        // The message of Ready stands above. The same words of another condition may lack the address at the end.
        let mut told = vec![without_address(&self.credential.message, &self.credential.reason)];
        for condition in self.status.conditions.iter().filter(|it| tone(it) == Tone::Bad) {
            let message = without_address(&condition.message, &condition.reason);
            if !told.contains(&message) {
                text.line(format!("{}: {}", condition.type_, condition.message));
                told.push(message);
            }
        }
    }

    fn show_consumers(&self, screen: &Screen, text: &mut Text) {
        let secret = &self.credential.secret;
        match &self.consumers {
            Part::NotSeen { why } => text.line(format!(
                "
Pods: not shown: {why}"
            )),
            Part::Seen(consumers) if consumers.is_empty() => {
                text.line(format!(
                    "
No pod uses Secret {secret}."
                ));
            }
            Part::Seen(consumers) => {
                let mut table = Table::new(&["POD", "CONTAINER", "USES SECRET AS", "SEES NEW TOKENS"]);
                for consumer in consumers {
                    let (tone, sees) =
                        if consumer.sees_new_tokens { (Tone::Good, "yes") } else { (Tone::Bad, "no") };
                    table.add(vec![
                        plain(consumer.pod.clone()),
                        plain(if consumer.container.is_empty() { "-" } else { consumer.container.as_str() }),
                        plain(consumer.uses.describe()),
                        (tone, sees.to_owned()),
                    ]);
                }
                text.line("");
                text.lines(&table.render(screen, ""));
                if consumers.iter().any(|it| !it.sees_new_tokens) {
                    text.line(format!(
                        "Mount Secret {secret} as a directory without subPath; such a container keeps its first token \
                         (key {DEFAULT_TOKEN_KEY} by default) until it restarts."
                    ));
                }
            }
        }
    }

    fn show_events(&self, screen: &Screen, text: &mut Text) {
        match &self.events {
            Part::NotSeen { why } => text.line(format!(
                "
Events: not shown: {why}"
            )),
            Part::Seen(events) if events.is_empty() => text.line("\nNo Events of the last hour."),
            Part::Seen(events) => {
                let mut table = Table::new(&["EVENT", "AGE", "TIMES", "NOTE"]);
                for event in events {
                    let tone = if event.type_ == "Warning" { Tone::Doubtful } else { Tone::Plain };
                    let age = |time| short(self.now.duration_since(time));
                    let age = event.time.map_or_else(|| "-".to_owned(), age);
                    table.add(vec![
                        (tone, event.reason.clone()),
                        plain(age),
                        plain(event.count.to_string()),
                        plain(event.note.clone()),
                    ]);
                }
                text.line("");
                text.lines(&table.render(screen, ""));
            }
        }
    }
}

impl EventRow {
    fn new(event: &Event) -> Self {
        let count = event.series.as_ref().map(|series| series.count).or(event.deprecated_count);
        Self {
            time: last_seen(event),
            type_: event.type_.clone().unwrap_or_default(),
            reason: event.reason.clone().unwrap_or_default(),
            note: event.note.clone().unwrap_or_default(),
            count: count.unwrap_or(1),
        }
    }
}

/// Whether an Event is about this credential, and not about a deleted one of the same name.
fn is_about(event: &Event, uid: Option<&str>) -> bool {
    event.regarding.as_ref().is_some_and(|about| about.uid.as_deref() == uid)
}

/// When the operator tries again. Status records a series of attempts, not each one, so the time may be past.
fn next_attempt(time: Option<Timestamp>, now: Timestamp) -> String {
    match time {
        None => "no further attempt before a change".to_owned(),
        Some(time) if time > now => format!("next attempt {}", relative(time, now)),
        Some(_) => "attempts go on".to_owned(),
    }
}

/// Which conditions are good while they hold.
fn tone(condition: &Condition) -> Tone {
    let is_good_when_true = matches!(condition.type_.as_str(), "Ready" | "LoginAccepted");
    match condition.status.as_str() {
        "True" if is_good_when_true => Tone::Good,
        "False" if is_good_when_true => Tone::Bad,
        "True" if condition.type_ != "Reconciling" => Tone::Bad,
        _ => Tone::Doubtful,
    }
}

fn target_state(
    credential: &IdIssuerCredential,
    secret: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>,
) -> TargetState {
    let Some(metadata) = secret else { return TargetState::Missing };
    match credential.status.as_ref().and_then(|status| status.target.as_ref()) {
        Some(target) if metadata.uid.as_deref() != Some(target.uid.as_str()) => TargetState::NotOurs,
        Some(target) if metadata.resource_version.as_deref() == Some(target.resource_version.as_str()) => {
            TargetState::Unchanged
        }
        Some(_) => TargetState::Changed,
        None => TargetState::NotOurs,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::row::tests::{condition, credential, time, token};

    fn of_login(status: Value) -> IdIssuerCredential {
        credential(json!({"loginSecretRef": {"name": "login"}}), status)
    }

    #[test]
    fn a_target_is_compared_with_what_was_written() {
        let written = of_login(json!({"target": {"uid": "u", "resourceVersion": "7"}}));
        let secret = |uid: &str, version: &str| {
            serde_json::from_value(json!({"uid": uid, "resourceVersion": version})).unwrap()
        };
        for (metadata, expected) in [
            (None, TargetState::Missing),
            (Some(secret("u", "7")), TargetState::Unchanged),
            (Some(secret("u", "8")), TargetState::Changed),
            (Some(secret("v", "7")), TargetState::NotOurs),
        ] {
            assert_eq!(target_state(&written, metadata), expected);
        }
        assert_eq!(target_state(&of_login(json!({})), Some(secret("u", "7"))), TargetState::NotOurs);
    }

    #[test]
    fn an_attempt_that_is_due_is_not_told_as_a_time_that_is_past() {
        let now = time("2026-01-01T00:10:00Z");
        for (next, expected) in [
            (None, "no further attempt before a change"),
            (Some("2026-01-01T00:10:30Z"), "next attempt in 30s"),
            (Some("2026-01-01T00:10:00Z"), "attempts go on"),
            (Some("2026-01-01T00:05:00Z"), "attempts go on"),
        ] {
            assert_eq!(next_attempt(next.map(time), now), expected);
        }
    }

    #[test]
    fn what_several_conditions_say_is_shown_once() {
        let now = time("2026-01-01T00:16:48Z");
        let mut conditions = [
            condition("Ready", "False", "LoginRejected"),
            condition("Stalled", "True", "LoginRejected"),
            condition("LoginAccepted", "False", "LoginRejected"),
        ];
        for condition in conditions.iter_mut().take(2) {
            let message = format!("Correct it{}", crate::ops::documentation::see("LoginRejected"));
            condition["message"] = json!(message);
        }
        conditions[2]["message"] = json!("Correct it");
        let credential = of_login(json!({"conditions": conditions}));
        let detail = Detail {
            credential: Row::new(&credential, now),
            status: credential.status.unwrap(),
            target: Part::Seen(TargetState::Missing),
            events: Part::Seen(Vec::new()),
            consumers: Part::Seen(Vec::new()),
            issuer: None,
            now,
        };
        let text = detail.render(&Screen::new(Box::new(std::io::sink()), false));
        assert_eq!(text.matches("Correct it").count(), 1, "{text}");
    }

    #[test]
    fn what_may_not_be_read_is_named_and_the_rest_is_shown() {
        let now = time("2026-01-01T00:16:48Z");
        let credential = of_login(json!({
            "conditions": [condition("Ready", "True", "TokenPublished")], "token": token("a"),
        }));
        let why = || Part::NotSeen { why: "this user may not".to_owned() };
        let mut detail = Detail {
            credential: Row::new(&credential, now),
            status: credential.status.unwrap(),
            target: why(),
            events: Part::NotSeen { why: "this user may not".to_owned() },
            consumers: Part::NotSeen { why: "this user may not".to_owned() },
            issuer: None,
            now,
        };
        let screen = Screen::new(Box::new(std::io::sink()), false);
        let text = detail.render(&screen);
        assert_eq!(text.matches("not shown: this user may not").count(), 3, "{text}");
        assert!(text.contains("43m12s, until 2026-01-01T01:00:00Z, by Refresh"), "{text}");
        detail.target = Part::Seen(TargetState::Unchanged);
        detail.status.followers =
            serde_json::from_value(json!({"count": 22, "names": ["orders/billing", "shop/second"]})).unwrap();
        let text = detail.render(&screen);
        assert!(text.contains("Secret billing, as the operator wrote it"), "{text}");
        assert!(text.contains("Followers   orders/billing, shop/second, and 20 more: kubectl idissuer status --followers-of billing -n shop"), "{text}");
    }
}
