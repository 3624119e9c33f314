//! Faults between a client and the API.

use std::fmt;
use std::time::Duration;

/// A request, in the words of an audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// Whose client asked: the name given to [`MemoryApi::client`](super::MemoryApi::client).
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `patch` or `delete`.
    pub verb: &'static str,
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource in plural.
    pub resource: String,
    /// `status`, or empty.
    pub subresource: String,
    /// Empty for requests over all namespaces.
    pub namespace: String,
    /// Empty for lists, watches, and for what is created.
    pub name: String,
}

impl RequestFacts {
    /// Resource and subresource in one: `idissuercredentials/status`.
    #[must_use]
    pub fn target(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

impl fmt::Display for RequestFacts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, verb, namespace, name) = (&self.user, self.verb, &self.namespace, &self.name);
        write!(formatter, "{user}: {verb} {} {namespace}/{name}", self.target())
    }
}

/// What happens to a request instead of its ordinary course.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not carried out, and answered so.
    Refuse {
        /// The HTTP status.
        code: u16,
        /// Such as `Forbidden`.
        reason: String,
        /// For a person.
        message: String,
    },
    /// It is carried out, and the answer never comes. A lost watch never begins.
    Lost,
    /// There is no connection: it is not carried out.
    Unreachable,
    /// It is carried out after this time, unless the client has hung up before.
    Delay(Duration),
    /// It is carried out after this time even if the client has hung up before: it was under way already. A watch is
    /// only delayed.
    Late(Duration),
}

impl Fault {
    /// A refusal with a message that is the reason.
    #[must_use]
    pub fn refuse(code: u16, reason: &str) -> Self {
        Self::Refuse { code, reason: reason.to_owned(), message: reason.to_owned() }
    }
}
