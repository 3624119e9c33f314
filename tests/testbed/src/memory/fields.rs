//! The owners of fields, for server-side apply.
//!
//! An object is seen as its leaves. Maps are entered; lists are leaves as a whole, but for the one that the operator
//! shares with others: owner references, each a leaf known by its uid. A status is nobody's: it is never applied.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde_json::{Map, Value};

/// Where a leaf is: its steps, each led by what kind of step it is, so that paths compare as fast as strings.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path(String);

const FIELD: char = '\n';
const ITEM: char = '\t';

impl Path {
    /// Does something one step further, and comes back.
    fn within<T>(&mut self, kind: char, key: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.0.len();
        self.0.push(kind);
        self.0.push_str(key);
        let result = work(self);
        self.0.truncate(length);
        result
    }

    /// Whether the list at this path is entered.
    fn is_keyed_list(&self) -> bool {
        self.0 == "\nmetadata\nownerReferences"
    }

    /// Whether nothing at this path is anybody's.
    fn is_unowned(&self) -> bool {
        match self.0.as_str() {
            "\napiVersion" | "\nkind" | "\nstatus" => true,
            path => path.strip_prefix("\nmetadata\n").is_some_and(|field| SYSTEM_METADATA.contains(&field)),
        }
    }
}

/// By what an item of a keyed list is known.
fn uid(item: &Value) -> &str {
    item["uid"].as_str().unwrap_or_default()
}

/// Whether any of these leaves lies below this path.
pub(super) fn has_below(fields: &FieldSet, path: &Path) -> bool {
    // The kinds of steps sort before all text, so what lies below comes next.
    let next = fields.range((Bound::Excluded(path), Bound::Unbounded)).next();
    let rest = next.and_then(|next| next.0.strip_prefix(&path.0));
    rest.is_some_and(|rest| rest.starts_with([FIELD, ITEM]))
}

/// Leaves as `managedFields` shows them, but for those in lists.
pub(super) fn tree(fields: &FieldSet) -> Value {
    let mut tree = Value::Object(Map::new());
    for path in fields.iter().filter(|path| !path.0.contains(ITEM)) {
        let mut place = &mut tree;
        for step in path.0.split(FIELD).skip(1) {
            place = &mut place[format!("f:{step}")];
        }
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
    }
    tree
}

pub(super) type FieldSet = BTreeSet<Path>;

/// Fields without an owner: the API server itself writes them.
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

/// Calls `visit` with each leaf.
fn leaves<'a>(path: &mut Path, value: &'a Value, visit: &mut impl FnMut(&Path, &'a Value)) {
    if path.is_unowned() {
        return;
    }
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                path.within(FIELD, key, |path| leaves(path, value, visit));
            }
        }
        Value::Array(items) if path.is_keyed_list() => {
            for item in items {
                path.within(ITEM, uid(item), |path| visit(path, item));
            }
        }
        _ => visit(path, value),
    }
}

fn paths(path: &mut Path, value: &Value) -> Vec<Path> {
    let mut paths = Vec::new();
    leaves(path, value, &mut |path, _| paths.push(path.clone()));
    paths
}

/// The leaves of what a manager applies.
pub(super) fn field_set(object: &Value) -> FieldSet {
    paths(&mut Path::default(), object).into_iter().collect()
}

/// The difference between two versions of an object.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// New, or with another value.
    pub(super) written: FieldSet,
    pub(super) removed: FieldSet,
}

pub(super) fn compare(before: &Value, after: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    comparison.collect(&mut Path::default(), before, after);
    comparison
}

impl Comparison {
    fn collect(&mut self, path: &mut Path, before: &Value, after: &Value) {
        match (before, after) {
            _ if before == after || path.is_unowned() => {}
            // What is equal costs no path.
            (Value::Object(before), Value::Object(after)) if !before.is_empty() && !after.is_empty() => {
                for (key, value) in before {
                    path.within(FIELD, key, |path| match after.get(key) {
                        Some(after) => self.collect(path, value, after),
                        None => self.removed.extend(paths(path, value)),
                    });
                }
                for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                    path.within(FIELD, key, |path| self.written.extend(paths(path, value)));
                }
            }
            _ => self.collect_leaves(path, before, after),
        }
    }

    fn collect_leaves(&mut self, path: &mut Path, before: &Value, after: &Value) {
        let mut values = |value| {
            let mut values = BTreeMap::new();
            leaves(path, value, &mut |path, value| values.extend([(path.clone(), value)]));
            values
        };
        let (old, new) = (values(before), values(after));
        self.removed.extend(old.keys().filter(|path| !new.contains_key(*path)).cloned());
        let written = new.into_iter().filter(|(path, value)| old.get(path) != Some(value));
        self.written.extend(written.map(|(path, _)| path));
    }
}

/// Lays what is applied over what is there.
pub(super) fn merge(live: &mut Value, applied: &Value) {
    merge_at(&mut Path::default(), live, applied);
}

fn merge_at(path: &mut Path, live: &mut Value, applied: &Value) {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) => {
            for (key, value) in applied {
                match live.get_mut(key) {
                    Some(live) => path.within(FIELD, key, |path| merge_at(path, live, value)),
                    None => drop(live.insert(key.clone(), value.clone())),
                }
            }
        }
        (Value::Array(live), Value::Array(applied)) if path.is_keyed_list() => {
            for item in applied {
                match live.iter_mut().find(|live| uid(live) == uid(item)) {
                    Some(live) => live.clone_from(item),
                    None => live.push(item.clone()),
                }
            }
        }
        // A null map is owned, but changes nothing.
        (Value::Object(_), Value::Null) => {}
        (live, applied) => live.clone_from(applied),
    }
}

/// Takes leaves out of an object, and maps and lists that are empty then.
pub(super) fn remove<'a>(object: &mut Value, leaves: impl Iterator<Item = &'a Path>) {
    for leaf in leaves {
        remove_at(object, &leaf.0);
    }
}

/// Whether nothing is left at this path.
fn remove_at(value: &mut Value, rest: &str) -> bool {
    let Some(kind) = rest.chars().next() else { return true };
    let rest = &rest[1..];
    let (step, rest) = rest.split_at(rest.find([FIELD, ITEM]).unwrap_or(rest.len()));
    match value {
        Value::Object(map) if kind == FIELD => {
            let is_gone = map.get_mut(step).is_some_and(|value| remove_at(value, rest));
            is_gone && map.remove(step).is_some() && map.is_empty()
        }
        Value::Array(items) if kind == ITEM => {
            items.retain(|item| uid(item) != step);
            items.is_empty()
        }
        _ => false,
    }
}

/// A JSON patch (RFC 6902), as far as it tests and sets fields of objects.
pub(super) fn json_patch(target: &mut Value, patch: &Value) -> Result<(), String> {
    for step in patch.as_array().into_iter().flatten() {
        let place = step["path"].as_str().unwrap_or_default();
        let (parent, field) = place.rsplit_once('/').ok_or_else(|| format!("the path {place:?} is none"))?;
        let parent = target.pointer_mut(parent).and_then(Value::as_object_mut);
        let fields = parent.ok_or_else(|| format!("there is nothing at {place:?}"))?;
        match step["op"].as_str().unwrap_or_default() {
            "test" if fields.get(field) == Some(&step["value"]) => {}
            "test" => return Err(format!("testing value {place} failed")),
            "add" => drop(fields.insert(field.to_owned(), step["value"].clone())),
            other => return Err(format!("the operation {other:?} is not served")),
        }
    }
    Ok(())
}

/// A merge patch (RFC 7386).
pub fn merge_patch(target: &mut Value, patch: &Value) {
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
