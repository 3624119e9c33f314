//! The custom resource `IdIssuerCredential`: its spec, its status, and the rules of the API server.
//!
//! One credential names a login Secret and a target Secret; the controller keeps a valid token in the target.
//! This module contains the types as they are on the wire, the rules that the API server enforces without a webhook
//! ([`rules`]), and the rendering of the `CustomResourceDefinition` ([`crd`]). It does no I/O, reads no clock and depends
//! on no other module: `core` decides what a spec *means*, after the controller has parsed it.
//!
//! An object from the API server may violate the rules, because it may have been stored under an older CRD. So the
//! limits and patterns of [`rules`] are public, and code that parses a spec checks them again.

pub mod crd;
pub mod rules;
#[expect(unreachable_pub, reason = "KubeSchema copies each type, with its `pub`, into a function")]
#[expect(clippy::doc_markdown, reason = "kubectl explain shows these texts as they are")]
mod sharing;
#[expect(unreachable_pub, reason = "KubeSchema copies each type, with its `pub`, into a function")]
#[expect(clippy::doc_markdown, reason = "kubectl explain shows these texts as they are")]
mod spec;
#[expect(unreachable_pub, reason = "KubeSchema copies each type, with its `pub`, into a function")]
#[expect(clippy::doc_markdown, reason = "kubectl explain shows these texts as they are")]
mod status;

use kube::ResourceExt;

pub use sharing::{AllowedNamespaces, CredentialRef, LabelExpression, LabelOperator, NamespaceSelector};
pub use spec::{
    CaBundleKind, CaBundleRef, CreationPolicy, IdIssuerCredential, IdIssuerCredentialSpec, Issuer,
    LoginSecretRef, RefreshRequest, Renewal, Strategy, Target, Template, TemplateMetadata,
};
pub use status::{
    FailuresStatus, FollowersStatus, Grant, IdIssuerCredentialStatus, LifetimeSource, LoginRejection,
    LoginStatus, RefreshSupport, TargetStatus, TokenStatus,
};

/// The API group of the resource, and the domain of every annotation that the controller writes.
pub const GROUP: &str = "idissuer.pl";
/// The only version that is served and stored.
pub const VERSION: &str = "v1alpha1";
/// The kind, as in manifests, owner references and Events.
pub const KIND: &str = "IdIssuerCredential";
/// The plural, as in URLs and RBAC rules.
pub const PLURAL: &str = "idissuercredentials";

/// On a credential: any new value requests one renewal now.
pub const RENEW_REQUESTED_AT_ANNOTATION: &str = "idissuer.pl/renew-requested-at";
/// On a target: the name of its credential. Together with the uid in the status it proves that a Secret is ours.
pub const CREDENTIAL_ANNOTATION: &str = "idissuer.pl/credential";
/// On a target, for people: when the token was obtained.
pub const ISSUED_TIME_ANNOTATION: &str = "idissuer.pl/issued-time";
/// On a target, for people: when the token expires.
pub const EXPIRATION_TIME_ANNOTATION: &str = "idissuer.pl/expiration-time";
/// On a target, for people: when the next renewal is due.
pub const RENEWAL_TIME_ANNOTATION: &str = "idissuer.pl/renewal-time";
/// On a target, for people: the fingerprint of the token, as in `status.token.fingerprint`.
pub const FINGERPRINT_ANNOTATION: &str = "idissuer.pl/fingerprint";

/// The label of every target; its value is [`MANAGED_BY`].
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "idissuer-operator";

/// The key of the user name in a login Secret, if the credential names no other.
pub const DEFAULT_USERNAME_KEY: &str = "username";
/// The key of the password in a login Secret, if the credential names no other.
pub const DEFAULT_PASSWORD_KEY: &str = "password";

/// The key with the bare token, in a target without a template.
pub const DEFAULT_TOKEN_KEY: &str = "token";
/// The key with the expiry (RFC 3339), in a target without a template.
pub const DEFAULT_EXPIRES_AT_KEY: &str = "expires_at";

/// How many characters of a renew request count and are recorded.
///
/// An annotation may be 256 KiB long and no rule can limit it, so the status would otherwise contain a copy of it.
pub const RENEW_REQUEST_MAX_CHARACTERS: usize = 256;

impl IdIssuerCredential {
    /// The effective name of the target Secret: `spec.target.secretName`, else the credential's own name.
    #[must_use]
    pub fn secret_name(&self) -> &str {
        self.spec.target.secret_name.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }

