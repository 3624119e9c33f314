//! Pages in a browser of this machine, and names that mislead.

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::super::{HOUR, Sidecar};
use super::{Recorder, exchange, forwarding, started};

fn answer(_request: Request) -> BoxFuture<'static, Response> {
    async { "data".into_response() }.boxed()
}

/// The status of the answer to a request with these lines.
async fn status(address: std::net::SocketAddr, lines: &str) -> String {
    let request = format!("{lines}Connection: close\r\nContent-Length: 0\r\n\r\n");
    let answer = exchange(address, request.as_bytes()).await;
    answer.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

/// Lines of requests that a page elsewhere could bring about, or somebody who gives our address another name.
const FOREIGN: [&str; 9] = [
    "Host: localhost\r\nOrigin: http://203.0.113.5\r\n",
    "Host: localhost\r\nOrigin: http://127.0.0.1@evil.example\r\n",
    "Host: localhost\r\nOrigin: http://0.0.0.0\r\n",
    "Host: localhost\r\nOrigin: null\r\n",
    "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
    "Host: rebound.example\r\n",
    "Host: user@localhost\r\n",
    "Host: 0.0.0.0\r\n",
    "Host: localhost\r\nHost: localhost\r\n",
];

#[tokio::test]
async fn a_page_from_elsewhere_gets_no_data_no_websocket_and_no_post_through() {
    let upstream = Recorder::start(answer).await;
    let (_stage, proxy) = forwarding(HOUR, &upstream.url()).await;
    for lines in FOREIGN {
        let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
        for head in [
            format!("GET / HTTP/1.1\r\n{lines}"),
            format!("POST / HTTP/1.1\r\n{lines}"),
            format!("GET / HTTP/1.1\r\n{socket}{lines}"),
        ] {
            let status = status(proxy, &head).await;
            assert!(["403", "421"].contains(&status.as_str()), "{head}: {status}");
        }
    }
    assert_eq!(upstream.lines(), Vec::<String>::new());
    let local = "GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://127.0.0.1:3000\r\n";
    assert_eq!(status(proxy, local).await, "200");
}

#[tokio::test]
async fn a_page_from_elsewhere_does_not_end_the_sidecar_and_a_program_does() {
    let mut sidecar = Sidecar::prepare(HOUR).await;
    sidecar.add(&["--quit-port", "0"]);
    sidecar.start().await;
    let quit = sidecar.logged_address("quit").await;
    for lines in FOREIGN {
        assert_eq!(status(quit, &format!("POST /quitquitquit HTTP/1.1\r\n{lines}")).await, "403", "{lines}");
    }
    let elsewhere = "POST http://evil.example/quitquitquit HTTP/1.1\r\nHost: localhost\r\n";
    assert_eq!(status(quit, elsewhere).await, "403");
    assert_eq!(status(quit, "POST /quitquitquit HTTP/1.0\r\n").await, "200", "it knows no Host");
    assert_eq!(sidecar.process().wait_timeout(super::LIMIT).await.unwrap(), 0);
}

#[tokio::test]
async fn if_others_reach_the_proxy_pages_may_use_listed_names_only_and_foreign_pages_none() {
    let upstream = Recorder::start(answer).await;
    for names in [None, Some("reports.shop")] {
        let mut sidecar = Sidecar::prepare(HOUR).await;
        sidecar.add(&["--proxy-listen", "0.0.0.0:0", "--upstream", &upstream.url()]);
        if let Some(names) = names {
            sidecar.add(&["--proxy-allow-host", names]);
        }
        sidecar.start().await;
        let port = sidecar.logged_address("address").await.port();
        sidecar.until_answered("/startup", 200).await;
        let proxy = ([127, 0, 0, 1], port).into();
        let (others, page) = if names.is_none() { ("200", "421") } else { ("421", "200") };
        for (lines, expected) in [
            ("Host: reports.shop\r\n", "200"),
            ("Host: reports.shop\r\nOrigin: http://reports.shop\r\n", page),
            ("Host: reports.shop\r\nSec-Fetch-Site: same-origin\r\n", page),
            ("Host: 10.1.2.3:8081\r\nOrigin: http://10.1.2.3:8081\r\n", "200"),
            ("Host: rebound.example\r\nOrigin: http://rebound.example\r\n", "421"),
            ("Host: rebound.example\r\n", others),
            ("Host: 10.1.2.3\r\nOrigin: https://evil.example\r\n", "403"),
            ("Host: user@reports.shop\r\n", "421"),
        ] {
            let status = status(proxy, &format!("GET / HTTP/1.1\r\n{lines}")).await;
            assert_eq!(status, expected, "{names:?}: {lines}");
        }
    }
    let mut sidecar = Sidecar::prepare(HOUR).await;
    sidecar.add(&["--proxy-listen", "0", "--upstream", &upstream.url(), "--proxy-allow-host", "api.local"]);
    let (_stage, proxy) = started(sidecar).await;
    assert_eq!(status(proxy, "GET / HTTP/1.1\r\nHost: api.local:9441\r\n").await, "200");
}
