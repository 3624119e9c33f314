//! The state of the model: the leading process, the cluster, the issuer, perhaps a call of a paused leader; and what
//! must hold for them at every moment.

mod beginnings;
mod key;
mod owner;
mod promises;

use idissuer::core::account::Call;
use idissuer::core::backoff::RandomFraction;
use idissuer::core::decide::Plan;
use idissuer::core::retry::RetryClass;
use idissuer::core::time::Moment;
use idissuer::core::token::Fingerprint;
use idissuer_simulator::{Answer, Issuer, Session};
use jiff::{SignedDuration, Timestamp};

use super::issuer::{Family, Message, Outcome, carry_out};
use super::shell::{Cluster, Process, STRATEGY};
pub(super) use owner::sooner;

/// The start, in seconds since 1970.
const START: i64 = 1_800_000_000;
/// How long a machine sleeps: any token is dead afterwards.
const SLEEP: SignedDuration = SignedDuration::from_hours(2);
/// How long there is no leader after a crash.
const WITHOUT_LEADER: SignedDuration = SignedDuration::from_secs(20);

/// What happened, for the message of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    Login(Outcome),
    Refresh(Outcome),
    Published,
    /// The machine slept, and time went on without it.
    Slept,
    Crashed(Point),
    /// The paused leader's call arrives only now.
    StrayArrived,
    PublishedForFollower,
    /// The owner permits its follower, or does not any more.
    Permits(bool),
    OwnerDeleted,
    /// Another owner of its name permits the follower, or does not.
    OwnerMadeAnew(bool),
    /// Somebody deletes the target of the follower.
    TargetDeleted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    AtRest,
    /// Shortly before it would have looked again.
    LongAtRest,
    BeforeRecord,
    BeforeCall,
    InFlightBeforeIssuer,
    InFlightAfterIssuer,
    /// It is only paused, and its call on its way arrives later.
    InFlightPaused,
    AfterAnswer,
    AfterPublication,
}

/// A refresh token that the issuer gave out.
#[derive(Clone)]
struct Given {
    name: idissuer_simulator::Fingerprint,
    family: u32,
    is_spent: bool,
    /// It was presented, and is not certain to be unspent.
    is_doubtful: bool,
}

/// A token's place among all that were issued, and its end.
#[derive(Clone)]
struct Minted {
    name: Fingerprint,
    expires: SignedDuration,
}

