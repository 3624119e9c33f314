//! Which Secrets credentials may make.
//!
//! Other controllers act on Secrets with certain types, names, labels and annotations: a Helm release, an Argo CD
//! cluster, a Cluster API kubeconfig, the source of a reflector. So a target has none of them unless the operator's
//! flags allow it, and never those of Kubernetes and of this operator.

use std::collections::BTreeSet;
use std::fmt;

use super::patterns::{NAME, QUALIFIED_NAME, RESERVED_TYPE, TYPE, is_match};
use crate::api::{self, Template, TemplateMetadata, rules};
use crate::core::reason::{Reason, TargetRefusal};
use crate::core::template;

/// What targets may have beyond what gives no power.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetPolicy {
    types: BTreeSet<SecretType>,
    domains: BTreeSet<MetadataDomain>,
}

/// A type that targets may have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretType(String);

/// A domain of which targets may have labels and annotations, with its subdomains; or all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetadataDomain(Option<String>);

/// Why something cannot be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// No type of a Secret.
    #[error("not a Secret type; write it like example.com/token")]
    Type,
    /// Not a valid domain.
    #[error("not a domain; write it like example.com, or * for all")]
    Domain,
    /// Reserved; it cannot be allowed.
    #[error("reserved for Kubernetes and this operator; it cannot be allowed")]
    Reserved,
}

impl SecretType {
    /// Reads a type as it is written on the command line.
    ///
    /// # Errors
    /// When it is none, or a reserved one.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        match text {
            _ if !is_type(text) => Err(PolicyError::Type),
            _ if is_reserved_type(text) => Err(PolicyError::Reserved),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl MetadataDomain {
    /// Reads a domain, or `*`, as it is written on the command line.
    ///
    /// # Errors
    /// When it is none, or a reserved one.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        match text {
            "*" => Ok(Self(None)),
            _ if text.len() > rules::NAME_MAX_LENGTH || !is_match(&NAME, text) => Err(PolicyError::Domain),
            _ if is_reserved_domain(text) => Err(PolicyError::Reserved),
            _ => Ok(Self(Some(text.to_owned()))),
        }
    }

    fn permits(&self, domain: &str) -> bool {
        self.0.as_deref().is_none_or(|allowed| is_within(domain, allowed))
    }
}

impl fmt::Display for TargetPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = self.types.iter().map(|secret_type| secret_type.0.as_str());
        let domains = self.domains.iter().map(|domain| domain.0.as_deref().unwrap_or("*"));
        let all: Vec<&str> = types.chain(domains).collect();
        formatter.write_str(if all.is_empty() { "default" } else { "default," })?;
        formatter.write_str(&all.join(","))
    }
}

impl TargetPolicy {
    /// Permits these types and domains too.
    #[must_use]
    pub fn new(types: Vec<SecretType>, domains: Vec<MetadataDomain>) -> Self {
        Self { types: types.into_iter().collect(), domains: domains.into_iter().collect() }
    }

    /// Checks a target's name.
    pub(super) fn check_name(name: &str) -> Result<(), Reason> {
        let is_reserved = name.starts_with(rules::RESERVED_NAME_PREFIX);
        if is_reserved { Err(Reason::TargetRefused(TargetRefusal::Name(name.to_owned()))) } else { Ok(()) }
    }

    /// Checks the target of a template.
    pub(super) fn check(&self, wanted: &Template, data: &template::Template) -> Result<(), Reason> {
        self.check_type(&wanted.type_)?;
        self.check_metadata(&wanted.metadata)?;
        match data.literal_key() {
            Some(key) if wanted.type_ != rules::OPAQUE_TYPE => {
                Err(Reason::TargetRefused(TargetRefusal::Literal(key.to_owned())))
            }
            _ => Ok(()),
        }
    }

    fn check_type(&self, wanted: &str) -> Result<(), Reason> {
        if !is_type(wanted) || is_reserved_type(wanted) {
            return Err(Reason::InvalidSpec { field: "spec.target.template.type" });
        }
        let is_allowed = wanted == rules::OPAQUE_TYPE
            || rules::PERMITTED_TYPES.contains(&wanted)
            || self.types.iter().any(|allowed| allowed.0 == wanted);
        is_allowed.then_some(()).ok_or_else(|| Reason::TargetRefused(TargetRefusal::Type(wanted.to_owned())))
    }

