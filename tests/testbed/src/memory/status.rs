//! The refusals of the API, in the words of the real one as far as anyone reads them.

use kube::core::Status;
use kube::core::response::StatusDetails;
use serde_json::{Value, json};

use super::resource::Resource;

/// What was asked for, or the refusal.
pub(super) type Outcome<T> = Result<T, Box<Status>>;

pub(super) fn refusal(code: u16, reason: &str, message: &str) -> Box<Status> {
    Status::failure(message, reason).with_code(code).boxed()
}

pub(super) fn not_found(resource: &Resource, name: &str) -> Box<Status> {
    about(resource, name, 404, "NotFound", &format!("{} {name:?} not found", resource.qualified()))
}

pub(super) fn already_exists(resource: &Resource, name: &str) -> Box<Status> {
    let message = format!("{} {name:?} already exists", resource.qualified());
    about(resource, name, 409, "AlreadyExists", &message)
}

pub(super) fn conflict(resource: &Resource, name: &str, why: &str) -> Box<Status> {
    let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified());
    about(resource, name, 409, "Conflict", &message)
}

pub(super) fn invalid(resource: &Resource, name: &str, why: &str) -> Box<Status> {
    let kind = if resource.group.is_empty() {
        resource.kind.to_owned()
    } else {
        format!("{}.{}", resource.kind, resource.group)
    };
    about(resource, name, 422, "Invalid", &format!("{kind} {name:?} is invalid: {why}"))
}

pub(super) fn bad_request(message: &str) -> Box<Status> {
    refusal(400, "BadRequest", message)
}

pub(super) fn unknown_path() -> Box<Status> {
    refusal(404, "NotFound", "the server could not find the requested resource")
}

pub(super) fn expired(asked: u64, oldest: u64) -> Box<Status> {
    refusal(410, "Expired", &format!("too old resource version: {asked} ({oldest})"))
}

fn about(resource: &Resource, name: &str, code: u16, reason: &str, message: &str) -> Box<Status> {
    let details = StatusDetails {
        name: name.to_owned(),
        group: resource.group.to_owned(),
        kind: resource.plural.to_owned(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    };
    Status::failure(message, reason).with_code(code).with_details(details).boxed()
}

pub(super) fn render(status: &Status) -> Value {
    let mut value = json!(status);
    value["kind"] = "Status".into();
    value["apiVersion"] = "v1".into();
    value
}
