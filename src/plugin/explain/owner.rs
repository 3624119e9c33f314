//! The credential whose tokens one shares, as far as this user may read it. Status may not tell a namespace what is in another
//! one; a user with the right to look there is told.

use jiff::Timestamp;

use super::command::Command;
use super::finding::Finding;
use crate::api::IdIssuerCredential;
use crate::plugin::cluster::Cluster;
use crate::plugin::failure::{Failure, FailureKind};
use crate::plugin::row::Row;

/// What `spec.credentialRef` names.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    Missing,
    Found(Box<IdIssuerCredential>),
}

impl Owner {
    /// Reads it. None: the credential follows no other one.
    pub(super) async fn read(cluster: &Cluster, row: &Row) -> Result<Option<Self>, Failure> {
        let Some((namespace, name)) = path(row) else { return Ok(None) };
        match cluster.credential(namespace, name).await {
            Ok(found) => Ok(Some(Self::Found(Box::new(found)))),
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(Some(Self::Missing)),
            Err(failure) => Err(failure),
        }
    }

    /// Adds to a finding with this reason what the owner shows of it, and the command that then cures it.
    pub(super) fn explain(&self, finding: Finding, reason: &str, row: &Row, now: Timestamp) -> Finding {
        let Some((namespace, name)) = path(row) else { return finding };
        let path = format!("IdIssuerCredential {namespace}/{name}");
        let edit = |what: &str| {
            Command::from(format!("kubectl edit iic {} -n {}", row.name, row.namespace)).when(what)
        };
        match (self, reason) {
            (Self::Missing, "ReferenceNotPermitted") => finding
                .evidence(format!("{path} does not exist"))
                .only_command(edit("correct spec.credentialRef")),
            (Self::Found(owner), "ReferenceNotPermitted") => match &owner.spec.credential_ref {
                Some(next) => {
                    let next_namespace = next.namespace.as_deref().unwrap_or(namespace);
                    let next = format!("{next_namespace}/{}", next.name);
                    let permission = if next_namespace == row.namespace {
                        ""
                    } else {
                        ", and ask its owner for permission"
                    };
                    finding
                        .evidence(format!("{path} follows {next} itself"))
                        .only_command(edit(&format!("refer to {next}{permission}")))
                }
                None => {
                    finding.evidence(format!("{path} exists; spec.allowedNamespaces: {}", allowed(owner)))
                }
            },
            (Self::Found(owner), "ReferenceNotReady") => {
                let owner = Row::new(owner, now);
                finding.evidence(format!("{path}: Ready {}, {}", owner.ready, owner.state()))
            }
            (Self::Missing | Self::Found(_), _) => finding,
        }
    }
}

/// Its namespace and name.
fn path(row: &Row) -> Option<(&str, &str)> {
    row.follows.as_deref()?.split_once('/')
}

fn allowed(owner: &IdIssuerCredential) -> String {
    let allowed = owner.spec.allowed_namespaces.as_ref();
    allowed.and_then(|allowed| serde_json::to_string(allowed).ok()).unwrap_or_else(|| "none".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::explain::finding::Severity;
    use crate::plugin::row::tests::{condition, credential, time};

    fn found(spec: Value) -> Owner {
        let status = json!({"conditions": [condition("Ready", "False", "LoginRejected")]});
        Owner::Found(Box::new(credential(spec, status)))
    }

    #[test]
    fn the_owner_shows_which_of_the_causes_it_is() {
        let now = time("2026-01-01T00:00:00Z");
        let follower = json!({"credentialRef": {"name": "owner", "namespace": "platform"}});
        let row = Row::new(&credential(follower, Value::Null), now);
        let login = || json!({"loginSecretRef": {"name": "login"}, "allowedNamespaces": {"names": ["bank"]}});
        let chain = json!({"credentialRef": {"name": "root"}});
        for (owner, reason, evidence, command) in [
            (
                Owner::Missing,
                "ReferenceNotPermitted",
                "IdIssuerCredential platform/owner does not exist",
                "kubectl edit iic billing -n shop   # correct spec.credentialRef",
            ),
            (
                found(chain),
                "ReferenceNotPermitted",
                "IdIssuerCredential platform/owner follows platform/root itself",
                "kubectl edit iic billing -n shop   # refer to platform/root, and ask its owner for permission",
            ),
            (
                found(login()),
                "ReferenceNotPermitted",
                r#"IdIssuerCredential platform/owner exists; spec.allowedNamespaces: {"names":["bank"]}"#,
                "usual",
            ),
            (
                found(login()),
                "ReferenceNotReady",
                "IdIssuerCredential platform/owner: Ready False, LoginRejected",
                "usual",
            ),
        ] {
            let finding = Finding::new(Severity::Problem, "cause").command("usual");
            let finding = owner.explain(finding, reason, &row, now);
            let commands: Vec<_> = finding.commands.iter().map(ToString::to_string).collect();
            assert_eq!((finding.evidence, commands), (vec![evidence.to_owned()], vec![command.to_owned()]));
        }
    }
}
