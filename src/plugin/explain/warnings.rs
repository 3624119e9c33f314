//! What works now and will go wrong, or what a consumer will not notice.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;

use super::facts::Facts;
use super::finding::{Finding, Severity};
use crate::api::{LifetimeSource, RENEW_REQUESTED_AT_ANNOTATION, RefreshSupport, Strategy};
use crate::core::conditions::ConditionType;
use crate::ops::documentation::without_address;
use crate::plugin::cluster::last_seen;
use crate::plugin::cluster_clock::CLOCKS_DIFFER;
use crate::plugin::consumers::{Use, consumers};
use crate::plugin::injection::{self, Annotated, Mistake, POD, mistakes};
use crate::plugin::lifetime::{relative, short};
use crate::plugin::row::Row;

/// Below this lifetime, mounted files lag behind, in seconds.
const OUTRUNS_KUBELET: i64 = 300;

/// All warnings, and notes at the end.
pub(super) fn warnings(facts: &Facts) -> Vec<Finding> {
    let pods = facts.pods.as_deref().unwrap_or_default();
    let of_pods = [target(facts), blind_consumers(facts, pods), slow_mounts(facts, pods)];
    let of_clocks = [clock(facts), operator_clock(facts)];
    let mut found: Vec<Finding> = of_pods.into_iter().chain(of_clocks).flatten().collect();
    found.extend(injection(facts, pods));
    found.extend(renewal_slip(facts));
    found.extend(rival(facts));
    found.extend([assumed_lifetime(facts), refused_refresh(facts)].into_iter().flatten());
    found
}

fn target(facts: &Facts) -> Option<Finding> {
    let is_published = facts.row.token.is_some();
    // Who may not write it, or shall not, does not restore it.
    let is_kept_back = facts.row.suspended || facts.condition(ConditionType::Stalled, "True").is_some();
    (facts.is_target_there == Some(false) && is_published && !is_kept_back).then(|| {
        let Some(status) = facts.status() else {
            return Finding::new(Severity::Problem, "The target Secret does not exist.");
        };
        let controller = status.controller.as_deref().unwrap_or("unknown");
        Finding::new(
            Severity::Problem,
            "The target Secret was deleted, and the operator has not restored it.",
        )
        .evidence(format!("Secret {} does not exist; operator: {controller}", facts.row.secret))
        .cure("Check that the operator runs; it restores the Secret at once.")
        .command("kubectl idissuer check")
    })
}

fn blind_consumers(facts: &Facts, pods: &[Pod]) -> Option<Finding> {
    let secret = &facts.row.secret;
    let blind: Vec<_> = consumers(pods, secret).into_iter().filter(|it| !it.sees_new_tokens).collect();
    let first = blind.first()?;
    let finding = Finding::new(
        Severity::Warning,
        "Containers use the token in a way that never sees a new one; they fail when their first token expires.",
    );
    let finding = blind.iter().fold(finding, |finding, consumer| {
        let how = if consumer.uses == Use::Environment {
            "in the environment (env, envFrom)"
        } else {
            "with subPath"
        };
        finding.evidence(format!("pod {}, container {}: {how}", consumer.pod, consumer.container))
    });
    Some(
        finding
            .cure(format!(
                "Mount Secret {secret} as a directory without subPath, and read the file for every call. Until then, a \
                 restart gives it the present token."
            ))
            .command(format!("kubectl delete pod {} -n {}", first.pod, facts.row.namespace))
            .page("tasks/pods.md"),
    )
}

fn slow_mounts(facts: &Facts, pods: &[Pod]) -> Option<Finding> {
    let token = facts.row.token.as_ref()?;
    let lifetime = token.expiration_time.duration_since(token.issued_time);
    let mounted = consumers(pods, &facts.row.secret).into_iter().find(|it| it.uses == Use::Files)?;
    (lifetime.as_secs() < OUTRUNS_KUBELET).then(|| {
        let text =
            format!("Its tokens live for {}; files that the kubelet mounts lag behind.", short(lifetime));
        Finding::new(Severity::Warning, text)
            .evidence(format!("pod {} mounts it; the kubelet updates files within about 90 s", mounted.pod))
            .cure("Configure a longer lifetime at the issuer, or use the sidecar.")
            .page("tasks/sidecar.md")
    })
}

fn clock(facts: &Facts) -> Option<Finding> {
    let difference = facts.now.duration_since(facts.server_time?);
    (difference.as_secs().abs() > CLOCKS_DIFFER).then(|| {
        let way = if difference.is_negative() { "behind" } else { "ahead of" };
        let text = format!("This machine's clock is {} {way} the API server's.", short(difference));
        Finding::new(Severity::Warning, text)
            .evidence("the Date header of the API server, by whose clock all times here are told")
            .cure("Correct the clock that is wrong; if it is the cluster's, tokens are renewed at the wrong time.")
            .page("concepts/clocks.md")
    })
}

