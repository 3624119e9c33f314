//! The rules of the proxy: which requests fail, and how.

use std::collections::BTreeSet;
use std::fmt;

use hyper::header::ACCEPT;

/// A request as it came to the proxy, and what was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxiedRequest {
    /// Its place among all of this proxy, from 0.
    pub number: usize,
    /// `GET`, `PATCH`, …
    pub method: String,
    /// Without the query.
    pub path: String,
    /// Without the question mark; empty if none.
    pub query: String,
    /// The header `Accept`; empty if none.
    pub accept: String,
    /// The status that the API server, or a rule for it, answered; none until then, and where there was no answer.
    pub status: Option<u16>,
}

impl ProxiedRequest {
    pub(super) fn of<B>(request: &hyper::Request<B>) -> Self {
        let accept = request.headers().get(ACCEPT).map(|value| String::from_utf8_lossy(value.as_bytes()));
        Self {
            number: 0,
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            accept: accept.unwrap_or_default().into_owned(),
            status: None,
        }
    }

    /// Whether it is a watch.
    #[must_use]
    pub fn is_watch(&self) -> bool {
        self.query.split('&').any(|part| part == "watch=true" || part == "watch=1")
    }

    /// Whether it is for this resource: `secrets`; or for this object of it: `secrets/billing`; or for a part of all of
    /// them: `idissuercredentials/*/status`.
    #[must_use]
    pub fn is_for(&self, resource: &str) -> bool {
        let wanted: Vec<&str> = resource.split('/').collect();
        let steps: Vec<&str> = self.path.split('/').collect();
        steps.iter().position(|step| *step == wanted[0]).is_some_and(|start| {
            let found = &steps[start..];
            let is_as_long = wanted.len() == 1 || found.len() == wanted.len();
            is_as_long && wanted.iter().zip(found).all(|(wanted, step)| *wanted == "*" || wanted == step)
        })
    }

    /// Whether it changes something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.method != "GET"
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status, and never reaches the API server.
    Answer {
        /// The status.
        status: u16,
        /// The header `Retry-After`, in seconds.
        retry_after: Option<u32>,
    },
    /// It is carried out, but the connection is closed instead of an answer.
    LoseAnswer,
    /// Of a watch: it is begun well and at once ended by an error event of this status, as the API server does it when
    /// it no longer knows the `resourceVersion` (410).
    EndWatch {
        /// The status in the event.
        status: u16,
    },
    /// No byte of an answer's body is passed on while the rule stands; the connection stays. It also takes hold of what
    /// was asked before the rule was there, a watch say.
    Silence,
}

impl Fault {
    /// The API server answers this, without `Retry-After`.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Answer { status, retry_after: None }
    }
}

type Condition = Box<dyn Fn(&ProxiedRequest) -> bool + Send>;

/// A fault, and the requests that meet it.
pub struct Rule {
    condition: Condition,
    fault: Fault,
    /// How many more requests; all if none.
    times: Option<usize>,
    /// The numbers of those that are silenced.
    silenced: BTreeSet<usize>,
}

impl Rule {
    /// Every request of which this holds meets this fault.
    pub fn new(fault: Fault, condition: impl Fn(&ProxiedRequest) -> bool + Send + 'static) -> Self {
        Self { condition: Box::new(condition), fault, times: None, silenced: BTreeSet::new() }
    }

    /// Only so many requests.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times: Some(times), ..self }
    }

    /// The fault of this request, if it meets the rule, which is counted.
    pub(super) fn applies(&mut self, request: &ProxiedRequest) -> Option<Fault> {
        let applies = self.fault != Fault::Silence && self.times != Some(0) && (self.condition)(request);
        if applies {
            self.times = self.times.map(|times| times - 1);
        }
        applies.then_some(self.fault)
    }

    /// Whether this request is to be silent, which is counted when it is asked for the first time.
    pub(super) fn silences(&mut self, request: &ProxiedRequest) -> bool {
        if self.fault != Fault::Silence || !(self.condition)(request) {
            return false;
        }
        if self.times != Some(0) && self.silenced.insert(request.number) {
            self.times = self.times.map(|times| times - 1);
        }
        self.silenced.contains(&request.number)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { condition: _, fault, times, silenced: _ } = self;
        formatter.debug_struct("Rule").field("fault", fault).field("times", times).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str) -> ProxiedRequest {
        ProxiedRequest::of(&hyper::Request::get(path).body(()).unwrap())
    }

    #[test]
    fn a_request_is_known_by_its_resource_and_its_object() {
        let one = request("/api/v1/namespaces/shop/secrets/billing?fieldManager=me");
        let all = request("/api/v1/namespaces/shop/secrets?watch=true&timeoutSeconds=290");
        let status = request("/apis/idissuer.pl/v1alpha1/namespaces/shop/idissuercredentials/billing/status");
        assert!(one.is_for("secrets") && one.is_for("secrets/billing") && !one.is_for("secrets/other"));
        assert!(all.is_for("secrets") && !all.is_for("secrets/billing") && all.is_watch() && !one.is_watch());
        assert!(
            status.is_for("idissuercredentials/*/status") && !status.is_for("idissuercredentials/billing")
        );
    }

    #[test]
    fn a_rule_is_used_up_by_the_requests_that_meet_it_only() {
        let mut rule = Rule::new(Fault::status(500), |request| request.is_for("secrets")).times(1);
        assert_eq!(rule.applies(&request("/api/v1/configmaps")), None);
        assert_eq!(rule.applies(&request("/api/v1/secrets")), Some(Fault::status(500)));
        assert_eq!(rule.applies(&request("/api/v1/secrets")), None);
    }

    #[test]
    fn a_rule_that_silences_a_number_of_requests_stays_with_those() {
        let mut rule = Rule::new(Fault::Silence, |request| request.is_for("secrets")).times(1);
        let [first, second] = [0, 1].map(|number| ProxiedRequest { number, ..request("/api/v1/secrets") });
        assert!(!rule.silences(&request("/api/v1/configmaps")));
        assert!(rule.silences(&first) && !rule.silences(&second) && rule.silences(&first));
    }
}
