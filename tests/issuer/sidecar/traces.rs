//! Traces of a sidecar that logs in.

use std::collections::BTreeSet;

use axum::Router;
use axum::routing::post;
use idissuer_simulator::Fingerprint;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;

use super::{HOUR, LIMIT, NAME, SECRET, Sidecar};

#[tokio::test]
async fn a_renewal_is_one_trace_to_the_files_and_the_log_names_it() {
    let (sender, mut bodies) = unbounded_channel::<String>();
    let take = move |body: String| {
        let sender = sender.clone();
        async move { sender.send(body).map_or("nobody listens", |()| "{}") }
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}/of/traces", listener.local_addr().unwrap());
    let router = Router::new().route("/of/traces", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let mut sidecar = Sidecar::prepare(HOUR).await;
    let mut command = sidecar.command();
    command.env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint);
    sidecar.start_as(&command).await;
    let token = sidecar.token().await;
    let trace = Fingerprint::of(&token).to_string();
    let mut names = BTreeSet::new();
    while !names.contains("renewal") {
        let body = tokio::time::timeout(LIMIT, bodies.recv()).await.unwrap().unwrap();
        assert!([NAME, SECRET, &token].iter().all(|secret| !body.contains(*secret)), "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let resource = body["resourceSpans"][0]["resource"]["attributes"].to_string();
        assert!(resource.contains("idissuer-sidecar"), "{resource}");
        for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap() {
            assert_eq!(span["traceId"], trace.as_str());
            names.insert(span["name"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(names, ["files", "gate", "issuer", "renewal", "trigger"].map(str::to_owned).into());
    let field = format!("trace_id={trace}");
    let output = sidecar.output();
    assert_eq!(output.lines().filter(|line| line.contains(&field)).count(), 2, "{output}");
}
