//! How connections are made, kept and trusted.

use std::process::Stdio;
use std::sync::Arc;

use idissuer::core::retry::RetryClass;
use idissuer::issuer::{HttpTransport, IssuerError, TransportError};
use idissuer_simulator::{Config, Simulator, Tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::support::{
    Caller, RawServer, SHORT, TRANSIENT_NOT_SENT, USER, drain, good_answer, http, start_simulator,
};

const TLS: IssuerError = IssuerError::Transport(TransportError::Tls);

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
    for (name, caller) in [
        ("the public roots", trusting.clone().public_roots()),
        ("another authority", trusting.clone().trusting(other)),
    ] {
        let error = caller.login_error().await;
        assert_eq!((error, error.class()), (TLS, TRANSIENT_NOT_SENT), "{name}");
    }
    assert!(trusting.clone().trusting(&format!("{other}{own}")).login().await.is_ok(), "either of two");
    assert_eq!(server.calls_since(0).len(), 2, "nothing is sent over a connection that is not trusted");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_not_trusted() {
    let server = start_https(&["api.idissuer.example"]).await;
    let error = Caller::of(&server.url()).trusting(server.ca_pem().unwrap()).login_error().await;
    assert_eq!((error, error.class()), (TLS, TRANSIENT_NOT_SENT));
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

#[tokio::test]
async fn after_failures_of_the_issuer_the_connection_is_still_good() {
    let server = RawServer::answering(http("503 Service Unavailable", "", "come back later")).await;
    let caller = Caller::of(&server.url());
    for _ in 0..5 {
        assert!(caller.login().await.is_err());
    }
    assert_eq!(server.requests().len(), 5, "and nothing is repeated behind our back");
}

/// What the child of [`the_proxy_of_the_environment_is_used_only_on_request`] does.
#[tokio::test]
#[ignore = "a part of another test, in an environment of its own"]
async fn child_that_logs_in() {
    let setting = |name| std::env::var_os(name).unwrap().into_string().unwrap();
    let transport = HttpTransport::new(setting("IDISSUER_TEST_USE_PROXY") == "true");
    // Two seconds, of which the connection may take one: nobody speaks TLS on the other side.
    let limit = std::time::Duration::from_secs(2);
    let _ = Caller::over(transport, &setting("IDISSUER_TEST_URL")).limit(limit).login().await;
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
    assert_eq!(error, IssuerError::Transport(TransportError::Broken), "it was closed in the middle");
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
        assert_eq!(caller.login_error().await, IssuerError::Transport(TransportError::TimedOut));
        assert_eq!(server.connections(), calls);
    }
}
