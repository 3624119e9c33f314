//! Traces as a receiver of the published OTLP types gets them from the operator.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use idissuer_testbed::wait;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::operator::{LIMIT, LOGIN, NAME, Operator, PASSWORD, Stage, USER, issuer, text, token_status};

/// Of tokens: they are renewed after two thirds.
const LIFETIME: Duration = Duration::from_secs(8);
/// A span's end is told by another clock than its start, in nanoseconds.
const TOLERANCE: u64 = 1_000_000;
const HEADER: &str = "key-of-the-receiver";

/// A receiver of traces, and what it got: headers and bodies.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<(HeaderMap, String)>>>);

impl Receiver {
    async fn start() -> (Self, SocketAddr) {
        let receiver = Self::default();
        let take = |State(receiver): State<Self>, headers: HeaderMap, body: String| async move {
            receiver.0.lock().unwrap().push((headers, body));
            "{}"
        };
        let router = Router::new().route("/v1/traces", post(take)).with_state(receiver.clone());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, address)
    }

    /// The spans of a trace so far, by their resources' names.
    fn spans(&self, trace: &str) -> Vec<(String, Span)> {
        let requests = self.0.lock().unwrap().clone();
        let mut found = Vec::new();
        for (_, body) in requests {
            let request: ExportTraceServiceRequest = serde_json::from_str(&body).unwrap();
            for of_resource in request.resource_spans {
                let resource = of_resource.resource.unwrap();
                let service = resource.attributes.iter().find(|it| it.key == "service.name").unwrap();
                let Some(StringValue(service)) = service.value.clone().unwrap().value else {
                    panic!("{body}")
                };
                let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
                found.extend(spans.map(|span| (service.clone(), span)));
            }
        }
        let trace = u128::from_str_radix(trace, 16).unwrap().to_be_bytes();
        found.retain(|(_, span)| span.trace_id == trace);
        found
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.clone()?.value? {
        StringValue(text) => Some(text),
        other => panic!("{key}: {other:?}"),
    }
}

fn send_to(operator: &mut Operator, address: SocketAddr) {
    operator.environment = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}").into()),
        ("OTEL_EXPORTER_OTLP_HEADERS", format!("x-key={HEADER}").into()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "500".into()),
    ];
}

#[tokio::test]
async fn a_renewal_is_one_trace_from_its_trigger_to_the_status_and_the_log_names_it() {
    let (receiver, address) = Receiver::start().await;
    let stage = Stage::start_with("traces", issuer(LIFETIME), |operator, _| send_to(operator, address)).await;
    stage.apply(json!({})).await;
    let first = token_status(&stage.ready().await).clone();
    let old = text(&stage.target().await, "token");
    let renewed = stage.renewed(&first).await;
    let trace = token_status(&renewed).fingerprint.clone();
    wait::until("the whole trace", LIMIT, async || {
        let names: Vec<_> = receiver.spans(&trace).into_iter().map(|(_, span)| span.name).collect();
        if names.iter().any(|name| name == "renewal") { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await;

    let spans = receiver.spans(&trace);
    assert!(spans.iter().all(|(service, _)| service == "idissuer-operator"), "{spans:#?}");
    let span = |name: &str| {
        let mut found = spans.iter().map(|(_, span)| span).filter(|span| span.name == name);
        let (Some(one), None) = (found.next(), found.next()) else { panic!("not one {name}: {spans:#?}") };
        one
    };
    assert_eq!(spans.len(), 6, "{spans:#?}");
    let renewal = span("renewal");
    assert!(renewal.parent_span_id.is_empty());
    let children = ["trigger", "gate", "issuer", "secret", "status"].map(span);
    let mut before = renewal.start_time_unix_nano;
    for child in children {
        assert_eq!(child.parent_span_id, renewal.span_id, "{}", child.name);
        assert!(
            child.start_time_unix_nano + TOLERANCE >= before,
            "{} begins after what comes before it",
            child.name
        );
        assert!(child.end_time_unix_nano >= child.start_time_unix_nano, "{}", child.name);
        assert_eq!(child.status, None, "{}", child.name);
        before = child.end_time_unix_nano;
    }
    assert!(renewal.end_time_unix_nano.abs_diff(before) < TOLERANCE, "it ends with the status");
    let told = |span: &Span, key: &str| attribute(span, key).unwrap_or_default();
    assert_eq!(told(renewal, "idissuer.trigger"), "due");
    for span in [renewal, children[3], children[4]] {
        assert_eq!(told(span, "k8s.namespace.name"), stage.namespace.name());
        assert_eq!(told(span, "idissuer.credential"), NAME);
    }
    assert_eq!(told(children[2], "idissuer.origin"), stage.issuer.url());
    assert_eq!(
        (told(children[2], "idissuer.grant"), told(children[2], "idissuer.outcome")),
        ("Refresh".into(), "ok".into())
    );
    assert_eq!(told(children[3], "k8s.secret.name"), NAME);

    let log = stage.operator.output();
    let lines = |message: &str| {
        let is_it = |line: &&str| line.contains(message) && line.contains(&format!("trace_id={trace}"));
        log.lines().filter(is_it).count()
    };
    assert_eq!((lines("token obtained"), lines("token published")), (1, 1), "{log}");

    let secrets = [PASSWORD, USER, LOGIN, HEADER, &old, &text(&stage.target().await, "token")];
    let requests = receiver.0.lock().unwrap().clone();
    for (headers, body) in &requests {
        assert_eq!(headers["x-key"], HEADER);
        assert_eq!(headers["content-type"], "application/json");
        assert!(secrets.iter().all(|secret| !body.contains(secret)), "{body}");
    }
    assert!(!log.contains(HEADER), "{log}");
}

/// Counts connections to a port that answers with this, and keeps them open.
async fn answering(answer: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            // The client may have gone.
            let _ = connection.write_all(answer).await;
            counted.fetch_add(1, Ordering::SeqCst);
            open.push(connection);
        }
    });
    (address, count)
}

#[tokio::test]
async fn a_receiver_that_is_down_slow_or_talks_rubbish_costs_no_renewal_and_one_warning() {
    let mut stage = Stage::start("traces-trouble", issuer(LIFETIME)).await;
    stage.apply(json!({})).await;
    let mut token = token_status(&stage.ready().await).clone();
    let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let (slow, rubbish) = (answering(b"").await, answering(b"\x00\xff\x13\r\n\r\nno HTTP").await);
    let troubles =
        [("down", closed, None), ("slow", slow.0, Some(slow.1)), ("rubbish", rubbish.0, Some(rubbish.1))];
    for (trouble, address, attempts) in troubles {
        send_to(&mut stage.operator, address);
        stage.restart_operator().await;
        for _ in 0..2 {
            token = token_status(&stage.renewed(&token).await).clone();
        }
        wait::until("several attempts to send", LIMIT, async || match &attempts {
            Some(attempts) => attempts.load(Ordering::SeqCst) >= 2,
            None => stage.operator.output().contains("send traces to"),
        })
        .await;
        let log = stage.operator.output();
        let warnings = log.lines().filter(|line| line.contains("send traces to")).count();
        assert_eq!(warnings, 1, "{trouble}: {log}");
    }
    // It stops in time, although spans are left.
    stage.operator.stop().await;
}
