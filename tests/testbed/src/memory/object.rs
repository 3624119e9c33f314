//! An object as it is stored, and as it goes over the wire.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::{Value, json};

/// One version of an object. It is written out once, for however many read it.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) value: Arc<Value>,
    whole: OnceLock<Bytes>,
    metadata: OnceLock<Bytes>,
}

/// How much of an object is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Whole,
    /// As `PartialObjectMetadata`.
    Metadata,
}

impl Object {
    pub(super) fn new(value: Value) -> Self {
        Self { value: Arc::new(value), whole: OnceLock::new(), metadata: OnceLock::new() }
    }

    pub(super) fn metadata(&self, field: &str) -> &str {
        metadata(&self.value, field).unwrap_or_default()
    }

    pub(super) fn json(&self, view: View) -> &Bytes {
        match view {
            View::Whole => self.whole.get_or_init(|| self.value.to_string().into()),
            View::Metadata => self.metadata.get_or_init(|| {
                let metadata = &self.value["metadata"];
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
                    .to_string()
                    .into()
            }),
        }
    }
}

/// A text of the metadata, unless it is empty.
pub(super) fn metadata<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object["metadata"][field].as_str().filter(|text| !text.is_empty())
}
