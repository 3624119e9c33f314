//! Who owns which field: the heart of server-side apply.
//!
//! An object is seen as its leaves. Maps are entered; lists are leaves as a whole, but for the two that the operator
//! shares with others: owner references, each a leaf known by its uid, and conditions, maps known by their type.

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

/// The leaves that one manager owns.
pub(super) type FieldSet = BTreeSet<Path>;

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

impl Scope {
    /// Whether nothing at this path is anybody's.
    fn excludes(self, path: &Path) -> bool {
        match (self, path.0.as_str()) {
            (_, "\napiVersion" | "\nkind") | (Self::AllButStatus, "\nstatus") => true,
            (Self::Status, path) => !path.is_empty() && !path.starts_with("\nstatus"),
            (_, path) => {
                path.strip_prefix("\nmetadata\n").is_some_and(|field| SYSTEM_METADATA.contains(&field))
            }
        }
    }
}

/// Calls `visit` with each leaf. A keyed item that is entered is a leaf too: without a value.
fn leaves<'a>(
    path: &mut Path,
    value: &'a Value,
    scope: Scope,
    visit: &mut impl FnMut(&Path, Option<&'a Value>),
) {
    if scope.excludes(path) {
        return;
    }
    match (value, path.list_key()) {
        (Value::Object(map), _) if !map.is_empty() => {
            for (key, value) in map {
                path.within(FIELD, key, |path| leaves(path, value, scope, visit));
            }
        }
        (Value::Array(items), Some(key)) => {
            for item in items {
                path.within(ITEM, key.of(item), |path| {
                    if key.items_are_leaves {
                        visit(path, Some(item));
                    } else {
                        visit(path, None);
                        leaves(path, item, scope, visit);
                    }
                });
            }
        }
        _ => visit(path, Some(value)),
    }
}

fn paths(path: &mut Path, value: &Value, scope: Scope) -> Vec<Path> {
    let mut paths = Vec::new();
    leaves(path, value, scope, &mut |path, _| paths.push(path.clone()));
    paths
}

/// The leaves of what a manager applies.
pub(super) fn field_set(object: &Value, scope: Scope) -> FieldSet {
    paths(&mut Path::default(), object, scope).into_iter().collect()
}

/// The difference between two versions of an object.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// New, or with another value.
    pub(super) written: FieldSet,
    pub(super) removed: FieldSet,
}

pub(super) fn compare(before: &Value, after: &Value, scope: Scope) -> Comparison {
    let mut comparison = Comparison::default();
    comparison.collect(&mut Path::default(), before, after, scope);
    comparison
}

impl Comparison {
    fn collect(&mut self, path: &mut Path, before: &Value, after: &Value, scope: Scope) {
        match (before, after) {
            _ if before == after || scope.excludes(path) => {}
            // What is equal costs no path.
            (Value::Object(before), Value::Object(after)) if !before.is_empty() && !after.is_empty() => {
                for (key, value) in before {
                    path.within(FIELD, key, |path| match after.get(key) {
                        Some(after) => self.collect(path, value, after, scope),
                        None => self.removed.extend(paths(path, value, scope)),
                    });
                }
                for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                    path.within(FIELD, key, |path| self.written.extend(paths(path, value, scope)));
                }
            }
            _ => self.collect_leaves(path, before, after, scope),
        }
    }

    fn collect_leaves(&mut self, path: &mut Path, before: &Value, after: &Value, scope: Scope) {
        let mut values = |value| {
            let mut values = BTreeMap::new();
            leaves(path, value, scope, &mut |path, value| values.extend([(path.clone(), value)]));
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
    match (live, applied, path.list_key()) {
        (Value::Object(live), Value::Object(applied), _) => {
            for (key, value) in applied {
                match live.get_mut(key) {
                    Some(live) => path.within(FIELD, key, |path| merge_at(path, live, value)),
                    None => drop(live.insert(key.clone(), value.clone())),
                }
            }
        }
        (Value::Array(live), Value::Array(applied), Some(key)) => {
            for item in applied {
                let name = key.of(item);
                match live.iter_mut().find(|live| key.of(live) == name) {
                    Some(live) if key.items_are_leaves => live.clone_from(item),
                    Some(live) => path.within(ITEM, name, |path| merge_at(path, live, item)),
                    None => live.push(item.clone()),
                }
            }
        }
        // A null map is owned, but changes nothing.
        (Value::Object(_), Value::Null, _) => {}
        (live, applied, _) => live.clone_from(applied),
    }
}

/// Takes leaves out of an object, and maps and lists that are empty then.
pub(super) fn remove<'a>(object: &mut Value, leaves: impl Iterator<Item = &'a Path>) {
    for leaf in leaves {
        remove_at(&mut Path::default(), object, &leaf.0);
    }
}

/// Whether nothing is left at this path.
fn remove_at(path: &mut Path, value: &mut Value, rest: &str) -> bool {
    let Some(kind) = rest.chars().next() else { return true };
    let rest = &rest[1..];
    let (step, rest) = rest.split_at(rest.find([FIELD, ITEM]).unwrap_or(rest.len()));
    match value {
        Value::Object(map) if kind == FIELD => {
            let is_gone = map
                .get_mut(step)
                .is_some_and(|value| path.within(FIELD, step, |path| remove_at(path, value, rest)));
            is_gone && map.remove(step).is_some() && map.is_empty()
        }
        Value::Array(items) if kind == ITEM => {
            let Some(key) = path.list_key() else { return false };
            path.within(ITEM, step, |path| {
                items.retain_mut(|item| key.of(item) != step || !remove_at(path, item, rest));
            });
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
