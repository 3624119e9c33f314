//! Parses the resource into a spec that can be applied.
//!
//! What the schema and its rules refuse, this refuses again: an object may have been stored under an older schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;

use super::patterns::{KEY, NAME, RESERVED_KEY, is_match};
use super::sharing::spec::{allowed_namespaces, followed};
use super::target_policy::TargetPolicy;
use crate::api::rules;
use crate::api::{self, CreationPolicy, IdIssuerCredential, RefreshRequest, Renewal};
use crate::core::account::Strategy;
use crate::core::endpoint::{AllowList, Endpoint, Origin, PathError, RefreshShape};
use crate::core::observed::{
    AccountReference, CaBundleKind, CaBundleReference, CredentialSpec, LoginReference, OwnAccount,
};
use crate::core::reason::Reason;
use crate::core::schedule::{Jitter, RenewBefore};
use crate::core::target::TargetSpec;
use crate::core::template::Template;

/// Parses a specification.
///
/// # Errors
/// Why it cannot be carried out.
pub(super) fn parse(
    credential: &IdIssuerCredential,
    allow_list: &AllowList,
    target_policy: &TargetPolicy,
) -> Result<CredentialSpec, Reason> {
    let spec = &credential.spec;
    Ok(CredentialSpec {
        suspended: spec.suspend,
        account: account(credential, allow_list)?,
        has_namespace_selector: spec.allowed_namespaces.as_ref().is_some_and(|it| it.selector.is_some()),
        strategy: match spec.renewal.strategy {
            api::Strategy::Auto => Strategy::Auto,
            api::Strategy::Login => Strategy::Login,
        },
        renew_before: renew_before(&spec.renewal)?,
        jitter: Jitter::seeded_by(&credential.uid().unwrap_or_default()),
        target: target(credential, target_policy)?,
    })
}

fn account(credential: &IdIssuerCredential, allow_list: &AllowList) -> Result<AccountReference, Reason> {
    let spec = &credential.spec;
    match (&spec.login_secret_ref, &spec.credential_ref) {
        (Some(login), None) => {
            if credential.secret_name() == login.name {
                return Err(Reason::InvalidSpec { field: "spec.target.secretName" });
            }
            allowed_namespaces(spec.allowed_namespaces.as_ref())?;
            Ok(AccountReference::Own(Arc::new(OwnAccount {
                login: LoginReference {
                    secret: name("spec.loginSecretRef.name", &login.name)?,
                    username_key: key("spec.loginSecretRef.usernameKey", &login.username_key)?,
                    password_key: key("spec.loginSecretRef.passwordKey", &login.password_key)?,
                },
                endpoint: endpoint(spec.issuer.as_ref(), allow_list)?,
                ca_bundle: ca_bundle(spec.issuer.as_ref())?,
            })))
        }
        (None, Some(_)) => followed(credential).map(AccountReference::Followed),
        (Some(_), Some(_)) | (None, None) => Err(Reason::InvalidSpec { field: "spec.credentialRef" }),
    }
}

fn target(credential: &IdIssuerCredential, policy: &TargetPolicy) -> Result<TargetSpec, Reason> {
    let target = &credential.spec.target;
    let secret = name("spec.target.secretName", credential.secret_name())?;
    TargetPolicy::check_name(&secret)?;
    let none = api::Template::default();
    let wanted = target.template.as_ref().unwrap_or(&none);
    let template = template(&wanted.data)?;
    policy.check(wanted, &template)?;
    Ok(TargetSpec {
        secret,
        owned: target.creation_policy == CreationPolicy::Owner,
        secret_type: wanted.type_.clone(),
        labels: wanted.metadata.labels.clone(),
        annotations: wanted.metadata.annotations.clone(),
        template,
    })
}

fn template(data: &BTreeMap<String, String>) -> Result<Template, Reason> {
    if data.is_empty() {
        return Ok(Template::default());
    }
    let is_allowed = |(key, text): (&String, &String)| {
        let is_key = is_match(&KEY, key) && !is_match(&RESERVED_KEY, key);
        is_key && text.chars().count() <= rules::TEMPLATE_VALUE_MAX_LENGTH
    };
    if data.len() > rules::TEMPLATE_MAX_KEYS || !data.iter().all(is_allowed) {
        return Err(Reason::InvalidSpec { field: "spec.target.template.data" });
    }
    Template::parse(data)
}

