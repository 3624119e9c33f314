//! Decides the outcome of each call and when the process ends, and records what happens.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::future::BoxFuture;
use idissuer::core::connection_failure::ConnectionFailure;
use idissuer::issuer::{Answer, Request, Transport, TransportError};
use idissuer_simulator::{Fault, FaultRule, RetryAfter};
use idissuer_testbed::memory::{Change, Fault as ApiFault, MemoryApi, RequestFacts};
use serde_json::Value;
use tokio::sync::Notify;

use super::super::PUBLISHED_AT_THE_END;
use super::super::issuer::Outcome;
use super::super::state::Happened;
use crate::issuers::Issuers;
use crate::ledger::{Findings, Ledger};
use crate::link::{Carrier, Link, Wire};
use crate::population::{account_of_login, text};
use crate::process::Links;
use crate::time::TrueTime;
use crate::world::World;

/// When the process ends: as something crosses its border for the so-manieth time, a write or a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Death {
    pub(super) crossing: usize,
    /// Whether the request is carried out; its answer is lost.
    pub(super) is_carried_out: bool,
}

#[derive(Default)]
struct State {
    outcomes: VecDeque<Outcome>,
    death: Option<Death>,
    crossings: usize,
    happened: Vec<Happened>,
    /// Tokens published since the last outcome was used up.
    published: u32,
    /// Logins that were rejected, or whose answer died with the process, since one was accepted.
    presented: i64,
    /// Whether this process, or status when it began, saw a login accepted.
    is_proven: bool,
    is_dead: bool,
}

pub(super) struct Director {
    state: Mutex<State>,
    changed: Notify,
    api: MemoryApi,
    findings: Findings,
    time: TrueTime,
    issuers: Arc<Issuers>,
    ledger: Arc<Ledger>,
    links: Links,
    password: String,
}

/// What becomes of something that crosses the border.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
    DiesBefore,
    DiesAfter,
}