fn operator_clock(facts: &Facts) -> Option<Finding> {
    let lease = facts.lease.as_ref()?;
    let problem = lease.clock_problem()?;
    let problem = problem.replacen('t', "T", 1);
    Some(
        Finding::new(Severity::Warning, format!("{problem}, and the times of status are by the operator's."))
            .evidence(format!("spec.renewTime of Lease {}, beside the time of its last write", lease.path))
            .cure("Correct the clock that is wrong (NTP).")
            .page("concepts/clocks.md"),
    )
}

/// Annotations that ask for the sidecar, and do nothing.
fn injection(facts: &Facts, pods: &[Pod]) -> Vec<Finding> {
    let pods_by_metadata = pods.iter().map(|pod| Annotated::new(POD, pod.metadata.clone()));
    let is_of_another = |it: &Annotated| it.secret.as_ref().is_some_and(|secret| *secret != facts.row.secret);
    let objects = pods_by_metadata.chain(facts.workloads.iter().cloned());
    let objects: Vec<_> = objects.filter(|object| !is_of_another(object)).collect();
    let is_misspelled = |mistake: &Mistake<'_>| matches!(mistake, Mistake::Misspelled { .. });
    let (misspelled, misplaced): (Vec<_>, Vec<_>) = mistakes(&objects).into_iter().partition(is_misspelled);
    let misspelled =
        of_mistakes(&misspelled, "Pods have an annotation of injection that nobody understands.");
    let misspelled = misspelled.map(|finding| {
        finding.cure("Correct the name in the template of the pods, and create the pods again.")
    });
    let place = &facts.row.namespace;
    let misplaced =
        of_mistakes(&misplaced, "Annotations of injection are on the wrong object, where they do nothing.")
            .map(|finding| {
                let finding = finding
                    .cure("Move them to the template of the pods (spec.template.metadata.annotations), so that the pods have them.");
                misplaced.first().map(Mistake::object).into_iter().fold(finding, |finding, it| {
                    finding.command(format!("kubectl edit {} {} -n {place}", it.kind, it.name))
                })
            });
    misspelled.into_iter().chain(misplaced).chain(without_sidecar(facts, pods)).collect()
}

/// Another operator that finds this credential taken: only an Event tells of it.
fn rival(facts: &Facts) -> Option<Finding> {
    const REASON: &str = "ManagedByAnotherController";
    let uid = facts.credential.metadata.uid.as_deref();
    let is_meant = |event: &&Event| {
        let about = event.regarding.as_ref().and_then(|about| about.uid.as_deref());
        event.reason.as_deref() == Some(REASON) && about == uid
    };
    let event = facts.events.iter().rev().find(is_meant)?;
    let when = relative(last_seen(event)?, facts.time());
    let note = event.note.as_deref().unwrap_or_default();
    Some(
        Finding::new(Severity::Warning, "Two operators manage this namespace, or did so lately.")
            .evidence(format!("Event {REASON}, {when}: {}", without_address(note, REASON)))
            .cure("Give each operator its own namespaces, or stop one.")
            .command("kubectl get leases -A")
            .runbook(REASON),
    )
}

/// An annotation that should ask for a renewal, and asks for nothing.
fn renewal_slip(facts: &Facts) -> Option<Finding> {
    let annotations = facts.credential.metadata.annotations.iter().flatten();
    let name = annotations.map(|(name, _)| name).find(|name| is_renewal_slip(name))?;
    let Row { name: credential, namespace, .. } = &facts.row;
    Some(
        Finding::new(
            Severity::Warning,
            "An annotation of the credential looks like a renew request, and is none.",
        )
        .evidence(format!("{name}, which should be {RENEW_REQUESTED_AT_ANNOTATION}"))
        .cure("Request the renewal.")
        .command(format!("kubectl idissuer renew {credential} -n {namespace}"))
        .runbook("RenewRequestHandled"),
    )
}

/// Whether this is nearly the name, or the name under another domain or none.
fn is_renewal_slip(name: &str) -> bool {
    const SLIPS: usize = 3;
    let meant = RENEW_REQUESTED_AT_ANNOTATION;
    let is_similar =
        strsim::damerau_levenshtein(meant, name) <= SLIPS || name.starts_with("idissuer.pl/renew");
    let is_elsewhere = name.ends_with("renew-requested-at");
    name != meant && (is_similar || is_elsewhere)
}

