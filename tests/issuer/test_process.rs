//! The accounts of one process over a simulated issuer, in simulated time.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use idissuer::account::{Accounts, KeyMaker, Member, Membership, Session};
use idissuer::core::account::{Next, Strategy};
use idissuer::core::backoff::RandomFraction;
use idissuer::core::connection_failure::ConnectionFailure;
use idissuer::core::endpoint::{AllowList, Origin, RefreshShape};
use idissuer::core::observed::AccountKey;
use idissuer::core::time::Moment;
use idissuer::core::token::Grant;
use idissuer::core::username_password::LoginPair;
use idissuer::issuer::{Answer, IssuerAddress, IssuerClient, Request, Transport, TransportError};
use idissuer::ops::clock::Clock;
use idissuer::ops::metrics::Metrics;
use idissuer_simulator::{Config, Personality, Request as SimulatedRequest, Simulator, UserCounts};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::simulated_answer::answer;
use crate::support::{PASSWORD, USER, make_address, make_pair, tenant};

/// The runtime's clock, which passes only when everyone waits, as both clocks of the accounts of a process.
pub(crate) struct RuntimeClock {
    pub(crate) start: Instant,
}

impl Clock for RuntimeClock {
    fn now(&self) -> Moment {
        let monotonic = SignedDuration::try_from(self.start.elapsed()).unwrap();
        Moment { wall: Timestamp::from_second(1_800_000_000).unwrap() + monotonic, monotonic }
    }

    fn random_fraction(&self) -> RandomFraction {
        RandomFraction::new(0.5)
    }
}

/// Carries requests to a simulator without a socket.
pub(crate) struct InProcess {
    pub(crate) simulator: Simulator,
    pub(crate) clock: Arc<RuntimeClock>,
    /// Failures that the next requests meet on their way, before they reach the issuer.
    on_the_way: Mutex<VecDeque<OnTheWay>>,
}

#[derive(Clone, Copy)]
pub(crate) enum OnTheWay {
    Fails(TransportError),
    Panics,
}

impl Transport for InProcess {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, TransportError>> {
        let on_the_way = self.on_the_way.lock().unwrap().pop_front();
        match on_the_way {
            Some(OnTheWay::Fails(error)) => return Box::pin(std::future::ready(Err(error))),
            Some(OnTheWay::Panics) => panic!("on purpose: a test of what a panic leaves behind"),
            None => {}
        }
        Box::pin(async move {
            let answer = tokio::time::timeout(request.limit, self.exchange(&request)).await;
            answer.unwrap_or(Err(TransportError::perhaps_sent(ConnectionFailure::TimedOut)))
        })
    }
}

impl InProcess {
    async fn exchange(&self, request: &Request) -> Result<Answer, TransportError> {
        let body = serde_json::from_slice(&request.body).unwrap();
        let sent = SimulatedRequest::post(request.url.path(), &body);
        let exchange = self.simulator.call(&sent, self.clock.now().wall);
        sleep(exchange.delay).await;
        answer(&exchange.answer, request.limit).await
    }
}

/// The accounts of one process, its issuer, and the notifications of members.
pub(crate) struct TestProcess {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) simulator: Simulator,
    transport: Arc<InProcess>,
    pub(crate) told: UnboundedReceiver<Member>,
    pub(crate) may_call: Arc<AtomicBool>,
    pub(crate) stop: CancellationToken,
    pub(crate) clock: Arc<RuntimeClock>,
    pub(crate) metrics: Arc<Metrics>,
    memberships: Mutex<HashMap<(AccountKey, Member), Membership>>,
}

impl TestProcess {
    pub(crate) fn new(change: impl FnOnce(&mut Personality)) -> Self {
        let simulator = Simulator::new(Config::default().seed(7).personality(change));
        let clock = Arc::new(RuntimeClock { start: Instant::now() });
        let transport = Arc::new(InProcess {
            simulator: simulator.clone(),
            clock: Arc::clone(&clock),
            on_the_way: Mutex::default(),
        });
        let allowed = Arc::new(AllowList::new(address().endpoint.origin, Vec::new()));
        let (tell, told) = unbounded_channel();
        let may_call = Arc::new(AtomicBool::new(true));
        let leads = Arc::clone(&may_call);
        let (stop, metrics) = (CancellationToken::new(), Arc::new(Metrics::new()));
        let issuer = IssuerClient::new(
            Arc::clone(&transport) as Arc<dyn Transport>,
            allowed,
            Arc::clone(&clock) as Arc<dyn Clock>,
        );
        let accounts = Accounts::new(
            issuer,
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&metrics),
            KeyMaker::new([7; 64]),
            tell,
            move || leads.load(Ordering::Acquire),
            stop.clone(),
        );
        let (accounts, memberships) = (Arc::new(accounts), Mutex::default());
        Self { accounts, simulator, transport, told, may_call, stop, clock, metrics, memberships }
    }

    pub(crate) fn open(&self) -> Arc<Session> {
        self.accounts.open(address(), &pair(), "billing-login")
    }

    pub(crate) fn joined(&self, strategy: Strategy) -> Arc<Session> {
        let session = self.open();
        self.join(&session, "member", strategy);
        session
    }

    /// Adds a member, until it leaves.
    pub(crate) fn join(&self, session: &Session, member: &str, strategy: Strategy) {
        let membership = session.join(member.into(), strategy);
        self.memberships.lock().unwrap().insert((session.key(), member.into()), membership);
    }

    pub(crate) fn leave(&self, member: &str) {
        self.memberships.lock().unwrap().retain(|(_, name), _| **name != *member);
    }

    pub(crate) fn meets(&self, on_the_way: OnTheWay) {
        self.transport.on_the_way.lock().unwrap().push_back(on_the_way);
    }

    pub(crate) fn counts(&self) -> UserCounts {
        self.simulator.counts().of(USER)
    }

    /// Starts a call, which has to be due, and waits for its end.
    pub(crate) async fn obtain(&mut self, session: &Arc<Session>) {
        assert!(
            session.obtain(&tenant(), Some(pair()), false),
            "nothing was started: {:?}",
            session.view(&tenant()).next
        );
        self.told.recv().await.unwrap();
    }

    /// A session with a token that is due for renewal, so that a refresh comes next.
    pub(crate) async fn due(&mut self) -> Arc<Session> {
        let session = self.joined(Strategy::Auto);
        self.obtain(&session).await;
        sleep(MOST_OF_AN_HOUR).await;
        assert_eq!(session.view(&tenant()).next, Next::Refresh);
        session
    }

    /// The members that were notified until now, except those already received.
    pub(crate) fn told_by_now(&mut self) -> Vec<Member> {
        std::iter::from_fn(|| self.told.try_recv().ok()).collect()
    }
}

pub(crate) const MOST_OF_AN_HOUR: Duration = Duration::from_secs(45 * 60);

pub(crate) fn address() -> IssuerAddress {
    make_address(Origin::parse("https://api.idissuer.pl").unwrap(), None, None, RefreshShape::Flat)
}

pub(crate) fn pair() -> LoginPair {
    make_pair(USER, PASSWORD)
}

pub(crate) fn grant_of(session: &Session) -> Option<Grant> {
    session.view(&tenant()).token.map(|token| token.grant)
}
