//! The name of an object in its namespace.

use std::fmt;
use std::sync::Arc;

/// A namespace and a name in it. Clones share the texts: a credential's name is the key of many
/// maps.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespacedName {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl NamespacedName {
    /// This name in this namespace.
    #[must_use]
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The namespace, and the name.
    #[must_use]
    pub fn parts(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }

    /// Another name in the same namespace.
    #[must_use]
    pub fn sibling(&self, name: impl Into<Arc<str>>) -> Self {
        Self::new(Arc::clone(&self.namespace), name)
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_with_its_namespace() {
        assert_eq!(NamespacedName::new("shop", "billing").sibling("login").to_string(), "shop/login");
        assert_eq!(NamespacedName::new("shop", "billing").parts(), ("shop", "billing"));
    }
}
