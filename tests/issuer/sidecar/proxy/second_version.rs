//! HTTP/2 on both sides: without TLS from the program, with TLS to the upstream.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use super::super::{HOUR, Sidecar};
use super::{ask_with_http_2, started, within_limit};
use crate::certificates::Identity;

/// Offers HTTP/2 and HTTP/1.1 by ALPN and speaks HTTP/2 only. It answers with the body that comes, including trailers, and
/// reports each request.
async fn start_upstream(identity: &Identity) -> (SocketAddr, UnboundedReceiver<http::request::Parts>) {
    let mut config = identity.server();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let tell = tell.clone();
            let mirror = service_fn(move |request: Request<Incoming>| {
                let (head, body) = request.into_parts();
                tell.send(head).unwrap();
                async { Ok::<_, Infallible>(Response::new(body)) }
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), mirror));
        }
    });
    (address, told)
}

#[tokio::test]
async fn a_grpc_call_passes_with_bodies_and_trailers_the_token_and_the_upstreams_name() {
    let identity = Identity::make(&["127.0.0.1"], |_| ());
    let (upstream, mut told) = start_upstream(&identity).await;
    let mut sidecar = Sidecar::prepare(HOUR).await;
    let ca = sidecar.path("ca.pem");
    std::fs::write(&ca, &identity.ca_pem).unwrap();
    sidecar.add(&["--proxy-listen", "0", "--upstream", &format!("https://{upstream}")]);
    sidecar.add(&["--upstream-ca-file", ca.to_str().unwrap()]);
    let (sidecar, proxy) = started(sidecar).await;

    let (send, answering) = ask_with_http_2(proxy, "/reports.Reports/List?q=1").await;
    send.unbounded_send(Frame::data(Bytes::from_static(b"one"))).unwrap();
    let answer = within_limit(answering).await.unwrap().unwrap();
    let head = within_limit(told.recv()).await.unwrap();
    assert_eq!((head.version, answer.version()), (Version::HTTP_2, Version::HTTP_2));
    assert_eq!(head.uri.to_string(), format!("https://{upstream}/reports.Reports/List?q=1"));
    assert_eq!(head.headers["authorization"], format!("Bearer {}", sidecar.file("token").unwrap()));
    assert_eq!(head.headers["te"], "trailers", "without which gRPC refuses the call");

    let mut body = answer.into_body();
    assert_eq!(within_limit(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "one");
    send.unbounded_send(Frame::data(Bytes::from_static(b"two"))).unwrap();
    assert_eq!(within_limit(body.frame()).await.unwrap().unwrap().into_data().unwrap(), "two");
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    send.unbounded_send(Frame::trailers(trailers.clone())).unwrap();
    drop(send);
    let rest = within_limit(body.collect()).await.unwrap();
    assert_eq!(rest.trailers(), Some(&trailers));
}
