//! The spans of a renewal, and how they are sent.

use std::collections::VecDeque;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::export::exporter;
use super::*;
use crate::core::backoff::RandomFraction;
use crate::core::connection_failure::ConnectionFailure;
use crate::core::testing::at;
use crate::issuer::{Answer, Request, Transport, TransportError};

/// A clock that is set by hand.
#[derive(Default)]
struct ManualClock(AtomicI64);

impl ManualClock {
    fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        at(self.0.load(Ordering::SeqCst))
    }

    fn random_fraction(&self) -> RandomFraction {
        RandomFraction::new(0.5)
    }
}

/// A receiver that answers in this order, and at the end always 200; and the bodies that it got.
#[derive(Default)]
struct Receiver {
    answers: Mutex<VecDeque<Answer>>,
    bodies: Mutex<Vec<Value>>,
    /// It never answers.
    hangs: bool,
}

impl Transport for Receiver {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, TransportError>> {
        lock(&self.bodies).push(serde_json::from_slice(&request.body).unwrap());
        let answer = lock(&self.answers).pop_front();
        Box::pin(async move {
            if self.hangs {
                tokio::time::sleep(request.limit).await;
                return Err(TransportError::perhaps_sent(ConnectionFailure::TimedOut));
            }
            Ok(answer.unwrap_or(Answer { status: 200, ..Answer::default() }))
        })
    }
}

impl Receiver {
    fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() }
    }

    fn requests(&self) -> usize {
        lock(&self.bodies).len()
    }

    /// The spans of a request.
    fn spans(&self, request: usize) -> Vec<Value> {
        let spans = &lock(&self.bodies)[request]["resourceSpans"][0]["scopeSpans"][0]["spans"];
        spans.as_array().unwrap().clone()
    }
}

fn status(status: u16) -> Answer {
    Answer { status, ..Answer::default() }
}

/// A tracer whose spans go to a receiver.
struct Traced {
    tracer: Tracer,
    clock: Arc<ManualClock>,
    receiver: Arc<Receiver>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Traced {
    fn start(receiver: Receiver) -> Self {
        let (clock, receiver) = (Arc::<ManualClock>::default(), Arc::new(receiver));
        let settings =
            Variables::sent_to("http://collector:4318").settings("idissuer-operator").unwrap().unwrap();
        let (tracer, exporter) = exporter(
            settings,
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&receiver) as Arc<dyn Transport>,
        );
        let stop = CancellationToken::new();
        let task = tokio::spawn(exporter.run(stop.clone()));
        Self { tracer, clock, receiver, stop, task }
    }

    /// A call for this credential that is queued at 10 s, because it was woken at 9 s, has its turn at 12 s, and ends at 15 s.
    fn call(&self, result: Result<&Fingerprint, &dyn fmt::Display>) -> Option<TraceId> {
        self.clock.set(10);
        let cause = self.tracer.cause(Some(&billing()), "due", at(9))?;
        self.clock.set(15);
        let (grant, outcome) = (Grant::Login, if result.is_ok() { "ok" } else { "server_error" });
        let origin = Origin::parse("https://issuer.example").unwrap();
        cause.ended(&EndedCall { origin: &origin, grant, outcome, admitted: at(12), result })
    }

    /// What arrives once the process stops.
    async fn end(self) -> Arc<Receiver> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.receiver
    }
}

fn billing() -> NamespacedName {
    NamespacedName::new("shop", "billing")
}

