//! A parsed HTTP request.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, Method};
use serde_json::Value;

use super::fault::RequestFacts;
use super::object::View;
use super::resource::Resource;
use super::status::{Outcome, bad_request, refusal, unknown_path};
use super::store::Key;
use super::write::{Deed, Write};

#[derive(Debug)]
pub(super) struct Request {
    pub(super) facts: RequestFacts,
    pub(super) view: View,
    pub(super) task: Task,
}

#[derive(Debug)]
pub(super) enum Task {
    Get { resource: Resource, key: Key },
    List { resource: Resource, selection: Selection },
    Watch(WatchRequest),
    Write(Write),
}

/// Objects of a namespace, or of all; by one name, or all.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) namespace: String,
    pub(super) name: Option<String>,
}

impl Selection {
    pub(super) fn holds(&self, key: &Key) -> bool {
        (self.namespace.is_empty() || self.namespace == key.namespace)
            && self.name.as_ref().is_none_or(|name| *name == key.name)
    }
}

#[derive(Debug)]
pub(super) struct WatchRequest {
    pub(super) resource: Resource,
    pub(super) selection: Selection,
    /// Changes after this version; none: all objects first, as if they were new.
    pub(super) version: Option<u64>,
    pub(super) bookmarks: bool,
    pub(super) seconds: Option<u64>,
}

struct Address {
    resource: Resource,
    namespace: String,
    name: String,
    to_status: bool,
    query: Vec<(String, String)>,
}

impl Address {
    fn parse(head: &Parts) -> Outcome<Self> {
        let path: Vec<&str> = head.uri.path().trim_matches('/').split('/').collect();
        let (group, version, rest) = match path.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(unknown_path()),
        };
        let (namespace, plural, rest) = match rest {
            ["namespaces", namespace, plural, rest @ ..] => (*namespace, *plural, rest),
            [plural] => ("", *plural, &[][..]),
            _ => return Err(unknown_path()),
        };
        let resource = Resource::find(group, version, plural).ok_or_else(unknown_path)?;
        let (name, to_status) = match rest {
            [] => ("", false),
            [name] => (*name, false),
            [name, "status"] if resource.is_custom() => (*name, true),
            _ => return Err(unknown_path()),
        };
        let query = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
        Ok(Self {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            to_status,
            query: query.into_owned().collect(),
        })
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.query.iter().filter(|(key, value)| key == name && !value.is_empty());
        found.next().map(|(_, value)| value.as_str())
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.parameter(name), Some("true" | "1"))
    }

    fn number(&self, name: &str) -> Outcome<Option<u64>> {
        let parse =
            |text: &str| text.parse().map_err(|_| bad_request(&format!("{name}: no number: {text:?}")));
        self.parameter(name).map(parse).transpose()
    }

    /// One object by its name, or all.
    fn selection(&self) -> Outcome<Selection> {
        if self.parameter("labelSelector").is_some() {
            return Err(bad_request("the API server in memory selects by no label"));
        }
        let name = match self.parameter("fieldSelector").map(|selector| selector.split_once('=')) {
            None => None,
            Some(Some(("metadata.name", name))) => Some(name.trim_start_matches('=').to_owned()),
            Some(_) => return Err(bad_request("the API server in memory selects by metadata.name only")),
        };
        Ok(Selection { namespace: self.namespace.clone(), name })
    }

    fn watch(&self) -> Outcome<WatchRequest> {
        let version = self.number("resourceVersion")?;
        Ok(WatchRequest {
            resource: self.resource,
            selection: self.selection()?,
            version: version.filter(|version| *version > 0),
            bookmarks: self.flag("allowWatchBookmarks"),
            seconds: self.number("timeoutSeconds")?.filter(|seconds| *seconds > 0),
        })
    }

    fn facts(&self, user: &str, verb: &'static str) -> RequestFacts {
        RequestFacts {
            user: user.to_owned(),
            verb,
            group: self.resource.group.to_owned(),
            resource: self.resource.plural.to_owned(),
            subresource: if self.to_status { "status".to_owned() } else { String::new() },
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

impl Request {
    pub(super) fn parse(user: &str, head: &Parts, body: &Bytes) -> Outcome<Self> {
        let address = Address::parse(head)?;
        let (verb, task) = match (&head.method, address.name.is_empty()) {
            (&Method::GET, true) if address.flag("watch") => ("watch", Task::Watch(address.watch()?)),
            (&Method::GET, true) => {
                ("list", Task::List { resource: address.resource, selection: address.selection()? })
            }
            (&Method::GET, false) => {
                let key = Key::new(&address.namespace, &address.name);
                ("get", Task::Get { resource: address.resource, key })
            }
            (&Method::POST, true) => ("create", write(user, &address, Deed::Create(json(body)?))?),
            (&Method::PUT, false) if address.to_status => {
                ("update", write(user, &address, Deed::Replace(json(body)?))?)
            }
            (&Method::PATCH, false) => ("patch", write(user, &address, patch(head, &address, body)?)?),
            (&Method::DELETE, false) if !address.to_status => {
                ("delete", write(user, &address, Deed::Delete)?)
            }
            _ => {
                let message = "the server does not allow this method on the requested resource";
                return Err(refusal(405, "MethodNotAllowed", message));
            }
        };
        Ok(Self { facts: address.facts(user, verb), view: view(&head.headers)?, task })
    }
}

fn write(user: &str, address: &Address, deed: Deed) -> Outcome<Task> {
    let name = match &deed {
        Deed::Create(body) => body["metadata"]["name"].as_str().unwrap_or_default(),
        _ => &address.name,
    };
    if name.is_empty() || address.namespace.is_empty() {
        return Err(bad_request("an object of the API server in memory has a name and a namespace"));
    }
    if address.parameter("dryRun").is_some() {
        return Err(bad_request("the API server in memory tries nothing out: dryRun is not served"));
    }
    Ok(Task::Write(Write {
        user: user.to_owned(),
        manager: address.parameter("fieldManager").map(str::to_owned),
        resource: address.resource,
        key: Key::new(&address.namespace, name),
        to_status: address.to_status,
        deed,
    }))
}

fn patch(head: &Parts, address: &Address, body: &Bytes) -> Outcome<Deed> {
    let media_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match media_type {
        "application/merge-patch+json" => Ok(Deed::Merge(json(body)?)),
        "application/json-patch+json" => Ok(Deed::Json(json(body)?)),
        "application/apply-patch+yaml" if address.flag("force") && !address.to_status => {
            Ok(Deed::Apply(json(body)?))
        }
        other => {
            Err(refusal(415, "UnsupportedMediaType", &format!("no patch of the type {other:?} is served")))
        }
    }
}

fn json(body: &Bytes) -> Outcome<Value> {
    serde_json::from_slice(body).map_err(|error| bad_request(&format!("the body is no JSON: {error}")))
}

fn view(headers: &HeaderMap) -> Outcome<View> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match accept.split_once(";as=").map(|(_, wanted)| wanted) {
        None => Ok(View::Whole),
        Some("PartialObjectMetadata;g=meta.k8s.io;v=v1" | "PartialObjectMetadataList;g=meta.k8s.io;v=v1") => {
            Ok(View::Metadata)
        }
        Some(_) => {
            Err(refusal(406, "NotAcceptable", "only application/json is served, whole or as metadata"))
        }
    }
}
