//! Create, patch, apply and delete.

use std::sync::Arc;
use std::task::Waker;

use jiff::{Timestamp, Unit};
use serde_json::{Map, Value, json};

use super::change::Change;
use super::fields::{json_patch, merge_patch};
use super::managers::{Manager, Managers};
use super::object::{Object, metadata};
use super::resource::Resource;
use super::rules;
use super::status::{Outcome, already_exists, bad_request, conflict, invalid, not_found, refusal};
use super::store::{Key, Store, Stored};

#[derive(Debug)]
pub(super) struct Write {
    pub(super) user: String,
    /// The field manager; an apply has to name one.
    pub(super) manager: Option<String>,
    pub(super) resource: Resource,
    pub(super) key: Key,
    pub(super) to_status: bool,
    pub(super) deed: Deed,
}

#[derive(Debug)]
pub(super) enum Deed {
    Create(Value),
    /// Of a status, whole.
    Replace(Value),
    Merge(Value),
    /// A JSON patch (RFC 6902).
    Json(Value),
    /// A server-side apply, forced.
    Apply(Value),
    Delete,
}

#[derive(Debug)]
pub(super) struct Written {
    pub(super) object: Arc<Object>,
    pub(super) is_new: bool,
    pub(super) is_gone: bool,
    /// None when everything was so already.
    pub(super) change: Option<Change>,
    /// Who watches for it: to be woken when the store is free again.
    pub(super) wakers: Vec<Waker>,
}

impl Write {
    fn manager(&self) -> Manager {
        let name = self.manager.clone().unwrap_or_else(|| self.user.clone());
        Manager { name, applies: matches!(self.deed, Deed::Apply(_)) }
    }

    fn conflict(&self, why: &str) -> Box<kube::core::Status> {
        conflict(&self.resource, &self.key.name, why)
    }

    fn invalid(&self, why: &str) -> Box<kube::core::Status> {
        invalid(&self.resource, &self.key.name, why)
    }

    fn not_found(&self) -> Box<kube::core::Status> {
        not_found(&self.resource, &self.key.name)
    }

    /// What a client sent has to be meant for where it was sent.
    fn check_body(&self, body: &Value) -> Outcome<()> {
        if !body.is_object() || !(body["metadata"].is_object() || body["metadata"].is_null()) {
            return Err(bad_request("the body is no object"));
        }
        let differs = |field: &str, wanted: &str| body[field].as_str().is_some_and(|found| found != wanted);
        if differs("apiVersion", &self.resource.api_version()) || differs("kind", self.resource.kind) {
            return Err(bad_request("the object is of another kind than the path of the request"));
        }
        for (field, wanted) in [("name", &self.key.name), ("namespace", &self.key.namespace)] {
            if metadata(body, field).is_some_and(|found| found != wanted) {
                let message = format!("the {field} of the object does not match the {field} on the URL");
                return Err(bad_request(&message));
            }
        }
        Ok(())
    }
}

impl Store {
    pub(super) fn write(&mut self, write: &Write, now: Timestamp) -> Outcome<Written> {
        let live = self.find(&write.resource, &write.key).cloned();
        match (&write.deed, live) {
            (Deed::Create(_), Some(_)) => Err(already_exists(&write.resource, &write.key.name)),
            (Deed::Create(body), None) => {
                write.check_body(body)?;
                if metadata(body, "resourceVersion").is_some() {
                    let message = "resourceVersion should not be set on objects to be created";
                    return Err(refusal(500, "", message));
                }
                self.create(write, body.clone(), None, now)
            }
            (Deed::Replace(body), Some(live)) => {
                write.check_body(body)?;
                self.replace(write, &live, body.clone())
            }
            (Deed::Merge(patch), Some(live)) => {
                let mut body = (*live.object.value).clone();
                merge_patch(&mut body, patch);
                write.check_body(&body)?;
                self.update(write, &live, body, None)
            }
            (Deed::Json(patch), Some(live)) => {
                let mut body = (*live.object.value).clone();
                json_patch(&mut body, patch).map_err(|why| refusal(422, "Invalid", &why))?;
                write.check_body(&body)?;
                self.update(write, &live, body, None)
            }
            (Deed::Apply(applied), live) => self.apply(write, live, applied, now),
            (Deed::Delete, Some(live)) => Ok(self.delete(write, &live, now)),
            (Deed::Replace(_) | Deed::Merge(_) | Deed::Json(_) | Deed::Delete, None) => {
                Err(write.not_found())
            }
        }
    }