fn of_mistakes(mistakes: &[Mistake<'_>], cause: &str) -> Option<Finding> {
    let finding = Finding::new(Severity::Warning, cause).page(injection::PAGE);
    let evidence = mistakes.iter().map(Mistake::describe);
    (!mistakes.is_empty()).then(|| evidence.fold(finding, Finding::evidence))
}

/// A pod that asks for the sidecar in the right way, and has none.
fn without_sidecar(facts: &Facts, pods: &[Pod]) -> Option<Finding> {
    let asks = |pod: &&Pod| {
        let annotation = pod.metadata.annotations.as_ref().and_then(|all| all.get(injection::SECRET));
        annotation.is_some_and(|secret| *secret == facts.row.secret)
    };
    let has_none = |pod: &&Pod| {
        let spec = pod.spec.iter();
        let mut containers =
            spec.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
        !containers.any(|container| container.name == "idissuer")
    };
    let pod = pods.iter().filter(asks).find(has_none)?.metadata.name.as_deref()?;
    Some(
        Finding::new(Severity::Warning, "A pod asks for the sidecar and has none.")
            .evidence(format!("pod {pod} has {} and no container idissuer", injection::SECRET))
            .cure("Switch injection on in the chart (injection.enabled=true), and create the pod again.")
            .command(format!("kubectl delete pod {pod} -n {}", facts.row.namespace))
            .page(injection::PAGE),
    )
}

fn assumed_lifetime(facts: &Facts) -> Option<Finding> {
    let token = facts.status()?.token.as_ref()?;
    (token.lifetime_source == LifetimeSource::Assumed).then(|| {
        Finding::new(Severity::Note, "The issuer does not say how long its tokens live; one hour is assumed.")
            .evidence("status.token.lifetimeSource is Assumed")
            .page("concepts/rotation.md")
    })
}

fn refused_refresh(facts: &Facts) -> Option<Finding> {
    let is_refused = facts.status()?.refresh_support == Some(RefreshSupport::Refused);
    let is_auto = facts.credential.spec.renewal.strategy == Strategy::Auto;
    (is_refused && is_auto).then(|| {
        Finding::new(
            Severity::Note,
            "The issuer refuses early refreshes, so every renewal is a login with the password.",
        )
        .evidence("status.refreshSupport is Refused")
        .page("concepts/rotation.md")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::consumers::tests::pod;
    use crate::plugin::explain::facts;
    use crate::plugin::explain::facts::tests::NOON;
    use crate::plugin::injection::tests::annotated;
    use crate::plugin::row::tests::{condition, time, token};

    fn facts(status: Value, pods: Vec<Pod>) -> Facts {
        Facts {
            server_time: Some(time(NOON)),
            is_target_there: Some(true),
            is_login_there: Some(true),
            pods: Some(pods),
            ..facts::tests::facts(json!({}), status)
        }
    }

    fn good() -> Value {
        json!({"conditions": [condition("Ready", "True", "TokenPublished")], "token": token("a")})
    }

    fn causes(facts: &Facts) -> Vec<String> {
        warnings(facts).into_iter().map(|finding| finding.cause).collect()
    }

    #[test]
    fn a_good_credential_has_no_warnings() {
        let volume = json!({"volumes": [{"name": "token", "secret": {"secretName": "billing"}}]});
        let mount = json!({"volumeMounts": [{"name": "token", "mountPath": "/run"}]});
        assert_eq!(causes(&facts(good(), vec![pod("reports", volume, mount)])), Vec::<String>::new());
    }

    #[test]
    fn containers_that_never_see_a_new_token_are_named_with_the_cure() {
        let from = json!({"envFrom": [{"secretRef": {"name": "billing"}}]});
        let found = warnings(&facts(good(), vec![pod("reports", json!({}), from)]));
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!(found[0].evidence, ["pod reports, container main: in the environment (env, envFrom)"]);
        assert_eq!(found[0].commands, ["kubectl delete pod reports -n shop".into()]);
    }

    #[test]
    fn mounts_of_short_lived_tokens_lag_behind() {
        let mut status = good();
        status["token"]["expirationTime"] = json!("2026-01-01T00:04:00Z");
        let volume = json!({"volumes": [{"name": "token", "secret": {"secretName": "billing"}}]});
        let mount = json!({"volumeMounts": [{"name": "token", "mountPath": "/run"}]});
        let found = causes(&facts(status, vec![pod("reports", volume, mount)]));
        assert!(found[0].starts_with("Its tokens live for 4m"), "{found:?}");
    }

    #[test]
    fn a_wrong_clock_is_found_in_both_directions() {
        for (server, part) in [
            ("2026-01-01T00:29:00Z", "1m ahead of the API server's"),
            ("2026-01-01T00:31:00Z", "1m behind the API server's"),
        ] {
            let mut facts = facts(good(), Vec::new());
            facts.server_time = Some(time(server));
            assert!(causes(&facts)[0].contains(part), "{server}");
        }
    }

    #[test]
    fn annotations_of_injection_that_do_nothing_are_found() {
        let with = |name: &str, value: &str| {
            let mut pod = pod("reports", json!({}), json!({}));
            pod.metadata.annotations = Some([(name.to_owned(), value.to_owned())].into());
            pod
        };
        let found = warnings(&facts(good(), vec![with("idissuer.pl/inject-secrets", "billing")]));
        let evidence = "pod reports: idissuer.pl/inject-secrets, which should be idissuer.pl/inject-secret";
        assert_eq!(found[0].evidence, [evidence]);
        let found = warnings(&facts(good(), vec![with("idissuer.pl/inject-secret", "billing")]));
        assert_eq!(found[0].cause, "A pod asks for the sidecar and has none.");
        for name in ["idissuer.pl/inject-secret", "idissuer.pl/inject-secrets"] {
            let other = facts(good(), vec![with(name, "other")]);
            assert_eq!(causes(&other), Vec::<String>::new(), "that is about another credential: {name}");
        }
    }

    #[test]
    fn a_second_operator_is_told_by_its_event() {
        let mut facts = facts(good(), Vec::new());
        facts.credential.metadata.uid = Some("ours".to_owned());
        let event = |uid: &str| {
            serde_json::from_value::<Event>(json!({
                "metadata": {}, "eventTime": "2026-01-01T00:25:00.000000Z", "reason": "ManagedByAnotherController",
                "note": "Another controller", "regarding": {"uid": uid},
            }))
        };
        facts.events = vec![event("of an earlier one").unwrap()];
        assert_eq!(causes(&facts), Vec::<String>::new());
        facts.events.push(event("ours").unwrap());
        let found = warnings(&facts);
        assert_eq!(found[0].evidence, ["Event ManagedByAnotherController, 5m ago: Another controller"]);
    }

    #[test]
    fn a_misspelled_renew_request_is_found() {
        for (name, is_slip) in [
            (RENEW_REQUESTED_AT_ANNOTATION, false),
            ("other.example/renewed", false),
            ("idissuer.pl/renew-request-at", true),
            ("idissuer.pl/renew-now", true),
            ("renew-requested-at", true),
            ("idissuer.io/renew-requested-at", true),
        ] {
            let mut facts = facts(good(), Vec::new());
            facts.credential.metadata.annotations = Some([(name.to_owned(), "1".to_owned())].into());
            let found = warnings(&facts);
            let evidence = found.first().map(|finding| finding.evidence[0].as_str());
            let expected = format!("{name}, which should be {RENEW_REQUESTED_AT_ANNOTATION}");
            assert_eq!(evidence, is_slip.then_some(expected.as_str()));
        }
    }

    #[test]
    fn annotations_of_injection_on_a_deployment_are_found() {
        let mut facts = facts(good(), Vec::new());
        facts.workloads = vec![annotated("deployment", "other.example/a")];
        assert_eq!(causes(&facts), Vec::<String>::new());
        facts.workloads = vec![annotated("deployment", injection::SECRET)];
        let found = warnings(&facts);
        assert_eq!(
            found[0].evidence,
            ["idissuer.pl/inject-secret in metadata.annotations of deployment reports"]
        );
        assert_eq!(found[0].commands, ["kubectl edit deployment reports -n shop".into()]);
    }

    #[test]
    fn a_deleted_target_and_notes_are_found() {
        let mut status = good();
        status["token"]["lifetimeSource"] = json!("Assumed");
        status["refreshSupport"] = json!("Refused");
        let mut facts = facts(status, Vec::new());
        facts.is_target_there = Some(false);
        let found = warnings(&facts);
        let severities: Vec<_> = found.iter().map(|it| it.severity).collect();
        assert_eq!(severities, [Severity::Problem, Severity::Note, Severity::Note]);
        facts.row.suspended = true;
        assert_eq!(warnings(&facts).len(), 2, "a suspended one is not restored");
        facts.row.suspended = false;
        let refused = condition("Stalled", "True", "TargetWriteRefused");
        let conditions = serde_json::from_value(json!([refused])).unwrap();
        facts.credential.status.as_mut().unwrap().conditions = conditions;
        assert_eq!(warnings(&facts).len(), 2, "that stands among the causes");
    }
}
