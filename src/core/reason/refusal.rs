//! Targets that are rejected because another controller could treat them as its own Secrets.

/// Why the target of a spec is never written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetRefusal {
    /// The controller writes no Secrets of this type.
    Type(String),
    /// The controller writes no labels and annotations of this domain.
    Domain(String),
    /// Another program uses names like this one for its own Secrets.
    Name(String),
    /// The value of this key has no variable, in a Secret whose type gives its data a meaning.
    Literal(String),
}

impl TargetRefusal {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Type(_) => "SecretTypeNotAllowed",
            Self::Domain(_) => "MetadataDomainNotAllowed",
            Self::Name(_) => "TargetNameReserved",
            Self::Literal(_) => "TemplateLiteralNotAllowed",
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            Self::Type(secret_type) => format!(
                "The controller may not write Secrets of type {secret_type}; use Opaque, kubernetes.io/basic-auth or kubernetes.io/dockerconfigjson, or start the controller with --allow-secret-type={secret_type}"
            ),
            Self::Domain(domain) => format!(
                "The controller may not write labels and annotations of {domain}; remove them from spec.target.template.metadata, or start the controller with --allow-metadata-domain={domain}"
            ),
            Self::Name(secret) => format!(
                "Helm uses names like {secret} for its releases; create a credential with another spec.target.secretName"
            ),
            Self::Literal(key) => format!(
                "spec.target.template.data[{key}] has no variable; add one, or use the type Opaque, which may contain plain text"
            ),
        }
    }
}
