//! The control address, as curl would use it.

use idissuer_simulator::{Config, Fault, FaultRule, RefreshAccepted, Request, Server, Simulator, Tls};
use jiff::Timestamp;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

const USER: &str = "demo@idissuer.pl";

async fn start() -> Server {
    Simulator::start(Config::default()).await.unwrap()
}

async fn ask(server: &Server, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let url = format!("{}{path}", server.control_url());
    let mut request = Client::builder().no_proxy().build().unwrap().request(method, url);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn log_in(server: &Server, password: &str) -> Option<u16> {
    let body = json!({"username": USER, "password": password});
    server.call(&Request::post("/v2/auth/token", &body), Timestamp::now()).answer.status()
}

#[tokio::test]
async fn a_patch_changes_some_of_the_personality_and_a_put_all_of_it() {
    let server = start().await;
    let patch = json!({"token": {"lifetime": "20s"}, "refresh": {"accepted": "never"}});
    let (status, shown) = ask(&server, Method::PATCH, "/personality", Some(patch)).await;
    assert_eq!((status, &shown["token"]["lifetime"]), (StatusCode::OK, &json!("20s")));
    assert_eq!(server.personality().refresh.accepted, RefreshAccepted::Never);
    let (_, shown) = ask(&server, Method::GET, "/personality", None).await;
    assert_eq!(shown["refresh"]["accepted"], "never");
    let (_, shown) =
        ask(&server, Method::PUT, "/personality", Some(json!({"token": {"lifetime": "5s"}}))).await;
    assert_eq!((&shown["token"]["lifetime"], &shown["refresh"]["accepted"]), (&json!("5s"), &json!("early")));
}

#[tokio::test]
async fn nonsense_is_refused_with_a_reason_and_changes_nothing() {
    let server = start().await;
    let before = server.personality();
    for (method, path, body) in [
        (Method::PATCH, "/personality", json!({"refresh": {"accepted": "sometimes"}})),
        (Method::PUT, "/personality", json!({"lifetime": "20s"})),
        (Method::POST, "/faults", json!({"fault": {"kind": "sadness"}})),
    ] {
        let (status, answer) = ask(&server, method, path, Some(body)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
    assert_eq!(server.personality(), before);
}

#[tokio::test]
async fn faults_are_added_and_taken_away() {
    let server = start().await;
    let rule = json!({"on": "login", "fault": {"kind": "status", "status": 503}, "times": 2});
    assert_eq!(ask(&server, Method::POST, "/faults", Some(rule)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(server.personality().faults, [FaultRule::on_login(Fault::status(503)).times(2)]);
    assert_eq!(log_in(&server, "demo"), Some(503));
    assert_eq!(ask(&server, Method::DELETE, "/faults", None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(log_in(&server, "demo"), Some(200));
}

#[tokio::test]
async fn users_are_changed_revoked_and_removed() {
    let server = start().await;
    let path = "/users/demo@idissuer.pl";
    let put = |body| ask(&server, Method::PUT, path, Some(body));
    assert_eq!(put(json!({"password": "new"})).await.0, StatusCode::NO_CONTENT);
    assert_eq!((log_in(&server, "demo"), log_in(&server, "new")), (Some(401), Some(200)));
    assert_eq!(put(json!({"password": "new", "apiAccess": false})).await.0, StatusCode::NO_CONTENT);
    assert_eq!(log_in(&server, "new"), Some(403));
    let (_, users) = ask(&server, Method::GET, "/users", None).await;
    assert_eq!(users, json!([{"name": USER, "apiAccess": false}]));
    let (status, answer) = put(json!({"password": ["hunter2"]})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!answer.to_string().contains("hunter2"));
    assert_eq!(
        ask(&server, Method::POST, "/users/demo@idissuer.pl/revoke", None).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(ask(&server, Method::DELETE, path, None).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&server, Method::DELETE, path, None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(log_in(&server, "new"), Some(401));
}

#[tokio::test]
async fn counts_and_calls_are_shown() {
    let server = start().await;
    log_in(&server, "demo");
    log_in(&server, "wrong");
    let (_, counts) = ask(&server, Method::GET, "/counts", None).await;
    assert_eq!((&counts[USER]["loginsAccepted"], &counts[USER]["loginsRejected"]), (&json!(1), &json!(1)));
    let (_, calls) = ask(&server, Method::GET, "/calls?since=1", None).await;
    assert_eq!(calls.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&calls[0]["sequence"], &calls[0]["outcome"]),
        (&json!(2), &json!({"refused": "wrong-password"}))
    );
    ask(&server, Method::DELETE, "/counts", None).await;
    assert_eq!(ask(&server, Method::GET, "/counts", None).await.1, json!({}));
    assert_eq!(ask(&server, Method::GET, "/calls", None).await.1.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn the_authority_and_a_list_of_all_this_are_shown() {
    let server = Simulator::start(Config::default().tls(Tls::localhost())).await.unwrap();
    let (_, pem) = ask(&server, Method::GET, "/ca.pem", None).await;
    assert_eq!(pem.as_str(), server.ca_pem());
    assert_eq!(ask(&start().await, Method::GET, "/ca.pem", None).await.0, StatusCode::NOT_FOUND);
    let (_, list) = ask(&server, Method::GET, "/", None).await;
    assert!(list.as_str().unwrap().contains("PATCH  /personality"));
}
