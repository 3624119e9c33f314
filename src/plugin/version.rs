//! `kubectl idissuer version`: of the client, the operator and the CRD.

use clap::Args;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::json;

use super::Context;
use super::failure::Failure;
use super::operator::{self, OperatorPod};
use super::screen::{Format, Text, Tone};
use crate::api::crd;

/// The version of this program.
pub(super) const OWN: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl idissuer version
  kubectl idissuer version --client

Use the plugin of the operator's version: another one may not know what the operator reports.

Rights: get on customresourcedefinitions.apiextensions.k8s.io, and list on pods in all namespaces or in --operator-namespace.
What may not be read is named, and the rest is shown.")]
pub(super) struct VersionArguments {
    /// Print the version of this program only, without a cluster
    #[arg(long)]
    client: bool,

    /// The namespace of the operator [default: all namespaces]
    #[arg(long, value_name = "NAME")]
    operator_namespace: Option<String>,

    /// Print it as data: json or yaml
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    output: Option<Format>,
}

/// How an installed CRD compares with the one of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) enum CrdState {
    /// The same.
    Same,
    /// Another version installed it, or somebody changed it.
    Different,
    /// It does not serve the version that this program uses.
    NotServed,
    Missing,
}

impl CrdState {
    pub(super) fn of(installed: Option<&CustomResourceDefinition>) -> Self {
        let Some(installed) = installed else { return Self::Missing };
        let own = crd::crd();
        let Some(mine) = own.spec.versions.first() else { return Self::Different };
        let theirs =
            installed.spec.versions.iter().find(|version| version.name == mine.name && version.served);
        match theirs {
            None => Self::NotServed,
            Some(theirs) if theirs.schema == mine.schema => Self::Same,
            Some(_) => Self::Different,
        }
    }

    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Same => "the one of this program",
            Self::Different => {
                "another one than that of this program: another version installed it, or it was changed"
            }
            Self::NotServed => "does not serve the version that this program uses",
            Self::Missing => "not installed",
        }
    }
}

/// Shows the versions.
pub(super) async fn run(arguments: VersionArguments, context: &mut Context<'_>) -> Result<(), Failure> {
    if arguments.client {
        return match arguments.output {
            Some(format) => context.screen.data(format, &json!({"client": OWN})),
            None => context.screen.line(OWN),
        };
    }
    let cluster = context.cluster().await?;
    let (crd, pods, server) = tokio::join!(
        cluster.crd(),
        operator::pods(&cluster, arguments.operator_namespace.as_deref()),
        cluster.server_version(),
    );
    let crd = crd.map(|crd| CrdState::of(crd.as_ref()));
    if let Some(format) = arguments.output {
        let pods = pods.as_ref().map_err(|failure| &failure.message);
        let crd = crd.as_ref().map_err(|failure| &failure.message);
        let server = server.as_ref().map_err(|failure| &failure.message);
        let not_read: Vec<_> = [pods.err(), crd.err(), server.err()].into_iter().flatten().collect();
        let data = json!({
            "client": OWN, "operators": pods.ok(), "crd": crd.ok(), "server": server.ok(), "notRead": not_read,
        });
        return context.screen.data(format, &data);
    }
    let mut text = Text::default();
    text.line(format!("Client     {OWN}"));
    match &pods {
        Ok(pods) => of_pods(pods).iter().for_each(|line| text.line(format!("Operator   {line}"))),
        Err(failure) => text.line(format!("Operator   not shown: {}", failure.message)),
    }
    text.line(match &crd {
        Ok(state) => format!("CRD        {}", state.describe()),
        Err(failure) => format!("CRD        not shown: {}", failure.message),
    });
    text.line(match &server {
        Ok(version) => format!("Server     {version}"),
        Err(failure) => format!("Server     not shown: {}", failure.message),
    });
    if pods.is_ok_and(|pods| pods.iter().any(|pod| pod.version != OWN)) {
        text.line(context.screen.paint(Tone::Doubtful, "Use the plugin of the operator's version."));
    }
    context.screen.print(&text.finish())
}

fn of_pods(pods: &[OperatorPod]) -> Vec<String> {
    if pods.is_empty() {
        return vec!["no pod found; an operator outside of the cluster is not seen".to_owned()];
    }
    pods.iter()
        .map(|pod| {
            let state = if pod.is_ready { "" } else { ", not ready" };
            format!("{}  {} ({}{state})", pod.version, pod.path(), pod.image)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crd_is_compared_by_what_it_serves() {
        assert_eq!(CrdState::of(None), CrdState::Missing);
        let mut installed = crd::crd();
        assert_eq!(CrdState::of(Some(&installed)), CrdState::Same);
        installed.spec.versions[0].schema = None;
        assert_eq!(CrdState::of(Some(&installed)), CrdState::Different);
        installed.spec.versions[0].served = false;
        assert_eq!(CrdState::of(Some(&installed)), CrdState::NotServed);
    }
}
