//! What goes through, and how.

use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{StatusCode, header};
use idissuer_simulator::{Config, Simulator, Tls};
use idissuer_testbed::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::{HOUR, LIMIT, Sidecar};
use super::{Recorder, exchange, forwarding, started};

fn echo(request: Request) -> BoxFuture<'static, Response> {
    async { request.into_body().into_response() }.boxed()
}

#[tokio::test]
async fn a_program_without_a_token_is_answered_as_one_that_has_it() {
    let (sidecar, proxy) = forwarding(HOUR, "").await;
    let url = format!("http://{proxy}/v2/authorized");
    for client in [reqwest::Client::new(), h2c()] {
        let forged = client.get(&url).bearer_auth("forged");
        for request in [client.get(&url), forged] {
            let answer = request.send().await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), answer.text().await.unwrap().contains(super::super::NAME)),
                (200, true)
            );
        }
    }
    assert_eq!(sidecar.counts().logins_accepted, 1);
    assert_eq!(sidecar.counts().authorized_accepted, 4);
    assert!(
        sidecar.page("/metrics").await.1.contains(r#"idissuer_proxy_requests_total{outcome="forwarded"} 4"#)
    );
}

fn h2c() -> reqwest::Client {
    reqwest::Client::builder().http2_prior_knowledge().build().unwrap()
}

#[tokio::test]
async fn path_and_body_arrive_untouched_and_the_host_is_the_upstreams() {
    let upstream = Recorder::start(echo).await;
    let (_stage, proxy) = forwarding(HOUR, &upstream.url()).await;
    let target = "/a/../b//%2f;x?q=%20|&q";
    let request = format!(
        "PUT {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close, x-secret\r\nX-Secret: 1\r\nX-Kept: 2\r\n\
         Content-Length: 5\r\n\r\nhello"
    );
    let answer = exchange(proxy, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    let heads = upstream.heads.lock().unwrap();
    let (line, headers) = &heads[0];
    assert_eq!(*line, format!("PUT {target}"));
    assert_eq!(headers[header::HOST], upstream.address.to_string());
    assert!(headers.contains_key("x-kept") && !headers.contains_key("x-secret"));
    assert!(headers[header::AUTHORIZATION].to_str().unwrap().starts_with("Bearer ey"));
}

#[tokio::test]
async fn a_redirect_is_the_programs_business() {
    let upstream = Recorder::start(|_| {
        async { (StatusCode::FOUND, [(header::LOCATION, "https://elsewhere.example/")]).into_response() }
            .boxed()
    });
    let upstream = upstream.await;
    let (_stage, proxy) = forwarding(HOUR, &upstream.url()).await;
    let answer = exchange(proxy, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 302") && answer.contains("elsewhere.example"), "{answer}");
}

#[tokio::test]
async fn a_private_ca_of_the_upstream_is_trusted_if_named_and_rejected_with_the_cure_if_not() {
    let issuer = Simulator::start(Config::default().tls(Tls::localhost())).await.unwrap();
    for is_named in [true, false] {
        let mut sidecar = Sidecar::prepare(HOUR).await;
        std::fs::write(sidecar.path("ca.pem"), issuer.ca_pem().unwrap()).unwrap();
        let ca = sidecar.path("ca.pem");
        sidecar.add(&["--proxy-listen", "0", "--upstream", &issuer.url()]);
        if is_named {
            sidecar.add(&["--upstream-ca-file", ca.to_str().unwrap()]);
        }
        let (_stage, proxy) = started(sidecar).await;
        let answer = reqwest::get(format!("http://{proxy}/v2/authorized")).await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        if is_named {
            assert_eq!(status, 401, "it does not know our token: {text}");
        } else {
            assert!(status == 502 && text.contains("--upstream-ca-file"), "{status}: {text}");
        }
    }
}

#[tokio::test]
async fn a_connection_goes_on_in_another_protocol_when_both_ends_want_that() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(switch).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        String::from_utf8(head).unwrap().to_lowercase()
    });
    let (_stage, proxy) = forwarding(HOUR, &format!("http://{address}")).await;
    let mut program = TcpStream::connect(proxy).await.unwrap();
    let asked = b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    program.write_all(asked).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(program.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("upgrade: websocket"), "{head}");
    program.write_all(b"both ways").await.unwrap();
    let mut back = [0; 9];
    program.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"both ways");
    drop(program);
    let head = tokio::time::timeout(LIMIT, upstream).await.unwrap().unwrap();
    assert!(head.contains("authorization: bearer ey") && head.contains("upgrade: websocket"), "{head}");
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_sidecar_ends() {
    let upstream = Recorder::start(|_| {
        async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            "late".into_response()
        }
        .boxed()
    });
    let upstream = upstream.await;
    let (mut sidecar, proxy) = forwarding(HOUR, &upstream.url()).await;
    let asking = tokio::spawn(async move { reqwest::get(format!("http://{proxy}/")).await });
    wait::until("the request", LIMIT, async || !upstream.lines().is_empty()).await;
    sidecar.stop_within(LIMIT).await;
    assert_eq!(asking.await.unwrap().unwrap().text().await.unwrap(), "late");
    assert!(TcpStream::connect(proxy).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn an_unreachable_upstream_differs_from_one_that_fails() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    let (_stage, proxy) = forwarding(HOUR, &url).await;
    let ask = async || {
        let answer = reqwest::get(format!("http://{proxy}/")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    // A GET is sent once more.
    let broken = tokio::spawn(async move {
        for _ in 0..2 {
            drop(closed.accept().await.unwrap());
        }
    });
    let (status, text) = ask().await;
    assert!(status == 502 && text.contains("UpstreamBroken"), "{status}: {text}");
    broken.await.unwrap();
    let (status, text) = ask().await;
    assert!(status == 502 && text.contains("UpstreamUnreachable"), "{status}: {text}");
}
