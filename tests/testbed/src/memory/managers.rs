//! The field managers of one object.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::fields::{FieldSet, compare, field_set, has_below, merge, remove, tree};

/// A field manager: by one name, what is applied and what is otherwise written are two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) applies: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Managers(BTreeMap<Manager, Arc<FieldSet>>);

impl Managers {
    /// What the object is once `applied` has been laid over it, and what its manager no longer names has gone.
    pub(super) fn apply(&mut self, live: &Value, applied: &Value, manager: Manager) -> Value {
        let named = field_set(applied);
        let mut object = live.clone();
        merge(&mut object, applied);
        if let Some(before) = self.0.get(&manager) {
            let others = self.0.iter().filter(|(other, _)| **other != manager).map(|(_, fields)| &**fields);
            let kept: Vec<&FieldSet> = others.chain([&named]).collect();
            // An empty map that was owned may hold what is kept by now.
            let is_kept =
                |field| kept.iter().any(|fields| fields.contains(field) || has_below(fields, field));
            remove(&mut object, before.difference(&named).filter(|field| !is_kept(field)));
        }
        let comparison = compare(live, &object);
        self.take_from_others(&manager, &[&comparison.written, &comparison.removed]);
        self.0.insert(manager, Arc::new(named));
        self.forget_idle();
        object
    }

    /// As an object's `managedFields` show them.
    pub(super) fn shown(&self, api_version: &str) -> Value {
        let entry = |(manager, fields): (&Manager, &Arc<FieldSet>)| {
            json!({
                "manager": manager.name, "operation": if manager.applies { "Apply" } else { "Update" },
                "apiVersion": api_version, "fieldsType": "FieldsV1", "fieldsV1": tree(fields),
            })
        };
        self.0.iter().map(entry).collect()
    }

    /// Notes what a write other than by apply has changed.
    pub(super) fn update(&mut self, before: &Value, after: &Value, manager: Manager) {
        let comparison = compare(before, after);
        self.take_from_others(&manager, &[&comparison.written, &comparison.removed]);
        let own = Arc::make_mut(self.0.entry(manager).or_default());
        own.retain(|field| !comparison.removed.contains(field));
        own.extend(comparison.written);
        self.forget_idle();
    }

    fn take_from_others(&mut self, manager: &Manager, taken: &[&FieldSet]) {
        for (_, own) in self.0.iter_mut().filter(|(other, _)| *other != manager) {
            if taken.iter().any(|fields| !fields.is_disjoint(own)) {
                Arc::make_mut(own).retain(|field| !taken.iter().any(|fields| fields.contains(field)));
            }
        }
    }

    fn forget_idle(&mut self) {
        self.0.retain(|_, fields| !fields.is_empty());
    }
}
