//! Who owns which field: the heart of server-side apply.
//!
//! An object is seen as its leaves. Maps are entered; lists are leaves as a whole, but for the two that the operator
//! shares with others: owner references, each a leaf known by its uid, and conditions, maps known by their type.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Where a leaf is: its steps, each led by what kind of step it is, so that paths compare as fast as strings.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path(String);

const FIELD: char = '\n';
const ITEM: char = '\t';

impl Path {
    pub(super) fn field(&self, key: &str) -> Self {
        self.step(FIELD, key)
    }

    fn item(&self, key: &str) -> Self {
        self.step(ITEM, key)
    }

    fn step(&self, kind: char, key: &str) -> Self {
        let mut path = String::with_capacity(self.0.len() + key.len() + 1);
        path.push_str(&self.0);
        path.push(kind);
        path.push_str(key);
        Self(path)
    }

    /// As error messages name it.
    pub(super) fn display(&self) -> String {
        self.0.replace([FIELD, ITEM], ".")
    }

    /// By what the items of the list at this path are known, if they are entered.
    fn list_key(&self) -> Option<ListKey> {
        match self.0.as_str() {
            "\nmetadata\nownerReferences" => Some(ListKey { field: "uid", items_are_leaves: true }),
            "\nstatus\nconditions" => Some(ListKey { field: "type", items_are_leaves: false }),
            _ => None,
        }
    }
}

#[derive(Clone, Copy)]
struct ListKey {
    field: &'static str,
    items_are_leaves: bool,
}

impl ListKey {
    fn of<'a>(&self, item: &'a Value) -> &'a str {
        item[self.field].as_str().unwrap_or_default()
    }
}

/// The leaves that one manager owns.
pub(super) type FieldSet = BTreeSet<Path>;
type Leaves<'a> = BTreeMap<Path, Option<&'a Value>>;

/// Which part of an object a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Everything,
    AllButStatus,
    Status,
}

/// What nobody owns: the API server itself writes it.
const SYSTEM_METADATA: [&str; 10] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// The leaves of an object that can have an owner.
fn leaves(object: &Value, scope: Scope) -> Leaves<'_> {
    let mut leaves = Leaves::new();
    for (key, value) in object.as_object().into_iter().flatten() {
        let path = Path::default().field(key);
        let is_ours = match (scope, key.as_str()) {
            (_, "apiVersion" | "kind") => false,
            (Scope::Status, key) => key == "status",
            (Scope::AllButStatus, key) => key != "status",
            (Scope::Everything, _) => true,
        };
        if key == "metadata" && is_ours {
            let metadata = value.as_object().into_iter().flatten();
            for (key, value) in metadata.filter(|(key, _)| !SYSTEM_METADATA.contains(&key.as_str())) {
                collect(path.field(key), value, &mut leaves);
            }
        } else if is_ours {
            collect(path, value, &mut leaves);
        }
    }
    leaves
}

fn collect<'a>(path: Path, value: &'a Value, leaves: &mut Leaves<'a>) {
    match (value, path.list_key()) {
        (Value::Object(map), _) if !map.is_empty() => {
            for (key, value) in map {
                collect(path.field(key), value, leaves);
            }
        }
        (Value::Array(items), Some(key)) => {
            for item in items {
                let path = path.item(key.of(item));
                if key.items_are_leaves {
                    leaves.insert(path, Some(item));
                } else {
                    leaves.insert(path.clone(), None);
                    collect(path, item, leaves);
                }
            }
        }
        _ => {
            leaves.insert(path, Some(value));
        }
    }
}

/// The leaves of what a manager applies.
pub(super) fn field_set(object: &Value, scope: Scope) -> FieldSet {
    leaves(object, scope).into_keys().collect()
}

/// The difference between two versions of an object.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// New, or with another value.
    pub(super) written: FieldSet,
    pub(super) removed: FieldSet,
}

pub(super) fn compare(before: &Value, after: &Value, scope: Scope) -> Comparison {
    let (before, after) = (leaves(before, scope), leaves(after, scope));
    let removed = before.keys().filter(|path| !after.contains_key(path)).cloned().collect();
    let written = after.into_iter().filter(|(path, value)| before.get(path) != Some(value));
    Comparison { written: written.map(|(path, _)| path).collect(), removed }
}

/// Lays what is applied over what is there.
pub(super) fn merge(live: &mut Value, applied: &Value) {
    merge_at(&Path::default(), live, applied);
}

fn merge_at(path: &Path, live: &mut Value, applied: &Value) {
    match (live, applied, path.list_key()) {
        (Value::Object(live), Value::Object(applied), _) => {
            for (key, value) in applied {
                match live.get_mut(key) {
                    Some(live) => merge_at(&path.field(key), live, value),
                    None => drop(live.insert(key.clone(), value.clone())),
                }
            }
        }
        (Value::Array(live), Value::Array(applied), Some(key)) => {
            for item in applied {
                let name = key.of(item);
                match live.iter_mut().find(|live| key.of(live) == name) {
                    Some(live) if key.items_are_leaves => live.clone_from(item),
                    Some(live) => merge_at(&path.item(name), live, item),
                    None => live.push(item.clone()),
                }
            }
        }
        (live, applied, _) => live.clone_from(applied),
    }
}

/// Takes leaves out of an object, and maps and lists that are empty then.
pub(super) fn remove(object: &mut Value, leaves: &FieldSet) {
    for leaf in leaves {
        remove_at(&Path::default(), object, &leaf.0);
    }
}

/// Whether nothing is left at this path.
fn remove_at(path: &Path, value: &mut Value, rest: &str) -> bool {
    let Some(kind) = rest.chars().next() else { return true };
    let rest = &rest[1..];
    let (step, rest) = rest.split_at(rest.find([FIELD, ITEM]).unwrap_or(rest.len()));
    match value {
        Value::Object(map) if kind == FIELD => {
            let is_gone = map.get_mut(step).is_some_and(|value| remove_at(&path.field(step), value, rest));
            is_gone && map.remove(step).is_some() && map.is_empty()
        }
        Value::Array(items) if kind == ITEM => {
            let Some(key) = path.list_key() else { return false };
            let path = path.item(step);
            items.retain_mut(|item| key.of(item) != step || !remove_at(&path, item, rest));
            items.is_empty()
        }
        _ => false,
    }
}

/// A merge patch (RFC 7386).
pub(super) fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge_patch(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
