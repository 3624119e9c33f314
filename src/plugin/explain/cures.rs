//! The commands that cure a reason.

use super::command::Command;
use crate::api::LoginSecretRef;
use crate::plugin::row::Row;

/// What a command needs to know.
pub(super) struct Names<'a> {
    pub(super) row: &'a Row,
    /// The keys of user name and password, if the credential logs in.
    pub(super) login: Option<&'a LoginSecretRef>,
    /// The origin of the issuer, if the credential names it.
    pub(super) issuer: Option<&'a str>,
    /// The CA bundle, as kind, name and key.
    pub(super) bundle: Option<(&'static str, &'a str, &'a str)>,
    /// The namespace of the operator, whose network its calls take.
    pub(super) operator: Option<&'a str>,
    /// Whether the login was rejected, so that it is perhaps not tried again without a request.
    pub(super) is_rejected: bool,
}

/// The commands for this reason, to be pasted one after the other.
pub(super) fn commands(reason: &str, names: &Names<'_>) -> Vec<Command> {
    let Row { namespace, name, secret, .. } = names.row;
    let here = |command: String| Command::from(format!("{command} -n {namespace}"));
    let renew = || here(format!("kubectl idissuer renew {name}"));
    let edit = || here(format!("kubectl edit iic {name}"));
    let replace_login = || here(format!("{} --replace", store_login(names)));
    let look = |what: String| here(format!("kubectl describe {what}"));
    let held = || names.is_rejected.then(|| renew().when("once the cause is gone"));
    match reason {
        "LoginSecretMissing" => vec![here(store_login(names))],
        "LoginSecretKeyMissing" => {
            vec![replace_login(), edit().when("if the Secret has other keys")]
        }
        _ if reason.starts_with("LoginSecret") => {
            vec![replace_login()]
        }
        "LoginRejected" => {
            vec![replace_login(), renew().when("if the cause was at the issuer, and is gone")]
        }
        // A request does not shorten the wait.
        "LoginRateLimited" => {
            vec![replace_login()]
        }
        "LoginOutcomeUnknown" => vec![renew()],
        "TargetConflict" | "TargetImmutable" | "TargetTypeMismatch" | "TargetPendingDeletion" => vec![
            look(format!("secret {secret}")),
            here(format!("kubectl delete secret {secret}")).when("if nothing needs it"),
        ],
        "TargetContested" => vec![here(format!("kubectl get secret {secret} -o yaml --show-managed-fields"))],
        "TargetWriteRefused" => vec![
            look("quota".to_owned()).when("if the message speaks of a quota"),
            Command::from("kubectl idissuer check")
                .when("if the message says forbidden: which right is missing"),
        ],
        "IssuerCertificateUntrusted" => [of_bundle(reason, names), vec![to_issuer(names)]].concat(),
        _ if reason.starts_with("CaBundle") => of_bundle(reason, names),
        "InvalidSpec" | "MalformedResource" => vec![edit(), "kubectl idissuer version".into()],
        "NoCertificateAuthorities" | "NamespaceSelectorIgnored" => vec![edit()],
        "IssuerMisconfigured" | "IssuerResponseInvalid" => {
            [Some(edit()), held()].into_iter().flatten().collect()
        }
        _ if reason.starts_with("Template") || reason.ends_with("NotAllowed") => vec![edit()],
        "TooManyCredentials" => {
            vec![here("kubectl get iic --sort-by=.metadata.creationTimestamp".to_owned())]
        }
        "Suspended" => vec![here(format!("kubectl idissuer resume {name}"))],
        "ReferenceOutOfScope" => vec![edit()],
        "ReferenceNotReady" | "ReferenceNotPermitted" => of_owner(reason, names.row),
        "TargetNameReserved" => vec![here(format!("kubectl delete iic {name}"))],
        _ if reason.starts_with("Issuer") => [Some(to_issuer(names)), held()].into_iter().flatten().collect(),
        "TooManyOpenFiles" => vec![LOGS.into()],
        // No command lengthens it.
        "TokenLifetimeTooShort" => Vec::new(),
        "Issuing" | "Updating" | "RenewalOverdue" | "Expired" => {
            vec![here(format!("kubectl idissuer logs {name} --since 10m"))]
        }
        "ApiServerCallFailed" => vec!["kubectl idissuer check".into()],
        _ => vec![look(format!("iic {name}"))],
    }
}

