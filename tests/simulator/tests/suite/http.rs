//! The API on a real socket: each answer and fault as a client sees it.

use std::{sync::Arc, time::Duration};

use idissuer_simulator::{Config, Fault, FaultRule, Server, Simulator, Tls};
use jiff::SignedDuration;
use reqwest::{Certificate, Client, RequestBuilder, Response, redirect};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const USER: &str = "demo@idissuer.pl";

async fn start(change: impl FnOnce(&mut idissuer_simulator::Personality)) -> Server {
    Simulator::start(Config::default().personality(change)).await.unwrap()
}

fn client() -> Client {
    Client::builder().redirect(redirect::Policy::none()).no_proxy().build().unwrap()
}

fn post(server: &Server, path: &str, body: &Value) -> RequestBuilder {
    let url = format!("{}{path}", server.url());
    client().post(url).header("content-type", "application/json").body(body.to_string())
}

fn login(server: &Server) -> RequestBuilder {
    post(server, "/v2/auth/token", &json!({"username": USER, "password": "demo"}))
}

async fn json_of(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

async fn logged_in(server: &Server) -> Value {
    json_of(login(server).send().await.unwrap()).await
}

fn refresh(server: &Server, pair: &Value) -> RequestBuilder {
    let body = json!({"access_token": pair["access_token"]["token"], "refresh_token": pair["refresh_token"]});
    post(server, "/v2/auth/refreshtoken", &body)
}

async fn authorized(server: &Server, pair: &Value) -> Response {
    let token = pair["access_token"]["token"].as_str().unwrap();
    client().get(format!("{}/v2/authorized", server.url())).bearer_auth(token).send().await.unwrap()
}

/// All that comes back over a bare connection for a login, until the server closes it.
async fn raw_login(server: &Server) -> Vec<u8> {
    let body = json!({"username": USER, "password": "demo"}).to_string();
    let address = server.url().replace("http://", "");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /v2/auth/token HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.unwrap();
    received
}

#[tokio::test]
async fn a_session_is_logged_in_refreshed_and_used() {
    let server = start(|_| ()).await;
    let first = logged_in(&server).await;
    let answer = refresh(&server, &first).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json; charset=utf-8");
    let second = json_of(answer).await;
    assert_ne!(first["access_token"]["token"], second["access_token"]["token"]);
    assert_eq!(json_of(authorized(&server, &second).await).await, json!({"user": USER}));
    let counts = server.counts().of(USER);
    assert_eq!((counts.logins_accepted, counts.refreshes_accepted, counts.authorized_accepted), (1, 1, 1));
}

#[tokio::test]
async fn a_lost_answer_closes_the_connection_after_the_work() {
    let server = start(|_| ()).await;
    server.inject(FaultRule::on_login(Fault::Lost).once());
    assert_eq!(raw_login(&server).await, b"");
    assert_eq!(server.counts().of(USER).logins_accepted, 1);

    let pair = logged_in(&server).await;
    server.inject(FaultRule::on_refresh(Fault::Lost).once());
    assert!(refresh(&server, &pair).send().await.is_err());
    assert_eq!(refresh(&server, &pair).send().await.unwrap().status(), 400, "the refresh token is spent");
    assert_eq!(server.counts().of(USER).refresh_tokens_reused, 1);
}

#[tokio::test]
async fn a_cut_answer_promises_more_than_it_sends() {
    let server = start(|_| ()).await;
    server.inject(FaultRule::on_login(Fault::Cut).once());
    let received = String::from_utf8(raw_login(&server).await).unwrap();
    let (head, body) = received.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"));
    let promised = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(body.len(), promised.parse::<usize>().unwrap() / 2);
    assert!(body.starts_with(r#"{"access_token""#));
}

#[tokio::test]
async fn what_is_not_http_does_not_look_like_it() {
    let server = start(|_| ()).await;
    server.inject(FaultRule::on_login(Fault::NotHttp).times(2));
    let received = raw_login(&server).await;
    assert_eq!(received.len(), 32);
    assert!(!received.starts_with(b"HTTP"));
    assert!(login(&server).send().await.is_err());
}

#[tokio::test]
async fn a_trickled_answer_comes_whole_in_the_end_and_in_many_pieces() {
    let server = start(|_| ()).await;
    server.inject(FaultRule::on_login(Fault::Trickle { interval: Duration::from_millis(1) }).once());
    let mut answer = login(&server).send().await.unwrap();
    let (mut body, mut pieces) = (Vec::new(), 0);
    while let Some(piece) = answer.chunk().await.unwrap() {
        body.extend_from_slice(&piece);
        pieces += 1;
    }
    assert!(serde_json::from_slice::<Value>(&body).is_ok());
    assert!(pieces > 20, "{pieces}");
}

#[tokio::test]
async fn a_hanging_call_does_not_hold_up_others() {
    let server = start(|_| ()).await;
    server.inject(FaultRule::on_login(Fault::Hang).once());
    let hanging = tokio::spawn(login(&server).send());
    server.wait_for(|counts| counts.of(USER).faults == 1).await;
    logged_in(&server).await;
    assert!(!hanging.is_finished());
    assert_eq!(server.counts().of(USER).in_flight_maximum, 2);
    hanging.abort();
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused() {
    let server = start(|_| ()).await;
    let body = json!({"username": USER, "password": "x".repeat(70_000)});
    assert_eq!(post(&server, "/v2/auth/token", &body).send().await.unwrap().status(), 413);
}

#[tokio::test]
async fn https_is_trusted_through_its_own_authority_only() {
    let server = Simulator::start(Config::default().tls(Tls::localhost())).await.unwrap();
    let ask = |client: Client| {
        let body = json!({"username": USER, "password": "demo"}).to_string();
        client
            .post(format!("{}/v2/auth/token", server.url()))
            .header("content-type", "application/json")
            .body(body)
            .send()
    };
    assert!(server.url().starts_with("https://127.0.0.1:"));
    let authority = Certificate::from_pem(server.ca_pem().unwrap().as_bytes()).unwrap();
    let trusting = Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
    assert_eq!(ask(trusting).await.unwrap().status(), 200);
    assert!(ask(client()).await.is_err());

    server.inject(FaultRule::on_login(Fault::Lost).once());
    let authority = Certificate::from_pem(server.ca_pem().unwrap().as_bytes()).unwrap();
    let trusting = Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
    assert!(ask(trusting).await.is_err(), "faults are real over https too");
}

#[tokio::test]
async fn a_stopped_simulator_frees_its_port_and_cuts_its_calls() {
    let server = start(|_| ()).await;
    server.inject(FaultRule::on_login(Fault::Hang).once());
    let hanging = tokio::spawn(login(&server).send());
    server.wait_for(|counts| counts.of(USER).faults == 1).await;
    let address = server.url().replace("http://", "");
    let simulator = Arc::new(server.simulator().clone());
    server.stop().await;
    assert!(hanging.await.unwrap().is_err());
    assert!(TcpStream::connect(&address).await.is_err());
    assert_eq!(simulator.counts().of(USER).faults, 1, "the simulator outlives its server");
}

#[tokio::test]
async fn a_certificate_can_be_given_and_a_wrong_name_is_a_bad_one() {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    let given = Tls::Given { certificate: certificate.clone().into_bytes(), key: key.into_bytes() };
    let wrong = Tls::Generated { names: vec!["elsewhere.example".to_owned()] };
    for (tls, good) in [(given, true), (wrong, false)] {
        let server = Simulator::start(Config::default().tls(tls)).await.unwrap();
        let trusted = Certificate::from_pem(server.ca_pem().unwrap_or(&certificate).as_bytes()).unwrap();
        let trusting = Client::builder().no_proxy().tls_certs_only([trusted]).build().unwrap();
        let answer = trusting.get(format!("{}/v2/authorized", server.url())).send().await;
        assert_eq!(answer.is_ok(), good, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_sockets_time_is_what_the_caller_says() {
    let config =
        Config::default().personality(|personality| personality.latency.login = "30s".parse().unwrap());
    let simulator = Simulator::new(config.seed(1));
    let began = tokio::time::Instant::now();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let exchange = simulator.call(
        &idissuer_simulator::Request::post("/v2/auth/token", &json!({"username": USER, "password": "demo"})),
        now,
    );
    tokio::time::sleep(exchange.delay).await;
    assert_eq!(began.elapsed().as_secs(), 30);
    let pair = exchange.answer.json().unwrap();
    let token = pair["access_token"]["token"].as_str().unwrap();
    let at = |seconds| now + SignedDuration::from_secs(seconds);
    assert!(simulator.inspect(|issuer| issuer.check(token, at(3599)).is_ok()));
    assert!(simulator.inspect(|issuer| issuer.check(token, at(3600)).is_err()));
}
