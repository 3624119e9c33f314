//! What kind of reason it is: of whom it asks something, and what its text depends on.

use super::Reason;

impl Reason {
    /// Whether it only says that work is going on, or was stopped by the user: that is worth no Event.
    #[must_use]
    pub fn is_progress(&self) -> bool {
        matches!(self, Self::Issuing | Self::Updating | Self::Suspended)
    }

    /// Whether its text follows from objects that people edit: then another text is another slip, which is worth an Event.
    /// The text of other reasons may alternate by itself.
    #[must_use]
    pub fn is_of_edited_objects(&self) -> bool {
        matches!(
            self,
            Self::InvalidSpec { .. }
                | Self::IssuerNotAllowed { .. }
                | Self::IssuerPathNotAllowed { .. }
                | Self::TemplateError { .. }
                | Self::TemplateTooLarge { .. }
                | Self::TargetRefused(_)
                | Self::LoginSecretMissing { .. }
                | Self::LoginSecretUnusable { .. }
        ) || self.is_of_ca_bundle()
    }

    /// Whether the text of a reason of this name quotes an answer, or has a cause that does: it may differ from call to call.
    #[must_use]
    pub fn quotes_answer(name: &str) -> bool {
        matches!(name, "ApiServerCallFailed" | "IssuerUnavailable" | "Expired" | "RenewalOverdue")
    }

    /// Whether it is the CA bundle that cannot be used.
    #[must_use]
    pub fn is_of_ca_bundle(&self) -> bool {
        matches!(
            self,
            Self::CaBundleMissing { .. }
                | Self::CaBundleKeyMissing { .. }
                | Self::CaBundleInvalid { .. }
                | Self::CaBundleTooLarge { .. }
                | Self::CaBundlesTooMany { .. }
        )
    }

    /// Whether a person has to act before this can get better.
    #[must_use]
    pub fn needs_user_action(&self) -> bool {
        match self {
            Self::Reference(problem) => problem.needs_user_action(),
            Self::Unclear { answer, .. } => answer.needs_user_action(),
            Self::TokenPublished { .. }
            | Self::Issuing
            | Self::Updating
            | Self::Expired { .. }
            | Self::RenewalOverdue { .. }
            | Self::Suspended
            | Self::FollowerAdded { .. }
            | Self::RenewRequestHandled { .. }
            | Self::LoginAccepted
            | Self::LoginPending
            | Self::LoginOutcomeUnknown { .. }
            | Self::RefreshRejected
            | Self::NoAnswer { .. }
            | Self::IssuerUnavailable { .. }
            | Self::IssuerCircuitOpen { .. }
            | Self::TargetPendingDeletion { .. } => false,
            Self::MalformedResource
            | Self::InvalidSpec { .. }
            | Self::IssuerNotAllowed { .. }
            | Self::IssuerPathNotAllowed { .. }
            | Self::TemplateError { .. }
            | Self::TemplateTooLarge { .. }
            | Self::TemplateTooLong
            | Self::TargetRefused(_)
            | Self::LoginSecretMissing { .. }
            | Self::LoginSecretUnusable { .. }
            | Self::CaBundleMissing { .. }
            | Self::CaBundleKeyMissing { .. }
            | Self::CaBundleInvalid { .. }
            | Self::CaBundleTooLarge { .. }
            | Self::CaBundlesTooMany { .. }
            | Self::TokenLifetimeTooShort
            | Self::TooManyCredentials { .. }
            | Self::LoginRejected { .. }
            | Self::LoginNotAccepted { .. }
            | Self::LoginRateLimited { .. }
            | Self::TargetConflict { .. }
            | Self::TargetImmutable { .. }
            | Self::TargetTypeMismatch { .. }
            | Self::TargetContested { .. }
            | Self::TargetWriteRefused { .. }
            | Self::ApiServerCallFailed { .. }
            | Self::ManagedByAnotherController { .. } => true,
        }
    }
}