impl Director {
    pub(super) fn new(outcomes: &[Outcome], death: Option<Death>, world: &World) -> Self {
        let state = State { outcomes: outcomes.iter().copied().collect(), death, ..State::default() };
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
            api: world.environment.api.clone(),
            findings: world.findings.clone(),
            time: world.environment.time.clone(),
            issuers: Arc::clone(&world.environment.issuers),
            ledger: Arc::clone(&world.environment.ledger),
            links: world.environment.links.clone(),
            password: world.population.accounts[0].password.clone(),
        }
    }

    /// From now on nothing crosses the border of a process without it.
    pub(super) fn takes_over(self: &Arc<Self>, world: &mut World) {
        let director = Arc::clone(self);
        world.environment.carry =
            Some(Arc::new(move |carrier| Arc::new(Directed { director: Arc::clone(&director), carrier })));
        let director = Arc::clone(self);
        world.environment.api.set_fault(move |annotations| director.asks(annotations));
        let director = Arc::clone(self);
        world.environment.api.observe(move |change| director.sees(change));
    }

    /// Waits until a process ends, or all is over.
    pub(super) async fn changes(&self) {
        self.changed.notified().await;
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// Another process begins, with what status remembers.
    pub(super) fn revives(&self) {
        let login = self.login();
        let is_proven = login["acceptedTime"].is_string();
        let last = login["attemptTime"].as_str().and_then(|at| at.parse().ok());
        if let (false, Some(last)) = (is_proven, last) {
            let rejections = usize::try_from(login["rejections"].as_u64().unwrap_or_default()).unwrap();
            self.ledger.remembers(0, &self.password, rejections, last);
        }
        let mut state = self.state();
        (state.is_dead, state.is_proven) = (false, is_proven);
    }

    fn login(&self) -> Value {
        let credential = self.api.list("idissuercredentials", "").pop().unwrap();
        credential["status"]["login"].clone()
    }

    /// Whether two tokens were published after the last outcome.
    pub(super) fn is_over(&self) -> bool {
        let state = self.state();
        state.outcomes.is_empty() && state.published >= PUBLISHED_AT_THE_END
    }

    /// What happened, and how often anything crossed the border.
    pub(super) fn record(&self) -> (Vec<Happened>, usize) {
        let state = self.state();
        (state.happened.clone(), state.crossings)
    }

    fn cross(&self, link: &Link) -> Fate {
        let mut state = self.state();
        let crossing = state.crossings;
        state.crossings += 1;
        let Some(death) = state.death.filter(|death| death.crossing == crossing) else { return Fate::Passes };
        state.is_dead = true;
        self.changed.notify_one();
        if death.is_carried_out {
            return Fate::DiesAfter;
        }
        link.set(Wire::Dead);
        Fate::DiesBefore
    }

    /// A process asks something of the API server.
    fn asks(&self, annotations: &RequestFacts) -> Option<ApiFault> {
        let link = self.links.get(&annotations.user)?;
        if let Some(fault) = link.api_fault() {
            return Some(fault);
        }
        if !matches!(annotations.verb, "patch" | "update") {
            return None;
        }
        match self.cross(&link) {
            Fate::Passes => None,
            Fate::DiesBefore => Some(ApiFault::Unreachable),
            Fate::DiesAfter => {
                link.set(Wire::Dead);
                Some(ApiFault::Lost)
            }
        }
    }

    fn sees(&self, change: &Change) {
        let is_target = change.resource == "secrets" && account_of_login(&change.name).is_none();
        let token = |object: &Option<Arc<Value>>| object.as_ref().and_then(|secret| text(secret, "token"));
        if is_target && token(&change.before) != token(&change.after) {
            let mut state = self.state();
            state.happened.push(Happened::Published);
            state.published += 1;
            self.changed.notify_one();
        }
    }

    fn outcome(&self, is_refresh: bool, fate: Fate) -> Outcome {
        let login = self.login();
        let mut state = self.state();
        // One record covers the attempts that follow a transient answer.
        let is_recorded = login["attemptTime"].is_string()
            && login["rejections"].as_i64().unwrap_or_default() >= state.presented;
        if !is_refresh && !state.is_proven && !is_recorded {
            self.findings.add(self.time.now(), "a login is presented that status does not count");
        }
        let outcome = state.outcomes.pop_front();
        if outcome.is_some() {
            state.published = 0;
        }
        let outcome = outcome.unwrap_or(Outcome::Answered);
        let happened = if is_refresh { Happened::Refresh(outcome) } else { Happened::Login(outcome) };
        state.happened.push(happened);
        match outcome {
            _ if is_refresh => {}
            Outcome::Answered if fate == Fate::Passes => (state.presented, state.is_proven) = (0, true),
            _ => state.presented += i64::from(fate == Fate::DiesAfter || outcome == Outcome::Denied),
        }
        outcome
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// What the issuer does with the one call to come.
fn rule(outcome: Outcome) -> Option<FaultRule> {
    let status = |status| FaultRule::new(Fault::status(status));
    let rule = match outcome {
        Outcome::Answered | Outcome::NotSent => return None,
        Outcome::AnswerLost => FaultRule::new(Fault::Lost).after_work(),
        Outcome::Swallowed => FaultRule::new(Fault::Hang).before_work(),
        Outcome::FailedAfter => status(500).after_work(),
        Outcome::Failed => status(503).before_work(),
        Outcome::NotNow(wait) => {
            let wait = RetryAfter::Seconds(u32::try_from(wait).unwrap());
            FaultRule::new(Fault::retry_after(429, wait)).before_work()
        }
        Outcome::Denied => status(401).before_work(),
        Outcome::Unusable => FaultRule::new(Fault::Garbage).after_work(),
    };
    Some(rule.once())
}

/// Calls that go as the director says.
struct Directed {
    director: Arc<Director>,
    carrier: Carrier,
}

impl Transport for Directed {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(async move {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let (link, simulator) = (&self.carrier.0, &self.director.issuers.get(0).simulator);
            let fate = self.director.cross(link);
            let outcome = match fate {
                Fate::DiesBefore => return std::future::pending().await,
                Fate::DiesAfter | Fate::Passes => {
                    self.director.outcome(!body["refresh_token"].is_null(), fate)
                }
            };
            if let Some(rule) = rule(outcome) {
                simulator.inject(rule);
            }
            if fate == Fate::DiesAfter {
                let arrived = tokio::time::timeout(Duration::from_millis(1), self.carrier.send(request));
                drop(arrived.await);
                link.set(Wire::Dead);
                return std::future::pending().await;
            }
            if outcome == Outcome::NotSent {
                self.director.ledger.unsent();
                return Err(TransportError::not_sent(ConnectionFailure::Refused));
            }
            self.carrier.send(request).await
        })
    }
}
