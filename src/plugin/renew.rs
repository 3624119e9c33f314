//! `kubectl idissuer renew`: asks for new tokens, and waits for the outcome.

mod progress;

use std::time::Duration;

use clap::Args;
use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;

use self::progress::{Progress, RenewRequest, progress};
use super::Context;
use super::cluster::Cluster;
use super::cluster_clock::ClusterClock;
use super::failure::{Failure, FailureKind, summary};
use super::lease::Leases;
use super::lifetime::short;
use super::row::Row;
use super::screen::{Format, Tone};
use super::selection::Selection;
use crate::api::{IdIssuerCredential, RENEW_REQUESTED_AT_ANNOTATION};

/// How often the status is read.
const PAUSE: Duration = Duration::from_millis(500);
/// How many credentials are renewed at once.
const CONCURRENCY: usize = 16;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl idissuer renew billing
  kubectl idissuer renew --all -A --no-wait
  kubectl idissuer renew -l app=shop --timeout-seconds 300

It sets the annotation idissuer.pl/renew-requested-at, which also has a held login tried once more. The published token
stays valid until it expires. A token that is only some seconds old counts as the new one.

Exit codes: 0 all are renewed; 3 someone must act first, and the output says how; 124 not renewed in time, and the output
says what it waits for. If several fail differently: 1.
Rights: get and patch on idissuercredentials.idissuer.pl; with -l, --all and -A also list. Without get on the Lease of the operator,
its clock counts as right.")]
pub(super) struct RenewArguments {
    #[command(flatten)]
    selection: Selection,

    /// Only ask, and do not wait for the outcome
    #[arg(long)]
    no_wait: bool,

    /// How long to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    timeout_seconds: u32,

    /// Print the outcomes as data: json or yaml
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    output: Option<Format>,
}

/// What became of one request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    namespace: String,
    name: String,
    outcome: Outcome,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_time: Option<Timestamp>,
    /// The life of the new token.
    #[serde(skip)]
    left: Option<SignedDuration>,
    #[serde(skip)]
    kind: Option<FailureKind>,
}

impl Report {
    fn new(row: &Row, outcome: Outcome, kind: Option<FailureKind>, message: String) -> Self {
        let (namespace, name) = (row.namespace.clone(), row.name.clone());
        Self { namespace, name, outcome, message, expiration_time: None, left: None, kind }
    }
}

/// The outcome in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Outcome {
    Renewed,
    AlreadyNew,
    Requested,
    Refused,
    TimedOut,
    Failed,
}

/// Asks for the renewals, and waits.
pub(super) async fn run(arguments: RenewArguments, context: &mut Context<'_>) -> Result<(), Failure> {
    let cluster = context.cluster().await?;
    let credentials = arguments.selection.read(&cluster).await?;
    let clock = ClusterClock::read(&cluster, context.clock).await;
    let leases = Leases::read(&cluster, &credentials).await;
    let (cluster, arguments) = (&cluster, &arguments);
    let renewals = credentials.iter().map(|credential| {
        let clock = clock.of_operator(leases.of(credential));
        async move { renew(cluster, credential, arguments, &clock).await }
    });
    let mut renewals = stream::iter(renewals).buffered(CONCURRENCY);
    let mut outcomes = Vec::new();
    while let Some(outcome) = renewals.next().await {
        if arguments.output.is_none() {
            let line = sentence(&outcome);
            let tone = if outcome.kind.is_none() { Tone::Good } else { Tone::Bad };
            let line = context.screen.paint(tone, &line);
            context.screen.line(&line)?;
        }
        outcomes.push(outcome);
    }
    if let Some(format) = arguments.output {
        context.screen.data(format, &json!({"outcomes": outcomes}))?;
    }
    summary(outcomes.iter().filter_map(|outcome| outcome.kind))
        .map_or(Ok(()), |kind| Err(Failure::shown(kind)))
}

/// Asks for one renewal, and waits.
async fn renew(
    cluster: &Cluster,
    credential: &IdIssuerCredential,
    arguments: &RenewArguments,
    clock: &ClusterClock<'_>,
) -> Report {
    let row = Row::new(credential, clock.now());
    let outcome = |outcome, kind, message: String| Report::new(&row, outcome, kind, message);
    if row.suspended {
        let message = format!(
            "it is suspended; resume it first: kubectl idissuer resume {} -n {}",
            row.name, row.namespace
        );
        return outcome(Outcome::Refused, Some(FailureKind::NotReady), message);
    }
    match ask(cluster, credential, &row, clock).await {
        Err(failure) => outcome(Outcome::Failed, Some(failure.kind), failure.message),
        Ok(_) if arguments.no_wait => outcome(Outcome::Requested, None, "a renewal is requested".to_owned()),
        Ok(request) => {
            let limit = Duration::from_secs(arguments.timeout_seconds.into());
            wait(cluster, &row, &request, limit, clock).await
        }
    }
}

/// Sets the annotation to a value that it never had.
async fn ask(
    cluster: &Cluster,
    credential: &IdIssuerCredential,
    row: &Row,
    clock: &ClusterClock<'_>,
) -> Result<RenewRequest, Failure> {
    let now = clock.now();
    let token = credential.status.as_ref().and_then(|status| status.token.as_ref());
    let request = RenewRequest {
        value: now.to_string(),
        at: crate::core::time::to_second(now),
        fingerprint: token.map(|token| token.fingerprint.clone()),
    };
    let patch = json!({"metadata": {"annotations": {RENEW_REQUESTED_AT_ANNOTATION: request.value}}});
    cluster.patch(&row.namespace, &row.name, &patch).await.map(|_| request)
}

async fn wait(
    cluster: &Cluster,
    row: &Row,
    request: &RenewRequest,
    limit: Duration,
    clock: &ClusterClock<'_>,
) -> Report {
    let start = clock.clock.now().monotonic;
    loop {
        let credential = match cluster.credential(&row.namespace, &row.name).await {
            Ok(credential) => credential,
            Err(failure) => return Report::new(row, Outcome::Failed, Some(failure.kind), failure.message),
        };
        let waited = clock.clock.now().monotonic.saturating_sub(start);
        let waited = Duration::try_from(waited).unwrap_or_default();
        let token = credential.status.as_ref().and_then(|status| status.token.as_ref());
        let expiration_time = token.map(|token| token.expiration_time.0);
        let (outcome, kind, message) = match progress(&credential, request, waited) {
            Progress::Renewed => (Outcome::Renewed, None, "renewed".to_owned()),
            Progress::IsNew => (
                Outcome::AlreadyNew,
                None,
                "the token was issued seconds ago, and counts as the new one".to_owned(),
            ),
            Progress::Refused(said) => (Outcome::Refused, Some(FailureKind::NotReady), said),
            Progress::Waits(said) if waited >= limit => {
                let message =
                    format!("not renewed within {} s, but it still may be. {said}", limit.as_secs());
                (Outcome::TimedOut, Some(FailureKind::TimedOut), message)
            }
            Progress::Waits(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let left = expiration_time.map(|time| time.duration_since(clock.now()));
        return Report { expiration_time, left, ..Report::new(row, outcome, kind, message) };
    }
}

fn sentence(outcome: &Report) -> String {
    let left = outcome.left.filter(|_| outcome.kind.is_none());
    let left = left.map(|left| format!("; the token is valid for {}", short(left)));
    format!("{}/{}: {}{}", outcome.namespace, outcome.name, outcome.message, left.unwrap_or_default())
}
