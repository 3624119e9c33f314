//! Bodies that are large, slow, or broken off.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body::Frame;
use http_body_util::BodyExt as _;
use idissuer::ops::descriptors;
use idissuer_testbed::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::super::{HOUR, LIMIT, Sidecar};
use super::{Recorder, ask_with_http_2, forwarding, within_limit};

const GIGABYTE: u64 = 1_000_000_000;
const CHUNK: usize = 1_000_000;
/// The memory that all unread bodies may take, in KiB.
const ENOUGH: u64 = 96 * 1024;

/// Answers with as many bytes as came, as they come.
fn mirror(request: Request) -> BoxFuture<'static, Response> {
    async { request.into_body().into_response() }.boxed()
}

/// The most memory that the sidecar had so far, in KiB.
fn peak_memory(sidecar: &Sidecar) -> u64 {
    sidecar.process().memory("VmHWM").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_each_way_passes_in_flat_memory() {
    let upstream = Recorder::start(mirror).await;
    let (sidecar, proxy) = forwarding(HOUR, &upstream.url()).await;
    let before = peak_memory(&sidecar);
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {GIGABYTE}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let writing = tokio::spawn(async move {
        let chunk = vec![b'x'; CHUNK];
        for _ in 0..GIGABYTE / CHUNK as u64 {
            writer.write_all(&chunk).await.unwrap();
        }
        writer
    });
    let (mut total, mut buffer) = (0, vec![0; CHUNK]);
    loop {
        match reader.read(&mut buffer).await.unwrap() {
            0 => break,
            read => total += read as u64,
        }
    }
    writing.await.unwrap();
    assert!((GIGABYTE..GIGABYTE + 1000).contains(&total), "{total} bytes came back");
    let grown = peak_memory(&sidecar) - before;
    assert!(grown < 16 * 1024, "{grown} KiB more than at rest");
}

/// How many requests of this test are under way at the upstream.
static UNDER_WAY: AtomicU64 = AtomicU64::new(0);

struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Never answers, and counts the waiting requests.
fn hang(_request: Request) -> BoxFuture<'static, Response> {
    async {
        UNDER_WAY.fetch_add(1, Ordering::SeqCst);
        let _counted = Counted;
        std::future::pending::<Response>().await
    }
    .boxed()
}

#[tokio::test]
async fn a_program_that_goes_away_or_half_closes_takes_its_request_to_the_upstream_with_it() {
    let upstream = Recorder::start(hang).await;
    let (_stage, proxy) = forwarding(HOUR, &upstream.url()).await;
    for is_half in [false, true] {
        let mut program = TcpStream::connect(proxy).await.unwrap();
        program.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        wait::until("the request", LIMIT, async || UNDER_WAY.load(Ordering::SeqCst) == 1).await;
        if is_half {
            program.shutdown().await.unwrap();
            assert_eq!(program.read(&mut [0; 1]).await.unwrap(), 0, "the connection is over");
        }
        drop(program);
        wait::until("the end of the request", LIMIT, async || UNDER_WAY.load(Ordering::SeqCst) == 0).await;
    }
}

/// A body without end, which comes as fast as it is read.
fn endless(_request: Request) -> BoxFuture<'static, Response> {
    async {
        let frames = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; CHUNK])));
        Body::from_stream(frames).into_response()
    }
    .boxed()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_programs_neither_fill_the_memory_nor_hold_up_others() {
    let upstream = Recorder::start(endless).await;
    let (sidecar, proxy) = forwarding(HOUR, &upstream.url()).await;
    let before = peak_memory(&sidecar);
    let mut slow = Vec::new();
    for _ in 0..20 {
        // It asks, and never reads.
        let mut reader = TcpStream::connect(proxy).await.unwrap();
        reader.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        // It promises a body, and sends a byte of it.
        let mut writer = TcpStream::connect(proxy).await.unwrap();
        let part = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\nx";
        writer.write_all(part).await.unwrap();
        // It does not even end its head.
        let mut silent = TcpStream::connect(proxy).await.unwrap();
        silent.write_all(b"GET / HTT").await.unwrap();
        slow.extend([reader, writer, silent]);
    }
    let mut quick = reqwest::get(format!("http://{proxy}/")).await.unwrap();
    let mut read = 0;
    while read < 50 * CHUNK {
        let chunk = tokio::time::timeout(Duration::from_secs(5), quick.chunk()).await.unwrap();
        read += chunk.unwrap().unwrap().len();
    }
    let grown = peak_memory(&sidecar) - before;
    assert!(grown < 64 * 1024, "{grown} KiB more than at rest, for {} slow programs", slow.len());
}

