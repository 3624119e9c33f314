//! The connections of one process to the issuers and to the API server.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use idissuer::core::connection_failure::ConnectionFailure;
use idissuer::issuer::{Answer, Request, Transport, TransportError};
use idissuer_simulator::{Request as SimulatedRequest, SimulatedAnswer};
use idissuer_testbed::memory::Fault;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::issuers::Issuers;
use crate::ledger::{Asked, Given, Ledger};
use crate::population::account_of;
use crate::simulated_answer::{ANSWER_LIMIT, answer, shows_page};
use crate::time::TrueTime;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Good,
    /// The API server is not reached; issuers are.
    Cut,
    /// What is sent arrives late: the process is stopped, or its node is.
    Stalled(Instant),
    /// The process is dead: nothing it does reaches anyone.
    Dead,
}

pub(crate) struct Link {
    process: String,
    wire: Mutex<Wire>,
    /// The accounts with a call in flight until a stall ends: a stopped process begins no other.
    belated: Mutex<BTreeSet<usize>>,
    is_stopping: AtomicBool,
    issuers: Arc<Issuers>,
    ledger: Arc<Ledger>,
    time: TrueTime,
}

impl Link {
    pub(crate) fn new(process: &str, issuers: &Arc<Issuers>, ledger: &Arc<Ledger>, time: &TrueTime) -> Self {
        Self {
            process: process.to_owned(),
            wire: Mutex::new(Wire::Good),
            belated: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            issuers: Arc::clone(issuers),
            ledger: Arc::clone(ledger),
            time: time.clone(),
        }
    }

    pub(crate) fn set(&self, wire: Wire) {
        *self.wire.lock().unwrap() = wire;
    }

    pub(crate) fn wire(&self) -> Wire {
        let mut wire = self.wire.lock().unwrap();
        if matches!(*wire, Wire::Stalled(until) if until <= Instant::now()) {
            *wire = Wire::Good;
        }
        *wire
    }

