//! `kubectl idissuer token`: prints the published token, if one says that it shall be shown.

use clap::Args;
use zeroize::Zeroizing;

use super::Context;
use super::failure::{Failure, FailureKind};
use super::published;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl idissuer token billing --reveal | wc -c
  curl --oauth2-bearer \"$(kubectl idissuer token billing --reveal)\" https://api.idissuer.pl/v2/reports

Prints the token as a program gets it from the Secret. For scripts, see also: idissuer token --credential

Exit codes: 3 there is no token.
Rights: get on idissuercredentials.idissuer.pl and on the Secret.")]
pub(super) struct TokenArguments {
    /// The credential
    #[arg(value_name = "NAME")]
    name: String,

    /// Print the token itself; everyone who sees it can use it until it expires
    #[arg(long)]
    reveal: bool,
}

/// Prints a token.
pub(super) async fn run(arguments: TokenArguments, context: &mut Context<'_>) -> Result<(), Failure> {
    let name = arguments.name;
    if !arguments.reveal {
        let message = format!(
            "to print the token itself, add --reveal; to check it without showing it: kubectl idissuer verify {name}"
        );
        return Err(Failure::new(FailureKind::Usage, message));
    }
    let cluster = context.cluster().await?;
    let published = published::read(&cluster, &name, context.clock).await?;
    let line = Zeroizing::new(format!("{}\n", published.token.access.expose()));
    context.screen.print(&line)
}
