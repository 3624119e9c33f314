//! Why a credential has no valid token, or soon will have none.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::cures::{Names, commands};
use super::facts::Facts;
use super::finding::{Finding, Severity};
use crate::api::{CaBundleKind, FailuresStatus, IdIssuerCredentialStatus, RENEW_REQUESTED_AT_ANNOTATION};
use crate::core::conditions::ConditionType;
use crate::ops::documentation::without_address;
use crate::plugin::lifetime::{relative, short};
use crate::plugin::row::NO_STATUS;

/// How long after its time a renewal may still be under way, in seconds.
const LATENESS: i64 = 60;

/// The findings that are worst, in the order of what to do first.
pub(super) fn causes(facts: &Facts) -> Vec<Finding> {
    let causes = [
        nobody_leads(facts),
        no_status(facts),
        suspended(facts),
        stalled(facts),
        failing(facts),
        late(facts),
        unheard(facts),
    ];
    let found: Vec<Finding> = causes.into_iter().flatten().collect();
    if found.is_empty() { not_ready(facts).into_iter().collect() } else { found }
}

fn names(facts: &Facts) -> Names<'_> {
    let issuer = facts.credential.spec.issuer.as_ref();
    let bundle = issuer.and_then(|issuer| issuer.ca_bundle_ref.as_ref()).map(|bundle| {
        let kind = match bundle.kind {
            CaBundleKind::ConfigMap => "configmap",
            CaBundleKind::Secret => "secret",
        };
        (kind, bundle.name.as_str(), bundle.key.as_str())
    });
    let login = facts.status().and_then(|status| status.login.as_ref());
    Names {
        row: &facts.row,
        login: facts.credential.spec.login_secret_ref.as_ref(),
        issuer: issuer.and_then(|issuer| issuer.url.as_deref()),
        bundle,
        operator: facts.lease.as_ref().and_then(|lease| lease.path.split('/').next()),
        is_rejected: login.is_some_and(|login| login.rejections > 0),
    }
}

/// Problems while there is no valid token, otherwise warnings.
fn severity(facts: &Facts) -> Severity {
    if facts.row.is_good { Severity::Warning } else { Severity::Problem }
}

fn nobody_leads(facts: &Facts) -> Option<Finding> {
    let lease = facts.lease.as_ref().filter(|lease| lease.is_lost(facts.api_time()))?;
    let seen = lease.describe(facts.api_time());
    let namespace = lease.path.split('/').next().unwrap_or_default();
    let finding = Finding::new(Severity::Problem, "No operator works on this credential: nobody leads.");
    Some(
        finding
            .evidence(seen)
            .cure("Start the operator, or see why its pods do not run.")
            .command(format!("kubectl get pods -n {namespace} -l app.kubernetes.io/name=idissuer-operator"))
            .command("kubectl idissuer logs --since 1h")
            .runbook("IdIssuerNoLeader"),
    )
}

fn no_status(facts: &Facts) -> Option<Finding> {
    let is_reported = facts.status().is_some_and(|status| !status.conditions.is_empty());
    let created = facts.credential.metadata.creation_timestamp.as_ref();
    let age = created.map(|created| facts.api_time().duration_since(created.0));
    (!is_reported).then(|| {
        let finding = Finding::new(Severity::Problem, format!("It has no status: {NO_STATUS}."));
        let finding = finding.cure("Install the operator, or let it manage this namespace (--namespace).");
        let finding = match age {
            Some(age) => {
                finding.evidence(format!("it was created {} ago, and nothing was reported", short(age)))
            }
            None => finding,
        };
        finding.command("kubectl idissuer check").runbook("IdIssuerOperatorAbsent")
    })
}

fn suspended(facts: &Facts) -> Option<Finding> {
    let finding = || {
        Finding::new(severity(facts), "It is suspended: the operator obtains no token for it.")
            .evidence("spec.suspend is true")
            .cure("Resume it.")
            .commands(commands("Suspended", &names(facts)))
            .runbook("Suspended")
    };
    facts.row.suspended.then(finding)
}

fn of_condition(facts: &Facts, condition: &Condition) -> Finding {
    let since = short(facts.time().duration_since(condition.last_transition_time.0));
    let message = without_address(&condition.message, &condition.reason);
    let finding = Finding::new(severity(facts), format!("{}: {message}", condition.reason))
        .evidence(format!("condition {} is {} for {since}", condition.type_, condition.status))
        .commands(commands(&condition.reason, &names(facts)))
        .runbook(&condition.reason);
    with_owner(finding, &condition.reason, facts)
}

