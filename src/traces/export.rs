//! Sends spans to the receiver.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::span::{Names, Span};
use super::{Settings, Tracer, Tracing, otlp};
use crate::core::time::Moment;
use crate::issuer::{Answer, HttpTransport, Request, Transport};
use crate::ops::clock::Clock;

/// How many spans wait at most, and how many are sent at once; as in the SDKs of OpenTelemetry.
const QUEUE_LIMIT: usize = 2048;
const BATCH_LIMIT: usize = 512;
/// How long spans are gathered before they are sent.
const GATHERING: Duration = Duration::from_secs(1);
/// How often spans are sent before they are given up, and the pause after the first time, which doubles.
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How often an exporter without spans looks for renewals whose token is not published.
const CLOSING: Duration = Duration::from_secs(60);
/// The longest pause that a receiver may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long no further trouble is told.
const WARNING_PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// How long sending what is left may take at the end.
const STOP_LIMIT: Duration = Duration::from_millis(250);

/// The task that sends traces, if they are on.
pub struct Exporting(Option<(JoinHandle<()>, CancellationToken)>);

/// Sends what a tracer takes.
pub(super) struct Exporter {
    settings: Settings,
    transport: Arc<dyn Transport>,
    queue: mpsc::Receiver<Span>,
    tracing: Arc<Tracing>,
    /// When it was last said that spans do not arrive.
    warned: Option<Moment>,
}

/// Why spans did not arrive, and whether they are sent again, after which pause.
struct Failure {
    cause: String,
    again: Option<Duration>,
}

/// Starts to take and send traces, if they are on.
#[must_use]
pub fn start(settings: Option<Settings>, clock: &Arc<dyn Clock>) -> (Tracer, Exporting) {
    let Some(settings) = settings else { return (Tracer::default(), Exporting(None)) };
    let (tracer, exporter) = exporter(settings, Arc::clone(clock), Arc::new(HttpTransport::new(false)));
    let stop = CancellationToken::new();
    let task = tokio::spawn(exporter.run(stop.clone()));
    (tracer, Exporting(Some((task, stop))))
}

/// A tracer, and what sends its spans over this transport.
pub(super) fn exporter(
    settings: Settings,
    clock: Arc<dyn Clock>,
    transport: Arc<dyn Transport>,
) -> (Tracer, Exporter) {
    let (sender, queue) = mpsc::channel(QUEUE_LIMIT);
    let tracing = Arc::new(Tracing {
        names: Names::new(clock.now()),
        clock,
        sampler: settings.sampler,
        queue: sender,
        lost: AtomicU64::new(0),
        open: Mutex::new(HashMap::new()),
        kept_back: Mutex::new(HashMap::new()),
    });
    let tracer = Tracer(Some(Arc::clone(&tracing)));
    (tracer, Exporter { settings, transport, queue, tracing, warned: None })
}

impl Exporting {
    /// Sends what is left, if that goes fast.
    pub async fn stop(self) {
        if let Some((task, stop)) = self.0 {
            stop.cancel();
            // Traces must not delay the exit.
            let _ = tokio::time::timeout(STOP_LIMIT, task).await;
        }
    }
}

impl Exporter {
    /// Sends until `stop` is cancelled; then what is left, once.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        tracing::info!(receiver = %self.settings.receiver(), "sending traces");
        loop {
            let spans = self.gather(&stop).await;
            if spans.is_empty() {
                return;
            }
            self.warn_of_losses();
            self.send(&spans, &stop).await;
        }
    }

    /// The next spans; none once the process stops and nothing is left.
    async fn gather(&mut self, stop: &CancellationToken) -> Vec<Span> {
        let mut spans = Vec::new();
        let (queue, tracing) = (&mut self.queue, &self.tracing);
        tracing.close_old(tracing.clock.now());
        let gathering = async {
            while tokio::time::timeout(CLOSING, queue.recv_many(&mut spans, BATCH_LIMIT)).await.is_err() {
                tracing.close_old(tracing.clock.now());
            }
            let more = async {
                while spans.len() < BATCH_LIMIT {
                    let room = BATCH_LIMIT - spans.len();
                    queue.recv_many(&mut spans, room).await;
                }
            };
            // Most spans of a renewal end within a second, and are sent together.
            let _ = tokio::time::timeout(GATHERING, more).await;
        };
        tokio::select! {
            () = gathering => {}
            () = stop.cancelled() => {
                self.tracing.close_all();
                while spans.len() < BATCH_LIMIT && let Ok(span) = self.queue.try_recv() {
                    spans.push(span);
                }
            }
        }
        spans
    }

    fn warn_of_losses(&self) {
        let lost = self.tracing.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(errors = lost, "traces are incomplete: more than {QUEUE_LIMIT} spans waited");
        }
    }

    /// Says once in a while that spans do not arrive, also where the cause changes all the time.
    fn warn_of(&mut self, cause: &str) {
        let now = self.tracing.clock.now();
        if self.warned.is_none_or(|warned| warned.plus(WARNING_PAUSE).is_reached(now)) {
            self.warned = Some(now);
            let receiver = self.settings.receiver();
            tracing::warn!("send traces to {receiver}: {cause}; renewals go on without them");
        }
    }

    /// Sends spans, several times if need be.
    async fn send(&mut self, spans: &[Span], stop: &CancellationToken) {
        let body = otlp::encode(&self.settings.resource, spans).to_string().into_bytes();
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS {
            let Err(Failure { cause, again }) = self.post(body.clone()).await else { return };
            self.warn_of(&cause);
            let Some(asked) = again.filter(|_| attempt < ATTEMPTS) else { return };
            tokio::select! {
                () = tokio::time::sleep(pause.max(asked)) => {}
                () = stop.cancelled() => return,
            }
            pause *= 2;
        }
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), Failure> {
        let Settings { url, headers, trust, limit, .. } = &self.settings;
        let request = Request {
            url: url.clone(),
            body: body.into(),
            trust: trust.clone(),
            limit: *limit,
            headers: headers.clone(),
        };
        let answer = self.transport.send(request).await;
        let answer =
            answer.map_err(|error| Failure { cause: error.to_string(), again: Some(Duration::ZERO) })?;
        let Answer { status, body, retry_after, .. } = answer;
        match status {
            200..=299 => {
                let body = body.unwrap_or_default();
                let refused = |rejected| format!("it has rejected {rejected} spans of the last request");
                otlp::rejected(&body)
                    .map_or(Ok(()), |number| Err(Failure { cause: refused(number), again: None }))
            }
            429 | 502 | 503 | 504 => {
                let seconds = retry_after.and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
                let asked = Duration::from_secs(seconds).min(LONGEST_PAUSE);
                Err(Failure { cause: format!("it answers {status}"), again: Some(asked) })
            }
            _ => Err(Failure { cause: format!("it answers {status}"), again: None }),
        }
    }
}
