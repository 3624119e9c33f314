//! Why a credential gets no tokens of the one that it follows, or others get none of it.

use super::Reason;
use crate::core::object_name::NamespacedName;

/// Why a credential gets no tokens of the one that it follows, or others get none of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferenceProblem {
    /// It may not follow that one; or there is none, which is not told apart.
    NotPermitted {
        /// The credential that `spec.credentialRef` names, with its namespace.
        credential: String,
        /// The namespace of the follower.
        namespace: String,
    },
    /// The controller does not manage the namespace of that one.
    OutOfScope {
        /// The namespace that `spec.credentialRef` names.
        namespace: String,
    },
    /// That one obtains no tokens at the moment.
    NotReady {
        /// The credential that `spec.credentialRef` names, with its namespace.
        credential: String,
        /// Whether a person has to act there.
        needs_user_action: bool,
    },
    /// Of an owner: the controller does not read labels of namespaces, so its selector permits none.
    SelectorIgnored,
}

impl ReferenceProblem {
    /// This credential obtains no tokens at the moment.
    #[must_use]
    pub fn not_ready(owner: &NamespacedName, needs_user_action: bool) -> Self {
        Self::NotReady { credential: owner.to_string(), needs_user_action }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::NotPermitted { .. } => "ReferenceNotPermitted",
            Self::OutOfScope { .. } => "ReferenceOutOfScope",
            Self::NotReady { .. } => "ReferenceNotReady",
            Self::SelectorIgnored => "NamespaceSelectorIgnored",
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            // Within a namespace there is nothing to permit, and nothing to hide.
            Self::NotPermitted { credential, namespace } if is_within(credential, namespace) => format!(
                "IdIssuerCredential {credential} does not exist, or follows another one itself; create it, or correct spec.credentialRef: refer to the one that logs in"
            ),
            Self::NotPermitted { credential, namespace } => format!(
                "Namespace {namespace} may not follow IdIssuerCredential {credential}; ask its owner to add {namespace} to spec.allowedNamespaces there, or correct spec.credentialRef. The message is the same if that credential does not exist, or follows another one itself"
            ),
            Self::OutOfScope { namespace } => format!(
                "The controller does not manage namespace {namespace}, which spec.credentialRef names; refer to a credential in a namespace that it manages, or start the controller with --namespace={namespace} too"
            ),
            Self::NotReady { credential, .. } => format!(
                "IdIssuerCredential {credential}, which this one follows, obtains no new token at the moment; its status names the cause and the cure. Its owner has to act, if anyone has to"
            ),
            Self::SelectorIgnored => "The controller does not read labels of namespaces, so spec.allowedNamespaces.selector permits none; name the namespaces in spec.allowedNamespaces.names, or start the controller with --namespace-selectors (in the chart sharing.namespaceSelectors)".into(),
        }
    }

    pub(super) fn needs_user_action(&self) -> bool {
        match self {
            Self::NotPermitted { .. } | Self::OutOfScope { .. } | Self::SelectorIgnored => true,
            Self::NotReady { needs_user_action, .. } => *needs_user_action,
        }
    }
}

/// Whether a credential, as namespace and name, is in this namespace.
fn is_within(credential: &str, namespace: &str) -> bool {
    credential.split_once('/').is_some_and(|(place, _)| place == namespace)
}

impl From<ReferenceProblem> for Reason {
    fn from(problem: ReferenceProblem) -> Self {
        Self::Reference(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_permission_is_asked_for_within_a_namespace() {
        for (namespace, asks) in [("shop", true), ("platform", false)] {
            let credential = "platform/billing".to_owned();
            let problem = ReferenceProblem::NotPermitted { credential, namespace: namespace.to_owned() };
            assert_eq!(problem.message().contains("spec.allowedNamespaces"), asks, "{}", problem.message());
        }
    }
}
