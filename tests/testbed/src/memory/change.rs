//! Changes, as observers see them.

use std::sync::Arc;

use serde_json::Value;

use super::write::Write;

/// A write that was carried out and changed something.
#[derive(Clone, Debug)]
pub struct Change {
    /// Who wrote: the user of a client, or the field manager of a direct write.
    pub user: String,
    /// The resource in plural.
    pub resource: &'static str,
    /// Whether it was a write to the status alone.
    pub to_status: bool,
    /// Where the object lies.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The resourceVersion that the write made. It orders all changes.
    pub version: u64,
    /// The object before; none if it was created.
    pub before: Option<Arc<Value>>,
    /// The object after; none if it was deleted.
    pub after: Option<Arc<Value>>,
}

impl Change {
    pub(super) fn new(
        write: &Write,
        version: u64,
        before: Option<Arc<Value>>,
        after: Option<Arc<Value>>,
    ) -> Self {
        Self {
            user: write.user.clone(),
            resource: write.resource.plural,
            to_status: write.to_status,
            namespace: write.key.namespace.clone(),
            name: write.key.name.clone(),
            version,
            before,
            after,
        }
    }
}
