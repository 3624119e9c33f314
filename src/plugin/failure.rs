//! Why a command failed: its class, which has an exit code, and a sentence with the cure.

use std::fmt;

/// What a failure means for the program that called; each has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Something else.
    Failed,
    /// The command line is wrong.
    Usage,
    /// Not ready, or refused by the issuer.
    NotReady,
    /// This user may not do that.
    Forbidden,
    /// What was named does not exist.
    NotFound,
    /// The API server cannot be reached, or does not work. A retry may help.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// The user interrupted it.
    Interrupted,
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its class.
    pub kind: FailureKind,
    /// What failed, and the cure. Empty if everything is printed already.
    pub message: String,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The output says everything already; only the exit code is left.
    pub(super) fn shown(kind: FailureKind) -> Self {
        Self { kind, message: String::new() }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::new(FailureKind::Failed, message)
    }
}

/// The class of several outcomes: none if all are good, the common one if the failures agree, and otherwise `Failed`.
pub(super) fn summary(kinds: impl IntoIterator<Item = FailureKind>) -> Option<FailureKind> {
    kinds.into_iter().reduce(|first, next| if first == next { first } else { FailureKind::Failed })
}

/// A request to the API server, as a Role would name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) verb: &'static str,
    /// The plural with its group, and with a subresource: `pods/log`.
    pub(super) resource: &'static str,
    /// None: all namespaces, or an object of the cluster.
    pub(super) namespace: Option<&'a str>,
    pub(super) name: Option<&'a str>,
}

/// The plural and the group of the credentials.
pub(super) const CREDENTIALS: &str = "idissuercredentials.idissuer.pl";

impl fmt::Display for Request<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb, self.resource)?;
        if let Some(name) = self.name {
            write!(formatter, " {name}")?;
        }
        match self.namespace {
            Some(namespace) => write!(formatter, " in namespace {namespace}"),
            None if self.name.is_some() => Ok(()),
            None => formatter.write_str(" in all namespaces"),
        }
    }
}

impl<'a> Request<'a> {
    /// One about an object of a namespace.
    pub(super) fn about(
        verb: &'static str,
        resource: &'static str,
        namespace: &'a str,
        name: &'a str,
    ) -> Self {
        Self { verb, resource, namespace: Some(namespace), name: Some(name) }
    }

    /// The right that is missing, and who can give it.
    pub(super) fn missing_right(&self) -> String {
        let kind = if self.namespace.is_some() { "Role" } else { "ClusterRole" };
        let names = self.name.map(|name| format!(", resourceNames [{name}]")).unwrap_or_default();
        let given = match (self.resource, self.verb) {
            (CREDENTIALS, "get" | "list" | "watch") => "; the chart adds it to the ClusterRole view",
            (CREDENTIALS, _) => "; the chart adds it to the ClusterRole edit",
            _ => "",
        };
        format!(
            "this user may not {self}; ask for a {kind} with the verb {} on {}{names}{given}",
            self.verb, self.resource
        )
    }

    /// What the failure of this request means. An answer that cannot be understood may hold a Secret, so it is not
    /// repeated.
    pub(super) fn failure(&self, error: &kube::Error) -> Failure {
        use FailureKind::{Failed, Forbidden, NotFound, Unreachable};
        let (kind, cure) = match error {
            kube::Error::Api(status) => match status.code {
                401 => (
                    Forbidden,
                    "the API server does not accept the kubeconfig's user; log in to the cluster again"
                        .to_owned(),
                ),
                403 => return Failure::new(Forbidden, self.missing_right()),
                404 if status.details.as_ref().is_some_and(|it| Some(it.name.as_str()) == self.name) => {
                    (NotFound, "it does not exist; check name and namespace".to_owned())
                }
                404 => (
                    NotFound,
                    "the API server does not know this resource; install the CRD, or check the context"
                        .to_owned(),
                ),
                429 | 500.. => (Unreachable, "the API server fails; try again later".to_owned()),
                _ => (Failed, format!("the API server rejects the request: {}", status.message)),
            },
            error if is_of_login(error) => (
                Forbidden,
                "the kubeconfig's user cannot log in to the cluster; `kubectl auth whoami` shows why"
                    .to_owned(),
            ),
            kube::Error::HyperError(_) | kube::Error::Service(_) => (
                Unreachable,
                "the API server cannot be reached; check the kubeconfig's server and its CA, and the network"
                    .to_owned(),
            ),
            _ => (
                Failed,
                "the answer of the API server cannot be used; compare `kubectl idissuer version`".to_owned(),
            ),
        };
        Failure::new(kind, format!("{self}: {cure}"))
    }
}

/// Whether what logs in to the cluster has failed: a command or a file of the kubeconfig. Its text may hold a token.
fn is_of_login(error: &kube::Error) -> bool {
    match error {
        kube::Error::Auth(_) => true,
        kube::Error::Service(error) => error.is::<kube::client::AuthError>(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::core::response::StatusDetails;

    use super::*;

    fn answer(code: u16, name: &str) -> kube::Error {
        let details = StatusDetails {
            name: name.to_owned(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        };
        kube::Error::Api(Box::new(Status { code, details: Some(details), ..Status::default() }))
    }

    const GET: Request<'_> =
        Request { verb: "get", resource: CREDENTIALS, namespace: Some("shop"), name: Some("billing") };

    #[test]
    fn each_answer_has_its_class_and_cure() {
        use FailureKind::{Failed, Forbidden, NotFound, Unreachable};
        for (code, name, kind, part) in [
            (401, "", Forbidden, "log in to the cluster again"),
            (403, "billing", Forbidden, "a Role with the verb get on idissuercredentials.idissuer.pl"),
            (
                404,
                "billing",
                NotFound,
                "get idissuercredentials.idissuer.pl billing in namespace shop: it does not",
            ),
            (404, "", NotFound, "install the CRD"),
            (409, "", Failed, "rejects the request"),
            (429, "", Unreachable, "try again later"),
            (503, "", Unreachable, "try again later"),
        ] {
            let failure = GET.failure(&answer(code, name));
            assert_eq!(failure.kind, kind, "{code}");
            assert!(failure.message.contains(part), "{code}: {}", failure.message);
        }
    }

    #[test]
    fn a_missing_right_names_verb_resource_and_the_kind_of_role() {
        let right = GET.missing_right();
        assert!(right.contains("resourceNames [billing]") && right.contains("ClusterRole view"), "{right}");
        let list = Request { verb: "list", resource: "pods", namespace: None, name: None };
        assert_eq!(
            list.missing_right(),
            "this user may not list pods in all namespaces; ask for a ClusterRole with the verb list on pods"
        );
    }

    #[test]
    fn several_failures_have_their_common_class() {
        use FailureKind::{Failed, NotReady, TimedOut};
        for (kinds, expected) in [
            (vec![], None),
            (vec![NotReady], Some(NotReady)),
            (vec![NotReady, NotReady], Some(NotReady)),
            (vec![NotReady, TimedOut], Some(Failed)),
            (vec![NotReady, TimedOut, NotReady], Some(Failed)),
        ] {
            assert_eq!(summary(kinds.clone()), expected, "{kinds:?}");
        }
    }
}