fn endpoint(issuer: Option<&api::Issuer>, allow_list: &AllowList) -> Result<Endpoint, Reason> {
    let origin = match issuer.and_then(|issuer| issuer.url.as_deref()) {
        None => allow_list.default_issuer().clone(),
        Some(url) => Origin::parse(url).map_err(|_| Reason::InvalidSpec { field: "spec.issuer.url" })?,
    };
    let shape = match issuer.and_then(|issuer| issuer.refresh_request).unwrap_or_default() {
        RefreshRequest::Flat => RefreshShape::Flat,
        RefreshRequest::Nested => RefreshShape::Nested,
    };
    let token_path = issuer.and_then(|issuer| issuer.token_path.as_deref());
    let refresh_path = issuer.and_then(|issuer| issuer.refresh_path.as_deref());
    let endpoint = Endpoint::new(origin, token_path, refresh_path, shape).map_err(|defect| {
        let field = match defect {
            PathError::Token => "spec.issuer.tokenPath",
            PathError::Refresh => "spec.issuer.refreshPath",
        };
        Reason::InvalidSpec { field }
    })?;
    if allow_list.permits(&endpoint.token) && allow_list.permits(&endpoint.refresh) {
        Ok(endpoint)
    } else {
        let origin = endpoint.origin.to_string();
        Err(if allow_list.permits_origin(&endpoint.origin) {
            Reason::IssuerPathNotAllowed { origin }
        } else {
            Reason::IssuerNotAllowed { origin }
        })
    }
}

fn ca_bundle(issuer: Option<&api::Issuer>) -> Result<Option<CaBundleReference>, Reason> {
    let Some(reference) = issuer.and_then(|issuer| issuer.ca_bundle_ref.as_ref()) else { return Ok(None) };
    Ok(Some(CaBundleReference {
        kind: match reference.kind {
            api::CaBundleKind::Secret => CaBundleKind::Secret,
            api::CaBundleKind::ConfigMap => CaBundleKind::ConfigMap,
        },
        name: name("spec.issuer.caBundleRef.name", &reference.name)?,
        key: key("spec.issuer.caBundleRef.key", &reference.key)?,
    }))
}

fn renew_before(renewal: &Renewal) -> Result<RenewBefore, Reason> {
    let percents = rules::RENEW_BEFORE_PERCENT_MIN..=rules::RENEW_BEFORE_PERCENT_MAX;
    match (renewal.renew_before_percent, renewal.renew_before_seconds) {
        (None, None) => Ok(RenewBefore::default()),
        (Some(percent), None) if percents.contains(&percent) => u8::try_from(percent)
            .map(RenewBefore::Percent)
            .map_err(|_| Reason::InvalidSpec { field: "spec.renewal.renewBeforePercent" }),
        (Some(_), None) => Err(Reason::InvalidSpec { field: "spec.renewal.renewBeforePercent" }),
        (None, Some(seconds)) if (1..=rules::RENEW_BEFORE_SECONDS_MAX).contains(&seconds) => {
            Ok(RenewBefore::Fixed(jiff::SignedDuration::from_secs(seconds)))
        }
        (_, Some(_)) => Err(Reason::InvalidSpec { field: "spec.renewal.renewBeforeSeconds" }),
    }
}

pub(super) fn name(field: &'static str, text: &str) -> Result<String, Reason> {
    let is_allowed = text.len() <= rules::NAME_MAX_LENGTH && is_match(&NAME, text);
    is_allowed.then(|| text.to_owned()).ok_or(Reason::InvalidSpec { field })
}

