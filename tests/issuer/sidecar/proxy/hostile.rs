//! Hostile and broken programs.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::HOUR;
use super::{Recorder, exchange, forwarding};

/// Reads the whole body before it answers, as an application does.
fn swallow(request: Request) -> BoxFuture<'static, Response> {
    async {
        match to_bytes(request.into_body(), 1 << 20).await {
            Ok(body) => format!("{} bytes", body.len()).into_response(),
            Err(_) => axum::http::StatusCode::BAD_REQUEST.into_response(),
        }
    }
    .boxed()
}

#[tokio::test]
async fn a_request_that_two_servers_could_read_in_two_ways_never_becomes_two_requests() {
    let upstream = Recorder::start(swallow).await;
    let (_stage, proxy) = forwarding(HOUR, &upstream.url()).await;
    let inner = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let headers = [
        format!("Content-Length: 0\r\nContent-Length: {}", inner.len()),
        format!("Content-Length: {}, 0", inner.len()),
        "Content-Length: +5".into(),
        "Content-Length: 0x5".into(),
        "Content-Length: -1".into(),
        "Transfer-Encoding: chunked, identity".into(),
        "Transfer-Encoding: xchunked".into(),
        "Transfer-Encoding : chunked".into(),
        "X-Folded: a\r\n b: c\r\nContent-Length: 0".into(),
        "X-Bare: a\rContent-Length: 3".into(),
        "X-Nul: a\0b".into(),
        "X Space: a".into(),
    ];
    for header in headers {
        let bytes =
            format!("POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n\r\n{inner}");
        let answer = exchange(proxy, bytes.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{header:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{header:?}: {answer}");
    }
    assert_eq!(upstream.lines(), Vec::<String>::new(), "nothing of it went on");
}

#[tokio::test]
async fn a_body_with_broken_chunks_ends_there_and_its_rest_is_no_request() {
    let upstream = Recorder::start(swallow).await;
    let (_stage, proxy) = forwarding(HOUR, &upstream.url()).await;
    let inner = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for chunks in [
        "ffffffffffffffffff\r\n",
        "5;\nabcde\r\n0\r\n\r\n",
        "-1\r\n",
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "5\r\nabcdeXX",
    ] {
        let bytes = format!(
            "POST /outer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{inner}"
        );
        let answer = exchange(proxy, bytes.as_bytes()).await;
        assert!(!answer.contains("HTTP/1.1 200"), "{chunks:?}: {answer}");
    }
    assert!(upstream.lines().iter().all(|line| line == "POST /outer"), "{:?}", upstream.lines());
}

#[tokio::test]
async fn where_both_framings_are_given_the_upstream_sees_one_of_them() {
    let upstream = Recorder::start(swallow).await;
    let (_stage, proxy) = forwarding(HOUR, &upstream.url()).await;
    let bytes = b"POST /outer HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 60\r\n\
        Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    exchange(proxy, bytes).await;
    let heads = upstream.heads.lock().unwrap();
    for (line, headers) in heads.iter() {
        assert_eq!(line, "POST /outer");
        assert!(
            !(headers.contains_key("content-length") && headers.contains_key("transfer-encoding")),
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn tunnels_other_hosts_foreign_names_and_endless_heads_are_refused() {
    let upstream = Recorder::start(swallow).await;
    let (_stage, proxy) = forwarding(HOUR, &upstream.url()).await;
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "a".repeat(128 * 1024));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(200));
    for (request, status, reason) in [
        ("CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n", 405, "MethodRefused"),
        ("TRACE / HTTP/1.1\r\nHost: localhost\r\n", 405, "MethodRefused"),
        ("TRACK / HTTP/1.1\r\nHost: localhost\r\n", 405, "MethodRefused"),
        ("debug / HTTP/1.1\r\nHost: localhost\r\n", 405, "MethodRefused"),
        ("GET http://elsewhere.example/ HTTP/1.1\r\nHost: elsewhere.example\r\n", 400, "TargetRefused"),
        ("GET / HTTP/1.1\r\nHost: rebound.example\r\n", 421, "HostRefused"),
        ("GET / HTTP/1.1\r\n", 421, "HostRefused"),
        (long.as_str(), 431, ""),
        (many.as_str(), 431, ""),
        ("GET / HTTP/3.0\r\n", 400, ""),
    ] {
        let bytes = format!("{request}Connection: close\r\n\r\n");
        let answer = exchange(proxy, bytes.as_bytes()).await;
        let short: String = request.chars().take(80).collect();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(reason),
            "{short}: {answer}"
        );
        assert!(!answer.contains("Bearer"), "{answer}");
    }
    assert_eq!(upstream.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_get_keeps_its_body_or_is_refused_and_never_loses_it() {
    let upstream = Recorder::start(swallow).await;
    let (_stage, proxy) = forwarding(HOUR, &upstream.url()).await;
    let chunked = |size: usize| {
        format!("Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{}\r\n0\r\n\r\n", "b".repeat(size))
    };
    let told = |size: usize| format!("Content-Length: {size}\r\n\r\n{}", "b".repeat(size));
    for (rest, expected) in [
        (told(5), "5 bytes"),
        (chunked(5), "5 bytes"),
        (told(200_000), "200000 bytes"),
        (format!("Connection: content-length\r\n{}", told(200_000)), "200000 bytes"),
        (chunked(65_536), "65536 bytes"),
        (chunked(65_537), "LengthRequired"),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{rest}");
        let answer = exchange(proxy, request.as_bytes()).await;
        assert!(answer.contains(expected), "{expected}: {answer}");
    }
}

#[tokio::test]
async fn a_body_that_is_encoded_for_its_way_is_refused_in_either_direction() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let (_stage, proxy) = forwarding(HOUR, &url).await;
    let head =
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
    let answer = exchange(proxy, format!("{head}1\r\nx\r\n0\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 501") && answer.contains("TransferEncodingRefused"), "{answer}");
    // The first that reaches the upstream is this one.
    let asking = tokio::spawn(async move {
        exchange(proxy, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await
    });
    let (mut stream, _) = upstream.accept().await.unwrap();
    let mut request = vec![0; 3];
    stream.read_exact(&mut request).await.unwrap();
    assert_eq!(request, b"GET");
    let zipped = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    stream.write_all(zipped).await.unwrap();
    let answer = asking.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("UpstreamMalformed"), "{answer}");
}

/// As many header fields as the path says.
fn many_fields(request: Request) -> BoxFuture<'static, Response> {
    async move {
        let number = request.uri().path().trim_start_matches('/').parse::<usize>().unwrap();
        let mut answer = Response::new("many".into());
        for _ in 0..number {
            answer.headers_mut().append("x-field", "value".parse().unwrap());
        }
        answer
    }
    .boxed()
}

#[tokio::test]
async fn an_answer_may_have_a_thousand_header_fields_and_one_with_more_is_named() {
    let upstream = Recorder::start(many_fields).await;
    let (_stage, proxy) = forwarding(HOUR, &upstream.url()).await;
    for (number, expected) in [(150, "HTTP/1.1 200"), (990, "HTTP/1.1 200"), (1100, "HTTP/1.1 502")] {
        let request = format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = exchange(proxy, request.as_bytes()).await;
        assert!(answer.starts_with(expected), "{number}: {answer}");
        let is_whole = answer.matches("x-field").count() == number;
        assert!(is_whole || answer.contains("UpstreamMalformed"), "{number}: {answer}");
    }
}
