//! Which requests are repeated, and which never.

use std::net::SocketAddr;
use std::sync::Arc;

use idissuer_testbed::wait;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use super::super::{HOUR, LIMIT, Sidecar};
use super::{exchange, forwarding, started, within_limit};
use crate::certificates::Identity;

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";

/// Reads one request with the body of its length, and returns its first line.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    head.lines().next().map(str::to_owned)
}

async fn ask(proxy: SocketAddr, method: &str, body: &str) -> String {
    let length = body.len();
    let head = format!(
        "{method} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    exchange(proxy, head.as_bytes()).await
}

#[tokio::test]
async fn a_get_whose_connection_is_closed_before_the_answer_is_sent_once_more_and_a_post_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, mut told) = unbounded_channel();
    // Every other connection is closed instead of an answer.
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            tell.send(request(&mut stream).await.unwrap()).unwrap();
            if number % 2 == 1 {
                stream.write_all(GOOD).await.unwrap();
            }
        }
    });
    let (sidecar, proxy) = forwarding(HOUR, &format!("http://{address}")).await;
    for (method, body, is_repeated) in [("GET", "", true), ("GET", "q", true), ("POST", "b", false)] {
        let answer = ask(proxy, method, body).await;
        assert_eq!(answer.starts_with("HTTP/1.1 200"), is_repeated, "{method}: {answer}");
        assert_eq!(answer.contains("UpstreamBroken"), !is_repeated, "{method}: {answer}");
        for _ in 0..=u8::from(is_repeated) {
            let line = within_limit(told.recv()).await.unwrap();
            assert!(line.starts_with(&method.to_lowercase()), "{line}");
        }
        assert!(told.try_recv().is_err(), "{method} is sent no more often");
    }
    assert!(
        sidecar.page("/metrics").await.1.contains(r#"idissuer_proxy_requests_total{outcome="repeated"} 2"#)
    );
}

#[tokio::test]
async fn after_a_server_error_the_next_request_resolves_the_name_again() {
    let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = old.local_addr().unwrap();
    let (_stage, proxy) = forwarding(HOUR, &format!("http://{address}")).await;
    let asking = tokio::spawn(async move { ask(proxy, "GET", "").await });
    let (mut stream, _) = old.accept().await.unwrap();
    request(&mut stream).await.unwrap();
    stream.write_all(GOOD).await.unwrap();
    assert!(asking.await.unwrap().starts_with("HTTP/1.1 200"));
    // The old server goes on with the connection that it has, and says that it is not the right one any more.
    drop(old);
    tokio::spawn(async move {
        while request(&mut stream).await.is_some() {
            stream.write_all(BUSY).await.unwrap();
        }
    });
    let new = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = new.accept().await.unwrap();
            tokio::spawn(async move {
                while request(&mut stream).await.is_some() {
                    stream.write_all(GOOD).await.unwrap();
                }
            });
        }
    });
    assert!(ask(proxy, "POST", "b").await.starts_with("HTTP/1.1 503"), "the connection is kept until then");
    assert!(ask(proxy, "POST", "b").await.starts_with("HTTP/1.1 200"), "whoever has the name now is asked");
}

/// One frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What an upstream of HTTP/2 does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    Refuses,
    /// A GOAWAY that says that the request was not looked at.
    GoesAwayBefore,
    /// A GOAWAY that says that the request was looked at, and the end.
    GoesAwayAfter,
    Answers,
}

/// Takes a request over HTTP/2, frame by frame, and treats it so.
async fn treat(mut io: impl AsyncRead + AsyncWrite + Unpin, treatment: Treatment) -> Option<()> {
    let mut preface = [0; 24];
    io.read_exact(&mut preface).await.ok()?;
    io.write_all(&frame(4, 0, 0, b"")).await.ok()?;
    let stream = loop {
        let mut head = [0; 9];
        io.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        io.read_exact(&mut vec![0; usize::try_from(length).unwrap()]).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        // The end of HEADERS or DATA is the end of a request.
        if head[3] < 2 && head[4] & 1 == 1 {
            break stream;
        }
    };
    let go_away = |last: u32| frame(7, 0, 0, &[last.to_be_bytes(), 0_u32.to_be_bytes()].concat());
    let said = match treatment {
        Treatment::Refuses => frame(3, 0, stream, &7_u32.to_be_bytes()),
        Treatment::GoesAwayBefore => go_away(stream - 1),
        Treatment::GoesAwayAfter => go_away(stream),
        Treatment::Answers => frame(1, 5, stream, &[0x88]),
    };
    io.write_all(&said).await.ok()?;
    io.flush().await.ok()?;
    if treatment == Treatment::Answers || treatment == Treatment::Refuses {
        // It reads on, as servers do.
        let _ = io.read_to_end(&mut Vec::new()).await;
    }
    Some(())
}

/// An HTTP/2 upstream that treats the first request so, and answers the others. It counts them.
async fn start_second_version(identity: &Identity, first: Treatment) -> (SocketAddr, UnboundedReceiver<()>) {
    let mut config = identity.server();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        let mut treatment = first;
        loop {
            let (acceptor, tell) = (acceptor.clone(), tell.clone());
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let _ = tell.send(());
                treat(stream, treatment).await;
            });
            treatment = Treatment::Answers;
        }
    });
    (address, told)
}

#[tokio::test]
async fn what_an_upstream_of_http_2_certainly_did_not_carry_out_is_sent_once_more() {
    let identity = Identity::make(&["127.0.0.1"], |_| ());
    for (treatment, is_repeated) in [
        (Treatment::Refuses, true),
        (Treatment::GoesAwayBefore, true),
        (Treatment::GoesAwayAfter, false),
        (Treatment::Answers, true),
    ] {
        let (upstream, mut told) = start_second_version(&identity, treatment).await;
        let mut sidecar = Sidecar::prepare(HOUR).await;
        let ca = sidecar.path("ca.pem");
        std::fs::write(&ca, &identity.ca_pem).unwrap();
        sidecar.add(&["--proxy-listen", "0", "--upstream", &format!("https://{upstream}")]);
        sidecar.add(&["--upstream-ca-file", ca.to_str().unwrap()]);
        let (_stage, proxy) = started(sidecar).await;
        let answer = ask(proxy, "POST", "body").await;
        assert_eq!(answer.starts_with("HTTP/1.1 200"), is_repeated, "{treatment:?}: {answer}");
        let mut connections = 0;
        while told.try_recv().is_ok() {
            connections += 1;
        }
        let is_anew = is_repeated && treatment != Treatment::Answers;
        assert_eq!(connections, 1 + usize::from(is_anew), "{treatment:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_kept_is_never_sent_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, mut told) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tell.send(request(&mut stream).await).unwrap();
        }
    });
    let (_stage, proxy) = forwarding(HOUR, &format!("http://{address}")).await;
    let answer = ask(proxy, "GET", &"b".repeat(100_000)).await;
    assert!(answer.contains("UpstreamBroken"), "{answer}");
    let first = wait::until("the request", LIMIT, async || told.try_recv().map_err(|_| "none yet")).await;
    assert!(first.is_some() && told.try_recv().is_err());
}
