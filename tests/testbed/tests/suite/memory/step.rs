//! The language of the table: what is asked, and what has to come back.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, Request};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

/// The field manager, unless a step names another.
const MANAGER: &str = "operator";
/// How long a watch of the table lasts. On the real API server that is real time.
const WATCH_SECONDS: u64 = 2;
const LIMIT: Duration = Duration::from_secs(60);

/// A case of the table: requests that follow each other in a namespace of their own.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) steps: Vec<Step>,
}

/// One request, and what it has to give.
///
/// Texts in bodies and expectations may name what an earlier answer held: `$first.uid`, `$first.version`.
#[derive(Clone)]
pub(super) struct Step {
    method: Method,
    resource: &'static str,
    name: String,
    /// Over all namespaces.
    everywhere: bool,
    query: Vec<(&'static str, String)>,
    accept: &'static str,
    content_type: &'static str,
    body: Option<Value>,
    code: u16,
    expected: Value,
    keep: Option<&'static str>,
}

fn step(method: Method, resource: &'static str, name: &str) -> Step {
    Step {
        method,
        resource,
        name: name.to_owned(),
        everywhere: false,
        query: Vec::new(),
        accept: "application/json",
        content_type: "application/json",
        body: None,
        code: 0,
        expected: Value::Null,
        keep: None,
    }
}

pub(super) fn get(resource: &'static str, name: &str) -> Step {
    step(Method::GET, resource, name)
}

pub(super) fn list(resource: &'static str) -> Step {
    step(Method::GET, resource, "")
}

pub(super) fn create(resource: &'static str, body: Value) -> Step {
    step(Method::POST, resource, "").parameter("fieldManager", MANAGER).body(body)
}

pub(super) fn replace(resource: &'static str, name: &str, body: Value) -> Step {
    step(Method::PUT, resource, name).parameter("fieldManager", MANAGER).body(body)
}

pub(super) fn delete(resource: &'static str, name: &str) -> Step {
    step(Method::DELETE, resource, name)
}

pub(super) fn merge(resource: &'static str, name: &str, body: Value) -> Step {
    let mut step = step(Method::PATCH, resource, name).parameter("fieldManager", MANAGER).body(body);
    step.content_type = "application/merge-patch+json";
    step
}

pub(super) fn json_patch(resource: &'static str, name: &str, body: Value) -> Step {
    Step { content_type: "application/json-patch+json", ..merge(resource, name, body) }
}

pub(super) fn apply(resource: &'static str, name: &str, body: Value) -> Step {
    let mut step = step(Method::PATCH, resource, name).parameter("fieldManager", MANAGER).body(body);
    step.content_type = "application/apply-patch+yaml";
    step.parameter("force", "true")
}

/// A watch of the changes after a version. What it gives is the list of its events, without bookmarks.
pub(super) fn watch(resource: &'static str, version: &str) -> Step {
    step(Method::GET, resource, "")
        .parameter("watch", "true")
        .parameter("allowWatchBookmarks", "true")
        .parameter("timeoutSeconds", &WATCH_SECONDS.to_string())
        .parameter("resourceVersion", version)
}

impl Step {
    fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(super) fn parameter(mut self, name: &'static str, value: &str) -> Self {
        self.query.retain(|(other, _)| *other != name);
        self.query.push((name, value.to_owned()));
        self
    }

    pub(super) fn by(self, manager: &str) -> Self {
        self.parameter("fieldManager", manager)
    }

    /// Over all namespaces, but for objects of a name in which `$namespace` is this one only.
    pub(super) fn everywhere(mut self, name: &str) -> Self {
        self.everywhere = true;
        self.parameter("fieldSelector", &format!("metadata.name={name}"))
    }

    pub(super) fn for_metadata(mut self) -> Self {
        let is_list = self.name.is_empty() && !self.is_watch();
        self.accept = if is_list {
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
        } else {
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
        };
        self
    }

    /// What has to come back: the HTTP status, and what the answer has to hold at least.
    pub(super) fn gives(mut self, code: u16, expected: Value) -> Self {
        self.code = code;
        self.expected = expected;
        self
    }

    pub(super) fn answers(self, code: u16) -> Self {
        self.gives(code, json!({}))
    }

    pub(super) fn tells(self, events: &[(&str, Value)]) -> Self {
        let events: Vec<_> =
            events.iter().map(|(kind, object)| json!({"type": kind, "object": object})).collect();
        self.gives(200, events.into())
    }

    /// Remembers uid and version of the answer under a name.
    pub(super) fn keep(mut self, name: &'static str) -> Self {
        self.keep = Some(name);
        self
    }