#[derive(Debug)]
pub(super) struct Broken(pub(super) &'static str);

#[derive(Clone)]
pub(super) struct State {
    family: Family,
    now: SignedDuration,
    /// When the leading process began, by its own monotonic clock.
    began: SignedDuration,
    issuer: Issuer,
    cluster: Cluster,
    process: Process,
    stray: Option<Message>,
    follower: Option<owner::Followed>,
    given: Vec<Given>,
    minted: Vec<Minted>,
    logins: u32,
    /// The refresh token that the leading process holds.
    held: Option<usize>,
    /// Since when everything works.
    quiet_since: SignedDuration,
    /// When a password was presented that was not accepted, or whose answer a crash swallowed, since it last was.
    rejected: Vec<SignedDuration>,
    /// Whether the last login followed a transient answer.
    is_retry: bool,
    /// Calls whose outcome may still be anything; those that follow work.
    pub(super) free_calls: u32,
    pub(super) crashes_left: u32,
    /// Tokens published since the last of the free calls.
    pub(super) published: u32,
    pub(super) history: Vec<Happened>,
}

impl State {
    pub(super) fn new(family: Family, free_calls: u32, crashes_left: u32) -> Self {
        let mut state = Self {
            family,
            now: SignedDuration::ZERO,
            began: SignedDuration::ZERO,
            issuer: family.issuer(),
            process: Process::start(&Cluster::default(), moment(SignedDuration::ZERO, SignedDuration::ZERO)),
            cluster: Cluster::default(),
            stray: None,
            follower: None,
            given: Vec::new(),
            minted: Vec::new(),
            logins: 0,
            held: None,
            quiet_since: SignedDuration::ZERO,
            rejected: Vec::new(),
            is_retry: false,
            free_calls,
            crashes_left,
            published: 0,
            history: Vec::new(),
        };
        state.began = -SignedDuration::from_secs(5);
        state
    }

    pub(super) fn moment(&self) -> Moment {
        moment(self.now, self.began)
    }

    pub(super) fn plan(&mut self) -> Plan {
        self.ask_for_follower();
        self.process.plan(&self.cluster, self.moment())
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    pub(super) fn has_stray(&self) -> bool {
        self.stray.is_some()
    }

    /// Carries out a step without a call to the issuer.
    pub(super) fn act(&mut self, plan: Plan) -> Result<(), Broken> {
        let now = self.moment();
        match plan {
            Plan::ReadTarget => self.process.read_target(&self.cluster),
            Plan::ReadLogin => self.process.read_login(now),
            Plan::PublishReadBack { fence } => {
                self.process.publish_read_back(&mut self.cluster, fence.as_ref(), now);
            }
            Plan::Publish { token, fence, .. } => {
                if token.validity.expiry().is_reached(now) {
                    return Err(Broken("a dead token is published"));
                }
                let place = |name: &Fingerprint| self.minted.iter().position(|minted| minted.name == *name);
                let before = self.cluster.target.as_ref().and_then(|target| place(&target.name));
                if before > place(&token.fingerprint) {
                    return Err(Broken("an older token is published over a younger one"));
                }
                self.process.publish(&mut self.cluster, &token, fence.as_ref(), now);
                self.published += 1;
                self.history.push(Happened::Published);
            }
            Plan::Obtain { .. } | Plan::Rest { .. } => {}
        }
        Ok(())
    }

    pub(super) fn record_attempt(&mut self) {
        let now = self.moment();
        self.process.record_attempt(&mut self.cluster, now);
    }

    pub(super) fn begin(&mut self) -> Result<Call, Broken> {
        if self.is_fresh() && !self.is_needed_by_follower() {
            return Err(Broken("the issuer is called although the published token is fresh"));
        }
        let now = self.moment();
        let pair = self.process.take_login();
        let Some(call) = self.process.account.begin(STRATEGY, pair, now) else {
            return Err(Broken("a plan to obtain starts no call"));
        };
        match Message::of(&call).presented() {
            None => self.begin_login()?,
            Some(presented) => {
                let Some(index) = self.given.iter().position(|given| given.name == presented) else {
                    return Err(Broken("a refresh token is presented that was never given"));
                };
                if self.given[index].is_doubtful {
                    return Err(Broken("a refresh token is presented that may be spent"));
                }
                if self.held != Some(index) {
                    return Err(Broken("a refresh token is presented that is not the newest"));
                }
                self.given[index].is_doubtful = true;
                self.held = None;
            }
        }
        if matches!(self.plan(), Plan::Obtain { .. } | Plan::ReadLogin) {
            return Err(Broken("another call is wanted while one is in flight"));
        }
        // The controller goes on, finds nothing to do before the answer, and reports.
        self.process.rest(&mut self.cluster, now);
        Ok(call)
    }

    fn is_alive(&self, given: &Given) -> bool {
        let is_ended = self.family.session == Session::PerUser && given.family < self.logins;
        !given.is_spent && !is_ended
    }

    /// The call ends; time passes meanwhile.
    pub(super) fn end(&mut self, call: Call, outcome: Outcome) -> Result<(), Broken> {
        let message = Message::of(&call);
        let lifetime = self.family.lifetime;
        let is_refresh = message.presented().is_some();
        self.history.push(if is_refresh { Happened::Refresh(outcome) } else { Happened::Login(outcome) });
        self.count_call();
        let sent = self.moment();
        let end = carry_out(&mut self.issuer, &message, outcome, sent, lifetime);
        let given = self.note(&message, end.said.as_ref())?;
        let limit = self.process.account.pace().call_limit();
        self.pass(outcome.duration(limit))?;
        if outcome != Outcome::Answered {
            self.quiet_since = self.now;
        }
        // A login that was never accepted pays for every answer without a token.
        let is_proven = self.process.account.accepted().is_some();
        let is_counted = |class: RetryClass| class == RetryClass::Rejected || !is_proven && class.is_answer();
        let is_rejected = !is_refresh && matches!(&end.told, Err(failure) if is_counted(failure.class));
        if is_rejected {
            self.rejected.push(self.now);
        } else if end.told.is_ok() {
            self.rejected.clear();
        }
        let presented = message.presented();
        let index = presented.and_then(|name| self.given.iter().position(|given| given.name == name));
        if let (Some(index), true) = (index, outcome.leaves_token_unspent()) {
            self.given[index].is_doubtful = false;
            self.held = Some(index);
        }
        if end.told.is_ok() {
            self.held = given;
        }
        let now = self.moment();
        self.process.account.finish(call, end.told, now, RandomFraction::new(0.5));
        Ok(())
    }

    fn count_call(&mut self) {
        if self.free_calls > 0 {
            self.free_calls -= 1;
            self.published = 0;
        }
    }

    /// Writes down what the issuer gave; the refresh token's index.
    fn note(&mut self, message: &Message, said: Option<&Answer>) -> Result<Option<usize>, Broken> {
        if self.issuer.counts().total().refresh_tokens_reused > 0 {
            return Err(Broken("a spent refresh token was presented to the issuer"));
        }
        let Some(Answer::Granted(granted)) = said else { return Ok(None) };
        let family = match message.presented() {
            None => {
                self.logins += 1;
                self.logins
            }
            Some(name) => {
                let presented = self.given.iter_mut().find(|given| given.name == name);
                presented.map_or(0, |presented| {
                    presented.is_spent = true;
                    presented.family
                })
            }
        };
        let expires = self.now + SignedDuration::from_secs(self.family.lifetime);
        let name = Fingerprint::of(granted.access_token.as_bytes());
        self.minted.push(Minted { name, expires });
        let Some(text) = &granted.refresh_token else { return Ok(None) };
        let name = idissuer_simulator::Fingerprint::of(text);
        self.given.push(Given { name, family, is_spent: false, is_doubtful: false });
        Ok(Some(self.given.len() - 1))
    }

    /// The process ends at a point where no call is in flight; later another one leads.
    pub(super) fn crash(&mut self, point: Point) {
        self.history.push(Happened::Crashed(point));
        self.crashes_left -= 1;
        self.held = None;
        self.forgive_unrecorded();
        self.now += WITHOUT_LEADER;
        self.quiet_since = self.now;
        self.began = self.now - SignedDuration::from_secs(5);
        self.process = Process::start(&self.cluster, self.moment());
        self.restart_follower();
    }

    pub(super) fn sleep(&mut self) {
        self.history.push(Happened::Slept);
        self.crashes_left -= 1;
        self.now += SLEEP;
        self.quiet_since = self.now;
    }

    /// The process ends, or is paused, with a call in flight.
    pub(super) fn crash_in_flight(&mut self, call: &Call, point: Point) -> Result<(), Broken> {
        let message = Message::of(call);
        if message.presented().is_none() {
            self.rejected.push(self.now);
        }
        self.count_call();
        match point {
            Point::InFlightAfterIssuer => self.arrive(&message)?,
            Point::InFlightPaused => self.stray = Some(message),
            _ => {}
        }
        self.crash(point);
        Ok(())
    }

    /// Only attempts of a login that was never accepted are recorded first, and one record covers those that follow a
    /// transient answer. Of the others, what status does not know yet is not held against the next process.
    fn forgive_unrecorded(&mut self) {
        let Some(login) = self.cluster.login() else { return };
        if login.accepted.is_some() || self.is_retry {
            self.rejected.truncate(login.rejections as usize);
        }
    }

    pub(super) fn stray_arrives(&mut self) -> Result<(), Broken> {
        let Some(message) = self.stray.take() else { return Ok(()) };
        self.history.push(Happened::StrayArrived);
        self.arrive(&message)
    }

    fn arrive(&mut self, message: &Message) -> Result<(), Broken> {
        let now = self.moment().wall;
        let said = message.arrive(&mut self.issuer, now);
        self.note(message, Some(&said)).map(|_| ())
    }

    /// Rests until something is due by time; whether anything ever is.
    pub(super) fn rest(&mut self, until: Option<Moment>) -> Result<bool, Broken> {
        let now = self.moment();
        self.process.rest(&mut self.cluster, now);
        let Some(until) = until else {
            self.assert_no_gap(SignedDuration::MAX)?;
            return Ok(false);
        };
        if until.is_reached(now) {
            return Err(Broken("a wake-up lies in the past"));
        }
        self.pass(until.remaining(now))?;
        Ok(true)
    }

    /// Rests, but not until then.
    pub(super) fn rest_nearly(&mut self, until: Moment) -> Result<(), Broken> {
        let now = self.moment();
        self.process.rest(&mut self.cluster, now);
        self.pass(until.remaining(now) * 9 / 10)
    }

    fn pass(&mut self, duration: SignedDuration) -> Result<(), Broken> {
        let until = self.now.saturating_add(duration);
        self.assert_no_gap(until)?;
        self.assert_no_gap_of_follower(until)?;
        self.now = until;
        Ok(())
    }
}

fn moment(now: SignedDuration, began: SignedDuration) -> Moment {
    let start = Timestamp::from_second(START).unwrap();
    Moment { wall: start.saturating_add(now).unwrap(), monotonic: now - began }
}