    fn check_metadata(&self, wanted: &TemplateMetadata) -> Result<(), Reason> {
        let TemplateMetadata { labels, annotations } = wanted;
        let [key, value] = rules::HELM_LABEL;
        let is_own = labels.contains_key(api::MANAGED_BY_LABEL);
        let is_of_helm = labels.get(key).is_some_and(|it| it == value);
        if is_own || is_of_helm || !labels.keys().all(|key| is_metadata_key(key)) {
            return Err(Reason::InvalidSpec { field: "spec.target.template.metadata.labels" });
        }
        if !annotations.keys().all(|key| is_metadata_key(key)) {
            return Err(Reason::InvalidSpec { field: "spec.target.template.metadata.annotations" });
        }
        labels.keys().chain(annotations.keys()).try_for_each(|key| self.check_domain(key))
    }

    fn check_domain(&self, key: &str) -> Result<(), Reason> {
        let Some((domain, _)) = key.split_once('/') else { return Ok(()) };
        let is_allowed = key.starts_with(rules::PERMITTED_METADATA_PREFIX)
            || self.domains.iter().any(|allowed| allowed.permits(domain));
        is_allowed
            .then_some(())
            .ok_or_else(|| Reason::TargetRefused(TargetRefusal::Domain(domain.to_owned())))
    }
}

fn is_type(text: &str) -> bool {
    text.len() <= rules::NAME_MAX_LENGTH && is_match(&TYPE, text)
}

fn is_reserved_type(text: &str) -> bool {
    is_match(&RESERVED_TYPE, text) && !rules::PERMITTED_TYPES.contains(&text)
}

/// Whether labels and annotations of a target may have this key by the schema.
fn is_metadata_key(key: &str) -> bool {
    let is_reserved = key.split_once('/').is_some_and(|(domain, _)| is_reserved_domain(domain))
        && !key.starts_with(rules::PERMITTED_METADATA_PREFIX);
    key.len() <= rules::QUALIFIED_NAME_MAX_LENGTH && !is_reserved && is_match(&QUALIFIED_NAME, key)
}

/// The same result as [`rules::RESERVED_METADATA_PATTERN`] for a key of this domain, in far less time.
fn is_reserved_domain(domain: &str) -> bool {
    rules::RESERVED_DOMAINS.iter().any(|reserved| is_within(domain, reserved))
}

