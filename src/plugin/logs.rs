//! `kubectl idissuer logs`: the log of the operator, of one credential if wanted.

use clap::Args;
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;

use super::Context;
use super::cluster::send;
use super::failure::{Failure, FailureKind, Request};
use super::operator::{self, CONTAINER, OperatorPod};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl idissuer logs --since 10m
  kubectl idissuer logs billing -f

Shows the log of all pods of the operator, each line with its pod. With NAME, only lines about that credential.

Rights: list on pods in all namespaces or in --operator-namespace, and get on pods/log there.")]
pub(super) struct LogsArguments {
    /// Only lines about this credential, in the namespace
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Follow the log until Ctrl-C
    #[arg(short, long)]
    follow: bool,

    /// Only lines since so long: 30s, 10m, 2h
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    since: Option<i64>,

    /// Only the last lines of each pod
    #[arg(long, value_name = "NUMBER")]
    tail: Option<i64>,

    /// The namespace of the operator [default: all namespaces]
    #[arg(long, value_name = "NAME")]
    operator_namespace: Option<String>,
}

/// A duration as kubectl takes it, of one unit.
fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || "write it like 30s, 10m or 2h".to_owned();
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some(digit) if digit.is_ascii_digit() => return text.parse().map_err(|_| wrong()),
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(i64::from(number) * unit)
}

/// Shows the log.
pub(super) async fn run(arguments: LogsArguments, context: &mut Context<'_>) -> Result<(), Failure> {
    let cluster = context.cluster().await?;
    let pods = operator::pods(&cluster, arguments.operator_namespace.as_deref()).await?;
    if pods.is_empty() {
        let message = "no pod of the operator is found; name its namespace with --operator-namespace, or see its own log";
        return Err(Failure::new(FailureKind::NotFound, message));
    }
    let parameters = LogParams {
        container: Some(CONTAINER.to_owned()),
        follow: arguments.follow,
        since_seconds: arguments.since,
        tail_lines: arguments.tail,
        ..LogParams::default()
    };
    let mut streams = Vec::new();
    for pod in &pods {
        let api = cluster.api::<Pod>(&pod.namespace);
        let lines = send(log_request(pod), api.log_stream(&pod.name, &parameters)).await?.lines();
        streams.push(lines.map_ok(move |line| (pod, line)).boxed_local());
    }
    let mut lines = futures::stream::select_all(streams);
    let namespace = cluster.namespace.clone();
    while let Some(line) = lines.next().await {
        let (pod, line) = line.map_err(|error| Failure::from(format!("read the log: {error}")))?;
        if arguments.name.as_deref().is_none_or(|name| is_about(&line, &namespace, name)) {
            let prefix = if pods.len() > 1 { format!("{}  ", pod.name) } else { String::new() };
            context.screen.line(&format!("{prefix}{line}"))?;
        }
    }
    Ok(())
}

pub(super) fn log_request(pod: &OperatorPod) -> Request<'_> {
    Request { verb: "get", resource: "pods/log", namespace: Some(&pod.namespace), name: Some(&pod.name) }
}

/// Whether a line of either format is about this credential.
fn is_about(line: &str, namespace: &str, name: &str) -> bool {
    let has = |key: &str, value: &str| {
        line.contains(&format!("{key}=\"{value}\"")) || line.contains(&format!("\"{key}\":\"{value}\""))
    };
    has("namespace", namespace) && has("name", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit() {
        for (text, expected) in [("30s", Some(30)), ("10m", Some(600)), ("2h", Some(7_200)), ("5", Some(5))] {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
        for text in ["", "m", "1d", "-1m", "1.5h", "ż"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lines_about_a_credential_are_found_in_both_formats() {
        let text = r#"INFO token published namespace="shop" name="billing" secret="billing""#;
        let json = r#"{"message":"token published","namespace":"shop","name":"billing"}"#;
        for line in [text, json] {
            assert!(is_about(line, "shop", "billing"), "{line}");
            assert!(!is_about(line, "shop", "bill") && !is_about(line, "other", "billing"), "{line}");
        }
    }
}
