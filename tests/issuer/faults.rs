//! Servers that break off, are slow, send too much or say nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use idissuer::core::connection_failure::ConnectionFailure;
use idissuer::core::retry::{RetryClass, Sent};
use idissuer::issuer::{AnswerError, IssuerError, TransportError};
use idissuer_simulator::{Fault, FaultRule};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::support::{
    AMPLE, Caller, GOOD_BODY, RawServer, Requests, SHORT, TRANSIENT_MAYBE_SENT, TRANSIENT_NOT_SENT, USER,
    drain, good_answer, http, start_simulator, within,
};

const fn unreachable(obstacle: ConnectionFailure) -> IssuerError {
    IssuerError::Transport(TransportError::not_sent(obstacle))
}

const TIMED_OUT: IssuerError =
    IssuerError::Transport(TransportError::perhaps_sent(ConnectionFailure::TimedOut));
const NOT_HTTP: IssuerError =
    IssuerError::Transport(TransportError::perhaps_sent(ConnectionFailure::NotHttp));
const BROKEN: IssuerError = IssuerError::Transport(TransportError::perhaps_sent(ConnectionFailure::Lost));
const BROKEN_OFF: IssuerError = IssuerError::Broken(ConnectionFailure::Lost);
const ENDLESS: IssuerError = IssuerError::Broken(ConnectionFailure::TimedOut);
const INCONCLUSIVE: RetryClass = RetryClass::Inconclusive { sent: Sent::Maybe };

/// Sends this in answer to each request, and closes.
async fn answering_and_closing(answer: impl Into<Vec<u8>>) -> RawServer {
    let answer: Arc<[u8]> = answer.into().into();
    RawServer::start(move |mut stream, requests| {
        let answer = Arc::clone(&answer);
        async move {
            requests.read(&mut stream).await;
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
            drain(&mut stream).await;
        }
    })
    .await
}