    /// The process is stopping and begins nothing any more.
    pub(crate) fn stops(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_able(&self) -> bool {
        self.wire() == Wire::Good && !self.is_stopping.load(Ordering::Relaxed)
    }

    /// What becomes of a request to the API server.
    pub(crate) fn api_fault(&self) -> Option<Fault> {
        match self.wire() {
            Wire::Good => None,
            Wire::Stalled(until) => Some(Fault::Late(until - Instant::now())),
            Wire::Cut | Wire::Dead => Some(Fault::Unreachable),
        }
    }

    /// Brings a request to its issuer, and an answer back.
    async fn exchange(&self, carried: Carried) -> Result<Answer, TransportError> {
        if let Wire::Stalled(until) = self.wire() {
            if !self.belated.lock().unwrap().insert(carried.asked.account) {
                self.ledger.unsent();
                return std::future::pending().await;
            }
            sleep_until(until).await;
            self.belated.lock().unwrap().remove(&carried.asked.account);
        }
        if self.wire() == Wire::Dead {
            return std::future::pending().await;
        }
        let issuer = self.issuers.get(carried.issuer);
        if issuer.is_unreachable() {
            self.ledger.unsent();
            return Err(TransportError::not_sent(ConnectionFailure::Refused));
        }
        let (now, asked) = (self.time.now(), &carried.asked);
        self.ledger.arrives(&self.process, asked, now);
        let (exchange, record) = issuer.call(&SimulatedRequest::post(&carried.path, &carried.body), now);
        let (process, outcome) = (&self.process, record.outcome);
        tracing::debug!(process, account = asked.account, operation = ?record.operation, ?outcome, fault = record.fault, "call");
        if let (Some(token), Some(expires)) = (record.issued, record.expires) {
            self.ledger.gives(asked, token, now, expires);
        }
        let status = exchange.answer.status();
        if asked.refresh.is_none() {
            let is_unclear = is_unclear(&exchange.answer) && !self.ledger.is_proven(asked);
            // A late rejection is lost like any other lost answer: to the caller, both are
            // no answer.
            let is_heard = exchange.delay < carried.limit;
            if is_heard && (is_unclear || is_rejection(&exchange.answer)) {
                self.ledger.rejects(asked.account, &asked.password, now);
            } else if record.issued.is_some() {
                self.ledger.accepts(asked);
            }
        }
        if matches!(status, Some(407 | 408 | 421 | 425 | 429 | 451)) {
            self.ledger.put_off(asked);
        }
        sleep(exchange.delay).await;
        if self.wire() == Wire::Dead {
            return std::future::pending().await;
        }
        // A moment before the caller gives up altogether.
        let left = carried.limit.saturating_sub(exchange.delay + Duration::from_millis(1));
        answer(&exchange.answer, left).await
    }
}

/// Whether the issuer itself says no to a login.
fn is_rejection(answer: &SimulatedAnswer) -> bool {
    let SimulatedAnswer::Complete(response) = answer else { return false };
    let is_page = shows_page(response);
    matches!(response.status, 400 | 401 | 403 | 423) && !is_page
}

/// Whether an answer to a login brings no token, and does not put it off: one that was never accepted pays for it.
fn is_unclear(answer: &SimulatedAnswer) -> bool {
    let is_put_off = |status| matches!(status, 408 | 425 | 429 | 500..=599);
    let response = match answer {
        SimulatedAnswer::Complete(response) => response,
        SimulatedAnswer::Cut(response) | SimulatedAnswer::Trickle(response, _) => {
            return !is_put_off(response.status);
        }
        SimulatedAnswer::Never | SimulatedAnswer::NotHttp(_) | SimulatedAnswer::Lost => return false,
    };
    let is_small = response.body.len() <= ANSWER_LIMIT;
    let token = answer.json().filter(|_| response.status == 200 && is_small);
    !is_put_off(response.status) && token.is_none_or(|token| !token["access_token"]["token"].is_string())
}

struct Carried {
    issuer: usize,
    path: String,
    body: Value,
    asked: Asked,
    /// How long its caller waits for the answer.
    limit: Duration,
}

impl Carried {
    fn new(link: &Link, request: &Request) -> Self {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let asked = if body["refresh_token"].is_null() {
            let (account, password) = (account_of(&text(&body["username"])), text(&body["password"]).into());
            Asked { account, password, refresh: None }
        } else {
            let access = &body["access_token"];
            let access = access.as_str().or_else(|| access["token"].as_str()).unwrap_or_default();
            let Given { account, password, .. } = link.ledger.given(access).unwrap();
            Asked { account, password, refresh: Some(text(&body["refresh_token"])) }
        };
        let (issuer, path) = (link.issuers.find(&request.url), request.url.path().to_owned());
        Self { issuer, path, body, asked, limit: request.limit }
    }
}

/// A call that a process has in flight, until it has its answer or does not wait any more.
struct InFlight {
    link: Arc<Link>,
    issuer: usize,
    asked: Asked,
}

impl InFlight {
    fn begin(link: &Arc<Link>, carried: &Carried) -> Self {
        let (issuer, asked) = (carried.issuer, carried.asked.clone());
        link.ledger.begins(&link.process, issuer, &asked, link.time.now());
        Self { link: Arc::clone(link), issuer, asked }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.link.ledger.ends(&self.link.process, self.issuer, &self.asked);
    }
}

pub(crate) struct Carrier(pub(crate) Arc<Link>);

impl Transport for Carrier {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, TransportError>> {
        let link = Arc::clone(&self.0);
        let carried = Carried::new(&link, &request);
        let in_flight = InFlight::begin(&link, &carried);
        let limit: Duration = request.limit;
        Box::pin(async move {
            let _in_flight = in_flight;
            let is_stalled = matches!(link.wire(), Wire::Stalled(_));
            let exchange = async move { link.exchange(carried).await };
            let outcome = if is_stalled {
                // It arrives although its caller has given up.
                timeout(limit, async { tokio::spawn(exchange).await.unwrap() }).await
            } else {
                timeout(limit, exchange).await
            };
            outcome.unwrap_or(Err(TransportError::perhaps_sent(ConnectionFailure::TimedOut)))
        })
    }
}
