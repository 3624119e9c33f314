//! What is read of an installation, judged.

use jiff::Timestamp;

use super::finding::{Check, Verdict};
use crate::plugin::cluster_clock::CLOCKS_DIFFER;
use crate::plugin::credentials::Credentials;
use crate::plugin::injection::{Annotated, PAGE, mistakes};
use crate::plugin::lease::LeaseFacts;
use crate::plugin::lifetime::short;
use crate::plugin::operator::OperatorPod;
use crate::plugin::row::Row;
use crate::plugin::version::{CrdState, OWN};

/// The oldest minor version of Kubernetes 1 that is supported, as in the chart.
const OLDEST_MINOR: u32 = 33;

/// The API server: `v1.33.1`, or with a suffix.
pub(super) fn server(version: &str) -> Check {
    let minor = version.trim_start_matches('v').split('.').nth(1).and_then(|minor| {
        let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    match minor {
        Some(minor) if minor < OLDEST_MINOR => {
            let message = format!("{version} is older than 1.{OLDEST_MINOR}, the oldest supported version");
            Check::new("Kubernetes", Verdict::Failed, message).cure("Upgrade the cluster.", "versions.md")
        }
        _ => Check::good("Kubernetes", version),
    }
}

/// The CRD of an installation.
pub(super) fn crd(state: CrdState) -> Check {
    let cure = "Install the CRD of the operator's version: kubectl apply --server-side -f crds/, or helm upgrade with \
                crds.enabled=true; and use the plugin of that version.";
    let verdict = match state {
        CrdState::Same => return Check::good("CRD", state.describe()),
        CrdState::Different => Verdict::Warning,
        CrdState::NotServed | CrdState::Missing => Verdict::Failed,
    };
    Check::new("CRD", verdict, state.describe()).cure(cure, "versions.md")
}

/// The CRD before an installation.
pub(super) fn crd_before(state: CrdState) -> Check {
    match state {
        CrdState::Missing => Check::good("CRD", "not installed yet"),
        CrdState::Same => Check::good("CRD", "installed already, as this version has it"),
        CrdState::Different | CrdState::NotServed => {
            let message = "another version of the CRD is installed; the installation replaces it";
            Check::new("CRD", Verdict::Warning, message).cure("Read what the versions change.", "versions.md")
        }
    }
}

/// The pods of the operator.
pub(super) fn operator(pods: &[OperatorPod]) -> Vec<Check> {
    const NAME: &str = "Operator";
    if pods.is_empty() {
        let check = Check::new(NAME, Verdict::Failed, "no pod of the operator is found");
        return vec![check.cure(
            "Install it: helm install idissuer-operator charts/idissuer-operator -n idissuer-operator --create-namespace",
            "start.md",
        )];
    }
    let ready = pods.iter().filter(|pod| pod.is_ready).count();
    let places: Vec<_> = pods.iter().map(OperatorPod::path).collect();
    let message = format!("{ready} of {} pods ready ({})", pods.len(), places.join(", "));
    let mut checks = vec![match ready {
        0 => Check::new(NAME, Verdict::Failed, message)
            .cure("See why: kubectl idissuer logs --since 10m", "runbooks/IdIssuerOperatorAbsent.md"),
        _ if ready < pods.len() => {
            Check::new(NAME, Verdict::Warning, message).cure("See why: kubectl idissuer logs --since 10m", "")
        }
        _ => Check::good(NAME, message),
    }];
    let others: Vec<_> =
        pods.iter().map(|pod| pod.version.as_str()).filter(|version| *version != OWN).collect();
    checks.push(match others.first() {
        None => Check::good("Version", OWN),
        Some(version) => {
            let message = format!("the operator is {version}, this plugin {OWN}");
            Check::new("Version", Verdict::Warning, message)
                .cure("Use the plugin of the operator's version.", "versions.md")
        }
    });
    checks
}

/// No pod, but a lease that somebody renews: the operator runs outside of the cluster.
pub(super) fn operator_elsewhere() -> Check {
    let message = "no pod of the operator is found, but somebody leads: it runs outside of this cluster, or its pods have other \
                   labels; version and rights are not checked";
    Check::new("Operator", Verdict::Unknown, message)
}

/// Whether somebody leads.
pub(super) fn leader(lease: &LeaseFacts, now: Timestamp) -> Check {
    let message = lease.describe(now);
    if lease.is_lost(now) {
        return Check::new("Leader", Verdict::Failed, message)
            .cure("See why: kubectl idissuer logs --since 10m", "runbooks/IdIssuerNoLeader.md");
    }
    if let Some(problem) = lease.clock_problem() {
        return Check::new("Leader", Verdict::Warning, format!("{message}; {problem}")).cure(
            "Correct the clock that is wrong (NTP): the times of status are by the operator's.",
            "concepts/clocks.md",
        );
    }
    Check::good("Leader", message)
}

/// Credentials in namespaces that no operator manages.
pub(super) fn out_of_scope(pods: &[OperatorPod], rows: &[Row]) -> Option<Check> {
    let is_managed =
        |row: &&Row| pods.iter().any(|pod| pod.scope.is_empty() || pod.scope.contains(&row.namespace));
    let mut alone = rows.iter().filter(|row| !is_managed(row));
    let first = alone.next().filter(|_| !pods.is_empty())?;
    let message =
        format!("no operator manages the namespace of {}, first {}", 1 + alone.count(), first.path());
    let cure = "Let an operator manage the namespace: --namespace, in the chart scope.namespaces.";
    Some(Check::new("Credentials", Verdict::Warning, message).cure(cure, "tasks/tenants.md"))
}

/// Whether somebody scrapes the operator, as far as objects show it.
pub(super) fn scraped(pods: &[OperatorPod], monitors: usize) -> Option<Check> {
    if pods.is_empty() {
        return None;
    }
    Some(if monitors > 0 {
        Check::good("Metrics", "a ServiceMonitor or PodMonitor names the operator")
    } else if pods.iter().any(|pod| pod.asks_for_scrapes) {
        Check::good("Metrics", "annotations of the pods ask for scrapes")
    } else {
        let message =
            "nothing shows that anybody scrapes the operator: then nobody is alerted when tokens expire";
        Check::new("Metrics", Verdict::Warning, message).cure(
            "Enable metrics.serviceMonitor or metrics.podMonitor, and metrics.prometheusRule, in the chart.",
            "reference/alerts.md",
        )
    })
}

/// The credentials of all that could be read.
pub(super) fn credentials(rows: &[Row]) -> Vec<Check> {
    const NAME: &str = "Credentials";
    let bad: Vec<_> = rows.iter().filter(|row| !row.is_good).collect();
    let Some(first) = bad.first() else {
        let check = Check::good(NAME, format!("{} of {} ready", rows.len(), rows.len()));
        return [check].into_iter().chain(troubled(rows)).collect();
    };
    let message =
        format!("{} of {} are not ready, first {} ({})", bad.len(), rows.len(), first.path(), first.reason);
    let check = Check::new(NAME, Verdict::Warning, message);
    let mut checks =
        vec![check.cure(format!("kubectl idissuer explain {} -n {}", first.name, first.namespace), "")];
    checks.extend(troubled(rows));
    // Those that the operator may not call have not failed.
    let is_failing = |row: &&&Row| row.reason.starts_with("Issuer") && !row.reason.ends_with("NotAllowed");
    let failing = bad.iter().filter(is_failing).count();
    if failing > 0 {
        checks.push(
            Check::new("Issuer", Verdict::Warning, format!("the issuer fails for {failing} of them")).cure(
                "Check the issuer, and the network and proxy on the way.",
                "runbooks/IdIssuerIssuerFailing.md",
            ),
        );
    }
    checks
}

/// Tokens that still work, and that nothing replaces.
fn troubled(rows: &[Row]) -> Option<Check> {
    let troubled: Vec<_> = rows.iter().filter(|row| row.is_good && row.trouble.is_some()).collect();
    let first = troubled.first()?;
    let message = format!(
        "{} of {} are ready, and get no newer token, first {} ({})",
        troubled.len(),
        rows.len(),
        first.path(),
        first.trouble.as_deref().unwrap_or_default()
    );
    let cure = format!("kubectl idissuer explain {} -n {}", first.name, first.namespace);
    Some(Check::new("Credentials", Verdict::Warning, message).cure(cure, ""))
}

/// Credentials that another version wrote.
pub(super) fn not_understood(credentials: &Credentials) -> Option<Check> {
    let first = credentials.notes().next()?;
    let message = format!("{} are not understood, first: {first}", credentials.unknown.len());
    let cure = "Compare the versions: kubectl idissuer version";
    Some(Check::new("Credentials", Verdict::Warning, message).cure(cure, "versions.md"))
}

/// Annotations that ask for the sidecar.
pub(super) fn injection(objects: &[Annotated]) -> Check {
    const NAME: &str = "Injection";
    let mistakes = mistakes(objects);
    let Some(first) = mistakes.first() else {
        return Check::good(NAME, "no annotation is misspelled or on the wrong object");
    };
    let place = &first.object().namespace;
    let message = format!(
        "annotations that ask for the sidecar and do nothing: {}, first in {place}: {}",
        mistakes.len(),
        first.describe()
    );
    let cure = "Pods need the annotation idissuer.pl/inject-secret; in what makes them it stands in \
                spec.template.metadata.annotations.";
    Check::new(NAME, Verdict::Warning, message).cure(cure, PAGE)
}

/// The clocks of this machine and of the API server.
pub(super) fn clock(now: Timestamp, server: Option<Timestamp>) -> Option<Check> {
    let difference = now.duration_since(server?);
    Some(if difference.as_secs().abs() > CLOCKS_DIFFER {
        let way = if difference.is_negative() { "behind" } else { "ahead of" };
        let message = format!("this machine's clock is {} {way} the API server's", short(difference));
        Check::new("Clock", Verdict::Warning, message)
            .cure("Correct the one that is wrong.", "concepts/clocks.md")
    } else {
        Check::good("Clock", "this machine and the API server agree")
    })
}

/// Rights of somebody: those that are missing, as `verb resource`.
pub(super) fn rights(name: &'static str, all: usize, missing: &[String], cure: &str, page: &str) -> Check {
    if missing.is_empty() {
        return Check::good(name, format!("all {all} rights are there"));
    }
    Check::new(name, Verdict::Failed, format!("missing: {}", missing.join(", "))).cure(cure, page)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::injection::tests::annotated;
    use crate::plugin::injection::{POD, SECRET};
    use crate::plugin::row::tests::{condition, credential, time, token};

    fn pod(version: &str, is_ready: bool) -> OperatorPod {
        OperatorPod {
            namespace: "idissuer-system".to_owned(),
            lease: None,
            reads_namespaces: false,
            name: "idissuer-1".to_owned(),
            version: version.to_owned(),
            image: String::new(),
            is_ready,
            service_account: "idissuer".to_owned(),
            scope: Vec::new(),
            asks_for_scrapes: false,
        }
    }

    #[test]
    fn versions_of_kubernetes_are_compared() {
        for (version, verdict) in [
            ("v1.32.9", Verdict::Failed),
            ("v1.33.0", Verdict::Good),
            ("v1.34+", Verdict::Good),
            ("v1.30-gke.1", Verdict::Failed),
            ("odd", Verdict::Good),
        ] {
            assert_eq!(server(version).verdict, verdict, "{version}");
        }
    }

    #[test]
    fn a_crd_of_another_version_is_told() {
        for (state, after, before) in [
            (CrdState::Same, Verdict::Good, Verdict::Good),
            (CrdState::Different, Verdict::Warning, Verdict::Warning),
            (CrdState::NotServed, Verdict::Failed, Verdict::Warning),
            (CrdState::Missing, Verdict::Failed, Verdict::Good),
        ] {
            assert_eq!((crd(state).verdict, crd_before(state).verdict), (after, before), "{state:?}");
        }
    }

    #[test]
    fn an_operator_is_judged_by_its_pods() {
        let verdicts =
            |pods: &[OperatorPod]| operator(pods).into_iter().map(|it| it.verdict).collect::<Vec<_>>();
        assert_eq!(verdicts(&[]), [Verdict::Failed]);
        assert_eq!(verdicts(&[pod(OWN, true)]), [Verdict::Good, Verdict::Good]);
        assert_eq!(verdicts(&[pod(OWN, false)]), [Verdict::Failed, Verdict::Good]);
        assert_eq!(verdicts(&[pod(OWN, true), pod("9.0.0", false)]), [Verdict::Warning, Verdict::Warning]);
    }

    #[test]
    fn a_lease_that_nobody_renews_fails() {
        let lease = LeaseFacts {
            path: "idissuer-system/idissuer".to_owned(),
            holder: Some("pod".to_owned()),
            renewed: Some(time("2026-01-01T00:00:00Z")),
            ahead: jiff::SignedDuration::ZERO,
            seconds: 15,
        };
        assert_eq!(leader(&lease, time("2026-01-01T00:00:10Z")).verdict, Verdict::Good);
        assert_eq!(leader(&lease, time("2026-01-01T00:10:00Z")).verdict, Verdict::Failed);
        let wrong = LeaseFacts { ahead: jiff::SignedDuration::from_hours(2), ..lease };
        assert_eq!(leader(&wrong, time("2026-01-01T00:00:10Z")).verdict, Verdict::Warning);
    }

    #[test]
    fn an_operator_that_nobody_scrapes_is_told() {
        assert_eq!(scraped(&[], 0), None);
        assert_eq!(scraped(&[pod(OWN, true)], 0).unwrap().verdict, Verdict::Warning);
        assert_eq!(scraped(&[pod(OWN, true)], 1).unwrap().verdict, Verdict::Good);
        let annotated = OperatorPod { asks_for_scrapes: true, ..pod(OWN, true) };
        assert_eq!(scraped(&[annotated], 0).unwrap().verdict, Verdict::Good);
    }

    #[test]
    fn credentials_that_are_not_ready_lead_to_explain() {
        let row = |status: Value| {
            let credential = credential(json!({"loginSecretRef": {"name": "login"}}), status);
            Row::new(&credential, time("2026-01-01T00:00:00Z"))
        };
        assert_eq!(credentials(&[])[0].verdict, Verdict::Good);
        let failing = row(json!({"conditions": [condition("Ready", "False", "IssuerUnreachable")]}));
        let checks = credentials(&[row(Value::Null), failing]);
        assert_eq!(checks.len(), 2);
        assert_eq!(checks[0].cure, "kubectl idissuer explain billing -n shop");
        assert_eq!(checks[1].message, "the issuer fails for 1 of them");
        let forbidden = row(json!({"conditions": [condition("Ready", "False", "IssuerNotAllowed")]}));
        assert_eq!(credentials(&[forbidden]).len(), 1, "that issuer was not called");
    }

    #[test]
    fn credentials_that_no_operator_manages_are_told() {
        let credential = credential(json!({"loginSecretRef": {"name": "login"}}), Value::Null);
        let rows = [Row::new(&credential, time("2026-01-01T00:00:00Z"))];
        let of = |scope: &[&str]| {
            let scope = scope.iter().map(|&namespace| namespace.to_owned()).collect();
            out_of_scope(&[OperatorPod { scope, ..pod(OWN, true) }], &rows)
        };
        assert_eq!((out_of_scope(&[], &rows), of(&[]), of(&["bank", "shop"])), (None, None, None));
        let message = of(&["bank"]).unwrap().message;
        assert_eq!(message, "no operator manages the namespace of 1, first shop/billing");
    }

    #[test]
    fn a_ready_credential_that_gets_no_newer_token_is_not_called_good() {
        let ready = condition("Ready", "True", "TokenPublished");
        let stalled = condition("Stalled", "True", "LoginRejected");
        let status = json!({"conditions": [ready, stalled], "token": token("a")});
        let credential = credential(json!({"loginSecretRef": {"name": "login"}}), status);
        let checks = credentials(&[Row::new(&credential, time("2026-01-01T00:10:00Z"))]);
        let last = checks.last().unwrap();
        assert_eq!(last.verdict, Verdict::Warning);
        assert_eq!(
            last.message,
            "1 of 1 are ready, and get no newer token, first shop/billing (LoginRejected)"
        );
        assert_eq!(last.cure, "kubectl idissuer explain billing -n shop");
    }

    #[test]
    fn annotations_of_injection_that_do_nothing_are_counted() {
        assert_eq!(injection(&[annotated(POD, SECRET)]).verdict, Verdict::Good);
        let objects = [annotated("deployment", SECRET), annotated(POD, "idissuer.pl/inject-secrets")];
        let check = injection(&objects);
        assert_eq!(check.verdict, Verdict::Warning);
        assert!(check.message.contains("do nothing: 2, first in shop: "), "{}", check.message);
        assert!(check.message.contains("first in shop: idissuer.pl/inject-secret in "), "{}", check.message);
    }

    #[test]
    fn clocks_and_rights_are_told() {
        let noon = time("2026-01-01T12:00:00Z");
        assert_eq!(clock(noon, None), None);
        assert_eq!(clock(noon, Some(noon)).unwrap().verdict, Verdict::Good);
        let late = clock(noon, Some(time("2026-01-01T12:01:00Z"))).unwrap();
        assert_eq!((late.verdict, late.message.contains("1m behind")), (Verdict::Warning, true));
        assert_eq!(rights("Rights", 3, &[], "", "").verdict, Verdict::Good);
        let missing = rights("Rights", 3, &["patch secrets".to_owned()], "cure", "page");
        assert_eq!((missing.verdict, missing.message.as_str()), (Verdict::Failed, "missing: patch secrets"));
    }
}