/// Writes the keys that the credential reads.
fn store_login(names: &Names<'_>) -> String {
    let default = LoginSecretRef::default();
    let login = names.login.unwrap_or(&default);
    let name = if login.name.is_empty() { "LOGIN" } else { &login.name };
    let key = |flag: &str, key: &String, default: &String| {
        if key == default { String::new() } else { format!(" {flag} {key}") }
    };
    let username_key = key("--username-key", &login.username_key, &default.username_key);
    let password_key = key("--password-key", &login.password_key, &default.password_key);
    format!("kubectl idissuer login-secret create {name} --username USER{username_key}{password_key}")
}

const LOGS: &str = "kubectl idissuer logs --since 10m";

/// Calls the issuer as the operator does; without its address, the operator's log names it.
fn to_issuer(names: &Names<'_>) -> Command {
    let Some(origin) = names.issuer else { return LOGS.into() };
    let namespace = names.operator.unwrap_or(&names.row.namespace);
    format!(
        "kubectl run idissuer-curl --rm -it --restart=Never --image=curlimages/curl -n {namespace} -- -sv {origin}"
    )
    .into()
}

/// Puts the right certificates into the bundle, or names one where there is none.
fn of_bundle(reason: &str, names: &Names<'_>) -> Vec<Command> {
    let Row { namespace, name, .. } = names.row;
    let (kind, bundle, key) = names.bundle.unwrap_or(("configmap", "issuer-ca", "ca.crt"));
    let kind = if kind == "secret" { "secret generic" } else { kind };
    let create = format!("kubectl create {kind} {bundle} --from-file={key}=ca.pem -n {namespace}");
    let first = if names.bundle.is_none() || reason == "CaBundleMissing" {
        create
    } else {
        format!("{create} --dry-run=client -o yaml | kubectl apply --server-side --force-conflicts -f -")
    };
    let second = if names.bundle.is_none() {
        let reference =
            r#"{"spec":{"issuer":{"caBundleRef":{"kind":"ConfigMap","name":"issuer-ca","key":"ca.crt"}}}}"#;
        format!("kubectl patch iic {name} -n {namespace} --type=merge -p '{reference}'").into()
    } else {
        Command::from(format!("kubectl edit iic {name} -n {namespace}")).when("if another one is meant")
    };
    vec![Command::from(first).when("with the certificates of the issuer's CA in ca.pem"), second]
}

