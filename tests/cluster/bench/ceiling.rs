//! The ceiling: a bare client makes the writes that the operator makes, and nothing else. Each kind of call is measured by
//! itself, so that it also shows what one call costs the API server.

use std::collections::BTreeMap;
use std::sync::Mutex;

use idissuer::api::IdIssuerCredential;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::field::{Field, login_of, name_of};
use super::figures::{Case, float};
use super::usage::processor_seconds;
use crate::operator::credential;

/// The ways to write a status.
const STATUS_WRITES: [&str; 3] = ["status apply", "status merge patch", "status PUT"];
/// The requests of the operator for a first token.
const REQUESTS: [&str; 5] = ["get credential", "create target", "status PUT", "status PUT", "create event"];

/// A bare client over a field whose operator is stopped.
struct Ceiling<'a> {
    field: &'a Field<'a>,
    /// A status and a target as the operator wrote them.
    status: Value,
    target: Value,
    versions: Mutex<BTreeMap<usize, String>>,
}

impl Ceiling<'_> {
    /// Through the same client, and without types, so that a body holds what a write needs and no more.
    fn credentials_of(&self, number: usize) -> Api<DynamicObject> {
        let namespace = self.field.credentials_of(number).namespace().unwrap_or_default().to_owned();
        let resource = ApiResource::erase::<IdIssuerCredential>(&());
        Api::namespaced_with(self.field.client.clone(), &namespace, &resource)
    }

    async fn create(&self, number: usize) {
        let spec = json!({"loginSecretRef": {"name": login_of(number)}});
        let object = serde_json::from_value(credential(&name_of(number), spec)).unwrap();
        self.credentials_of(number).create(&PostParams::default(), &object).await.unwrap();
    }

    /// A target with other content than before.
    async fn write_target(&self, number: usize, salt: &str) {
        let mut target = self.target.clone();
        target["metadata"]["name"] = name_of(number).into();
        target["stringData"] = json!({"salt": format!("{salt} {number}")});
        let parameters = PatchParams::apply("bench").force();
        self.field
            .secrets_of(number)
            .patch(&name_of(number), &parameters, &Patch::Apply(target))
            .await
            .unwrap();
    }

    /// A status with another token than before.
    fn status(&self, number: usize, salt: &str) -> Value {
        let mut status = self.status.clone();
        status["token"]["fingerprint"] = format!("{salt} {number}").into();
        status
    }

    async fn write_status(&self, number: usize, way: &str) {
        let (name, status) = (name_of(number), self.status(number, way));
        let credentials = self.credentials_of(number);
        let body = json!({
            "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential",
            "metadata": {"name": name}, "status": status,
        });
        let written = match way {
            "status apply" => {
                let parameters = PatchParams::apply("bench").force();
                credentials.patch_status(&name, &parameters, &Patch::Apply(body)).await
            }
            "status merge patch" => {
                let patch = Patch::Merge(json!({"status": body["status"]}));
                credentials.patch_status(&name, &PatchParams::default(), &patch).await
            }
            _ => {
                let mut object: DynamicObject = serde_json::from_value(body).unwrap();
                object.metadata.resource_version = self.versions.lock().unwrap().get(&number).cloned();
                credentials.replace_status(&name, &PostParams::default(), &object).await
            }
        };
        written.unwrap();
    }

    async fn get(&self, number: usize) {
        let object = self.credentials_of(number).get(&name_of(number)).await.unwrap();
        self.versions.lock().unwrap().insert(number, object.resource_version().unwrap());
    }

    async fn create_event(&self, number: usize) {
        let credentials = self.field.credentials_of(number);
        let namespace = credentials.namespace().unwrap_or_default();
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": name_of(number), "namespace": namespace},
            "eventTime": MicroTime(Timestamp::UNIX_EPOCH), "type": "Normal", "reason": "TokenPublished", "action": "Reconcile",
            "note": "The target holds a token that is valid until 2026-01-01T00:00:00Z",
            "regarding": {
                "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential", "name": name_of(number),
                "namespace": namespace,
            },
            "reportingController": "idissuer-operator", "reportingInstance": "bench",
        });
        let events: Api<Event> = Api::namespaced(self.field.client.clone(), namespace);
        events.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
    }

    async fn get_nothing(&self, number: usize) {
        assert!(self.field.secrets_of(number).get_opt("nothing").await.unwrap().is_none());
    }
}

/// What can be a status or a target of another object, too.
fn templates(credential: &IdIssuerCredential, target: &Secret) -> (Value, Value) {
    let metadata = json!({
        "labels": target.metadata.labels, "annotations": target.metadata.annotations,
    });
    let target = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": target.type_, "data": target.data,
    });
    (serde_json::to_value(&credential.status).unwrap(), target)
}

/// Makes each kind of call `size` times, for new credentials behind those of the field. Its operator must be stopped.
pub(super) async fn ceiling(field: &Field<'_>, size: usize, case: &mut Case) {
    let example = field.credentials_of(0).get(&name_of(0)).await.unwrap();
    let target = field.secrets_of(0).get(&name_of(0)).await.unwrap();
    let (status, target) = templates(&example, &target);
    let bare = Ceiling { field, status, target, versions: Mutex::default() };
    let numbers = size..2 * size;
    let mut measured = Phase { field, size, case };
    measured.phase("create credential", Field::for_each(numbers.clone(), |it| bare.create(it))).await;
    let first_tokens = Field::for_each(numbers.clone(), |it| bare.write_target(it, "first"));
    measured.phase("create target", first_tokens).await;
    let second_tokens = Field::for_each(numbers.clone(), |it| bare.write_target(it, "second"));
    measured.phase("apply target", second_tokens).await;
    measured.phase("get credential", Field::for_each(numbers.clone(), |it| bare.get(it))).await;
    // First: it needs the version that was read.
    for way in ["status PUT", "status merge patch", "status apply"] {
        measured.phase(way, Field::for_each(numbers.clone(), |it| bare.write_status(it, way))).await;
    }
    measured.phase("create event", Field::for_each(numbers.clone(), |it| bare.create_event(it))).await;
    measured.phase("get nothing", Field::for_each(numbers, |it| bare.get_nothing(it))).await;
    for way in STATUS_WRITES {
        total(case, &format!("three writes with {way}"), &["create credential", "create target", way]);
    }
    total(case, "the operator's requests", &REQUESTS);
}

/// What these calls cost together.
fn total(case: &mut Case, name: &str, calls: &[&str]) {
    for unit in ["seconds", "API server CPU ms a call", "client CPU ms a call"] {
        let figure = |call: &&str| case.get(&format!("{call}: {unit}")).unwrap_or(f64::NAN);
        let sum = calls.iter().map(figure).sum();
        case.set(format!("{name}: {unit}"), sum);
    }
}

struct Phase<'a> {
    field: &'a Field<'a>,
    size: usize,
    case: &'a mut Case,
}

impl Phase<'_> {
    async fn phase(&mut self, call: &str, work: impl Future<Output = ()>) {
        let processes = [self.field.control_plane.api_server().pid().unwrap(), std::process::id()];
        let (start, before) = (Instant::now(), processes.map(processor_seconds));
        work.await;
        let [server, client] = processes.map(processor_seconds);
        let count = float(self.size);
        self.case.set(format!("{call}: seconds"), start.elapsed().as_secs_f64());
        let milliseconds = (server - before[0]) / count * 1000.0;
        self.case.set(format!("{call}: API server CPU ms a call"), milliseconds);
        self.case.set(format!("{call}: client CPU ms a call"), (client - before[1]) / count * 1000.0);
    }
}
