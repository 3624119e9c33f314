//! `idissuer completion`: prints the completion script of a shell.

use std::io::{self, Write as _};

use clap::{Args, Command};
use clap_complete::Shell;

#[derive(Debug, Args)]
#[command(after_help = "\
Add it to the shell's start-up file:
  bash:  source <(idissuer completion bash)     in ~/.bashrc
  zsh:   source <(idissuer completion zsh)      in ~/.zshrc, after compinit
  fish:  idissuer completion fish | source      in ~/.config/fish/config.fish")]
pub(super) struct CompletionArguments {
    /// The shell
    shell: Shell,
}

/// Prints the script for this command.
pub(super) fn print(arguments: &CompletionArguments, mut command: Command) -> Result<(), String> {
    // Into memory first: the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "idissuer", &mut script);
    io::stdout().write_all(&script).map_err(|error| format!("print the completion script: {error}"))
}