/// An upstream that reads no bodies, and of the answer to a GET gives as much as is taken.
async fn deaf() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            tokio::spawn(listen_to_nothing(listener.accept().await.unwrap().0));
        }
    });
    address
}

async fn listen_to_nothing(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if head.starts_with(b"POST") {
        std::future::pending::<()>().await;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let chunk = vec![b'x'; 65_536];
    loop {
        stream.write_all(&chunk).await?;
    }
}

/// Asks for a body without end, or brings one.
async fn asks(stream: &mut TcpStream, is_upload: bool) -> std::io::Result<()> {
    if !is_upload {
        return stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    }
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {GIGABYTE}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let chunk = vec![b'x'; 65_536];
    loop {
        stream.write_all(&chunk).await?;
    }
}

const MANY: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn unread_bodies_in_either_direction_cost_little_memory() {
    descriptors::raise_limit();
    let upstream = deaf().await;
    for request in ["GET", "POST", "both"] {
        let (sidecar, proxy) = forwarding(HOUR, &format!("http://{upstream}")).await;
        let before = peak_memory(&sidecar);
        let mut programs = JoinSet::new();
        for number in 0..MANY {
            let is_upload = request == "POST" || (request == "both" && number % 2 == 0);
            programs.spawn(async move {
                let mut stream = TcpStream::connect(proxy).await.unwrap();
                let _ = tokio::time::timeout(Duration::from_secs(5), asks(&mut stream, is_upload)).await;
                stream
            });
        }
        let programs = programs.join_all().await;
        // Downloads fill what they can meanwhile.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let grown = peak_memory(&sidecar) - before;
        eprintln!("{request}: {grown} KiB more than {before} at rest");
        assert!(grown < ENOUGH, "{request}: {grown} KiB more than {before} at rest");
        drop(programs);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_bodies_on_connections_of_http_2_cost_no_more() {
    let upstream = deaf().await;
    let (sidecar, proxy) = forwarding(HOUR, &format!("http://{upstream}")).await;
    let before = peak_memory(&sidecar);
    let mut asked = Vec::new();
    for _ in 0..MANY / 2 {
        let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
        let download = tokio::spawn(client.get(format!("http://{proxy}/")).send());
        let (send, upload) = ask_with_http_2(proxy, "/").await;
        for _ in 0..32 {
            // It may be refused already.
            let _ = send.unbounded_send(Frame::data(Bytes::from(vec![b'x'; 65_536])));
        }
        asked.push((download, send, upload));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let grown = peak_memory(&sidecar) - before;
    eprintln!("HTTP/2: {grown} KiB more than {before} at rest");
    assert!(grown < ENOUGH, "{grown} KiB more than {before} at rest");
}

#[tokio::test]
async fn a_response_before_the_end_of_the_body_passes_from_http_1_upstreams_to_http_2() {
    let upstream = Recorder::start(mirror).await;
    let (_stage, proxy) = forwarding(HOUR, &upstream.url()).await;
    let (send, answering) = ask_with_http_2(proxy, "/").await;
    let data = |text: &'static str| Frame::data(Bytes::from_static(text.as_bytes()));
    send.unbounded_send(data("one")).unwrap();
    let mut body = within_limit(answering).await.unwrap().unwrap().into_body();
    let next = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(next, "one");
    send.unbounded_send(data("two")).unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
    drop(send);
    while let Some(frame) = body.frame().await {
        assert!(frame.unwrap().into_data().is_ok_and(|data| data.is_empty()), "nothing more");
    }
}