/// Sends this after the request, then the rest again and again with a pause before each, for ever.
async fn dawdling(first: &'static str, rest: &'static str, pause: Duration) -> RawServer {
    RawServer::start(move |mut stream, requests| async move {
        requests.read(&mut stream).await;
        stream.write_all(first.as_bytes()).await.unwrap();
        loop {
            tokio::time::sleep(pause).await;
            if stream.write_all(rest.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn without_a_listener_nothing_is_sent() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = within(AMPLE, Caller::of(&url).login_error()).await;
    assert_eq!((error, error.class()), (unreachable(ConnectionFailure::Refused), TRANSIENT_NOT_SENT));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_unreachable() {
    // By RFC 6761 no resolver answers for it.
    let error = within(AMPLE, Caller::of("https://issuer.invalid").login_error()).await;
    assert_eq!((error, error.class()), (unreachable(ConnectionFailure::NameUnresolved), TRANSIENT_NOT_SENT));
}

/// A listener whose queue is full drops further connections in silence, as a firewall does. The streams fill it.
async fn make_black_hole() -> (std::net::SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut streams = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
        streams.push(stream);
    }
    (address, listener, streams)
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_takes_half_the_limit_and_sent_nothing() {
    let (address, _listener, _streams) = make_black_hole().await;
    let silent = RawServer::start(|mut stream, _| async move { drain(&mut stream).await }).await;
    let limit = Duration::from_secs(2);
    // The shortest limit that the pace gives: a request that was not sent must not cost the refresh token there, either.
    let no_answer_to_tcp = Caller::of(&format!("http://{address}")).limit(limit);
    let no_answer_to_tls = Caller::of(&silent.https_url()).limit(limit);
    let (start, both) = (Instant::now(), tokio::join!(no_answer_to_tcp.login(), no_answer_to_tls.login()));
    for result in [both.0, both.1] {
        let error = result.err().unwrap();
        assert_eq!(
            (error, error.class()),
            (unreachable(ConnectionFailure::ConnectTimedOut), TRANSIENT_NOT_SENT)
        );
    }
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_answer_that_breaks_off_may_have_been_carried_out() {
    let half = |body: &str| good_answer().replace(body, &body[..body.len() / 2]);
    let cases = [
        ("nothing", String::new()),
        ("half a status line", "HTTP/1.1 2".to_owned()),
        ("half a head", "HTTP/1.1 200 OK\r\ncontent-type: application".to_owned()),
    ];
    let with_head = [
        ("half a body", half(GOOD_BODY)),
        ("no body", http("200 OK", "", GOOD_BODY).replace(GOOD_BODY, "")),
        ("half a chunk", format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{GOOD_BODY}")),
        ("no last chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{} \r\n".to_owned()),
    ];
    let without = cases.map(|case| (case, (BROKEN, TRANSIENT_MAYBE_SENT)));
    let with_head = with_head.map(|case| (case, (BROKEN_OFF, INCONCLUSIVE)));
    for ((name, answer), expected) in without.into_iter().chain(with_head) {
        let server = answering_and_closing(answer).await;
        let error = within(AMPLE, Caller::of(&server.url()).login_error()).await;
        assert_eq!((error, error.class()), expected, "{name}");
        assert_eq!(server.requests().len(), 1, "{name}: not repeated");
    }
}

/// Some issuers refuse a password by a 200, and not every 200 comes whole.
#[tokio::test]
async fn an_answer_whose_body_cannot_be_read_is_one_that_a_login_pays_for() {
    let cut = [
        ("half a body", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"success\": false}"),
        ("no body", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"),
        ("no last chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{} \r\n"),
        ("no chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno\r\n"),
    ];
    for (name, answer) in cut {
        let server = answering_and_closing(answer).await;
        let error = within(AMPLE, Caller::of(&server.url()).login_error()).await;
        assert!(error.class().is_answer(), "{name}: {error:?}");
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n";
    let server = dawdling(head, " ", Duration::from_millis(10)).await;
    let error = within(SHORT, Caller::of(&server.url()).limit(SHORT).login_error()).await;
    assert!(error.class().is_answer(), "no end: {error:?}");
}

#[tokio::test]
async fn a_connection_that_is_closed_or_reset_is_never_tried_again_behind_our_back() {
    let closed_at_once = RawServer::start(|stream, _| async move { drop(stream) }).await;
    let error = within(AMPLE, Caller::of(&closed_at_once.url()).login_error()).await;
    assert_eq!((error, error.class()), (BROKEN, TRANSIENT_MAYBE_SENT), "before the request was read");
    assert_eq!(closed_at_once.connections(), 1);

    let reset = RawServer::start(|mut stream, requests| async move {
        requests.read(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let error = within(AMPLE, Caller::of(&reset.url()).login_error()).await;
    assert_eq!((error, error.class()), (BROKEN, TRANSIENT_MAYBE_SENT), "reset after the request was read");
    assert_eq!(reset.requests().len(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_dies_with_a_request_on_it_is_not_tried_again() {
    let server = RawServer::start(|mut stream, requests| async move {
        requests.read(&mut stream).await;
        stream.write_all(good_answer().as_bytes()).await.unwrap();
        requests.read(&mut stream).await;
    })
    .await;
    let caller = Caller::of(&server.url());
    let pair = caller.login().await.unwrap();
    let error = caller.refresh(&pair).await.err().unwrap();
    assert_eq!((error, error.class()), (BROKEN, TRANSIENT_MAYBE_SENT));
    assert_eq!((server.connections(), server.requests().len()), (1, 2));
}

#[tokio::test]
async fn the_limit_holds_for_every_kind_of_delay() {
    let server = start_simulator(|_| ()).await;
    let simulated = Caller::of(&server.url()).limit(SHORT);
    let second = Duration::from_secs(1);
    let (silent, endless) = ((TIMED_OUT, TRANSIENT_MAYBE_SENT), (ENDLESS, INCONCLUSIVE));
    for (fault, expected) in [(Fault::Hang, silent), (Fault::Trickle { interval: second }, endless)] {
        server.inject(FaultRule::new(fault.clone()).once());
        let (start, error) = (Instant::now(), within(SHORT, simulated.login_error()).await);
        assert_eq!((error, error.class()), expected, "{fault:?}");
        assert!(start.elapsed() >= SHORT, "{fault:?}");
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n";
    let tick = Duration::from_millis(10);
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (name, first, rest, expected) in [
        ("the head, a byte at a time", "HTTP/1.1 200 OK\r\nx: ", "x", silent),
        ("the body, a byte at a time", head, " ", endless),
        ("a status of 1xx, again and again", "", "HTTP/1.1 103 Early Hints\r\n\r\n", silent),
        ("chunks of one byte", chunked, "1\r\n \r\n", endless),
    ] {
        let server = dawdling(first, rest, tick).await;
        let caller = Caller::of(&server.url()).limit(SHORT);
        let error = within(SHORT, caller.login_error()).await;
        assert_eq!((error, error.class()), expected, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_taken_for_the_next_ones() {
    let late = http("200 OK", "", &GOOD_BODY.replace("abc", "late"));
    let (release, released) = tokio::sync::watch::channel(false);
    let server = RawServer::start(move |mut stream, requests: Requests| {
        let (late, mut released) = (late.clone(), released.clone());
        async move {
            let is_first = requests.all().is_empty();
            requests.read(&mut stream).await;
            if is_first {
                released.wait_for(|released| *released).await.unwrap();
                let _ = stream.write_all(late.as_bytes()).await;
            }
            requests.read(&mut stream).await;
            let _ = stream.write_all(good_answer().as_bytes()).await;
        }
    })
    .await;
    let caller = Caller::of(&server.url());
    assert_eq!(within(SHORT, caller.clone().limit(SHORT).login_error()).await, TIMED_OUT);
    release.send(true).unwrap();
    let again = caller.clone().limit(SHORT).login().await;
    assert_ne!(again.ok().map(|pair| pair.token.access.expose().to_owned()).as_deref(), Some("late"));
    assert_eq!(server.connections(), 2, "a connection that owes an answer is not used again");
}

#[tokio::test]
async fn what_is_no_http_is_broken_and_what_is_no_json_is_malformed() {
    for garbage in
        ["\u{0}\u{1}\u{2}", "SSH-2.0-OpenSSH_9.9\r\n", "HTTP/9.9 200 OK\r\n\r\n", "<html></html>\r\n\r\n"]
    {
        let server = answering_and_closing(garbage).await;
        let error = within(AMPLE, Caller::of(&server.url()).login_error()).await;
        assert_eq!((error, error.class()), (NOT_HTTP, TRANSIENT_MAYBE_SENT), "{garbage:?}");
    }
    let server = start_simulator(|_| ()).await;
    let caller = Caller::of(&server.url());
    for (fault, defect) in [(Fault::Garbage, AnswerError::NotUtf8), (Fault::Truncated, AnswerError::NotJson)]
    {
        server.inject(FaultRule::new(fault.clone()).once());
        let error = caller.login_error().await;
        let expected = IssuerError::Unusable(defect);
        assert_eq!((error, error.class()), (expected, RetryClass::Malformed), "{fault:?}");
        let pair = caller.login().await.unwrap();
        server.inject(FaultRule::new(fault.clone()).once());
        assert_eq!(caller.refresh(&pair).await.err(), Some(IssuerError::RefreshRejected), "{fault:?}");
    }
    for (fault, expected) in [(Fault::NotHttp, NOT_HTTP), (Fault::Cut, BROKEN_OFF), (Fault::Lost, BROKEN)] {
        server.inject(FaultRule::new(fault.clone()).once());
        assert_eq!(caller.login_error().await, expected, "{fault:?}");
    }
    assert_eq!(server.counts().of(USER).faults, 7, "each was met");
}

/// Sends a head, then a hundred megabytes of the same; how many got away is counted.
async fn rambling(head: &'static str) -> (RawServer, Arc<AtomicU64>) {
    const ALL: u64 = 100 * 1024 * 1024;
    let sent = Arc::<AtomicU64>::default();
    let count = Arc::clone(&sent);
    let server = RawServer::start(move |mut stream, requests| {
        let count = Arc::clone(&count);
        async move {
            requests.read(&mut stream).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            let chunk = vec![b' '; 64 * 1024];
            while count.load(Ordering::SeqCst) < ALL {
                let Ok(length) = stream.write(&chunk).await else { return };
                count.fetch_add(u64::try_from(length).unwrap(), Ordering::SeqCst);
            }
        }
    })
    .await;
    (server, sent)
}

#[tokio::test]
async fn of_a_hundred_megabytes_next_to_nothing_is_taken_in() {
    // Most of this is what the kernel buffers on both sides of a loopback connection.
    const BUFFERED: u64 = 16 * 1024 * 1024;
    let too_large = IssuerError::Unusable(AnswerError::TooLarge);
    let unavailable = IssuerError::Unavailable { status: 500, retry_after: None };
    for (name, head, expected) in [
        ("as a body of known length", "HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n", too_large),
        ("as a body until the end", "HTTP/1.0 200 OK\r\n\r\n", too_large),
        ("as one chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6400000\r\n", too_large),
        ("in a refusal", "HTTP/1.1 500 Oh\r\ncontent-length: 104857600\r\n\r\n", unavailable),
        ("as a header", "HTTP/1.1 200 OK\r\nx: ", BROKEN),
        ("as a status line", "HTTP/1.1 200 ", BROKEN),
    ] {
        let (server, sent) = rambling(head).await;
        let error = within(AMPLE, Caller::of(&server.url()).login_error()).await;
        assert_eq!(error, expected, "{name}");
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent < BUFFERED, "{name}: {sent} bytes were taken in");
    }
}

#[tokio::test]
async fn an_answer_of_64_kib_is_read_and_one_byte_more_is_not() {
    let server = start_simulator(|_| ()).await;
    let caller = Caller::of(&server.url());
    for (bytes, fits) in [(64 * 1024, true), (64 * 1024 + 1, false)] {
        server.inject(FaultRule::on_login(Fault::Oversize { bytes }).once());
        let expected = (!fits).then_some(IssuerError::Unusable(AnswerError::TooLarge));
        assert_eq!(caller.login().await.err(), expected, "{bytes}");
    }
}
