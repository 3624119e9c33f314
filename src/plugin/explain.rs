//! `kubectl idissuer explain`: why a credential is not ready, or what will go wrong next, with the cure.

mod causes;
mod command;
mod cures;
mod facts;
mod finding;
mod operator;
mod owner;
mod warnings;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use self::causes::causes;
use self::facts::Facts;
use self::finding::Severity;
use self::operator::operator;
use self::owner::Owner;
use self::warnings::warnings;
use super::Context;
use super::cluster::{Cluster, Scope};
use super::failure::{Failure, FailureKind};
use super::lease::{LeaseFacts, time_of_holder};
use super::operator_metrics::OperatorMetrics;
use super::row::Row;
use super::screen::{Format, Text, Tone};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl idissuer explain billing
  kubectl idissuer explain billing -o json | jq -r '.findings[].commands[]?'

It reads status and Events, the metadata of the Secrets, the operator's Lease and metrics and the pods of the namespace, and says
what is wrong, what shows it, and what cures it. It also warns of what will go wrong: containers that never see a new token (environment,
subPath), clocks, annotations of injection that do nothing.

Exit codes: 0 no problem; 3 a problem. Warnings do not count.
Rights: get on idissuercredentials.idissuer.pl; where they exist get on both Secrets, on the Lease and on pods/proxy of the
operator and on the credential that it follows, list on events.events.k8s.io, pods, deployments, statefulsets,
daemonsets and cronjobs. What may not be read is named, and the rest is explained.")]
pub(super) struct ExplainArguments {
    /// The credential
    #[arg(value_name = "NAME")]
    name: String,

    /// Print the findings as data: json or yaml
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    output: Option<Format>,
}

/// Explains a credential.
pub(super) async fn run(arguments: ExplainArguments, context: &mut Context<'_>) -> Result<(), Failure> {
    let cluster = context.cluster().await?;
    let facts = Box::pin(read(&cluster, &arguments.name, context.clock.now().wall)).await?;
    let findings: Vec<_> =
        causes(&facts).into_iter().chain(operator(&facts)).chain(warnings(&facts)).collect();
    let has_problem = findings.iter().any(|finding| finding.severity == Severity::Problem);
    if let Some(format) = arguments.output {
        let data = json!({"credential": facts.row, "findings": findings, "notRead": facts.missing_rights});
        context.screen.data(format, &data)?;
    } else {
        let mut text = Text::default();
        let row = &facts.row;
        let left = row.token.as_ref().map(|token| token.left(context.screen.is_decorated()));
        let left = left.map_or_else(|| "no token".to_owned(), |left| format!("token: {left}"));
        let ready = context.screen.paint(row.tone(), &format!("Ready {}, {}", row.ready, row.state()));
        text.line(format!("{}: {ready}; {left}", row.path()));
        for finding in &findings {
            text.line("");
            finding.render(context.screen, &mut text);
        }
        if findings.is_empty() {
            text.line(context.screen.paint(Tone::Good, "Nothing is wrong that can be seen from here."));
        }
        for right in &facts.missing_rights {
            text.line(format!("\nNot read: {right}"));
        }
        context.screen.print(&text.finish())?;
    }
    if has_problem { Err(Failure::shown(FailureKind::NotReady)) } else { Ok(()) }
}

/// Reads all that this user may read.
async fn read(cluster: &Cluster, name: &str, now: Timestamp) -> Result<Facts, Failure> {
    let namespace = &cluster.namespace;
    let credential = cluster.credential(namespace, name).await?;
    let row = Row::new(&credential, now);
    let login = async {
        match &row.login_secret {
            Some(login) => cluster.secret_metadata(namespace, login).await.map(|found| Some(found.is_some())),
            None => Ok(None),
        }
    };
    let controller =
        credential.status.as_ref().and_then(|status| status.controller.clone()).unwrap_or_default();
    let (target, login, owner, pods, events, workloads, lease, server_time) = tokio::join!(
        cluster.secret_metadata(namespace, &row.secret),
        login,
        Owner::read(cluster, &row),
        cluster.pods(namespace),
        cluster.events(namespace, name),
        cluster.workloads(Scope::Namespace(namespace)),
        LeaseFacts::read(cluster, &controller),
        cluster.server_time(),
    );
    let mut missing_rights = Vec::new();
    let mut note = |failure: Failure| missing_rights.push(failure.message);
    let is_target_there = target.map_err(&mut note).ok().map(|found| found.is_some());
    let is_login_there = login.map_err(&mut note).ok().flatten();
    let owner = owner.map_err(&mut note).ok().flatten();
    let pods = pods.map_err(&mut note).ok();
    let events = events.map_err(&mut note).unwrap_or_default();
    let workloads = workloads.map_err(&mut note).unwrap_or_default();
    let lease = lease.map_err(&mut note).ok().flatten();
    let leader = lease.as_ref().filter(|lease| !lease.is_lost(server_time.unwrap_or(now)));
    let metrics = match leader.and_then(LeaseFacts::leading_pod) {
        Some((namespace, pod)) => {
            OperatorMetrics::read(cluster, namespace, pod).await.map_err(&mut note).ok()
        }
        None => None,
    };
    Ok(Facts {
        row: Row::new(&credential, time_of_holder(lease.as_ref(), server_time.unwrap_or(now))),
        credential,
        now,
        server_time,
        lease,
        metrics,
        is_target_there,
        is_login_there,
        owner,
        pods,
        events,
        workloads,
        missing_rights,
    })
}
