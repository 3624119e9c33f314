//! `kubectl idissuer`: the plugin, as a command of this program and by its own name.
//!
//! The program is the plugin if it is called `kubectl-idissuer`, as kubectl finds its plugins, by a link or a copy. A
//! second binary would be the same code, linked, signed and shipped twice.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::time::Duration;

use clap::{CommandFactory as _, Parser};
use futures::future::LocalBoxFuture;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::api_server::{self, KubeconfigChoice};
use super::exit_code::{FAILED, FORBIDDEN, INTERRUPTED, NOT_FOUND, NOT_READY, TIMED_OUT, UNREACHABLE, USAGE};
use super::token::prompt::{self, PromptError};
use super::{Failure, install_crypto_provider};
use crate::ops::clock::SystemClock;
use crate::plugin::{self, Arguments, Color, Dependencies, FailureKind, PasswordSource, Screen};

/// How kubectl finds the plugin.
const NAME: &str = "kubectl-idissuer";
/// How kubectl finds the completion of the plugin.
const COMPLETION: &str = "kubectl_complete-idissuer";
/// How long an answer of the API server may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// Shows, renews and explains ID Issuer tokens in Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "kubectl-idissuer", bin_name = "kubectl idissuer", version, about, propagate_version = true, after_help = EXIT_CODES)]
pub(super) struct PluginArguments {
    #[command(flatten)]
    arguments: Arguments,
}

/// The exit codes of all commands of the plugin.
pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 good, 1 failed, 2 usage, 3 not ready or refused by the issuer, 4 forbidden, 5 not found, 6 API server
unreachable, 124 timed out, 130 interrupted";

/// The plugin's arguments, if this program was called by its name.
pub(super) fn by_name() -> Option<Arguments> {
    #[expect(clippy::disallowed_methods, reason = "clap reads all arguments but the name of the program")]
    let mut arguments = std::env::args_os();
    let name = arguments.next()?;
    let inserted = match stem(&name) {
        Some(NAME) => None,
        // Without a word of ours in front, kubectl gives the words of the command line.
        Some(COMPLETION) => Some(["__complete", "--"].map(OsString::from)),
        _ => return None,
    };
    let inserted = inserted.into_iter().flatten();
    let all: Vec<_> = std::iter::once(name).chain(inserted).chain(arguments).collect();
    Some(PluginArguments::parse_from(all).arguments)
}

/// The name of a program without its folder.
fn stem(program: &OsStr) -> Option<&str> {
    Path::new(program).file_stem()?.to_str()
}

/// Runs a command of the plugin.
pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    install_crypto_provider()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("start the runtime: {error}"))?;
    let options = arguments.options();
    let choice = KubeconfigChoice { file: options.kubeconfig.clone(), context: options.context.clone() };
    let connect =
        || -> LocalBoxFuture<'static, _> { Box::pin(api_server::client_of(choice.clone(), SILENCE)) };
    let ask_password = |source| -> LocalBoxFuture<'static, _> { Box::pin(ask_password(source)) };
    let mut screen = Screen::new(Box::new(io::stdout()), is_decorated(options.color));
    let clock = SystemClock::start();
    let command = PluginArguments::command();
    let dependencies =
        Dependencies { connect: &connect, ask_password: &ask_password, clock: &clock, command };
    let outcome = runtime.block_on(plugin::run(arguments, dependencies, &mut screen));
    // Threads that read the terminal cannot be interrupted, and must not delay the exit.
    runtime.shutdown_background();
    outcome.map_err(|failure| Failure { message: failure.message, code: code(failure.kind) })
}

/// Whether colours and bars are wanted: see <https://no-color.org>.
fn is_decorated(color: Color) -> bool {
    let is_off = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => io::stdout().is_terminal() && !is_off(),
    }
}

/// Reads a password. A signal restores the terminal before it ends the program.
async fn ask_password(source: PasswordSource) -> Result<Zeroizing<Vec<u8>>, plugin::Failure> {
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    // There is a handler before the prompt: without one, Ctrl-C ends the program, and the terminal stays silent.
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|error| format!("handle interrupts: {error}"))?;
    tokio::spawn(async move {
        interrupt.recv().await;
        interrupted.cancel();
    });
    let password = match &source {
        PasswordSource::Terminal(question) => prompt::ask(question, &stop).await,
        PasswordSource::StandardInput => prompt::read_stdin(&stop).await,
    };
    password.map_err(|error| {
        let (kind, message) = match error {
            PromptError::NoTerminal => {
                (FailureKind::Usage, "no terminal to ask for the password; use --password-stdin".to_owned())
            }
            PromptError::Stopped => (FailureKind::Interrupted, "interrupted; nothing is stored".to_owned()),
            PromptError::Failed(error) => (FailureKind::Failed, format!("read the password: {error}")),
        };
        plugin::Failure { kind, message }
    })
}

/// The exit code of a failure.
pub(super) fn code(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Failed => FAILED,
        FailureKind::Usage => USAGE,
        FailureKind::NotReady => NOT_READY,
        FailureKind::Forbidden => FORBIDDEN,
        FailureKind::NotFound => NOT_FOUND,
        FailureKind::Unreachable => UNREACHABLE,
        FailureKind::TimedOut => TIMED_OUT,
        FailureKind::Interrupted => INTERRUPTED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_plugin_by_its_name() {
        for (program, expected) in [
            ("kubectl-idissuer", NAME),
            ("/usr/local/bin/kubectl-idissuer", NAME),
            ("kubectl_complete-idissuer", COMPLETION),
            ("/kubectl-idissuer/idissuer", "idissuer"),
        ] {
            assert_eq!(stem(OsStr::new(program)), Some(expected), "{program}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        PluginArguments::command().debug_assert();
    }
}
