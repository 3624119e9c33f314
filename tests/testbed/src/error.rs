//! Errors of the testbed. Each says what to do.

use std::path::PathBuf;
use std::time::Duration;

/// Short form for fallible functions of the testbed.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation of the testbed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be used.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Neither `XDG_CACHE_HOME` nor `HOME` says where the programs could be kept.
    #[error("set XDG_CACHE_HOME or HOME: the testbed keeps the programs that it builds there")]
    NoCacheFolder,
    /// A program is missing and there is no Go to build it with.
    #[error(
        "{program} is missing: install Go 1.26 or newer, from which the testbed builds it once, or set KUBEBUILDER_ASSETS to a folder that holds it"
    )]
    GoMissing {
        /// The program that is neither in `KUBEBUILDER_ASSETS` nor in the cache.
        program: &'static str,
    },
    /// Go could not build a program.
    #[error("go cannot build {program}:\n{output}")]
    BuildFailed {
        /// The program.
        program: &'static str,
        /// The end of what Go printed.
        output: String,
    },
    /// A child process could not be started.
    #[error("cannot start {program}")]
    Spawn {
        /// The program.
        program: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A signal was sent to a child process that has ended.
    #[error("{program} has ended already")]
    Ended {
        /// The program.
        program: String,
    },
    /// A child process did not end in time.
    #[error("{program} did not end within {limit:?}")]
    StillRunning {
        /// The program.
        program: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// This machine can have no node.
    #[error("{0}")]
    NodeUnavailable(String),
    /// An image cannot be made of a Containerfile.
    #[error(
        "{} cannot be carried out without a container engine: `{instruction}` is missing, not understood, or names an argument that is not given",
        path.display()
    )]
    Recipe {
        /// The Containerfile.
        path: PathBuf,
        /// What is wrong in it.
        instruction: String,
    },
    /// As many nodes run as there may be.
    #[error("too many nodes on this machine")]
    NoFreeSlot,
    /// A program that does one thing could not do it.
    #[error("{program} failed: {output}")]
    Command {
        /// The program and its arguments.
        program: String,
        /// What it said.
        output: String,
    },
    /// The node cannot have a way to the API server.
    #[error("cannot listen at {address} for the node")]
    Relay {
        /// This machine's end of the link.
        address: std::net::Ipv4Addr,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A node, or something of it, did not become ready.
    #[error("{what} was not ready within {limit:?}; last seen: {last}; the ends of the logs:\n{output}")]
    NodeNotReady {
        /// What was waited for.
        what: &'static str,
        /// How long it was waited for.
        limit: Duration,
        /// What was seen last.
        last: String,
        /// The ends of the logs of its parts.
        output: String,
    },
    /// No loopback port could be had.
    #[error("no free loopback port among those that the testbed may use")]
    NoFreePort,
    /// A part of the control plane ended while it was starting.
    #[error("{component} ended with code {code} while it was starting:\n{output}")]
    ComponentEnded {
        /// Which part.
        component: &'static str,
        /// Its exit code.
        code: i32,
        /// The end of its log.
        output: String,
    },
    /// The control plane did not become ready.
    #[error(
        "the API server was not ready within {limit:?}; last answer: {last_answer}; the end of its log:\n{output}"
    )]
    NotReady {
        /// How long it was waited for.
        limit: Duration,
        /// What `/readyz` said last.
        last_answer: String,
        /// The end of the API server's log.
        output: String,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[source] rcgen::Error),
    /// The proxy before the API server cannot be set up.
    #[error("cannot start a proxy before the API server")]
    Proxy(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kubeconfig that the testbed wrote is not usable.
    #[error("cannot use the kubeconfig of the testbed")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    /// The API server refused a request, or could not be reached.
    #[error("cannot {operation}")]
    Api {
        /// What was tried, as a verb.
        operation: String,
        /// Why it failed.
        #[source]
        source: Box<kube::Error>,
    },
    /// `kubectl` ended with an error.
    #[error("kubectl {arguments} failed with code {code}: {stderr}")]
    Kubectl {
        /// Its arguments.
        arguments: String,
        /// Its exit code.
        code: i32,
        /// What it printed to standard error.
        stderr: String,
    },
    /// What Helm rendered is no YAML.
    #[error("cannot read what helm rendered: {0}")]
    Rendered(String),
    /// The audit log holds a line that the testbed does not understand.
    #[error("cannot read a line of the audit log")]
    AuditLine(#[source] serde_json::Error),
    /// A task that the testbed runs beside the test was lost.
    #[error("a task of the testbed was lost")]
    Task(#[source] tokio::task::JoinError),
    /// The shared control plane could not be started; every later test gets the same text.
    #[error("the shared control plane could not be started: {0}")]
    Shared(String),
}

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn file(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { operation, path, source }
    }

    /// For `map_err` on requests to the API server.
    pub(crate) fn api(operation: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Api { operation, source: Box::new(source) }
    }

    /// This error and its causes in one line, for a place that can hold text only.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
