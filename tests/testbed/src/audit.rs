//! Counts what clients asked of the API server, from its audit log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Deserialize;

use crate::error::{Error, Result};

/// The audit log of one API server, which goes on over its restarts.
///
/// An ordinary request is in it before its answer has reached the client, so a test that got an answer can count at
/// once. A watch (or `logs -f`, `exec`) is in it from the moment at which it starts, once; its end is not told.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
}

/// A point in time of an [`AuditLog`]: what came after it can be counted.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

impl Mark {
    /// Before everything.
    pub const START: Self = Self(0);
}

/// One request, as the API server understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRequest {
    /// Who asked: the name in the client's certificate, or `system:serviceaccount:…`.
    pub user: String,
    /// What the client calls itself.
    pub user_agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource in plural, or the path of a request that is for none.
    pub resource: String,
    /// Such as `status`; empty if none.
    pub subresource: String,
    /// Empty for what lies in no namespace, and for requests over all of them.
    pub namespace: String,
    /// Empty for lists, and for what is created.
    pub name: String,
    /// The path and query: selectors, resource versions.
    pub uri: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// When the API server received it.
    pub timestamp: Timestamp,
}

impl AuditLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Now.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn mark(&self) -> Result<Mark> {
        fs::metadata(&self.path).map(|metadata| Mark(metadata.len())).map_err(Error::file("read", &self.path))
    }

    /// Every request since `mark`, in the order in which they ended (or, of watches, started).
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn since(&self, mark: Mark) -> Result<Vec<AuditRequest>> {
        requests(&self.read(mark)?, |_| true)
    }

    /// The requests of `user` since `mark`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn of_user_since(&self, user: &str, mark: Mark) -> Result<Vec<AuditRequest>> {
        // Many share the log: what is not of this user is not even read as JSON.
        let mut requests = requests(&self.read(mark)?, |line| line.contains(user))?;
        requests.retain(|request| request.user == user);
        Ok(requests)
    }

    fn read(&self, mark: Mark) -> Result<String> {
        let read = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(mark.0))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(Error::file("read", &self.path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// How often each verb was asked of each resource: keys such as `("patch", "secrets")` or
/// `("patch", "pods/status")`.
#[must_use]
pub fn count(requests: &[AuditRequest]) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        let resource = match request.subresource.as_str() {
            "" => request.resource.clone(),
            subresource => format!("{}/{subresource}", request.resource),
        };
        *counts.entry((request.verb.clone(), resource)).or_default() += 1;
    }
    counts
}

/// Those in wanted lines. What has no end is left out: the last line may be half written when it is read.
fn requests(log: &str, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<AuditRequest>> {
    let whole = log.rfind('\n').map_or(0, |end| end + 1);
    log[..whole]
        .lines()
        .filter(|line| !line.is_empty() && is_wanted(line))
        .map(|line| serde_json::from_str::<Event>(after_a_cut(line)))
        .filter(|event| event.as_ref().map_or(true, Event::counts))
        .map(|event| event.map(AuditRequest::from).map_err(Error::AuditLine))
        .collect()
}

/// A SIGKILL of the API server can cut a line; the next one then follows in the same line.
fn after_a_cut(line: &str) -> &str {
    &line[line.rfind(r#"{"kind":"Event""#).unwrap_or_default()..]
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectReference,
    #[serde(default)]
    response_status: ResponseStatus,
    request_received_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectReference {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    api_group: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl Event {
    /// The API server tells of a long request twice, when it starts and when it ends. The start is the one that counts:
    /// the end may lie behind the next mark, or never come.
    fn counts(&self) -> bool {
        self.stage == "ResponseStarted" || !self.is_long()
    }

    fn is_long(&self) -> bool {
        let subresource = self.object_ref.subresource.as_str();
        self.verb == "watch" || matches!(subresource, "attach" | "exec" | "log" | "portforward" | "proxy")
    }
}

impl From<Event> for AuditRequest {
    fn from(event: Event) -> Self {
        let object = event.object_ref;
        let path = event.request_uri.split('?').next().unwrap_or_default();
        Self {
            user: event.user.username,
            user_agent: event.user_agent,
            verb: event.verb,
            group: object.api_group,
            resource: match object.resource.as_str() {
                "" => path.to_owned(),
                resource => resource.to_owned(),
            },
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            code: event.response_status.code,
            timestamp: event.request_received_timestamp,
            uri: event.request_uri,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stage: &str, verb: &str) -> String {
        let event = serde_json::json!({
            "kind": "Event",
            "stage": stage,
            "verb": verb,
            "requestURI": "/api/v1/namespaces/a/secrets?limit=1",
            "user": { "username": "me" },
            "objectRef": { "resource": "secrets", "namespace": "a", "apiVersion": "v1" },
            "responseStatus": { "code": 200 },
            "requestReceivedTimestamp": "2026-01-02T03:04:05.678901Z",
        });
        // The API server writes the kind first; serde_json sorts.
        let event = event.to_string().replace(r#""kind":"Event","#, "");
        format!("{{\"kind\":\"Event\",{}\n", &event[1..])
    }

    #[test]
    fn a_watch_counts_once_and_when_it_starts() {
        let log = line("ResponseStarted", "watch") + &line("ResponseComplete", "watch");
        assert_eq!(requests(&log, |_| true).unwrap().len(), 1);
        let end = line("ResponseComplete", "watch");
        assert_eq!(requests(&end, |_| true).unwrap(), []);
    }

    #[test]
    fn a_line_without_its_end_is_left_for_later() {
        let log = line("ResponseComplete", "list");
        let half = format!("{log}{}", &log[..30]);
        assert_eq!(requests(&half, |_| true).unwrap().len(), 1);
    }

    #[test]
    fn a_line_that_was_cut_does_not_take_the_next_one_with_it() {
        let whole = line("ResponseComplete", "list");
        let log = format!("{}{whole}", &whole[..40]);
        assert_eq!(requests(&log, |_| true).unwrap().len(), 1);
    }

    #[test]
    fn a_line_that_is_no_event_is_an_error() {
        assert!(requests("{}\n", |_| true).is_err());
    }
}
