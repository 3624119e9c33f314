//! Secrets leave the operator only to the issuer and into the target: everything that it prints and publishes in
//! a full life, with all that can go wrong in it, is searched for every secret of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use idissuer_simulator::{Fault, FaultRule};
use idissuer_testbed::wait;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::operator::{LIMIT, NAME, PASSWORD, Stage, USER, holds, issuer, token_status};

const MISTYPED: &str = "mistyped-but-close-to-another-password";

/// Between the operator and the issuer, it hears what the issuer answers.
struct Wiretap {
    url: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Wiretap {
    async fn start() -> (Self, tokio::sync::watch::Sender<Option<SocketAddr>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let (sender, issuer) = tokio::sync::watch::channel(None);
        let tap = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Some(address) = *issuer.borrow() else { continue };
                tokio::spawn(pass_on(client, address, Arc::clone(&tap)));
            }
        });
        (Self { url, heard }, sender)
    }

    /// Every token and refresh token that was answered.
    fn tokens(&self) -> BTreeSet<String> {
        let heard = String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned();
        let values = [r#""token":""#, r#""refresh_token":""#].into_iter().flat_map(|key| {
            let values = heard.split(key).skip(1);
            values.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect::<Vec<_>>()
        });
        values.filter(|value| value.len() > 10).collect()
    }
}

async fn pass_on(client: TcpStream, issuer: SocketAddr, heard: Arc<Mutex<Vec<u8>>>) {
    let Ok(server) = TcpStream::connect(issuer).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let answering = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            heard.lock().unwrap().extend(&buffer[..length]);
            if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
        let _ = to_client.shutdown().await;
    };
    tokio::join!(asking, answering);
}

#[tokio::test]
async fn no_password_token_or_refresh_token_is_in_logs_status_events_metrics_or_admin_pages() {
    let (wiretap, tapped) = Wiretap::start().await;
    let url = wiretap.url.clone();
    let stage = Stage::start_with("secrecy", issuer(Duration::from_secs(4)), |operator, issuer| {
        tapped.send_replace(issuer.url().strip_prefix("http://").and_then(|address| address.parse().ok()));
        let position = operator.arguments.iter().position(|argument| argument == "--issuer-url").unwrap();
        operator.arguments[position + 1] = url;
        operator.log_filter = "trace";
    });
    let stage = stage.await;
    // kubectl writes the whole Secret into an annotation, too, which watches of metadata show.
    let login = |name: &str, password: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": {"username": USER, "password": password},
        })
        .to_string()
    };
    stage.namespace.kubectl().apply(&login("mistyped-login", MISTYPED)).await.unwrap();
    stage.namespace.kubectl().apply(&login("kubectl-login", PASSWORD)).await.unwrap();

    stage.apply(json!({"loginSecretRef": {"name": "kubectl-login"}})).await;
    stage.apply_as("mistyped", json!({"loginSecretRef": {"name": "mistyped-login"}})).await;
    for (name, template) in [("filter", "{{ token | nothing }}"), ("sum", "{{ token + [token] }}")] {
        let target = json!({"target": {"template": {"data": {"key": template}}}});
        stage.apply_as(name, target).await;
        stage.until(name, "its error", |it| holds(it, "Ready", "False", "TemplateError")).await;
    }
    stage.until("mistyped", "its rejection", |it| holds(it, "Ready", "False", "LoginRejected")).await;
    let first = stage.ready().await;
    stage.renewed(token_status(&first)).await;
    assert!(stage.counts().refreshes_accepted > 0);

    let echo = format!("{PASSWORD} is not the password of {USER}");
    for fault in [
        Fault::Garbage,
        Fault::Truncated,
        Fault::Status { status: 500, retry_after: None, body: Some(echo.clone()) },
        Fault::Lost,
        Fault::NotHttp,
        Fault::Cut,
        Fault::Oversize { bytes: 100_000 },
        Fault::Status {
            status: 200,
            retry_after: None,
            body: Some(json!({"access_token": echo}).to_string()),
        },
        Fault::Status { status: 404, retry_after: None, body: Some(echo.clone()) },
    ] {
        stage.issuer.inject(FaultRule::new(fault).of_user(USER).once());
    }
    wait::until("all faults met", LIMIT * 2, async || {
        let left = stage.issuer.personality().faults;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    let before = stage.credentials().get(NAME).await.unwrap();
    stage.renewed(token_status(&before)).await;

    let mut secrets = wiretap.tokens();
    assert!(secrets.len() > 6, "{} tokens were heard", secrets.len());
    secrets.extend([PASSWORD, MISTYPED, USER].map(str::to_owned));
    for (place, text) in everything_told(&stage).await {
        for secret in &secrets {
            for form in forms(secret) {
                let position = text.find(&form);
                let line = position.map(|position| text[..position].lines().count());
                assert!(line.is_none(), "{place}, line {line:?}, holds {form}");
            }
        }
    }
}

/// Everything that the operator publishes, with the name of the place.
async fn everything_told(stage: &Stage) -> Vec<(&'static str, String)> {
    let output = stage.operator.output();
    assert!(
        output.contains("TRACE") && output.contains("token published"),
        "the log is not what it should be"
    );
    let events = stage.namespace.api::<Event>().list(&ListParams::default()).await.unwrap();
    assert!(events.items.len() > 3, "{events:?}");
    let mut statuses = stage.credentials().list(&ListParams::default()).await.unwrap();
    assert_eq!(statuses.items.len(), 4);
    for credential in &mut statuses.items {
        credential.spec.target.template = None;
    }
    vec![
        ("the log", output),
        ("an Event", serde_json::to_string(&events.items).unwrap()),
        ("a credential", serde_json::to_string(&statuses.items).unwrap()),
        ("/metrics", stage.operator.page("/metrics").await.1),
        ("/readyz", stage.operator.page("/readyz").await.1),
        ("/livez", stage.operator.page("/livez").await.1),
    ]
}

/// A secret as it may stand in a text: as it is, or inside of something in base64, wherever it begins there.
pub(crate) fn forms(secret: &str) -> Vec<String> {
    let encoded = (0..3).map(|shift| {
        let bytes = [&b"   "[..shift], secret.as_bytes()].concat();
        let text = STANDARD_NO_PAD.encode(bytes);
        // What surrounds it changes the first characters of a shifted one, and the last two.
        text[[0, 2, 3][shift]..text.len() - 2].to_owned()
    });
    std::iter::once(secret.to_owned()).chain(encoded).collect()
}

#[test]
fn the_search_finds_a_secret_in_base64_wherever_it_begins() {
    for prefix in ["", "a", "ab", "abc"] {
        let text = STANDARD_NO_PAD.encode(format!("{prefix}{PASSWORD} and more"));
        assert!(forms(PASSWORD).iter().any(|form| text.contains(form)), "{prefix:?}");
    }
}
