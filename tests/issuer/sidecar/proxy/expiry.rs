//! Tokens that expire, or are called expired, while requests need them.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use futures::FutureExt as _;
use idissuer_simulator::{Fault, FaultRule};
use idissuer_testbed::wait;
use jiff::SignedDuration;
use reqwest::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::super::{HOUR, LIMIT, NAME, SECRET, Sidecar};
use super::{Recorder, exchange, forwarding, started};
use crate::certificates::Identity;
use crate::support::{RawServer, good_answer};

fn url(proxy: std::net::SocketAddr) -> String {
    format!("http://{proxy}/v2/authorized")
}

/// Tokens that soon die. Sidecars count whole seconds, so a life that is much shorter may end before its renewal.
const SHORT: Duration = Duration::from_secs(5);

/// The issuer's clock goes on, so that it calls every token expired that it has given.
fn expire(sidecar: &Sidecar) {
    sidecar.issuer.configure(|personality| personality.clock_offset += SignedDuration::from_hours(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_with_a_token_that_is_called_expired_cost_one_renewal_and_all_succeed() {
    let (sidecar, proxy) = forwarding(HOUR, "").await;
    expire(&sidecar);
    let client = Client::new();
    let asks = (0..100).map(|number| {
        let request = client.get(url(proxy));
        // Some carry a body that has to be sent once more.
        let request = if number % 2 == 0 { request } else { request.body("x".repeat(64 * 1024)) };
        tokio::spawn(request.send())
    });
    for ask in asks.collect::<Vec<_>>() {
        assert_eq!(ask.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(sidecar.counts().logins_accepted, 2, "the first, and one for all");
    assert!(sidecar.counts().authorized_expired <= 100);
}

#[tokio::test]
async fn a_request_whose_body_was_not_kept_is_not_repeated_but_the_next_one_finds_a_new_token() {
    let upstream = Recorder::start(|_| {
        async { (StatusCode::UNAUTHORIZED, [("token-expired", "true")]).into_response() }.boxed()
    });
    let upstream = upstream.await;
    let (sidecar, proxy) = forwarding(HOUR, &upstream.url()).await;
    // Its length is unknown, so it is passed on as it comes.
    let request =
        b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
        1\r\nx\r\n0\r\n\r\n";
    let answer = exchange(proxy, request).await.to_lowercase();
    assert!(
        answer.starts_with("http/1.1 401") && answer.contains("token-expired: true"),
        "as the upstream said it: {answer}"
    );
    wait::until("the renewal", LIMIT, async || sidecar.counts().logins_accepted == 2).await;
    assert_eq!(upstream.lines(), ["POST /"]);
    let sent = |number: usize| upstream.heads.lock().unwrap()[number].1["authorization"].clone();
    wait::until("the new token", LIMIT, async || {
        exchange(proxy, request).await;
        sent(upstream.lines().len() - 1) != sent(0)
    })
    .await;
}

#[tokio::test]
async fn a_body_that_takes_longer_than_a_token_lives_goes_on_with_the_token_of_its_end() {
    let (sidecar, proxy) = forwarding(SHORT, "").await;
    let mut program = TcpStream::connect(proxy).await.unwrap();
    let head =
        b"GET /v2/authorized HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\na";
    program.write_all(head).await.unwrap();
    sidecar.issuer.simulator().wait_for(|counts| counts.of(NAME).logins_accepted >= 4).await;
    program.write_all(b"b").await.unwrap();
    let mut answer = String::new();
    program.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(sidecar.counts().authorized_expired, 0);
}

#[tokio::test]
async fn a_401_for_another_reason_is_passed_on_and_renews_nothing() {
    let (sidecar, proxy) = forwarding(HOUR, "").await;
    sidecar.issuer.revoke(NAME);
    let answer = Client::new().get(url(proxy)).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(answer.headers().get("token-expired").is_none());
    assert_eq!(sidecar.counts().logins_accepted, 1);
}

#[tokio::test]
async fn once_the_token_has_expired_programs_learn_why_and_when_to_ask_again_until_there_is_another() {
    let (sidecar, proxy) = forwarding(SHORT, "").await;
    let ask = async || Client::new().get(url(proxy)).send().await.unwrap();
    assert_eq!(ask().await.status(), 200);
    sidecar.issuer.inject(FaultRule::on_login(Fault::Status { status: 503, retry_after: None, body: None }));
    wait::until("the end of the token, and why there is none", LIMIT, async || {
        let answer = ask().await;
        let status = answer.status();
        let pause = answer.headers().get("retry-after").and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
        let text = answer.text().await.unwrap();
        let is_told = text.contains(r#""reason":"IssuerUnavailable""#)
            && pause.is_some_and(|it| (1..=60).contains(&it));
        if status == 503 && is_told { Ok(()) } else { Err(format!("{status}, {pause:?}: {text}")) }
    })
    .await;
    assert_eq!(sidecar.page("/livez").await.0, 200);
    assert_eq!(sidecar.counts().authorized_expired, 0, "no dead token was sent");
    sidecar.issuer.configure(|personality| personality.faults.clear());
    wait::until("another token", LIMIT, async || ask().await.status() == 200).await;
    assert_eq!(sidecar.counts().authorized_expired + sidecar.counts().authorized_invalid, 0);
}

#[tokio::test]
async fn a_source_that_cannot_ask_is_waited_for_five_seconds_and_what_it_brings_meanwhile_is_sent() {
    // Tokens come from a directory that the test fills.
    let mut sidecar = Sidecar::prepare(HOUR).await;
    let issuer = sidecar.issuer.url();
    fs::create_dir(sidecar.path("secret")).unwrap();
    let fresh = async || {
        let body = serde_json::json!({"username": NAME, "password": SECRET}).to_string();
        let request = Client::new().post(format!("{issuer}/v2/auth/token")).body(body);
        let answer = request.header("content-type", "application/json").send().await.unwrap();
        let json: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        json["access_token"]["token"].as_str().unwrap().to_owned()
    };
    let put = |sidecar: &Sidecar, token: &str| {
        fs::write(sidecar.path("secret/next"), token).unwrap();
        fs::rename(sidecar.path("secret/next"), sidecar.path("secret/token")).unwrap();
    };
    put(&sidecar, &fresh().await);
    let directory = sidecar.path("secret");
    sidecar.arguments =
        ["sidecar", "--admin-addr", "127.0.0.1:0", "--proxy-listen", "0"].map(str::to_owned).to_vec();
    sidecar.add(&["--secret-dir", directory.to_str().unwrap(), "--upstream", &issuer]);
    let (sidecar, proxy) = started(sidecar).await;
    expire(&sidecar);
    let early = Client::new().get(url(proxy)).send().await.unwrap();
    assert_eq!(
        (early.status().as_u16(), &early.headers()["token-expired"] == "true"),
        (401, true),
        "nothing came"
    );

    let asking = tokio::spawn(Client::new().get(url(proxy)).send());
    sidecar.issuer.simulator().wait_for(|counts| counts.of(NAME).authorized_expired == 2).await;
    put(&sidecar, &fresh().await);
    assert_eq!(asking.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_token_that_dies_before_there_is_a_connection_to_the_upstream_is_not_sent() {
    let identity = Identity::make(&["localhost"], |_| {});
    let acceptor = TlsAcceptor::from(Arc::new(identity.server()));
    let (opens, is_open) = tokio::sync::watch::channel(false);
    let upstream = RawServer::start(move |stream, requests| {
        let (acceptor, mut is_open) = (acceptor.clone(), is_open.clone());
        async move {
            is_open.wait_for(|is_open| *is_open).await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while requests.read(&mut stream).await.is_some() {
                stream.write_all(good_answer().as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let mut sidecar = Sidecar::prepare(HOUR).await;
    let put = |sidecar: &Sidecar, token: &str, left: SignedDuration| {
        #[expect(clippy::disallowed_methods, reason = "it is the true time that counts")]
        let expiry = (jiff::Timestamp::now() + left).to_string();
        fs::create_dir_all(sidecar.path("secret")).unwrap();
        fs::write(sidecar.path("secret/token"), token).unwrap();
        fs::write(sidecar.path("secret/expires_at"), expiry).unwrap();
    };
    // Longer than a slow start takes, and shorter than a connection may take.
    put(&sidecar, "dying", SignedDuration::from_secs(9));
    fs::write(sidecar.path("ca.pem"), &identity.ca_pem).unwrap();
    let [directory, ca] = ["secret", "ca.pem"].map(|name| sidecar.path(name).to_str().unwrap().to_owned());
    let url_of_upstream = format!("https://localhost:{}", upstream.address.port());
    sidecar.arguments =
        ["sidecar", "--admin-addr", "127.0.0.1:0", "--proxy-listen", "0"].map(str::to_owned).to_vec();
    sidecar.add(&["--secret-dir", &directory, "--upstream", &url_of_upstream, "--upstream-ca-file", &ca]);
    let (sidecar, proxy) = started(sidecar).await;

    let answer = Client::new().get(url(proxy)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"] == "1"), (503, true));
    assert!(answer.text().await.unwrap().contains("before the upstream was connected"));
    opens.send_replace(true);
    put(&sidecar, "living", SignedDuration::from_hours(1));
    let ask = async || Client::new().get(url(proxy)).send().await.unwrap().status();
    wait::until("the next token", LIMIT, async || ask().await == 200).await;
    let sent = upstream.requests().join("").to_lowercase();
    assert!(sent.contains("bearer living") && !sent.contains("bearer dying"), "{sent}");
}
