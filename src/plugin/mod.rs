//! `kubectl idissuer`: what people ask about credentials, and what they ask of the operator, from the command line.
//!
//! The plugin is this program by another name (`kubectl-idissuer`), so that one binary is built, signed and shipped.
//! Decisions are functions of what was read: `row`, `renew`, `consumers`. Requests go through `cluster`, which
//! says of each failure which right is missing.

mod check;
mod cluster;
mod cluster_clock;
mod complete;
mod consumers;
mod create;
mod credentials;
mod explain;
mod failure;
mod injection;
mod lease;
mod lifetime;
mod login_secret;
mod logs;
mod operator;
mod operator_metrics;
mod published;
mod renew;
mod report;
mod row;
mod screen;
mod selection;
mod status;
mod suspend;
mod token;
mod verify;
mod version;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use futures::future::LocalBoxFuture;
use kube::Client;
use zeroize::Zeroizing;

use check::CheckArguments;
use cluster::Cluster;
use create::CreateArguments;
use explain::ExplainArguments;
pub use failure::{Failure, FailureKind};
use login_secret::LoginSecretArguments;
use logs::LogsArguments;
pub use published::published_token;
use renew::RenewArguments;
use report::ReportArguments;
pub use screen::{Color, Screen};
use status::StatusArguments;
use suspend::SuspendArguments;
use token::TokenArguments;
use verify::VerifyArguments;
use version::VersionArguments;

use crate::ops::clock::Clock;

/// The arguments of the plugin.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,

    #[command(subcommand)]
    command: Command,
}

/// What kubectl's own commands have, too.
#[derive(Debug, Args)]
pub struct Options {
    /// The namespace [default: that of the kubeconfig's context]
    #[arg(short, long, global = true, value_name = "NAME", help_heading = "Cluster")]
    namespace: Option<String>,

    /// The context of the kubeconfig [default: the current one]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub context: Option<String>,

    /// The kubeconfig [default: KUBECONFIG, or ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,

    /// Colours and bars: always, never, or auto, on a terminal unless `NO_COLOR` is set
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_possible_values = true
    )]
    pub color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the credentials with their time left, or one with all that belongs to it
    Status(StatusArguments),
    /// Say why a credential is not ready, or what will go wrong next, with the cure
    Explain(ExplainArguments),
    /// Ask for new tokens now, and wait for the outcome
    Renew(RenewArguments),
    /// Stop the work for credentials; the published tokens stay
    Suspend(SuspendArguments),
    /// Undo suspend
    Resume(SuspendArguments),
    /// Check the token in the Secret without showing it, and whether an address accepts it
    Verify(VerifyArguments),
    /// Print the token
    Token(TokenArguments),
    /// Print or apply a manifest
    Create(CreateArguments),
    /// Store a user name and password
    LoginSecret(LoginSecretArguments),
    /// Check the installation, or with --pre what it needs
    Check(CheckArguments),
    /// Show the log of the operator, of one credential if wanted
    Logs(LogsArguments),
    /// Write an archive for a bug report, without values of Secrets
    Report(ReportArguments),
    /// Show the versions of this program, the operator and the CRD
    Version(VersionArguments),
    /// Complete a command line for kubectl
    #[command(name = "__complete", hide = true, disable_help_flag = true)]
    Complete(CompleteArguments),
}

impl Arguments {
    /// The options of all commands.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }
}

/// The words of a command line, the last of which is incomplete.
#[derive(Debug, Args)]
struct CompleteArguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Where a password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// The terminal, which shows this question.
    Terminal(String),
    /// Standard input, to its end.
    StandardInput,
}

/// What the commands need from outside.
pub struct Dependencies<'a> {
    /// Makes a client.
    pub connect: &'a dyn Fn() -> LocalBoxFuture<'static, Result<Client, Failure>>,
    /// Reads a password without echo.
    pub ask_password:
        &'a dyn Fn(PasswordSource) -> LocalBoxFuture<'static, Result<Zeroizing<Vec<u8>>, Failure>>,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// The whole command line, for completion.
    pub command: clap::Command,
}

/// What a command works with.
pub(crate) struct Context<'a> {
    connect: &'a dyn Fn() -> LocalBoxFuture<'static, Result<Client, Failure>>,
    ask_password: &'a dyn Fn(PasswordSource) -> LocalBoxFuture<'static, Result<Zeroizing<Vec<u8>>, Failure>>,
    namespace: Option<String>,
    screen: &'a mut Screen,
    clock: &'a dyn Clock,
}

impl Context<'_> {
    /// The API server, and the namespace that the command line or else the kubeconfig names.
    async fn cluster(&self) -> Result<Cluster, Failure> {
        let client = (self.connect)().await?;
        let namespace = self.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        Ok(Cluster { client, namespace })
    }
}

/// Runs a command. Connects only if it needs the API server.
///
/// # Errors
/// When it fails; the output may say everything already.
pub async fn run(
    arguments: Arguments,
    dependencies: Dependencies<'_>,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let Dependencies { connect, ask_password, clock, command } = dependencies;
    let namespace = arguments.options.namespace;
    let context = &mut Context { connect, ask_password, namespace, screen, clock };
    match arguments.command {
        Command::Status(arguments) => status::run(arguments, context).await,
        Command::Explain(arguments) => explain::run(arguments, context).await,
        Command::Renew(arguments) => renew::run(arguments, context).await,
        Command::Suspend(arguments) => suspend::run(arguments, true, context).await,
        Command::Resume(arguments) => suspend::run(arguments, false, context).await,
        Command::Verify(arguments) => verify::run(arguments, context).await,
        Command::Token(arguments) => token::run(arguments, context).await,
        Command::Create(arguments) => create::run(arguments, context).await,
        Command::LoginSecret(arguments) => login_secret::run(arguments, context).await,
        Command::Check(arguments) => check::run(arguments, context).await,
        Command::Logs(arguments) => logs::run(arguments, context).await,
        Command::Report(arguments) => report::run(arguments, context).await,
        Command::Version(arguments) => version::run(arguments, context).await,
        Command::Complete(arguments) => complete::run(&arguments.words, &command, context).await,
    }
}
