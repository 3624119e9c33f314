//! `kubectl idissuer`: what people ask about credentials, and what they ask of the operator, from the command line.
//!
//! The plugin is this program by another name (`kubectl-idissuer`), so that one binary is built, signed and shipped.
//! Decisions are functions of what was read: [`row`], [`renew`], [`consumers`]. Requests go through [`cluster`], which
//! says of each failure which right is missing.

mod cluster;
mod consumers;
mod failure;
mod lifetime;
mod renew;
mod row;
mod screen;
mod selection;
mod status;
mod suspend;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kube::Client;

use cluster::Cluster;
pub use failure::{Failure, FailureKind};
use renew::RenewArguments;
pub use screen::{Color, Screen};
use status::StatusArguments;
use suspend::SuspendArguments;

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

    /// Colours and bars
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the credentials with their time left, or one with all that belongs to it
    Status(StatusArguments),
    /// Ask for new tokens now, and wait for the outcome
    Renew(RenewArguments),
    /// Stop the work for credentials; the published tokens stay
    Suspend(SuspendArguments),
    /// Undo suspend
    Resume(SuspendArguments),
}

impl Arguments {
    /// The options of all commands.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }
}

/// What a command works with.
pub(crate) struct Context<'a> {
    connect: &'a dyn Fn() -> Connecting,
    namespace: Option<String>,
    screen: &'a mut Screen,
    clock: &'a dyn Clock,
}

/// A client in the making.
pub type Connecting = std::pin::Pin<Box<dyn Future<Output = Result<Client, String>>>>;

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
    connect: &dyn Fn() -> Connecting,
    screen: &mut Screen,
    clock: &dyn Clock,
) -> Result<(), Failure> {
    let context = &mut Context { connect, namespace: arguments.options.namespace, screen, clock };
    match arguments.command {
        Command::Status(arguments) => status::run(arguments, context).await,
        Command::Renew(arguments) => renew::run(arguments, context).await,
        Command::Suspend(arguments) => suspend::run(arguments, true, context).await,
        Command::Resume(arguments) => suspend::run(arguments, false, context).await,
    }
}
