//! `kubectl idissuer check`: the installation, check by check.

mod finding;
mod judge;
mod rights;

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use self::finding::{Check, Verdict};
use super::Context;
use super::cluster::{Cluster, Scope};
use super::failure::{Failure, FailureKind};
use super::injection::Annotated;
use super::lease::{LeaseFacts, Leases, controllers, time_of_holder};
use super::operator::{self, OperatorPod};
use super::row::Row;
use super::screen::{Format, Text};
use super::version::CrdState;
use crate::api::IdIssuerCredential;

/// How often `--wait` looks.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl idissuer check --pre            before the installation: may I install it here?
  kubectl idissuer check --wait           after it, until all is well
  kubectl idissuer check -o json

Checks Kubernetes, the CRD, the operator's pods, version, rights verb by verb and leader, whether anybody scrapes it, the credentials,
annotations of injection that do nothing, and the clocks. Each finding names the cure and the address of its page.

Exit codes: 0 nothing failed; 3 something failed; 124 something still fails after --wait. Warnings do not count.
Rights: get on customresourcedefinitions.apiextensions.k8s.io, list on pods, deployments, statefulsets, daemonsets, cronjobs and on
idissuercredentials.idissuer.pl in all namespaces, create on subjectaccessreviews.authorization.k8s.io. What may not be read is
reported as unknown.")]
pub(super) struct CheckArguments {
    /// Check what an installation needs, before it
    #[arg(long)]
    pre: bool,

    /// Repeat until nothing fails
    #[arg(long)]
    wait: bool,

    /// With --wait: for how long
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    timeout_seconds: u32,

    /// The namespace of the operator [default: all namespaces; with --pre: the one of the context]
    #[arg(long, value_name = "NAME")]
    operator_namespace: Option<String>,

    /// Print the findings as data: json or yaml
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    output: Option<Format>,
}

/// Checks the installation.
pub(super) async fn run(arguments: CheckArguments, context: &mut Context<'_>) -> Result<(), Failure> {
    let cluster = context.cluster().await?;
    let limit = Duration::from_secs(arguments.timeout_seconds.into());
    let start = tokio::time::Instant::now();
    let (checks, has_failed) = loop {
        let checks = if arguments.pre {
            before(&cluster, &arguments).await?
        } else {
            Box::pin(after(&cluster, &arguments, context)).await?
        };
        let has_failed = checks.iter().any(|check| check.verdict == Verdict::Failed);
        if !has_failed || !arguments.wait || start.elapsed() >= limit {
            break (checks, has_failed);
        }
        tokio::time::sleep(PAUSE).await;
    };
    if let Some(format) = arguments.output {
        context.screen.data(format, &json!({"checks": checks}))?;
    } else {
        let mut text = Text::default();
        for check in &checks {
            check.render(context.screen, &mut text);
        }
        context.screen.print(&text.finish())?;
    }
    let kind = if arguments.wait { FailureKind::TimedOut } else { FailureKind::NotReady };
    if has_failed { Err(Failure::shown(kind)) } else { Ok(()) }
}

/// A check that could not be made. What is forbidden is unknown; everything else ends the command.
fn unknown(name: &'static str, failure: Failure) -> Result<Check, Failure> {
    match failure.kind {
        FailureKind::Forbidden | FailureKind::NotFound => {
            Ok(Check::new(name, Verdict::Unknown, failure.message))
        }
        _ => Err(failure),
    }
}

fn judged<T>(
    name: &'static str,
    outcome: Result<T, Failure>,
    judge: impl FnOnce(T) -> Check,
) -> Result<Check, Failure> {
    outcome.map_or_else(|failure| unknown(name, failure), |value| Ok(judge(value)))
}

async fn before(cluster: &Cluster, arguments: &CheckArguments) -> Result<Vec<Check>, Failure> {
    let namespace = arguments.operator_namespace.as_deref().unwrap_or(&cluster.namespace);
    let (server, crd, pods) =
        tokio::join!(cluster.server_version(), cluster.crd(), operator::pods(cluster, None));
    let mut checks = vec![
        judged("Kubernetes", server, |version| judge::server(&version))?,
        judged("CRD", crd, |crd| judge::crd_before(CrdState::of(crd.as_ref())))?,
    ];
    checks.push(judged("Operator", pods, |pods| match pods.first() {
        None => Check::good("Operator", "none runs yet"),
        Some(pod) => Check::new("Operator", Verdict::Warning, format!("one runs already: {}", pod.path()))
            .cure("Upgrade that one, or give each its own namespaces.", "tasks/several-controllers.md"),
    })?);
    checks.push(rights::to_install(cluster, namespace).await?);
    Ok(checks)
}

