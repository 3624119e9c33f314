//! `kubectl idissuer login-secret create`: stores a user name and password, which are never arguments.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;

use super::failure::{Failure, FailureKind};
use super::{Context, PasswordSource};
use crate::core::username_password::LoginPair;

/// The keys, as `loginSecretRef` expects them by default.
const USERNAME: &str = "username";
const PASSWORD: &str = "password";

#[derive(Debug, Args)]
pub(super) struct LoginSecretArguments {
    #[command(subcommand)]
    command: LoginSecretCommand,
}

#[derive(Debug, Subcommand)]
enum LoginSecretCommand {
    /// Store a user name and password; asks for the password on the terminal
    Create(CreateArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl idissuer login-secret create billing-login --username me@example.com
  pass show idissuer | kubectl idissuer login-secret create billing-login --username me@example.com --password-stdin
  kubectl idissuer login-secret create billing-login --username me@example.com --replace

There is no flag and no variable for a password: others could read it. A line break at its end is removed. Values that the
operator would reject are not stored. After --replace, the operator logs in with the new password at once.

Rights: create on secrets; with --replace patch on the Secret.")]
struct CreateArguments {
    /// The Secret
    #[arg(value_name = "NAME")]
    name: String,

    /// The user name, an e-mail address
    #[arg(long, value_name = "NAME")]
    username: String,

    /// Read the password from standard input instead of the terminal
    #[arg(long)]
    password_stdin: bool,

    /// Replace the user name and password of an existing Secret
    #[arg(long)]
    replace: bool,
}

/// Stores a login.
pub(super) async fn run(arguments: LoginSecretArguments, context: &mut Context<'_>) -> Result<(), Failure> {
    let LoginSecretCommand::Create(arguments) = arguments.command;
    let cluster = context.cluster().await?;
    let source = if arguments.password_stdin {
        PasswordSource::StandardInput
    } else {
        PasswordSource::Terminal(format!("Password of {}: ", arguments.username))
    };
    let password = (context.ask_password)(source).await?;
    let pair = LoginPair::parse(
        ("the user name", Some(arguments.username.as_bytes())),
        ("the password", Some(&password)),
    );
    // The texts speak of a login that was read from a Secret.
    let pair = pair.map_err(|(what, defect)| {
        let told = defect.describe().replace("sent", "stored");
        Failure::new(FailureKind::Usage, format!("{what} {told}"))
    })?;
    let secret = secret(&arguments.name, &pair);
    let (namespace, name) = (&cluster.namespace, &arguments.name);
    cluster.write_secret(namespace, name, &secret, arguments.replace).await?;
    let outcome = if arguments.replace { "replaced" } else { "created" };
    context.screen.line(&format!("Secret {namespace}/{name}: {outcome}"))?;
    if pair.password_has_blank() {
        context
            .screen
            .line("The password holds a blank or an invisible character; check that it is meant.")?;
    }
    if !arguments.replace {
        context.screen.line(&format!(
            "Next: kubectl idissuer create NAME --login-secret {name} --apply -n {namespace}"
        ))?;
    }
    Ok(())
}

fn secret(name: &str, pair: &LoginPair) -> Secret {
    let value = |text: &str| ByteString(text.as_bytes().to_vec());
    Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([
            (USERNAME.to_owned(), value(pair.username())),
            (PASSWORD.to_owned(), value(pair.password())),
        ])),
        ..Secret::default()
    }
}