fn key(field: &'static str, text: &str) -> Result<String, Reason> {
    let is_allowed = is_match(&KEY, text) && !is_match(&RESERVED_KEY, text);
    is_allowed.then(|| text.to_owned()).ok_or(Reason::InvalidSpec { field })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::core::endpoint::Allowed;
    use serde_json::{Value, json};

    pub(in crate::controller) fn credential(spec: &Value) -> IdIssuerCredential {
        serde_json::from_value(json!({
            "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential",
            "metadata": {"name": "billing", "namespace": "shop", "uid": "u1"},
            "spec": spec,
        }))
        .unwrap()
    }

    fn allow_list() -> AllowList {
        AllowList::new(
            Origin::parse("https://api.idissuer.pl").unwrap(),
            vec![
                Origin::parse("http://127.0.0.1:8080").unwrap().into(),
                Allowed::parse("https://pinned.example/v2/auth/").unwrap(),
            ],
        )
    }

    pub(in crate::controller) fn parse(credential: &IdIssuerCredential) -> Result<CredentialSpec, Reason> {
        super::parse(credential, &allow_list(), &TargetPolicy::default())
    }

    #[test]
    fn a_minimal_specification_uses_the_default_issuer_and_the_default_keys() {
        let spec = parse(&credential(&json!({"loginSecretRef": {"name": "login"}}))).unwrap();
        let account = spec.account.own().unwrap();
        assert_eq!(account.endpoint.token.as_str(), "https://api.idissuer.pl/v2/auth/token");
        assert_eq!(account.endpoint.refresh.as_str(), "https://api.idissuer.pl/v2/auth/refreshtoken");
        assert_eq!(account.login.password_key, "password");
        assert_eq!(spec.target.secret, "billing");
        assert_eq!(spec.target.template, Template::default());
        assert!(spec.target.owned && !spec.suspended);
    }

    #[test]
    fn what_the_schema_refuses_is_refused_again() {
        let login = json!({"name": "login"});
        // Two characters a byte counts only once by the schema.
        let long = "ż".repeat(rules::TEMPLATE_VALUE_MAX_LENGTH);
        let cases = [
            (json!({"loginSecretRef": {"name": "billing"}}), "InvalidSpec"),
            (json!({"loginSecretRef": {"name": "a/b"}}), "InvalidSpec"),
            (json!({"loginSecretRef": {"name": "login", "usernameKey": ".."}}), "InvalidSpec"),
            (
                json!({"loginSecretRef": login, "renewal": {"renewBeforePercent": 20, "renewBeforeSeconds": 20}}),
                "InvalidSpec",
            ),
            (json!({"loginSecretRef": login, "renewal": {"renewBeforePercent": 81}}), "InvalidSpec"),
            (json!({"loginSecretRef": login, "renewal": {"renewBeforeSeconds": 0}}), "InvalidSpec"),
            (
                json!({"loginSecretRef": login, "issuer": {"url": "https://me@api.idissuer.pl"}}),
                "InvalidSpec",
            ),
            (json!({"loginSecretRef": login, "issuer": {"url": "https://evil.example"}}), "IssuerNotAllowed"),
            (
                json!({"loginSecretRef": login, "issuer": {"url": "http://api.idissuer.pl"}}),
                "IssuerNotAllowed",
            ),
            (
                json!({"loginSecretRef": login, "issuer": {"url": "https://pinned.example", "refreshPath": "/slow"}}),
                "IssuerPathNotAllowed",
            ),
            (json!({"loginSecretRef": login, "issuer": {"tokenPath": "//evil.example"}}), "InvalidSpec"),
            (json!({"loginSecretRef": login, "issuer": {"refreshPath": "/a/../b"}}), "InvalidSpec"),
            (
                json!({"loginSecretRef": login, "issuer": {"caBundleRef": {"kind": "Secret", "name": "A", "key": "k"}}}),
                "InvalidSpec",
            ),
            (
                json!({"loginSecretRef": login, "target": {"template": {"type": "kubernetes.io/service-account-token"}}}),
                "InvalidSpec",
            ),
            (
                json!({"loginSecretRef": login, "target": {"template": {"type": "bootstrap.kubernetes.io/token"}}}),
                "InvalidSpec",
            ),
            (
                json!({"loginSecretRef": login, "target": {"template": {"metadata": {"annotations": {"idissuer.pl/credential": "x"}}}}}),
                "InvalidSpec",
            ),
            (
                json!({"loginSecretRef": login, "target": {"template": {"metadata": {"labels": {"app.kubernetes.io/managed-by": "x"}}}}}),
                "InvalidSpec",
            ),
            (json!({"loginSecretRef": login, "target": {"template": {"data": {"..a": "x"}}}}), "InvalidSpec"),
            (
                json!({"loginSecretRef": login, "target": {"template": {"data": {"a": "{{ password }}"}}}}),
                "TemplateError",
            ),
            (
                json!({"loginSecretRef": login, "target": {"template": {"data": {"a": long, "b": long, "c": "x"}}}}),
                "TemplateTooLong",
            ),
            (
                json!({"loginSecretRef": login, "target": {"secretName": "sh.helm.release.v1.x.v1"}}),
                "TargetNameReserved",
            ),
            (
                json!({"loginSecretRef": login, "target": {"template": {"type": "helm.sh/release.v1"}}}),
                "SecretTypeNotAllowed",
            ),
        ];
        for (spec, expected) in cases {
            let found = parse(&credential(&spec));
            assert_eq!(found.err().map(|reason| reason.name()), Some(expected), "{spec}");
        }
    }

    #[test]
    fn an_allowed_issuer_may_be_written_in_other_ways() {
        for url in ["https://API.idissuer.pl:443/", "http://127.0.0.1:8080", "https://pinned.example"] {
            let spec = json!({"loginSecretRef": {"name": "login"}, "issuer": {"url": url}});
            assert!(parse(&credential(&spec)).is_ok(), "{url}");
        }
    }
}