/// With what the credential shows that this one follows.
fn with_owner(finding: Finding, reason: &str, facts: &Facts) -> Finding {
    match &facts.owner {
        Some(owner) => owner.explain(finding, reason, &facts.row, facts.time()),
        None => finding,
    }
}

fn stalled(facts: &Facts) -> Option<Finding> {
    let condition = facts.condition(ConditionType::Stalled, "True")?;
    let finding = of_condition(facts, condition).cure("Somebody must act; the message says how.");
    let failures = facts.status().and_then(|status| status.failures.as_ref());
    let finding = match failures.filter(|failures| failures.reason == condition.reason) {
        Some(failures) => finding.evidence(attempts(failures, facts)),
        None => finding,
    };
    Some(match facts.is_login_there {
        Some(false) if condition.reason.starts_with("Login") => {
            finding.evidence(format!("Secret {} does not exist", facts.row.source()))
        }
        _ => finding,
    })
}

/// An outage of the issuer, or whatever else is retried.
fn failing(facts: &Facts) -> Option<Finding> {
    let failures = facts.status()?.failures.as_ref()?;
    // What somebody must act on stands above.
    if facts.condition(ConditionType::Stalled, "True").is_some_and(|it| it.reason == failures.reason) {
        return None;
    }
    let message = failures.message.as_deref().unwrap_or("the Events of the credential say more");
    let finding = Finding::new(severity(facts), format!("{}: {message}", failures.reason))
        .evidence(attempts(failures, facts))
        .cure("It is retried; the token comes as soon as the cause is gone.")
        .commands(commands(&failures.reason, &names(facts)))
        .runbook(&failures.reason);
    Some(with_owner(finding, &failures.reason, facts))
}

fn attempts(failures: &FailuresStatus, facts: &Facts) -> String {
    let last = relative(failures.last_failure_time.0, facts.time());
    let next = failures.next_attempt_time.as_ref().map(|next| next.0);
    let next = match next {
        Some(next) if next > facts.time() => {
            format!("; the next attempt follows {}", relative(next, facts.time()))
        }
        // Failures that differ in nothing but their number are written once in five minutes.
        Some(_) => "; it is retried, and recorded once in five minutes".to_owned(),
        None => "; no further attempt before a change".to_owned(),
    };
    format!("status.failures: {} in a row, the last {last}{next}", failures.consecutive_failures)
}

/// An operator that should have renewed, and says nothing.
fn late(facts: &Facts) -> Option<Finding> {
    let token = facts.row.token.as_ref()?;
    let is_silent = facts.status()?.failures.is_none()
        && facts.condition(ConditionType::Stalled, "True").is_none()
        && !facts.row.suspended;
    let late = facts.time().duration_since(token.renewal_time);
    let margin = LATENESS.min(token.expiration_time.duration_since(token.renewal_time).as_secs() / 2);
    (is_silent && late.as_secs() > margin).then(|| {
        let left = token.left(false);
        Finding::new(
            if facts.time() < token.expiration_time { Severity::Warning } else { Severity::Problem },
            format!("The renewal is {} late, and the operator says nothing of it.", short(late)),
        )
        .evidence(format!("status.token.renewalTime is {}; left: {left}", token.renewal_time))
        .cure("Check that the operator runs, leads, and manages this namespace (--namespace).")
        .command("kubectl idissuer check")
        .runbook("IdIssuerRenewalOverdue")
    })
}

/// A change or a request that the operator has not answered, and says nothing of.
fn unheard(facts: &Facts) -> Option<Finding> {
    let status = facts.status().filter(|status| !status.conditions.is_empty())?;
    let is_told = status.failures.is_some()
        || facts.condition(ConditionType::Stalled, "True").is_some()
        || facts.row.suspended;
    let (what, evidence, since) = requested(facts, status).or_else(|| edited(facts, status))?;
    let age = facts.api_time().duration_since(since);
    (!is_told && age.as_secs() > LATENESS).then(|| {
        let age = short(age);
        Finding::new(severity(facts), format!("{what} {age} ago, and the operator has not answered."))
            .evidence(evidence)
            .cure("Check that the operator runs and leads, and that it may write the status.")
            .command("kubectl idissuer check")
            .runbook("IdIssuerOperatorAbsent")
    })
}