    fn is_watch(&self) -> bool {
        self.query.iter().any(|(name, _)| *name == "watch")
    }
}

/// What earlier answers held: the text after `$`, and the value.
type Kept = BTreeMap<String, String>;

/// Takes the steps of a case. The error says what came instead of what was expected.
pub(super) async fn take(case: &Case, client: &Client, namespace: &str) -> Result<(), String> {
    let mut kept = Kept::new();
    for (number, step) in case.steps.iter().enumerate() {
        let told = |what: String| {
            format!(
                "\"{}\", step {number}: {} {} {}: {what}",
                case.name, step.method, step.resource, step.name
            )
        };
        let start = Instant::now();
        let answer = timeout(LIMIT, send(step, client, namespace, &kept)).await;
        let (code, answer) = answer.map_err(|_| told("no answer".to_owned()))?;
        let mut expected = step.expected.clone();
        fill(&mut expected, &kept);
        fill_in(&mut expected, "$namespace", namespace);
        if let Some(difference) = difference(&expected, &answer) {
            return Err(told(format!("{difference}\n  in {code} {answer}")));
        }
        if code != step.code {
            return Err(told(format!("{code}, not {}: {answer}", step.code)));
        }
        let has_failed = answer[0]["type"] == "ERROR";
        if step.is_watch() && !has_failed && start.elapsed() < Duration::from_millis(WATCH_SECONDS * 900) {
            return Err(told(format!("it ended after {:?}", start.elapsed())));
        }
        if let Some(name) = step.keep {
            for (field, what) in [("uid", "uid"), ("resourceVersion", "version")] {
                let value = answer["metadata"][field].as_str().unwrap_or_default();
                kept.insert(format!("${name}.{what}"), value.to_owned());
            }
        }
    }
    Ok(())
}

async fn send(step: &Step, client: &Client, namespace: &str, kept: &Kept) -> (u16, Value) {
    let group = match step.resource {
        "secrets" => "api/v1",
        "leases" => "apis/coordination.k8s.io/v1",
        "events" => "apis/events.k8s.io/v1",
        "idissuercredentials" => "apis/idissuer.pl/v1alpha1",
        other => other,
    };
    let scope = if step.everywhere { String::new() } else { format!("/namespaces/{namespace}") };
    let name = if step.name.is_empty() { String::new() } else { format!("/{}", step.name) };
    let mut path = form_urlencoded::Serializer::new(format!("/{group}{scope}/{}{name}?", step.resource));
    for (name, value) in &step.query {
        path.append_pair(name, &kept.get(value).unwrap_or(value).replace("$namespace", namespace));
    }
    let body = step.body.clone().map(|mut body| {
        fill(&mut body, kept);
        fill_in(&mut body, "$namespace", namespace);
        body.to_string().into_bytes()
    });
    let request = Request::builder()
        .method(step.method.clone())
        .uri(path.finish())
        .header("accept", step.accept)
        .header("content-type", step.content_type)
        .body(Body::from(body.unwrap_or_default()))
        .unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    if step.is_watch() && code == 200 {
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let events = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
        return (code, events.filter(|event| event["type"] != "BOOKMARK").collect());
    }
    let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
    (code, serde_json::from_slice(&body).unwrap_or_else(|_| text()))
}

/// Replaces every name of something kept by its value.
fn fill(value: &mut Value, kept: &Kept) {
    for (name, kept) in kept {
        fill_in(value, name, kept);
    }
}

fn fill_in(value: &mut Value, name: &str, kept: &str) {
    match value {
        Value::String(text) => *text = text.replace(name, kept),
        Value::Array(items) => items.iter_mut().for_each(|item| fill_in(item, name, kept)),
        Value::Object(map) => map.values_mut().for_each(|item| fill_in(item, name, kept)),
        _ => {}
    }
}

/// Where an answer does not hold what is expected.
///
/// An object may hold more than is expected; null stands for a field that is not there. A text may begin with `!`: any
/// other; or with `~`: any that contains it. A lone `?` is any text.
fn difference(expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => expected.iter().find_map(|(key, expected)| {
            let found = found.get(key).unwrap_or(&Value::Null);
            difference(expected, found).map(|difference| format!("{key}.{difference}"))
        }),
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            let mut pairs = expected.iter().zip(found).enumerate();
            pairs.find_map(|(number, (expected, found))| {
                difference(expected, found).map(|difference| format!("{number}.{difference}"))
            })
        }
        (Value::String(pattern), Value::String(text)) => {
            let fits = match pattern.split_at_checked(1) {
                Some(("!", other)) => text != other,
                Some(("~", part)) => text.contains(part),
                Some(("?", "")) => true,
                _ => text == pattern,
            };
            (!fits).then(|| format!(": {text:?}, not {pattern:?}"))
        }
        (expected, found) => (expected != found).then(|| format!(": {found}, not {expected}")),
    }
}
