//! The commands that cure a reason.

use crate::plugin::row::Row;

/// What a command needs to know.
pub(super) struct Names<'a> {
    pub(super) row: &'a Row,
    /// The origin of the issuer, if the credential names it.
    pub(super) issuer: Option<&'a str>,
    /// The CA bundle, as kind and name.
    pub(super) bundle: Option<(&'static str, &'a str)>,
}

/// The commands for this reason, to be pasted one after the other.
pub(super) fn commands(reason: &str, names: &Names<'_>) -> Vec<String> {
    let Row { namespace, name, secret, .. } = names.row;
    let login = names.row.login_secret.as_deref().unwrap_or("LOGIN");
    let here = |command: String| format!("{command} -n {namespace}");
    let renew = || here(format!("kubectl idissuer renew {name}"));
    let edit = || here(format!("kubectl edit iic {name}"));
    let look = |what: String| here(format!("kubectl describe {what}"));
    match reason {
        "LoginSecretMissing" => {
            vec![here(format!("kubectl idissuer login-secret create {login} --username USER"))]
        }
        _ if reason.starts_with("LoginSecret") => {
            vec![here(format!("kubectl idissuer login-secret create {login} --username USER --replace"))]
        }
        "LoginRejected" => vec![
            here(format!("kubectl idissuer login-secret create {login} --username USER --replace")),
            format!("{}   # if the cause was at the issuer, and is gone", renew()),
        ],
        "LoginOutcomeUnknown" | "LoginRateLimited" => vec![renew()],
        "TargetConflict" | "TargetImmutable" | "TargetTypeMismatch" | "TargetPendingDeletion" => vec![
            look(format!("secret {secret}")),
            format!("{}   # if nothing needs it", here(format!("kubectl delete secret {secret}"))),
        ],
        "TargetContested" => vec![here(format!("kubectl get secret {secret} -o yaml --show-managed-fields"))],
        "TargetWriteRefused" => vec![look("quota".to_owned()), edit()],
        _ if reason.starts_with("CaBundle") => {
            let (kind, bundle) = names.bundle.unwrap_or(("configmap", "BUNDLE"));
            vec![look(format!("{kind} {bundle}")), edit()]
        }
        "InvalidSpec"
        | "MalformedResource"
        | "NoCertificateAuthorities"
        | "IssuerNotAllowed"
        | "IssuerPathNotAllowed"
        | "IssuerMisconfigured" => {
            vec![edit()]
        }
        _ if reason.starts_with("Template") || reason.ends_with("NotAllowed") => vec![edit()],
        "TooManyCredentials" => {
            vec![here("kubectl get iic --sort-by=.metadata.creationTimestamp".to_owned())]
        }
        "Suspended" => vec![here(format!("kubectl idissuer resume {name}"))],
        "ReferenceNotReady" | "ReferenceNotPermitted" | "ReferenceOutOfScope" => of_owner(reason, names.row),
        "TargetNameReserved" => vec![here(format!("kubectl delete iic {name}"))],
        _ if reason.starts_with("Issuer") => match names.issuer {
            Some(origin) => vec![here(format!(
                "kubectl run idissuer-curl --rm -it --restart=Never --image=curlimages/curl -- -sv {origin}"
            ))],
            None => vec!["kubectl idissuer logs --since 10m".to_owned()],
        },
        "ApiServerCallFailed" => vec!["kubectl idissuer check".to_owned()],
        _ => vec![look(format!("iic {name}"))],
    }
}

fn of_owner(reason: &str, row: &Row) -> Vec<String> {
    let owner = row.follows.as_deref().and_then(|owner| owner.split_once('/'));
    let Some((namespace, name)) = owner else { return Vec::new() };
    if reason == "ReferenceNotPermitted" {
        return vec![format!(
            "kubectl edit iic {name} -n {namespace}   # add {} to spec.allowedNamespaces",
            row.namespace
        )];
    }
    vec![format!("kubectl idissuer explain {name} -n {namespace}")]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::row::tests::{credential, time};

    #[test]
    fn each_family_of_reasons_has_a_command_to_paste() {
        let now = time("2026-01-01T00:00:00Z");
        let owner = Row::new(&credential(json!({"loginSecretRef": {"name": "login"}}), Value::Null), now);
        let follower = json!({"credentialRef": {"name": "owner", "namespace": "platform"}});
        let follower = Row::new(&credential(follower, Value::Null), now);
        let bundle = Some(("configmap", "ca"));
        for (reason, row, issuer, expected) in [
            (
                "LoginRejected",
                &owner,
                None,
                "kubectl idissuer login-secret create login --username USER --replace -n shop",
            ),
            (
                "LoginSecretMissing",
                &owner,
                None,
                "kubectl idissuer login-secret create login --username USER -n shop",
            ),
            ("LoginRateLimited", &owner, None, "kubectl idissuer renew billing -n shop"),
            ("TargetConflict", &owner, None, "kubectl describe secret billing -n shop"),
            ("CaBundleMissing", &owner, None, "kubectl describe configmap ca -n shop"),
            ("TemplateError", &owner, None, "kubectl edit iic billing -n shop"),
            ("SecretTypeNotAllowed", &owner, None, "kubectl edit iic billing -n shop"),
            ("Suspended", &owner, None, "kubectl idissuer resume billing -n shop"),
            ("ReferenceNotReady", &follower, None, "kubectl idissuer explain owner -n platform"),
            (
                "ReferenceNotPermitted",
                &follower,
                None,
                "kubectl edit iic owner -n platform   # add shop to spec.allowedNamespaces",
            ),
            (
                "IssuerUnreachable",
                &owner,
                Some("https://issuer.example"),
                "kubectl run idissuer-curl --rm -it --restart=Never --image=curlimages/curl -- -sv https://issuer.example \
                 -n shop",
            ),
            ("IssuerUnavailable", &owner, None, "kubectl idissuer logs --since 10m"),
            ("SomethingNew", &owner, None, "kubectl describe iic billing -n shop"),
        ] {
            let commands = commands(reason, &Names { row, issuer, bundle });
            assert_eq!(commands.first().map(String::as_str), Some(expected), "{reason}");
        }
    }
}