/// A renewal that was asked for and not handled, if its value says when.
fn requested(facts: &Facts, status: &IdIssuerCredentialStatus) -> Option<(&'static str, String, Timestamp)> {
    let request = facts.credential.renew_request()?;
    let handled = status.last_handled_renew_request.as_deref();
    let seconds = || Timestamp::from_second(request.parse().ok()?).ok();
    let since = request.parse().ok().or_else(seconds)?;
    let evidence = format!(
        "annotation {RENEW_REQUESTED_AT_ANNOTATION} is {request}, status.lastHandledRenewRequest {}",
        handled.unwrap_or("absent")
    );
    (handled != Some(request)).then_some(("A renewal was requested", evidence, since))
}

/// A specification that was changed and not looked at.
fn edited(facts: &Facts, status: &IdIssuerCredentialStatus) -> Option<(&'static str, String, Timestamp)> {
    let metadata = &facts.credential.metadata;
    let (generation, observed) = (metadata.generation?, status.observed_generation.unwrap_or_default());
    let writers = metadata.managed_fields.iter().flatten();
    let writers = writers.filter(|writer| writer.subresource.as_ref().is_none_or(String::is_empty));
    let since = writers.filter_map(|writer| writer.time.as_ref()).map(|time| time.0).max()?;
    let evidence = format!("metadata.generation is {generation}, status.observedGeneration {observed}");
    (generation > observed).then_some(("The specification was changed", evidence, since))
}