    fn replace(&mut self, write: &Write, live: &Stored, body: Value) -> Outcome<Written> {
        let uid = live.object.metadata("uid");
        if let Some(wanted) = metadata(&body, "uid").filter(|wanted| *wanted != uid) {
            let why =
                format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}");
            return Err(write.conflict(&why));
        }
        if metadata(&body, "resourceVersion").is_none() {
            let why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
            return Err(write.invalid(why));
        }
        self.update(write, live, body, None)
    }

    fn apply(
        &mut self,
        write: &Write,
        live: Option<Stored>,
        applied: &Value,
        now: Timestamp,
    ) -> Outcome<Written> {
        write.check_body(applied)?;
        if write.manager.is_none() {
            let why = "fieldManager: Required value: is required for apply patch";
            return Err(write.invalid(why));
        }
        if live.is_none()
            && let Some(uid) = metadata(applied, "uid")
        {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(write.conflict(&why));
        }
        let (before, mut managers) = match &live {
            Some(live) => (Arc::clone(&live.object.value), live.managers.clone()),
            None => (Arc::new(Value::Object(Map::new())), Managers::default()),
        };
        let object = managers.apply(&before, applied, write.manager());
        match live {
            Some(live) => self.update(write, &live, object, Some(managers)),
            None => self.create(write, object, Some(managers), now),
        }
    }

    fn create(
        &mut self,
        write: &Write,
        mut object: Value,
        managers: Option<Managers>,
        now: Timestamp,
    ) -> Outcome<Written> {
        self.uids += 1;
        object["apiVersion"] = write.resource.api_version().into();
        object["kind"] = write.resource.kind.into();
        object["metadata"]["name"] = write.key.name.clone().into();
        if !write.resource.is_global() {
            object["metadata"]["namespace"] = write.key.namespace.clone().into();
        }
        object["metadata"]["uid"] = format!("00000000-0000-4000-8000-{:012x}", self.uids).into();
        object["metadata"]["creationTimestamp"] = seconds(now).into();
        if write.resource.is_custom() {
            object["metadata"]["generation"] = 1.into();
            object.as_object_mut().map(|fields| fields.remove("status"));
        }
        rules::normalize(&write.resource, &mut object)?;
        let managers = managers.unwrap_or_else(|| {
            let mut managers = Managers::default();
            managers.update(&json!({}), &object, write.manager());
            managers
        });
        Ok(self.commit(write, None, object, managers))
    }

    fn update(
        &mut self,
        write: &Write,
        live: &Stored,
        mut object: Value,
        managers: Option<Managers>,
    ) -> Outcome<Written> {
        let before = &live.object.value;
        let version = live.object.metadata("resourceVersion");
        if metadata(&object, "resourceVersion").is_some_and(|wanted| wanted != version) {
            let why =
                "the object has been modified; please apply your changes to the latest version and try again";
            return Err(write.conflict(why));
        }
        let uid = live.object.metadata("uid");
        // A write to the status goes to whatever object has the name: it puts back all metadata.
        if let Some(wanted) = metadata(&object, "uid").filter(|wanted| *wanted != uid && !write.to_status) {
            return Err(
                write.invalid(&format!("metadata.uid: Invalid value: {wanted:?}: field is immutable"))
            );
        }
        restore(write, before, &mut object);
        rules::normalize(&write.resource, &mut object)?;
        rules::check_update(&write.resource, &write.key.name, before, &object)?;
        if rules::is_new_generation(before, &object) {
            rules::count_generation(&mut object);
        }
        let managers = managers.unwrap_or_else(|| {
            let mut managers = live.managers.clone();
            managers.update(before, &object, write.manager());
            managers
        });
        if object == **before && managers == live.managers {
            return Ok(unchanged(live));
        }
        if metadata(&object, "deletionTimestamp").is_some() && !rules::is_held(&object) {
            return Ok(self.remove(write, live, object));
        }
        Ok(self.commit(write, Some(live), object, managers))
    }

    fn commit(
        &mut self,
        write: &Write,
        live: Option<&Stored>,
        mut object: Value,
        managers: Managers,
    ) -> Written {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(Object::new(object));
        let before = live.map(|live| Arc::clone(&live.object.value));
        let change = Change::new(write, self.version, before, Some(Arc::clone(&object.value)));
        let stored = Stored { object: Arc::clone(&object), managers };
        let wakers = self.keep(write.resource, write.key.clone(), stored);
        Written { object, is_new: live.is_none(), is_gone: false, change: Some(change), wakers }
    }

    fn delete(&mut self, write: &Write, live: &Stored, now: Timestamp) -> Written {
        let mut object = (*live.object.value).clone();
        if !rules::is_held(&object) {
            return self.remove(write, live, object);
        }
        if metadata(&object, "deletionTimestamp").is_some() {
            return unchanged(live);
        }
        object["metadata"]["deletionTimestamp"] = seconds(now).into();
        object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        rules::count_generation(&mut object);
        self.commit(write, Some(live), object, live.managers.clone())
    }

    fn remove(&mut self, write: &Write, live: &Stored, mut last: Value) -> Written {
        self.version += 1;
        last["metadata"]["resourceVersion"] = self.version.to_string().into();
        let last = Arc::new(Object::new(last));
        let change = Change::new(write, self.version, Some(Arc::clone(&live.object.value)), None);
        let wakers = self.drop(write.resource, write.key.clone(), Arc::clone(&last));
        Written { object: last, is_new: false, is_gone: true, change: Some(change), wakers }
    }
}

fn unchanged(live: &Stored) -> Written {
    let object = Arc::clone(&live.object);
    Written { object, is_new: false, is_gone: false, change: None, wakers: Vec::new() }
}

/// The API's own times are whole seconds.
fn seconds(now: Timestamp) -> String {
    now.round(Unit::Second).unwrap_or(now).to_string()
}

/// Puts back what a write of this kind cannot change.
fn restore(write: &Write, before: &Value, object: &mut Value) {
    const SYSTEM: [&str; 8] = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    if write.to_status {
        let status = object.get_mut("status").map(Value::take);
        before.clone_into(object);
        set(object, "status", status);
        return;
    }
    for field in ["apiVersion", "kind"] {
        object[field] = before[field].clone();
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    for field in SYSTEM {
        set(&mut object["metadata"], field, before["metadata"].get(field).cloned());
    }
    if write.resource.is_custom() {
        set(object, "status", before.get("status").cloned());
    }
}

fn set(object: &mut Value, field: &str, value: Option<Value>) {
    match (object.as_object_mut(), value) {
        (Some(fields), Some(value)) => drop(fields.insert(field.to_owned(), value)),
        (Some(fields), None) => drop(fields.remove(field)),
        (None, _) => {}
    }
}
