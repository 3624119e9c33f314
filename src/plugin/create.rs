//! `kubectl idissuer create`: writes a manifest, or applies it.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::failure::{Failure, FailureKind};
use super::screen::Format;
use crate::api::{GROUP, KIND, VERSION};
use crate::core::endpoint::Origin;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl idissuer create billing --login-secret billing-login > billing.yaml
  kubectl idissuer create billing --login-secret billing-login --apply
  kubectl idissuer create billing --login-secret billing-login --key authorization='Bearer {{ token }}' --apply
  kubectl idissuer create billing --follow platform/billing --apply

Without --apply it only prints the manifest, and needs no cluster. Create the login Secret with
`kubectl idissuer login-secret create`.

Rights, with --apply: get, create and patch on idissuercredentials.idissuer.pl; get on the login Secret, to warn if it does
not exist.")]
pub(super) struct CreateArguments {
    /// The name of the credential, and of the Secret with the token
    #[arg(value_name = "NAME")]
    name: String,

    /// The Secret with the keys username and password
    #[arg(long, value_name = "SECRET", required_unless_present = "follow", conflicts_with = "follow")]
    login_secret: Option<String>,

    /// Share the tokens of another credential instead of logging in
    #[arg(long, value_name = "[NAMESPACE/]NAME", conflicts_with = "issuer_url")]
    follow: Option<String>,

    /// The Secret for the token [default: the name of the credential]
    #[arg(long, value_name = "SECRET")]
    secret: Option<String>,

    /// A key of that Secret instead of `token` and `expires_at`: KEY=TEMPLATE. Repeatable
    #[arg(long = "key", value_name = "KEY=TEMPLATE", value_parser = key)]
    keys: Vec<(String, String)>,

    /// The issuer [default: that of the operator]
    #[arg(long, value_name = "URL", value_parser = origin)]
    issuer_url: Option<Origin>,

    /// The `ConfigMap` with the issuer's CA certificates in the key ca.crt
    #[arg(long, value_name = "CONFIGMAP", conflicts_with = "follow")]
    ca_configmap: Option<String>,

    /// Apply it to the cluster instead of printing it
    #[arg(long)]
    apply: bool,

    /// The format of the manifest: json or yaml
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml", hide_possible_values = true)]
    output: Format,
}

fn key(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, template)| (key.to_owned(), template.to_owned()))
        .ok_or_else(|| "write it like authorization='Bearer {{ token }}'".to_owned())
}

fn origin(text: &str) -> Result<Origin, String> {
    Origin::parse(text).map_err(|defect| defect.to_string())
}

/// Prints or applies the manifest.
pub(super) async fn run(arguments: CreateArguments, context: &mut Context<'_>) -> Result<(), Failure> {
    if !arguments.apply {
        return context.screen.data(arguments.output, &arguments.manifest(context.namespace.as_deref()));
    }
    let cluster = context.cluster().await?;
    let (namespace, name) = (&cluster.namespace, &arguments.name);
    let applied = cluster.apply(namespace, name, &arguments.manifest(Some(namespace))).await?;
    let is_new = applied.metadata.generation == Some(1) && applied.status.is_none();
    let outcome = if is_new { "created" } else { "configured" };
    context.screen.line(&format!(
        "{namespace}/{name}: {outcome}; see it with: kubectl idissuer status {name} -n {namespace}"
    ))?;
    let Some(login) = &arguments.login_secret else { return Ok(()) };
    if cluster.secret_metadata(namespace, login).await.is_ok_and(|found| found.is_none()) {
        let message = format!(
            "Secret {login} does not exist yet: kubectl idissuer login-secret create {login} --username USER -n {namespace}"
        );
        return Err(Failure::new(FailureKind::NotReady, message));
    }
    Ok(())
}

impl CreateArguments {
    /// The manifest, with nothing that is a default.
    fn manifest(&self, namespace: Option<&str>) -> Value {
        let mut spec = json!({});
        if let Some(login) = &self.login_secret {
            spec["loginSecretRef"] = json!({"name": login});
        }
        if let Some(owner) = &self.follow {
            spec["credentialRef"] = match owner.split_once('/') {
                Some((namespace, name)) => json!({"namespace": namespace, "name": name}),
                None => json!({"name": owner}),
            };
        }
        if let Some(origin) = &self.issuer_url {
            spec["issuer"]["url"] = json!(origin.to_string());
        }
        if let Some(name) = &self.ca_configmap {
            spec["issuer"]["caBundleRef"] = json!({"kind": "ConfigMap", "name": name, "key": "ca.crt"});
        }
        if let Some(secret) = &self.secret {
            spec["target"]["secretName"] = json!(secret);
        }
        if !self.keys.is_empty() {
            let data: BTreeMap<_, _> = self.keys.iter().cloned().collect();
            spec["target"]["template"]["data"] = json!(data);
        }
        let mut manifest = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND, "metadata": {"name": self.name}, "spec": spec,
        });
        if let Some(namespace) = namespace {
            manifest["metadata"]["namespace"] = json!(namespace);
        }
        manifest
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::api::IdIssuerCredential;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: CreateArguments,
    }

    fn manifest(line: &str) -> Value {
        let words = ["create"].into_iter().chain(line.split_whitespace());
        let manifest = Line::try_parse_from(words).unwrap().arguments.manifest(Some("shop"));
        serde_json::from_value::<IdIssuerCredential>(manifest.clone()).unwrap();
        manifest
    }

    #[test]
    fn a_manifest_has_what_was_asked_for_and_no_defaults() {
        assert_eq!(
            manifest("billing --login-secret login"),
            json!({
                "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential",
                "metadata": {"name": "billing", "namespace": "shop"},
                "spec": {"loginSecretRef": {"name": "login"}},
            })
        );
        let full = "billing --login-secret login --secret token --key a={{token}} --issuer-url https://issuer.example \
                    --ca-configmap ca";
        assert_eq!(
            manifest(full)["spec"],
            json!({
                "loginSecretRef": {"name": "login"},
                "issuer": {
                    "url": "https://issuer.example",
                    "caBundleRef": {"kind": "ConfigMap", "name": "ca", "key": "ca.crt"},
                },
                "target": {"secretName": "token", "template": {"data": {"a": "{{token}}"}}},
            })
        );
        assert_eq!(
            manifest("billing --follow platform/owner")["spec"],
            json!({"credentialRef": {"namespace": "platform", "name": "owner"}})
        );
    }

    #[test]
    fn a_source_is_needed_and_only_one() {
        for line in ["billing", "billing --login-secret a --follow b", "billing --login-secret a --key x"] {
            let words = ["create"].into_iter().chain(line.split_whitespace());
            assert!(Line::try_parse_from(words).is_err(), "{line}");
        }
    }
}
