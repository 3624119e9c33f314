//! The real Helm, for tests that render or install the chart.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use serde_json::Value;
use tokio::process::Command;
use tokio::task;

use crate::command;
use crate::error::{Error, Result};
use crate::process::WorkFolder;
use crate::tools::{Program, Tools};

/// One Helm, with settings and caches of its own. Without a kubeconfig it can lint and render.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
    folder: Arc<WorkFolder>,
    kubeconfig: PathBuf,
}

impl Helm {
    /// Arguments of `helm template` that tell it of kinds which the testbed's API server has, and the chart asks for:
    /// without a cluster, Helm knows of groups and versions only.
    pub const KNOWN_KINDS: [&str; 2] =
        ["--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"];

    /// [`Program::Helm`] or [`Program::Helm3`]. If it is missing, it is built first.
    ///
    /// # Errors
    /// When it is missing and cannot be built.
    pub async fn provide(program: Program) -> Result<Self> {
        let program = task::spawn_blocking(move || Tools::locate()?.provide(program)).await;
        let folder = WorkFolder::create()?;
        // Helm would take the user's.
        let kubeconfig = folder.path().join("no-kubeconfig");
        Ok(Self { program: program.map_err(Error::Task)??, folder: Arc::new(folder), kubeconfig })
    }

    /// The same, as the user of a kubeconfig.
    #[must_use]
    pub fn with_kubeconfig(mut self, kubeconfig: &Path) -> Self {
        kubeconfig.clone_into(&mut self.kubeconfig);
        self
    }

    /// The objects of a chart, hooks too, with `values` in YAML.
    ///
    /// # Errors
    /// When the chart cannot be rendered, or what comes out is no YAML.
    pub async fn render(
        &self,
        chart: &Path,
        release: &str,
        namespace: &str,
        values: &str,
    ) -> Result<Vec<Value>> {
        let chart = chart.display().to_string();
        let arguments = ["template", release, &chart, "--namespace", namespace, "--values", "-"];
        let text = self.run(&[&arguments[..], &Self::KNOWN_KINDS].concat(), values).await?;
        serde_saphyr::from_multiple(&text).map_err(|source| Error::Rendered(source.to_string()))
    }

    /// Runs Helm with `arguments` and `input`, and returns what it prints to standard output.
    ///
    /// # Errors
    /// When it cannot be run, or ends with another code than 0: the text is what it says then.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Result<String> {
        let output = self.output(arguments, input).await?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(stdout);
        }
        // `helm lint` reports errors on standard output.
        let said = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr)).trim().to_owned();
        Err(Error::Command { program: format!("helm {}", arguments.join(" ")), output: said })
    }

    /// Runs Helm and returns everything, for a test that wants it to fail.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn output(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HELM_CACHE_HOME", self.folder.path().join("cache"))
            .env("HELM_CONFIG_HOME", self.folder.path().join("config"))
            .env("HELM_DATA_HOME", self.folder.path().join("data"));
        command::output("helm", command, input).await
    }
}