async fn after(
    cluster: &Cluster,
    arguments: &CheckArguments,
    context: &Context<'_>,
) -> Result<Vec<Check>, Failure> {
    let place = arguments.operator_namespace.as_deref();
    let (server, crd, pods, credentials, annotated, server_time) = tokio::join!(
        cluster.server_version(),
        cluster.crd(),
        operator::pods(cluster, place),
        cluster.credentials(Scope::All, None),
        annotated(cluster),
        cluster.server_time(),
    );
    let now = context.clock.now().wall;
    let mut checks = vec![
        judged("Kubernetes", server, |version| judge::server(&version))?,
        judged("CRD", crd, |crd| judge::crd(CrdState::of(crd.as_ref())))?,
    ];
    let time = server_time.unwrap_or(now);
    let (leaders, leases) = match &credentials {
        Ok(credentials) => leaders(cluster, &credentials.known, place, time).await?,
        Err(_) => Default::default(),
    };
    let known_pods = pods.as_ref().map_or(&[][..], Vec::as_slice).to_vec();
    match pods {
        Ok(pods)
            if pods.is_empty()
                && leaders
                    .iter()
                    .any(|it| it.verdict != Verdict::Failed && it.verdict != Verdict::Unknown) =>
        {
            checks.push(judge::operator_elsewhere());
        }
        Ok(pods) => checks.extend(of_operator(cluster, &pods).await?),
        Err(failure) => checks.push(unknown("Operator", failure)?),
    }
    checks.extend(leaders);
    match credentials {
        Ok(credentials) => {
            let known = &credentials.known;
            let row = |it| Row::new(it, time_of_holder(leases.of(it), time));
            let rows: Vec<_> = known.iter().map(row).collect();
            checks.extend(judge::credentials(&rows));
            checks.extend(judge::out_of_scope(&known_pods, &rows));
            checks.extend(judge::not_understood(&credentials));
        }
        Err(failure) => checks.push(unknown("Credentials", failure)?),
    }
    checks.push(judged("Injection", annotated, |objects| judge::injection(&objects))?);
    checks.extend(judge::clock(now, server_time));
    Ok(checks)
}

/// The pods and what makes them, by their metadata.
async fn annotated(cluster: &Cluster) -> Result<Vec<Annotated>, Failure> {
    let (pods, workloads) =
        tokio::try_join!(cluster.annotated_pods(Scope::All), cluster.workloads(Scope::All))?;
    Ok([workloads, pods].concat())
}

/// The leases that the status of credentials names: those of the operator's namespace, if that is given.
async fn leaders(
    cluster: &Cluster,
    credentials: &[IdIssuerCredential],
    place: Option<&str>,
    now: Timestamp,
) -> Result<(Vec<Check>, Leases), Failure> {
    let is_there = |controller: &&str| place.is_none_or(|place| controller.split('/').next() == Some(place));
    let (mut checks, mut leases) = (Vec::new(), Leases::default());
    for controller in controllers(credentials).into_iter().filter(is_there) {
        match LeaseFacts::read(cluster, controller).await {
            Ok(None) => {}
            Ok(Some(lease)) => {
                checks.push(judge::leader(&lease, now));
                leases.add(controller, lease);
            }
            Err(failure) => checks.push(unknown("Leader", failure)?),
        }
    }
    Ok((checks, leases))
}

async fn of_operator(cluster: &Cluster, pods: &[OperatorPod]) -> Result<Vec<Check>, Failure> {
    let mut checks = judge::operator(pods);
    if let Some(pod) = pods.first() {
        checks.push(rights::of_operator(cluster, pod).await?);
        match cluster.monitors(&pod.namespace).await {
            Ok(monitors) => checks.extend(judge::scraped(pods, monitors)),
            Err(failure) => checks.push(unknown("Metrics", failure)?),
        }
    }
    Ok(checks)
}
