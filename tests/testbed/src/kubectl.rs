//! The real kubectl, for tests that do what a user does.

use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;

use crate::command;
use crate::error::{Error, Result};

/// kubectl for one control plane and, if set, one namespace.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    cache: PathBuf,
    namespace: Option<String>,
}

impl Kubectl {
    pub(crate) fn new(program: &Path, kubeconfig: &Path, folder: &Path) -> Self {
        Self {
            program: program.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            cache: folder.join("kubectl"),
            namespace: None,
        }
    }

    /// The same, for what lies in `namespace` unless the arguments say otherwise.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// The same, as the user of another kubeconfig.
    #[must_use]
    pub fn with_kubeconfig(mut self, kubeconfig: &Path) -> Self {
        kubeconfig.clone_into(&mut self.kubeconfig);
        self
    }

    /// Where the program is.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// `kubectl apply -f -` with `yaml`. Returns what it prints.
    ///
    /// # Errors
    /// When the API server refuses it: the text holds the reason that the user gets.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        self.run_with_input(&["apply", "-f", "-"], yaml).await
    }

    /// Runs kubectl with `arguments` and returns what it prints to standard output.
    ///
    /// # Errors
    /// When it cannot be run, or ends with another code than 0.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        self.run_with_input(arguments, "").await
    }

    /// [`run`](Self::run), with something on standard input.
    ///
    /// # Errors
    /// When it cannot be run, or ends with another code than 0.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        let output = self.output(arguments, input).await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::Kubectl {
            arguments: arguments.join(" "),
            code: output.status.code().unwrap_or(-1),
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Runs kubectl and returns everything, for a test that wants it to fail.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn output(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut command = Command::new(&self.program);
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .args(self.namespace.iter().map(|name| format!("--namespace={name}")))
            .args(arguments)
            // What it remembers of the API goes with the control plane, and the user's preferences stay out.
            .env("KUBECACHEDIR", &self.cache)
            .env("KUBERC", "off");
        command::output("kubectl", command, input).await
    }

    /// Runs a line of shell in which `kubectl` is this one, for commands that documents show.
    ///
    /// # Errors
    /// When bash cannot be run.
    pub async fn shell(&self, line: &str, folder: &Path) -> Result<Output> {
        let mut command = Command::new("bash");
        let programs = self.program.parent().unwrap_or(Path::new("/"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path));
        command
            .args(["-eo", "pipefail", "-c", line])
            .current_dir(folder)
            .env("PATH", std::env::join_paths(path).unwrap_or_default())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", &self.cache)
            .env("KUBERC", "off");
        command::output("bash", command, "").await
    }
}
