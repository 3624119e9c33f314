//! The source over an issuer that counts its calls, in simulated time.

use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use futures::future::{BoxFuture, join_all};
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::{TokenReceiver, channel};
use super::*;
use crate::account::KeyMaker;
use crate::core::backoff::RandomFraction;
use crate::core::endpoint::{AllowList, Origin, RefreshShape};
use crate::issuer::{Answer as IssuerAnswer, IssuerClient, Request, Transport, TransportError};
use crate::ops::metrics::Metrics;

struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> Moment {
        let monotonic = SignedDuration::try_from(self.0.elapsed()).unwrap();
        Moment { wall: Timestamp::from_second(1_800_000_000).unwrap() + monotonic, monotonic }
    }

    fn random_fraction(&self) -> RandomFraction {
        RandomFraction::new(0.5)
    }
}

/// Answers with this status; with 200 it gives `token-1`, `token-2`, … for an hour each.
struct Issuer {
    calls: AtomicU32,
    status: AtomicU16,
    takes: Duration,
}

impl Transport for Issuer {
    fn send(&self, _: Request) -> BoxFuture<'_, Result<IssuerAnswer, TransportError>> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let status = self.status.load(Ordering::SeqCst);
        let body = format!(
            r#"{{"access_token":{{"token_type":"bearer","token":"token-{number}","expires_in":3600}}}}"#
        );
        let body = (status == 200).then(|| body.into_bytes().into());
        let takes = self.takes;
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            Ok(IssuerAnswer { status, body, ..IssuerAnswer::default() })
        })
    }
}

struct RunningSource {
    issuer: Arc<Issuer>,
    receiver: TokenReceiver,
    stop: CancellationToken,
    work: JoinHandle<()>,
    place: tempfile::TempDir,
}

impl RunningSource {
    /// With a token.
    async fn start() -> Self {
        let source = Self::begin(200);
        let mut updates = source.receiver.watch();
        updates.wait_for(|state| state.token.is_some()).await.unwrap();
        source
    }

    fn begin(status: u16) -> Self {
        Self::begin_with(status, Duration::from_millis(100))
    }

