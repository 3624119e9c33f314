//! What a target may not be, so that no other controller takes it for a Secret of its own.

/// Why a target that a specification wants is never written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetRefusal {
    /// The controller writes no Secrets of this type.
    Type(String),
    /// The controller writes no labels and annotations of this domain.
    Domain(String),
    /// Another program keeps its own Secrets under names like this one.
    Name(String),
    /// The value of this key has no variable in it, in a Secret of a type that gives its data a meaning.
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
                "The controller is not allowed to write Secrets of type {secret_type}; use Opaque, kubernetes.io/basic-auth or kubernetes.io/dockerconfigjson, or start the controller with --allow-secret-type={secret_type}"
            ),
            Self::Domain(domain) => format!(
                "The controller is not allowed to write labels and annotations of {domain}; remove them from spec.target.template.metadata, or start the controller with --allow-metadata-domain={domain}"
            ),
            Self::Name(secret) => format!(
                "Secret {secret} has a name under which Helm keeps its releases; choose another spec.target.secretName in a new credential"
            ),
            Self::Literal(key) => format!(
                "spec.target.template.data[{key}] has no variable in it; put one in, or use the type Opaque, which alone may hold plain text"
            ),
        }
    }
}
