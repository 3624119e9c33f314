//! How connections are made, kept and trusted.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use idissuer::core::backoff::RandomFraction;
use idissuer::core::connection_failure::ConnectionFailure;
use idissuer::core::retry::RetryClass;
use idissuer::core::time::Moment;
use idissuer::issuer::{HttpTransport, IssuerError, TransportError};
use idissuer::ops::clock::{Clock, SystemClock};
use idissuer_simulator::{Config, Simulator, Tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::support::{
    Caller, RawServer, SHORT, TRANSIENT_NOT_SENT, USER, drain, good_answer, http, start_simulator,
};

const fn because(obstacle: ConnectionFailure) -> IssuerError {
    IssuerError::Transport(TransportError::not_sent(obstacle))
}

async fn start_https(names: &[&str]) -> idissuer_simulator::Server {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    Simulator::start(Config::default().tls(Tls::Generated { names })).await.unwrap()
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_named_and_nowhere_else() {
    let server = start_https(&["127.0.0.1"]).await;
    let stranger = start_https(&["127.0.0.1"]).await;
    let (own, other) = (server.ca_pem().unwrap(), stranger.ca_pem().unwrap());
    // One transport for all: what one bundle allows must not open the door for another.
    let trusting = Caller::of(&server.url()).trusting(own);
    assert!(trusting.login().await.is_ok());
    for (obstacle, caller) in [
        (ConnectionFailure::CertificateUntrusted, trusting.clone().public_roots()),
        (ConnectionFailure::CertificateNotInBundle, trusting.clone().trusting(other)),
    ] {
        let error = caller.login_error().await;
        assert_eq!((error, error.class()), (because(obstacle), TRANSIENT_NOT_SENT));
    }
    assert!(trusting.clone().trusting(&format!("{other}{own}")).login().await.is_ok(), "either of two");
    assert_eq!(server.calls_since(0).len(), 2, "nothing is sent over a connection that is not trusted");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_not_trusted() {
    let server = start_https(&["api.idissuer.example"]).await;
    let error = Caller::of(&server.url()).trusting(server.ca_pem().unwrap()).login_error().await;
    assert_eq!(
        (error, error.class()),
        (because(ConnectionFailure::CertificateWrongHost), TRANSIENT_NOT_SENT)
    );
    assert!(server.calls_since(0).is_empty());
}

#[tokio::test]
async fn an_origin_that_is_not_on_the_allow_list_is_never_called() {
    let listed = start_simulator(|_| ()).await;
    let other = RawServer::answering(good_answer()).await;
    let astray = Caller::of(&listed.url()).at(&other.url());
    let error = astray.login_error().await;
    assert!(matches!(error.class(), RetryClass::Transient { .. }));
    let pair = Caller::of(&listed.url()).login().await.unwrap();
    assert!(astray.refresh(&pair).await.is_err());
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn many_calls_share_one_connection_and_carry_no_cookie() {
    let headers = "set-cookie: session=1; Path=/\r\ncontent-type: application/json\r\n";
    let server = RawServer::answering(http("200 OK", headers, crate::support::GOOD_BODY)).await;
    let caller = Caller::of(&server.url());
    for _ in 0..10 {
        let pair = caller.login().await.unwrap();
        caller.refresh(&pair).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(server.requests().len(), 20);
    for request in server.requests() {
        let head = request.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
        for header in ["cookie:", "referer:", "authorization:", "accept-encoding:"] {
            assert!(!head.contains(header), "{head}");
        }
        assert!(head.contains(concat!("user-agent: idissuer/", env!("CARGO_PKG_VERSION"))), "{head}");
    }
}

/// A name that moves: the first connection leads to the old server, which answers so from the second request on, and
/// every other one to the new server.
async fn moving(answer: Option<String>) -> RawServer {
    let connections = Arc::<AtomicUsize>::default();
    RawServer::start(move |mut stream, requests| {
        let is_old = connections.fetch_add(1, Ordering::SeqCst) == 0;
        let answer = answer.clone();
        async move {
            let mut answers = 0;
            while requests.read(&mut stream).await.is_some() {
                let good = Some(good_answer());
                let Some(text) = (if is_old && answers > 0 { &answer } else { &good }) else { return };
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
                answers += 1;
            }
        }
    })
    .await
}

#[tokio::test]
async fn after_a_failure_the_next_call_connects_anew_and_finds_where_the_name_moved_to() {
    let status = |status| Some(http(status, "", "gone"));
    for answer in [
        status("503 Service Unavailable"),
        status("500 Oh"),
        status("421 Misdirected Request"),
        status("404 Not Found"),
        status("301 Moved Permanently"),
        status("405 Method Not Allowed"),
        status("407 Proxy Authentication Required"),
        status("451 Unavailable For Legal Reasons"),
        status("403 Forbidden"),
        Some(http("401 Unauthorized", "content-type: text/html\r\n", "<html>")),
        status("200 OK"),
        Some(http("200 OK", "", "{\"success\": false}")),
        None,
    ] {
        let server = moving(answer.clone()).await;
        let caller = Caller::of(&server.url());
        assert!(caller.login().await.is_ok());
        assert!(caller.login().await.is_err(), "{answer:?}");
        assert!(caller.login().await.is_ok(), "{answer:?}");
        assert!(caller.login().await.is_ok(), "{answer:?}");
        assert_eq!(server.connections(), 2, "{answer:?}: the good connection is kept");
        assert_eq!(server.requests().len(), 4, "{answer:?}: nothing is repeated behind our back");
    }
}

#[tokio::test]
async fn a_refusal_of_the_issuer_costs_no_connection() {
    for status in ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "423 Locked", "429 Too Many"] {
        for body in ["", "{\"message\": \"no\"}"] {
            let server = RawServer::answering(http(status, "", body)).await;
            let caller = Caller::of(&server.url());
            for _ in 0..3 {
                assert!(caller.login().await.is_err());
            }
            assert_eq!(server.connections(), 1, "{status} {body:?}");
        }
    }
}

/// A clock that a test moves on.
struct MinuteHand {
    start: Moment,
    minutes: Arc<AtomicUsize>,
}

impl Clock for MinuteHand {
    fn now(&self) -> Moment {
        let minutes = i64::try_from(self.minutes.load(Ordering::SeqCst)).unwrap();
        self.start.plus(jiff::SignedDuration::from_mins(minutes))
    }

    fn random_fraction(&self) -> RandomFraction {
        RandomFraction::new(0.5)
    }
}

#[tokio::test]
async fn no_connection_carries_new_requests_for_more_than_five_minutes() {
    let server = RawServer::answering(good_answer()).await;
    let (start, minutes) = (SystemClock::start().now(), Arc::<AtomicUsize>::default());
    let transport =
        HttpTransport::on_clock(false, Arc::new(MinuteHand { start, minutes: Arc::clone(&minutes) }));
    let caller = Caller::over(transport, &server.url());
    for minute in 0..10 {
        minutes.store(minute, Ordering::SeqCst);
        assert!(caller.login().await.is_ok(), "{minute}");
        assert_eq!(server.connections(), if minute < 5 { 1 } else { 2 }, "{minute}");
    }
}

#[tokio::test]
async fn under_an_outage_calls_that_end_together_cost_one_connection_and_no_storm() {
    let server = RawServer::answering(http("503 Service Unavailable", "", "no")).await;
    let caller = Caller::of(&server.url());
    for _ in 0..3 {
        let calls = futures::future::join_all((0..20).map(|_| caller.login()));
        assert!(calls.await.iter().all(Result::is_err));
    }
    assert!(server.connections() <= 60, "{}: never more than calls", server.connections());
}

#[expect(clippy::disallowed_methods, reason = "a child of a test has no command line of its own")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap()
}

/// What the child of [`the_proxy_of_the_environment_is_used_only_on_request`] does.
#[tokio::test]
#[ignore = "a part of another test, in an environment of its own"]
async fn child_that_logs_in() {
    let transport = HttpTransport::new(variable("IDISSUER_TEST_USE_PROXY") == "true");
    // Two seconds, of which the connection may take one: nobody speaks TLS on the other side.
    let limit = Duration::from_secs(2);
    let _ = Caller::over(transport, &variable("IDISSUER_TEST_URL")).limit(limit).login().await;
}

#[tokio::test]
async fn the_proxy_of_the_environment_is_used_only_on_request() {
    for (use_proxy, over_https) in [(false, false), (false, true), (true, false), (true, true)] {
        let proxy = RawServer::answering(http("502 Bad Gateway", "", "")).await;
        let issuer = RawServer::answering(good_answer()).await;
        let url = if over_https { issuer.https_url() } else { issuer.url() };
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "connections::child_that_logs_in", "--ignored"]).kill_on_drop(true);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            child.env(name, proxy.url()).env(name.to_lowercase(), proxy.url());
        }
        child.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("REQUEST_METHOD");
        child.env("IDISSUER_TEST_URL", url).env("IDISSUER_TEST_USE_PROXY", use_proxy.to_string());
        let output = child.stdin(Stdio::null()).output().await.unwrap();
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        let case = format!("use proxy: {use_proxy}, https: {over_https}");
        assert_eq!(proxy.connections() > 0, use_proxy, "{case}");
        assert_eq!(issuer.connections() > 0, !use_proxy, "{case}");
        let passwords = proxy.requests().iter().filter(|request| request.contains(USER)).count();
        assert!(passwords == 0 || !over_https, "a proxy never sees what is said over https");
    }
}