    /// With an issuer that answers after a time.
    fn begin_with(status: u16, takes: Duration) -> Self {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("username"), "me").unwrap();
        std::fs::write(place.path().join("password"), "secret").unwrap();
        let clock: Arc<dyn Clock> = Arc::new(RuntimeClock(Instant::now()));
        let origin = Origin::parse("https://issuer.example").unwrap();
        let endpoint = Endpoint::new(origin.clone(), None, None, RefreshShape::Flat).unwrap();
        let (issuer, stop) = (
            Arc::new(Issuer { calls: AtomicU32::new(0), status: status.into(), takes }),
            CancellationToken::new(),
        );
        let allowed = Arc::new(AllowList::new(origin, Vec::new()));
        let client =
            IssuerClient::new(Arc::clone(&issuer) as Arc<dyn Transport>, allowed, Arc::clone(&clock));
        let (report, ended) = tokio::sync::mpsc::unbounded_channel();
        let (keys, metrics) = (KeyMaker::new([7; 64]), Arc::new(Metrics::of_sidecar().0));
        let accounts =
            Accounts::new(client, Arc::clone(&clock), metrics, keys, report, || true, stop.clone());
        let name = |name: &str| name.to_owned();
        let files = LoginFiles {
            directory: place.path().to_owned(),
            username: name("username"),
            password: name("password"),
        };
        let record = RecordFile::of(Some(place.path()));
        let strategy = Strategy::Login;
        let tracer = Tracer::default();
        let parts =
            LoginParts { files, endpoint, ca_file: None, strategy, accounts, ended, record, clock, tracer };
        let (sender, receiver) = channel(None, true);
        let work = tokio::spawn(LoginSource::new(parts, sender).run(stop.clone()));
        Self { issuer, receiver, stop, work, place }
    }

    fn token(&self) -> Arc<HeldToken> {
        self.receiver.now().token.unwrap()
    }

    fn calls(&self) -> u32 {
        self.issuer.calls.load(Ordering::SeqCst)
    }

    async fn end(self) {
        self.stop.cancel();
        self.work.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_reports_of_an_expired_token_cost_one_login_after_five_seconds() {
    let source = RunningSource::start().await;
    let (first, start) = (source.token(), Instant::now());
    let renewals = (0..100).map(|_| source.receiver.renew(&first.fingerprint, Duration::from_secs(30)));
    for renewed in join_all(renewals).await {
        assert_eq!(renewed.unwrap().access.expose(), "token-2");
    }
    assert_eq!(source.calls(), 2);
    let waited = start.elapsed();
    assert!(waited > Duration::from_secs(4) && waited < Duration::from_secs(7), "{waited:?}");
    let late = source.receiver.renew(&first.fingerprint, Duration::from_secs(30)).await;
    assert_eq!((late.unwrap().access.expose(), source.calls()), ("token-2", 2));
    source.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_reported_to_its_caller_at_once_and_the_old_token_stays() {
    let source = RunningSource::start().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    source.issuer.status.store(503, Ordering::SeqCst);
    let (first, start) = (source.token(), Instant::now());
    assert!(source.receiver.renew(&first.fingerprint, Duration::from_secs(30)).await.is_none());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let current = source.receiver.now();
    assert_eq!(current.error.map(|error| error.name()), Some("IssuerUnavailable"));
    assert!(current.token.unwrap().is_same(&first));
    let next_attempt = source.receiver.watch().wait_for(|state| state.next_attempt.is_some()).await.is_ok();
    assert!(next_attempt, "and when it is tried again");
    source.issuer.status.store(200, Ordering::SeqCst);
    let mut updates = source.receiver.watch();
    let healed = updates.wait_for(|state| state.error.is_none()).await.unwrap().token.clone();
    assert_ne!(healed.unwrap().fingerprint, first.fingerprint);
    source.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_calls_every_token_expired_costs_a_few_logins_an_hour_and_is_reported() {
    let source = RunningSource::start().await;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(3600) {
        let token = source.token();
        let _ = source.receiver.renew(&token.fingerprint, Duration::from_secs(20)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!((8..=16).contains(&source.calls()), "{} logins", source.calls());
    let error = source.receiver.now().error.map(|error| error.name());
    assert_eq!(error, Some("TokensCalledExpired"));
    source.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_day_of_hourly_tokens_is_a_login_every_three_quarters_of_an_hour() {
    let source = RunningSource::start().await;
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert!((31..=36).contains(&source.calls()), "{} logins", source.calls());
    source.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_login_that_was_never_accepted_is_attempted_once_a_day_and_again_when_its_files_change() {
    let source = RunningSource::begin(401);
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(source.calls(), 1);
    let error = source.receiver.now().error;
    assert_eq!(
        error,
        Some(SourceError::LoginRejected { forbidden: false, proven: false, blank: false, delay: None })
    );
    // The same password: what kept the issuer from accepting it may have been cured there.
    std::fs::write(source.place.path().join("new"), "secret").unwrap();
    std::fs::rename(source.place.path().join("new"), source.place.path().join("password")).unwrap();
    source.issuer.status.store(200, Ordering::SeqCst);
    let mut updates = source.receiver.watch();
    updates.wait_for(|state| state.token.is_some()).await.unwrap();
    assert_eq!(source.calls(), 2);
    source.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_login_that_was_never_accepted_and_is_answered_oddly_is_presented_three_times_in_a_day() {
    for (status, reason) in
        [(404, "IssuerMisconfigured"), (302, "IssuerMisconfigured"), (204, "IssuerResponseInvalid")]
    {
        let source = RunningSource::begin(status);
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        assert_eq!(source.calls(), 3, "{status}");
        let error = source.receiver.now().error.unwrap();
        assert_eq!(error.name(), reason);
        assert!(error.message().contains("change the login files"), "{}", error.message());
        std::fs::write(source.place.path().join("new"), "secret").unwrap();
        std::fs::rename(source.place.path().join("new"), source.place.path().join("password")).unwrap();
        source.issuer.status.store(200, Ordering::SeqCst);
        let mut updates = source.receiver.watch();
        updates.wait_for(|state| state.token.is_some()).await.unwrap();
        assert_eq!(source.calls(), 4, "{status}: other files are another attempt");
        source.end().await;
    }
}

/// On two threads, so that a call may end at any moment of the turn that started it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_is_on_the_volume_before_it_is_reported() {
    for _ in 0..300 {
        let source = RunningSource::begin_with(401, Duration::ZERO);
        let mut updates = source.receiver.watch();
        updates.wait_for(|state| state.error.is_some()).await.unwrap();
        let record = RecordFile::of(Some(source.place.path())).load().unwrap();
        assert_eq!(record.attempts.rejection, Some(RejectionKind::Rejected));
        source.end().await;
    }
}