/// Whether a domain is this one, or below it.
fn is_within(domain: &str, parent: &str) -> bool {
    let above = domain.strip_suffix(parent);
    above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn policy(types: &[&str], domains: &[&str]) -> TargetPolicy {
        let types = types.iter().map(|text| SecretType::parse(text).unwrap());
        let domains = domains.iter().map(|text| MetadataDomain::parse(text).unwrap());
        TargetPolicy::new(types.collect(), domains.collect())
    }

    /// The reason against a template.
    fn check(policy: &TargetPolicy, template: &Value) -> Option<Reason> {
        let template: Template = serde_json::from_value(template.clone()).unwrap();
        let data = template::Template::parse(&template.data).unwrap();
        policy.check(&template, &data).err()
    }

    #[test]
    fn a_secret_to_which_others_give_power_is_refused_unless_a_flag_allows_it() {
        let lenient = policy(&["helm.sh/release.v1", "example.com/token"], &["argoproj.io", "x-k8s.io"]);
        let everything = policy(&[], &["*"]);
        let labels = |key: &str| json!({"metadata": {"labels": {key: "x"}}});
        let annotations = |key: &str| json!({"metadata": {"annotations": {key: "x"}}});
        let of_type = |name: &str| json!({"type": name, "data": {"a": "{{ token }}"}});
        // By default, with the flags, with all domains.
        let (ok, invalid) = (None, Some("InvalidSpec"));
        let (no_type, no_domain) = (Some("SecretTypeNotAllowed"), Some("MetadataDomainNotAllowed"));
        let cases = [
            (of_type("Opaque"), [ok, ok, ok]),
            (of_type("kubernetes.io/basic-auth"), [ok, ok, ok]),
            (of_type("kubernetes.io/dockerconfigjson"), [ok, ok, ok]),
            (of_type("helm.sh/release.v1"), [no_type, ok, no_type]),
            (of_type("example.com/token"), [no_type, ok, no_type]),
            (of_type("sub.example.com/token"), [no_type, no_type, no_type]),
            (of_type("opaque"), [no_type, no_type, no_type]),
            (of_type("kubernetes.io/tls"), [invalid, invalid, invalid]),
            (of_type("bootstrap.kubernetes.io/token"), [invalid, invalid, invalid]),
            (of_type(""), [invalid, invalid, invalid]),
            (labels("team"), [ok, ok, ok]),
            (labels("app.kubernetes.io/name"), [ok, ok, ok]),
            (labels("argocd.argoproj.io/secret-type"), [no_domain, ok, ok]),
            (labels("cluster.x-k8s.io/cluster-name"), [no_domain, ok, ok]),
            (labels("argoproj.io/x"), [no_domain, ok, ok]),
            (labels("notargoproj.io/x"), [no_domain, no_domain, ok]),
            (labels("istio/multiCluster"), [no_domain, no_domain, ok]),
            (labels("kubernetes.io/x"), [invalid, invalid, invalid]),
            (labels("app.kubernetes.io/managed-by"), [invalid, invalid, invalid]),
            (annotations("reflector.v1.k8s.emberstack.com/reflects"), [no_domain, no_domain, ok]),
            (annotations("idissuer.pl/credential"), [invalid, invalid, invalid]),
            (annotations(&format!("{}/x", "a".repeat(400))), [invalid, invalid, invalid]),
            (json!({"metadata": {"labels": {"owner": "helm"}}}), [invalid, invalid, invalid]),
            (json!({"metadata": {"labels": {"owner": "shop"}}}), [ok, ok, ok]),
        ];
        for (template, expected) in cases {
            let found = [&TargetPolicy::default(), &lenient, &everything]
                .map(|policy| check(policy, &template).map(|reason| reason.name()));
            assert_eq!(found, expected, "{template}");
        }
    }

    #[test]
    fn a_value_without_a_variable_is_for_opaque_secrets_only() {
        let lenient = policy(&["example.com/token"], &[]);
        for (secret_type, expected) in [
            ("Opaque", None),
            ("kubernetes.io/basic-auth", Some("TemplateLiteralNotAllowed")),
            ("kubernetes.io/dockerconfigjson", Some("TemplateLiteralNotAllowed")),
            ("example.com/token", Some("TemplateLiteralNotAllowed")),
        ] {
            for literal in ["x", "", "{{ 'x' }}", "{% if token %}x{% endif %}"] {
                let template = json!({"type": secret_type, "data": {"a": "{{ token }}", "b": literal}});
                let reason = check(&lenient, &template).map(|reason| reason.name());
                assert_eq!(reason, expected, "{template}");
            }
            let template = json!({"type": secret_type, "data": {"a": "{{ token }}", "b": "x{{ name }}"}});
            assert_eq!(check(&lenient, &template), None, "{template}");
        }
    }

    #[test]
    fn a_domain_is_reserved_by_the_code_where_it_is_by_the_rule() {
        let pattern = regex_lite::Regex::new(rules::RESERVED_METADATA_PATTERN).unwrap();
        let above = ["", "a.", "a.b.", "a", ".", "-"];
        for domain in rules::RESERVED_DOMAINS.iter().chain(&["example.com", "io", ""]) {
            for domain in
                above.map(|above| format!("{above}{domain}")).into_iter().chain([format!("{domain}.a")])
            {
                assert_eq!(is_reserved_domain(&domain), pattern.is_match(&format!("{domain}/x")), "{domain}");
            }
        }
    }

    #[test]
    fn what_is_reserved_or_nothing_cannot_be_allowed() {
        for (text, defect) in [
            ("kubernetes.io/tls", PolicyError::Reserved),
            ("x.k8s.io/y", PolicyError::Reserved),
            ("", PolicyError::Type),
            ("a b", PolicyError::Type),
        ] {
            assert_eq!(SecretType::parse(text), Err(defect), "{text}");
        }
        for (text, defect) in [
            ("kubernetes.io", PolicyError::Reserved),
            ("sub.k8s.io", PolicyError::Reserved),
            ("idissuer.pl", PolicyError::Reserved),
            ("", PolicyError::Domain),
            ("*.example.com", PolicyError::Domain),
            ("example.com/", PolicyError::Domain),
        ] {
            assert_eq!(MetadataDomain::parse(text), Err(defect), "{text}");
        }
        assert!(SecretType::parse("kubernetes.io/basic-auth").is_ok());
        assert_eq!(policy(&["a/b"], &["*", "c.d"]).to_string(), "default,a/b,*,c.d");
        assert_eq!(TargetPolicy::default().to_string(), "default");
    }
}
