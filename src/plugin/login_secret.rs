//! `kubectl idissuer login-secret create`: stores a user name and password, which are never arguments.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;

use super::failure::{Failure, FailureKind};
use super::{Context, PasswordSource};
use crate::api::{DEFAULT_PASSWORD_KEY, DEFAULT_USERNAME_KEY};
use crate::core::username_password::LoginPair;

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
operator would reject are not stored. After --replace, the operator logs in with the new password at once, unless the
message of LoginAccepted says when.

Rights: create on secrets; with --replace patch on the Secret.")]
struct CreateArguments {
    /// The Secret
    #[arg(value_name = "NAME")]
    name: String,

    /// The user name, an e-mail address
    #[arg(long, value_name = "NAME")]
    username: String,

    /// The key of the user name, as in spec.loginSecretRef.usernameKey
    #[arg(long, value_name = "KEY", default_value = DEFAULT_USERNAME_KEY)]
    username_key: String,

    /// The key of the password, as in spec.loginSecretRef.passwordKey
    #[arg(long, value_name = "KEY", default_value = DEFAULT_PASSWORD_KEY)]
    password_key: String,

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
    let secret = secret(&arguments, &pair);
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

fn secret(arguments: &CreateArguments, pair: &LoginPair) -> Secret {
    let value = |text: &str| ByteString(text.as_bytes().to_vec());
    Secret {
        metadata: ObjectMeta { name: Some(arguments.name.clone()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([
            (arguments.username_key.clone(), value(pair.username())),
            (arguments.password_key.clone(), value(pair.password())),
        ])),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: CreateArguments,
    }

    #[test]
    fn a_login_is_stored_under_the_keys_that_are_named() {
        let pair = LoginPair::parse(("user name", Some(b"me@example.com")), ("password", Some(b"secret")));
        for (line, keys) in [
            ("create login --username me@example.com", ["password", "username"]),
            (
                "create login --username me@example.com --username-key mail --password-key word",
                ["mail", "word"],
            ),
        ] {
            let arguments = Line::try_parse_from(line.split(' ')).unwrap().arguments;
            let secret = secret(&arguments, pair.as_ref().unwrap());
            assert_eq!(secret.data.unwrap().into_keys().collect::<Vec<_>>(), keys);
        }
    }
}