fn of_owner(reason: &str, row: &Row) -> Vec<Command> {
    let owner = row.follows.as_deref().and_then(|owner| owner.split_once('/'));
    let Some((namespace, name)) = owner else { return Vec::new() };
    if reason == "ReferenceNotPermitted" && namespace == row.namespace {
        let edit = Command::from(format!("kubectl edit iic {} -n {namespace}", row.name));
        return vec![edit.when("correct spec.credentialRef")];
    }
    if reason == "ReferenceNotPermitted" {
        let edit = Command::from(format!("kubectl edit iic {name} -n {namespace}"));
        return vec![edit.when(format!("add {} to spec.allowedNamespaces", row.namespace))];
    }
    vec![format!("kubectl idissuer explain {name} -n {namespace}").into()]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::row::tests::{credential, time};

    /// Nothing is known but the credential.
    fn names(row: &Row) -> Names<'_> {
        Names { row, login: None, issuer: None, bundle: None, operator: None, is_rejected: false }
    }

    #[test]
    fn a_login_is_stored_under_the_keys_that_the_credential_reads() {
        let row = Row::new(
            &credential(json!({"loginSecretRef": {"name": "login"}}), Value::Null),
            time("2026-01-01T00:00:00Z"),
        );
        let login = LoginSecretRef {
            name: "login".to_owned(),
            username_key: "user".to_owned(),
            ..LoginSecretRef::default()
        };
        for (reason, end) in [("LoginSecretMissing", ""), ("LoginSecretKeyMissing", " --replace")] {
            let names = Names { login: Some(&login), ..names(&row) };
            let expected = format!(
                "kubectl idissuer login-secret create login --username USER --username-key user{end} -n shop"
            );
            assert_eq!(commands(reason, &names)[0], expected.as_str().into());
        }
    }

    #[test]
    fn each_family_of_reasons_has_a_command_to_paste() {
        let now = time("2026-01-01T00:00:00Z");
        let owner = Row::new(&credential(json!({"loginSecretRef": {"name": "login"}}), Value::Null), now);
        let follower = json!({"credentialRef": {"name": "owner", "namespace": "platform"}});
        let follower = Row::new(&credential(follower, Value::Null), now);
        let bundle = Some(("configmap", "ca", "ca.crt"));
        let login = LoginSecretRef { name: "login".to_owned(), ..LoginSecretRef::default() };
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
            (
                "LoginRateLimited",
                &owner,
                None,
                "kubectl idissuer login-secret create login --username USER --replace -n shop",
            ),
            ("TargetConflict", &owner, None, "kubectl describe secret billing -n shop"),
            (
                "CaBundleMissing",
                &owner,
                None,
                "kubectl create configmap ca --from-file=ca.crt=ca.pem -n shop   # with the certificates of the issuer's CA in \
                 ca.pem",
            ),
            (
                "IssuerCertificateUntrusted",
                &owner,
                None,
                "kubectl create configmap ca --from-file=ca.crt=ca.pem -n shop --dry-run=client -o yaml | kubectl apply --server-side --force-conflicts -f - \
                 \x20 # with the certificates of the issuer's CA in ca.pem",
            ),
            ("TemplateError", &owner, None, "kubectl edit iic billing -n shop"),
            ("SecretTypeNotAllowed", &owner, None, "kubectl edit iic billing -n shop"),
            ("Suspended", &owner, None, "kubectl idissuer resume billing -n shop"),
            ("ReferenceNotReady", &follower, None, "kubectl idissuer explain owner -n platform"),
            ("ReferenceOutOfScope", &follower, None, "kubectl edit iic billing -n shop"),
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
                "kubectl run idissuer-curl --rm -it --restart=Never --image=curlimages/curl -n idissuer-operator -- -sv \
                 https://issuer.example",
            ),
            ("IssuerUnavailable", &owner, None, "kubectl idissuer logs --since 10m"),
            ("Issuing", &owner, None, "kubectl idissuer logs billing --since 10m -n shop"),
            ("SomethingNew", &owner, None, "kubectl describe iic billing -n shop"),
        ] {
            let (operator, is_rejected) = (Some("idissuer-operator"), false);
            let login = Some(&login);
            let names = Names { row, login, issuer, bundle, operator, is_rejected };
            let commands = commands(reason, &names);
            assert_eq!(commands.first().map(ToString::to_string).as_deref(), Some(expected), "{reason}");
        }
    }

    #[test]
    fn a_login_that_was_rejected_has_to_be_asked_for_once_the_cause_is_gone() {
        let row = Row::new(
            &credential(json!({"loginSecretRef": {"name": "login"}}), Value::Null),
            time("2026-01-01T00:00:00Z"),
        );
        let renew = "kubectl idissuer renew billing -n shop   # once the cause is gone";
        for reason in ["IssuerBlocked", "IssuerMisconfigured", "IssuerResponseInvalid", "IssuerMisdirected"] {
            for is_rejected in [true, false] {
                let names = Names { is_rejected, ..names(&row) };
                let last = commands(reason, &names).pop().map(|command| command.to_string());
                assert_eq!(last.as_deref() == Some(renew), is_rejected, "{reason}: {last:?}");
            }
        }
    }
}