/// What the child of [`a_proxy_that_does_not_connect_differs_from_an_issuer_that_does_not_answer`] does.
#[tokio::test]
#[ignore = "a part of another test, in an environment of its own"]
async fn child_that_names_why() {
    let url = variable("IDISSUER_TEST_URL");
    let caller = Caller::over(HttpTransport::new(true), &url).limit(Duration::from_secs(4));
    println!("because of {}", caller.login_reason().await.name());
}

#[tokio::test]
async fn a_proxy_that_does_not_connect_differs_from_an_issuer_that_does_not_answer() {
    let refusing = |status| RawServer::answering(http(status, "", ""));
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (wants_login, forbids) =
        (refusing("407 Proxy Authentication Required").await, refusing("403 Forbidden").await);
    let (cannot, closes) =
        (refusing("502 Bad Gateway").await, RawServer::start(|stream, _| async { drop(stream) }).await);
    let cases = [
        (wants_login.url(), "https://issuer.example", "IssuerProxyAuthenticationRequired"),
        (wants_login.url(), "http://issuer.example", "IssuerProxyAuthenticationRequired"),
        (forbids.url(), "https://issuer.example", "IssuerProxyRefused"),
        (cannot.url(), "https://issuer.example", "IssuerProxyRefused"),
        (closes.url(), "https://issuer.example", "IssuerProxyRefused"),
        (nobody.clone(), "https://issuer.example", "IssuerProxyUnreachable"),
        (nobody, "http://issuer.example", "IssuerProxyUnreachable"),
        ("http://proxy.invalid:3128".to_owned(), "https://issuer.example", "IssuerProxyUnreachable"),
    ];
    for (proxy, url, expected) in cases {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let arguments = ["--exact", "connections::child_that_names_why", "--ignored", "--nocapture"];
        child.args(arguments).kill_on_drop(true);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            child.env(name, &proxy).env(name.to_lowercase(), &proxy);
        }
        child.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("REQUEST_METHOD");
        let output = child.env("IDISSUER_TEST_URL", url).stdin(Stdio::null()).output().await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(told.contains(&format!("because of {expected}")), "{proxy} {url}: {told}");
    }
}

