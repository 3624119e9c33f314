//! Which credentials a command means.

use clap::Args;

use super::cluster::{Cluster, Scope};
use super::failure::{Failure, FailureKind};
use crate::api::IdIssuerCredential;

/// Names, or a selection.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Selection {
    /// The credentials
    #[arg(value_name = "NAME", conflicts_with_all = ["selector", "all", "all_namespaces"])]
    names: Vec<String>,

    /// Those with these labels, as for kubectl: app=shop,tier!=test
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,

    /// All in the namespace
    #[arg(long, conflicts_with = "selector")]
    all: bool,

    /// With -l or --all: in all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

impl Selection {
    /// What to say to one who gave -A alone.
    fn check(&self) -> Result<(), Failure> {
        let is_chosen = !self.names.is_empty() || self.selector.is_some() || self.all;
        let message = "name credentials, or add --all or -l LABELS to -A";
        is_chosen.then_some(()).ok_or_else(|| Failure::new(FailureKind::Usage, message))
    }

    /// Reads them; there is at least one.
    pub(super) async fn read(&self, cluster: &Cluster) -> Result<Vec<IdIssuerCredential>, Failure> {
        self.check()?;
        if self.names.is_empty() {
            let scope = if self.all_namespaces { Scope::All } else { Scope::Namespace(&cluster.namespace) };
            let found = cluster.credentials(scope, self.selector.as_deref()).await?.all()?;
            if found.is_empty() {
                let message = "no IdIssuerCredential is selected; check -n and -l";
                return Err(Failure::new(FailureKind::NotFound, message));
            }
            return Ok(found);
        }
        let mut found = Vec::new();
        for name in &self.names {
            found.push(cluster.credential(&cluster.namespace, name).await?);
        }
        Ok(found)
    }
}

/// Where nothing was found.
pub(super) fn nothing_found(scope: Scope<'_>) -> String {
    match scope {
        Scope::Namespace(namespace) => format!(
            "No IdIssuerCredential found in namespace {namespace}. List all namespaces with: kubectl idissuer status -A"
        ),
        Scope::All => {
            "No IdIssuerCredential found. Create one with: kubectl idissuer create NAME --login-secret SECRET"
                .to_owned()
        }
    }
}