/// Nothing above, and still no token.
fn not_ready(facts: &Facts) -> Option<Finding> {
    let ready = facts.condition(ConditionType::Ready, "False");
    let ready = ready.or_else(|| facts.condition(ConditionType::Ready, "Unknown"))?;
    Some(of_condition(facts, ready))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::explain::facts;
    use crate::plugin::explain::facts::tests::NOON;
    use crate::plugin::lease::LeaseFacts;
    use crate::plugin::row::Row;
    use crate::plugin::row::tests::{condition, time, token};

    /// As if it were this time.
    fn facts(spec: Value, status: Value, now: &str) -> Facts {
        let mut facts = facts::tests::facts(spec, status);
        facts.now = time(now);
        facts.row = Row::new(&facts.credential, facts.now);
        facts
    }

    fn first(facts: &Facts) -> (Severity, String, Vec<String>) {
        let found = causes(facts);
        let finding = found.first().unwrap_or_else(|| panic!("nothing is found in {facts:?}"));
        let commands = finding.commands.iter().map(ToString::to_string).collect();
        (finding.severity, finding.cause.clone(), commands)
    }

    #[test]
    fn a_good_credential_has_no_causes() {
        let status =
            json!({"conditions": [condition("Ready", "True", "TokenPublished")], "token": token("a")});
        assert_eq!(causes(&facts(json!({}), status, NOON)), []);
    }

    #[test]
    fn each_cause_is_found_with_its_cure() {
        let ready = condition("Ready", "True", "TokenPublished");
        let stalled = condition("Stalled", "True", "LoginRejected");
        let failures = json!({
            "consecutiveFailures": 3, "lastFailureTime": "2026-01-01T00:29:00Z", "reason": "IssuerUnreachable",
            "message": "cannot reach", "nextAttemptTime": "2026-01-01T00:31:00Z",
        });
        let good = json!({"conditions": [ready], "token": token("a")});
        let with = |key: &str, value: Value| {
            let mut status = good.clone();
            status[key] = value;
            status
        };
        let waits = json!({"conditions": [condition("Ready", "False", "Issuing")]});
        for (spec, status, now, severity, cause, command) in [
            (json!({}), Value::Null, NOON, Severity::Problem, "It has no status", "kubectl idissuer check"),
            (
                json!({}),
                json!({"conditions": [stalled]}),
                NOON,
                Severity::Problem,
                "LoginRejected: ",
                "login-secret create",
            ),
            (
                json!({}),
                with("conditions", json!([ready, stalled])),
                NOON,
                Severity::Warning,
                "LoginRejected: ",
                "--replace",
            ),
            (
                json!({"suspend": true}),
                good.clone(),
                NOON,
                Severity::Warning,
                "It is suspended",
                "resume billing",
            ),
            (
                json!({}),
                with("failures", failures),
                NOON,
                Severity::Warning,
                "IssuerUnreachable: cannot reach",
                "logs",
            ),
            (
                json!({}),
                good.clone(),
                "2026-01-01T00:50:00Z",
                Severity::Warning,
                "The renewal is 5m late",
                "check",
            ),
            (
                json!({}),
                good.clone(),
                "2026-01-01T01:10:00Z",
                Severity::Problem,
                "The renewal is 25m late",
                "check",
            ),
            (json!({}), waits, NOON, Severity::Problem, "Issuing: ", "logs billing"),
        ] {
            let found = first(&facts(spec, status, now));
            assert_eq!(found.0, severity, "{found:?}");
            assert!(found.1.starts_with(cause), "{found:?}");
            assert!(found.2.iter().any(|it| it.contains(command)), "{found:?}");
        }
    }

    #[test]
    fn a_lease_that_nobody_renews_is_the_first_cause() {
        let status =
            json!({"conditions": [condition("Ready", "True", "TokenPublished")], "token": token("a")});
        let mut facts = facts(json!({}), status, NOON);
        let lease = |holder: Option<&str>, renewed: &str| LeaseFacts {
            path: "idissuer-system/idissuer".to_owned(),
            holder: holder.map(str::to_owned),
            renewed: Some(time(renewed)),
            ahead: jiff::SignedDuration::ZERO,
            seconds: 15,
        };
        facts.lease = Some(lease(Some("pod"), "2026-01-01T00:29:50Z"));
        assert_eq!(causes(&facts), []);
        for lost in [lease(None, "2026-01-01T00:29:50Z"), lease(Some("pod"), "2026-01-01T00:20:00Z")] {
            facts.lease = Some(lost);
            let (severity, cause, commands) = first(&facts);
            assert_eq!(severity, Severity::Problem);
            assert!(cause.contains("nobody leads"), "{cause}");
            assert!(commands[0].contains("-n idissuer-system"), "{commands:?}");
        }
    }

    #[test]
    fn a_request_and_a_change_that_nobody_answers_are_found() {
        let status = json!({
            "conditions": [condition("Ready", "True", "TokenPublished")], "token": token("a"), "observedGeneration": 1,
        });
        let asked = |request: &str| {
            let mut facts = facts(json!({}), status.clone(), NOON);
            let annotations = [(RENEW_REQUESTED_AT_ANNOTATION.to_owned(), request.to_owned())];
            facts.credential.metadata.annotations = Some(annotations.into());
            facts
        };
        // The same time in both forms.
        for request in ["2026-01-01T00:28:00Z", "1767227280"] {
            let (severity, cause, commands) = first(&asked(request));
            assert_eq!(severity, Severity::Warning);
            assert_eq!(cause, "A renewal was requested 2m ago, and the operator has not answered.");
            assert_eq!(commands, ["kubectl idissuer check"]);
        }
        for request in ["2026-01-01T00:29:30Z", "yesterday, please"] {
            assert_eq!(causes(&asked(request)), []);
        }
        let mut handled = asked("1767227280");
        handled.credential.status.as_mut().unwrap().last_handled_renew_request =
            Some("1767227280".to_owned());
        assert_eq!(causes(&handled), []);
        let mut changed = facts(json!({}), status, NOON);
        changed.credential.metadata.generation = Some(2);
        let writer = json!([{"manager": "kubectl", "time": "2026-01-01T00:20:00Z"}]);
        changed.credential.metadata.managed_fields = serde_json::from_value(writer).unwrap();
        assert!(first(&changed).1.starts_with("The specification was changed 10m ago"));
    }

    #[test]
    fn the_clock_of_the_api_server_counts_where_it_is_known() {
        let status =
            json!({"conditions": [condition("Ready", "True", "TokenPublished")], "token": token("a")});
        let mut facts = facts(json!({}), status, "2026-01-01T00:55:00Z");
        assert_eq!(causes(&facts).len(), 1);
        facts.server_time = Some(time(NOON));
        assert_eq!(causes(&facts), []);
    }

    #[test]
    fn a_status_is_judged_by_the_clock_of_the_operator_that_wrote_it() {
        let status =
            json!({"conditions": [condition("Ready", "True", "TokenPublished")], "token": token("a")});
        let mut facts = facts(json!({}), status, "2026-01-01T02:30:00Z");
        assert_eq!(causes(&facts).len(), 1, "expired for long");
        facts.lease = Some(LeaseFacts {
            path: "idissuer-system/idissuer".to_owned(),
            holder: Some("pod".to_owned()),
            renewed: Some(time("2026-01-01T02:29:55Z")),
            ahead: jiff::SignedDuration::from_hours(-2),
            seconds: 15,
        });
        assert_eq!(causes(&facts), [], "its clock is two hours behind, and it leads");
    }
}