    /// The requested renewal of the credential, cut to [`RENEW_REQUEST_MAX_CHARACTERS`].
    ///
    /// It is new when it differs from `status.lastHandledRenewRequest`. An empty value asks for nothing.
    #[must_use]
    pub fn renew_request(&self) -> Option<&str> {
        let value = self.annotations().get(RENEW_REQUESTED_AT_ANNOTATION)?;
        let end =
            value.char_indices().nth(RENEW_REQUEST_MAX_CHARACTERS).map_or(value.len(), |(index, _)| index);
        value.get(..end).filter(|request| !request.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use kube::Resource;

    use super::*;

    fn make_credential(manifest: serde_json::Value) -> IdIssuerCredential {
        serde_json::from_value(manifest).unwrap()
    }

    fn make_minimal() -> IdIssuerCredential {
        make_credential(serde_json::json!({
            "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential",
            "metadata": {"name": "billing", "namespace": "shop"},
            "spec": {"loginSecretRef": {"name": "billing-login"}},
        }))
    }

    #[test]
    fn the_constants_name_the_resource() {
        assert_eq!(IdIssuerCredential::group(&()), GROUP);
        assert_eq!(IdIssuerCredential::version(&()), VERSION);
        assert_eq!(IdIssuerCredential::kind(&()), KIND);
        assert_eq!(IdIssuerCredential::plural(&()), PLURAL);
    }

    #[test]
    fn a_spec_without_optional_parts_means_the_documented_defaults() {
        let spec = make_minimal().spec;
        let login = spec.login_secret_ref.unwrap();
        assert_eq!((&*login.username_key, &*login.password_key), ("username", "password"));
        assert_eq!((spec.credential_ref, spec.allowed_namespaces), (None, None));
        assert_eq!(spec.target, Target::default());
        assert_eq!(spec.target.creation_policy, CreationPolicy::Owner);
        assert_eq!(spec.renewal, Renewal::default());
        assert_eq!(spec.renewal.strategy, Strategy::Auto);
        assert_eq!(spec.issuer, None);
        assert!(!spec.suspend);
    }

    #[test]
    fn a_template_without_parts_is_opaque_and_empty() {
        let template: Template = serde_json::from_value(serde_json::json!({})).unwrap();
        assert_eq!(template, Template::default());
        assert_eq!(template.type_, "Opaque");
    }

    #[test]
    fn nulls_where_the_schema_permits_them_are_absent_parts() {
        let template: Template = serde_json::from_value(serde_json::json!({
            "metadata": {"labels": null, "annotations": null}, "data": null,
        }))
        .unwrap();
        assert_eq!(template, Template::default());
        let template: Template = serde_json::from_value(serde_json::json!({"metadata": null})).unwrap();
        assert_eq!(template, Template::default());
    }

    #[test]
    fn the_effective_secret_name_is_the_given_one_or_the_credentials_own() {
        let mut credential = make_minimal();
        assert_eq!(credential.secret_name(), "billing");
        credential.spec.target.secret_name = Some("billing-token".into());
        assert_eq!(credential.secret_name(), "billing-token");
    }

    #[test]
    fn a_renew_request_is_cut_by_characters_and_an_empty_one_asks_for_nothing() {
        let mut credential = make_minimal();
        assert_eq!(credential.renew_request(), None);
        for (value, expected) in [
            ("", None),
            ("now", Some("now".to_owned())),
            ("ż".repeat(300).as_str(), Some("ż".repeat(RENEW_REQUEST_MAX_CHARACTERS))),
        ] {
            credential.annotations_mut().insert(RENEW_REQUESTED_AT_ANNOTATION.to_owned(), value.to_owned());
            assert_eq!(credential.renew_request().map(str::to_owned), expected, "{value}");
        }
    }

    #[test]
    fn an_empty_status_and_absent_parts_put_no_null_on_the_wire() {
        let status = IdIssuerCredentialStatus {
            login: Some(LoginStatus::default()),
            ..IdIssuerCredentialStatus::default()
        };
        assert_eq!(serde_json::to_value(status).unwrap(), serde_json::json!({}));
        let minimal = serde_json::to_value(make_minimal()).unwrap();
        assert!(!minimal.to_string().contains("null"), "{minimal}");
    }
}