#[tokio::test]
async fn a_socks_proxy_is_named_at_the_start() {
    let folder = idissuer_testbed::process::WorkFolder::create().unwrap();
    let path = folder.path().to_str().unwrap();
    let sidecar = ["sidecar", "--source=login", "--login-dir", path, "--output-dir", path];
    for arguments in [&["controller"][..], &sidecar] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_idissuer"));
        child.args(arguments).args(["--issuer-url=https://issuer.example", "--use-environment-proxy"]);
        for name in ["NO_PROXY", "no_proxy", "https_proxy", "KUBECONFIG", "REQUEST_METHOD"] {
            child.env_remove(name);
        }
        child.env("HTTPS_PROXY", "socks5://user:hidden@127.0.0.1:1").kill_on_drop(true);
        let output = tokio::time::timeout(Duration::from_secs(10), child.stdin(Stdio::null()).output());
        let output = output.await.expect("it ends at once").unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(
            told.contains("SOCKS proxies are not supported") && !told.contains("hidden"),
            "{arguments:?}: {told}"
        );
    }
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_offered() {
    let identity = crate::certificates::Identity::make(&["127.0.0.1"], |_| ());
    let mut config = identity.server();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (told, mut preface) = tokio::sync::mpsc::unbounded_channel();
    let server = RawServer::start(move |stream, _| {
        let (acceptor, told) = (acceptor.clone(), told.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut preface = [0; 14];
            stream.read_exact(&mut preface).await.unwrap();
            told.send(preface).unwrap();
        }
    })
    .await;
    let caller = Caller::of(&server.https_url()).trusting(&identity.ca_pem);
    let error = caller.login_error().await;
    assert_eq!(preface.recv().await.as_ref(), Some(b"PRI * HTTP/2.0"));
    assert_eq!(
        error,
        IssuerError::Transport(TransportError::perhaps_sent(ConnectionFailure::Lost)),
        "it was closed in the middle"
    );
}

/// A server of HTTP/2 that shakes hands and never answers: what is left of a connection that a firewall forgot.
#[tokio::test]
async fn a_connection_that_let_a_call_time_out_is_not_used_again() {
    let identity = crate::certificates::Identity::make(&["127.0.0.1"], |_| ());
    let mut config = identity.server();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let server = RawServer::start(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            // Its settings, empty, and that it has seen the client's (RFC 9113 §6.5).
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]).await.unwrap();
            drain(&mut stream).await;
        }
    })
    .await;
    let caller = Caller::of(&server.https_url()).trusting(&identity.ca_pem).limit(SHORT);
    for calls in 1..=3 {
        assert_eq!(
            caller.login_error().await,
            IssuerError::Transport(TransportError::perhaps_sent(ConnectionFailure::TimedOut))
        );
        assert_eq!(server.connections(), calls);
    }
}