/// Name, parent, start and end in seconds, and failure of a span.
fn facts(span: &Value) -> (String, Option<String>, i64, i64, Option<String>) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let seconds = |name: &str| {
        let nanoseconds: i128 = span[name].as_str().unwrap().parse().unwrap();
        i64::try_from((nanoseconds - at(0).wall.as_nanosecond()) / 1_000_000_000).unwrap()
    };
    let (start, end) = (seconds("startTimeUnixNano"), seconds("endTimeUnixNano"));
    (text(&span["name"]).unwrap(), text(&span["parentSpanId"]), start, end, text(&span["status"]["message"]))
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_one_trace_from_what_woke_the_credential_to_its_status() {
    let traced = Traced::start(Receiver::default());
    let token = Fingerprint::of(b"token");
    let trace = traced.call(Ok(&token)).unwrap();
    assert_eq!(trace.to_string(), token.as_str());
    for (step, name, end) in [
        (Step::Secret("billing"), Some(billing()), 17),
        (Step::Status, Some(NamespacedName::new("shop", "follower")), 18),
        (Step::Status, Some(billing()), 19),
    ] {
        traced.clock.set(end);
        traced.tracer.step(step, &token, name.as_ref(), at(16), None);
    }
    let receiver = traced.end().await;
    assert_eq!(receiver.requests(), 1);
    let spans = receiver.spans(0);
    assert!(spans.iter().all(|span| span["traceId"] == token.as_str()), "{spans:#?}");
    let root = Some(token.as_str()[..16].to_owned());
    let child = |name: &str, start, end| (name.to_owned(), root.clone(), start, end, None);
    let expected = [
        child("trigger", 9, 10),
        child("gate", 10, 12),
        child("issuer", 12, 15),
        child("secret", 16, 17),
        child("status", 16, 18),
        child("status", 16, 19),
        ("renewal".to_owned(), None, 9, 19, None),
    ];
    assert_eq!(spans.iter().map(facts).collect::<Vec<_>>(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_kept_back_has_waited_at_the_gate_since_then() {
    let traced = Traced::start(Receiver::default());
    traced.tracer.keep_back(&billing(), true, at(3));
    traced.tracer.keep_back(&billing(), true, at(5));
    let other = NamespacedName::new("shop", "other");
    traced.tracer.keep_back(&other, true, at(1));
    traced.tracer.keep_back(&other, false, at(2));
    let token = Fingerprint::of(b"token");
    traced.call(Ok(&token));
    assert!(lock(&traced.tracer.0.as_ref().unwrap().kept_back).is_empty());
    let receiver = traced.end().await;
    let times = receiver
        .spans(0)
        .iter()
        .map(facts)
        .map(|(name, _, start, end, _)| (name, start, end))
        .collect::<Vec<_>>();
    assert_eq!(
        times,
        [
            ("trigger".to_owned(), 3, 3),
            ("gate".to_owned(), 3, 12),
            ("issuer".to_owned(), 12, 15),
            ("renewal".to_owned(), 3, 15),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_ends_with_its_call_and_has_a_trace_of_its_own() {
    let traced = Traced::start(Receiver::default());
    let both = [traced.call(Err(&"it answers 503")), traced.call(Err(&"it answers 503"))];
    assert!(both[0].is_some() && both[0] != both[1]);
    assert!(lock(&traced.tracer.0.as_ref().unwrap().open).is_empty());
    let receiver = traced.end().await;
    let failed: Vec<_> = receiver.spans(0).iter().map(facts).filter(|span| span.4.is_some()).collect();
    let names: Vec<_> = failed.iter().map(|span| span.0.as_str()).collect();
    assert_eq!(names, ["issuer", "renewal", "issuer", "renewal"]);
    assert!(failed.iter().all(|span| span.4.as_deref() == Some("it answers 503")), "{failed:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_receiver_nothing_is_traced() {
    let (tracer, exporting) = start(None, &(Arc::<ManualClock>::default() as Arc<dyn Clock>));
    assert!(!tracer.is_on() && tracer.cause(None, "due", at(0)).is_none());
    assert_eq!(tracer.trace_id(&Fingerprint::of(b"token")), None);
    exporting.stop().await;
}

#[tokio::test(start_paused = true)]
async fn renewals_that_never_end_cost_bounded_memory_and_are_told() {
    let traced = Traced::start(Receiver::default());
    let tracing = Arc::clone(traced.tracer.0.as_ref().unwrap());
    for number in 0..OPEN_LIMIT + 10 {
        traced.call(Ok(&Fingerprint::of(&number.to_be_bytes())));
        tokio::task::yield_now().await;
    }
    assert_eq!(lock(&tracing.open).len(), OPEN_LIMIT);
    traced.clock.set(15 + 301);
    // No other call follows.
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(lock(&tracing.open).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_costs_a_bounded_queue_and_no_time() {
    let traced = Traced::start(Receiver { hangs: true, ..Receiver::default() });
    let tracing = Arc::clone(traced.tracer.0.as_ref().unwrap());
    for number in 0..2_000_u32 {
        traced.call(Err(&number));
    }
    let waiting = tracing.queue.max_capacity() - tracing.queue.capacity();
    assert_eq!(waiting, tracing.queue.max_capacity());
    let lost = usize::try_from(tracing.lost.load(Ordering::Relaxed)).unwrap();
    assert_eq!(lost + waiting, 4 * 2_000);
}

#[tokio::test(start_paused = true)]
async fn what_a_receiver_cannot_take_now_is_sent_again_and_what_it_refuses_is_not() {
    let cases = [
        (vec![status(503), Answer { retry_after: Some("7".into()), ..status(429) }], 3, 8),
        (vec![status(400)], 1, 0),
        (vec![status(503), status(503), status(503), status(503)], 4, 7),
        (
            vec![Answer {
                body: Some(b"{\"partialSuccess\":{\"rejectedSpans\":\"2\"}}".to_vec().into()),
                ..status(200)
            }],
            1,
            0,
        ),
        (vec![Answer { body: Some(b"<html>".to_vec().into()), ..status(200) }], 1, 0),
    ];
    for (answers, requests, seconds) in cases {
        let traced = Traced::start(Receiver::answering(answers));
        traced.call(Err(&"it answers 503"));
        let start = tokio::time::Instant::now();
        while traced.receiver.requests() < requests {
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        let took = start.elapsed();
        // Spans are gathered for a second.
        let least = Duration::from_secs(seconds + 1);
        assert!(took >= least && took <= least + Duration::from_secs(1), "{took:?} for {requests}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(traced.receiver.requests(), requests);
        let bodies = lock(&traced.receiver.bodies);
        assert!(bodies.iter().all(|body| *body == bodies[0]));
    }
}
