//! `kubectl idissuer suspend` and `resume`: stop and restart the work for credentials.

use clap::Args;
use serde_json::json;

use super::Context;
use super::failure::{Failure, summary};
use super::screen::Tone;
use super::selection::Selection;
use crate::api::IdIssuerCredential;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl idissuer suspend billing
  kubectl idissuer resume --all -A

Sets spec.suspend. While a credential is suspended, the operator makes no calls to the issuer for it and does not write its
Secret; the published token stays there until it expires. Followers of a suspended credential get no new tokens either.
GitOps tools may undo the change: then set spec.suspend in the repository.

Rights: get and patch on idissuercredentials.idissuer.pl; with -l, --all and -A also list.")]
pub(super) struct SuspendArguments {
    #[command(flatten)]
    selection: Selection,
}

/// Suspends credentials, or resumes them.
pub(super) async fn run(
    arguments: SuspendArguments,
    suspend: bool,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let cluster = context.cluster().await?;
    let credentials = arguments.selection.read(&cluster).await?;
    let mut failures = Vec::new();
    for credential in &credentials {
        let metadata = &credential.metadata;
        let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else { continue };
        let mut tone = Tone::Plain;
        let outcome = match patch(credential, suspend) {
            None => already(suspend).to_owned(),
            Some(patch) => match cluster.patch(namespace, name, &patch).await {
                Ok(_) => done(suspend, namespace, name),
                Err(failure) => {
                    failures.push(failure.kind);
                    tone = Tone::Bad;
                    failure.message
                }
            },
        };
        let line = context.screen.paint(tone, &format!("{namespace}/{name}: {outcome}"));
        context.screen.line(&line)?;
    }
    summary(failures).map_or(Ok(()), |kind| Err(Failure::shown(kind)))
}

/// The change, if there is any. A version that was read guards nothing here: both states are what the user asked for.
fn patch(credential: &IdIssuerCredential, suspend: bool) -> Option<serde_json::Value> {
    let value = if suspend { json!(true) } else { json!(null) };
    (credential.spec.suspend != suspend).then(|| json!({"spec": {"suspend": value}}))
}

fn already(suspend: bool) -> &'static str {
    if suspend { "already suspended" } else { "not suspended" }
}

fn done(suspend: bool, namespace: &str, name: &str) -> String {
    if suspend {
        "suspended; the published token stays until it expires".to_owned()
    } else {
        format!("resumed; see the outcome with: kubectl idissuer status {name} -n {namespace}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::row::tests::credential;

    #[test]
    fn only_what_changes_is_written() {
        let of = |suspend: bool| {
            credential(json!({"loginSecretRef": {"name": "login"}, "suspend": suspend}), Value::Null)
        };
        assert_eq!(patch(&of(false), true), Some(json!({"spec": {"suspend": true}})));
        assert_eq!(patch(&of(true), false), Some(json!({"spec": {"suspend": null}})));
        assert_eq!(patch(&of(true), true), None);
        assert_eq!(patch(&of(false), false), None);
    }
}
