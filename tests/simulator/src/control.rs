//! The control address: JSON over HTTP to see and change a running simulator.
//!
//! It is for the person or the test beside the program under test, never for the program itself: it has no
//! authentication, so it listens on loopback by default.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::{get, post, put},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};

use crate::{CallRecord, Counts, FaultRule, Personality, Simulator, User};

const HELP: &str = "\
GET    /personality          what it is like
PATCH  /personality          change some of it: a JSON merge patch, in which null means the default
PUT    /personality          change all of it: what is left out becomes the default
POST   /faults               add a fault rule behind the others
DELETE /faults               no faults any more
GET    /users                who may log in
PUT    /users/{name}         {\"password\": \"...\", \"apiAccess\": true}: add or change; lifts a lock
DELETE /users/{name}         remove
POST   /users/{name}/revoke  make every token of this user invalid
GET    /counts               what each user's calls came to, by user
DELETE /counts               count from zero
GET    /calls?since=N        the calls after number N (0: all that are kept)
GET    /ca.pem               the authority that signed the certificate made at start
";

/// Serves until `stopped` ends.
pub(crate) async fn serve(
    listener: TcpListener,
    simulator: Simulator,
    ca_pem: Option<Arc<str>>,
    stopped: oneshot::Receiver<()>,
) {
    let router = Router::new()
        .route("/", get(|| async { HELP }))
        .route("/personality", get(personality).patch(patch_personality).put(put_personality))
        .route("/faults", post(post_fault).delete(delete_faults))
        .route("/users", get(users))
        .route("/users/{name}", put(put_user).delete(delete_user))
        .route("/users/{name}/revoke", post(revoke))
        .route("/counts", get(counts).delete(delete_counts))
        .route("/calls", get(calls))
        .route(
            "/ca.pem",
            get(|| async move { ca_pem.map(|pem| pem.to_string()).ok_or(StatusCode::NOT_FOUND) }),
        )
        .with_state(simulator);
    // It ends with the server. If the listener fails, the next request shows it.
    let _ = axum::serve(listener, router).with_graceful_shutdown(async { drop(stopped.await) }).await;
}

type Refused = (StatusCode, Json<Value>);

fn refuse(status: StatusCode, message: impl std::fmt::Display) -> Refused {
    (status, Json(json!({"message": message.to_string()})))
}

async fn personality(State(simulator): State<Simulator>) -> Json<Personality> {
    Json(simulator.personality())
}

async fn put_personality(
    State(simulator): State<Simulator>,
    Json(wanted): Json<Value>,
) -> Result<Json<Personality>, Refused> {
    let wanted: Personality =
        serde_json::from_value(wanted).map_err(|error| refuse(StatusCode::UNPROCESSABLE_ENTITY, error))?;
    Ok(Json(simulator.configure(|personality| {
        *personality = wanted;
        personality.clone()
    })))
}

async fn patch_personality(
    State(simulator): State<Simulator>,
    Json(patch): Json<Value>,
) -> Result<Json<Personality>, Refused> {
    simulator
        .configure(|personality| personality.patch(&patch).map(|()| personality.clone()))
        .map(Json)
        .map_err(|error| refuse(StatusCode::UNPROCESSABLE_ENTITY, error))
}

async fn post_fault(
    State(simulator): State<Simulator>,
    Json(rule): Json<Value>,
) -> Result<StatusCode, Refused> {
    let rule: FaultRule =
        serde_json::from_value(rule).map_err(|error| refuse(StatusCode::UNPROCESSABLE_ENTITY, error))?;
    simulator.inject(rule);
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_faults(State(simulator): State<Simulator>) -> StatusCode {
    simulator.configure(|personality| personality.faults.clear());
    StatusCode::NO_CONTENT
}

async fn users(State(simulator): State<Simulator>) -> Json<Value> {
    let users = simulator.inspect(|issuer| {
        issuer.users().map(|(name, api_access)| json!({"name": name, "apiAccess": api_access})).collect()
    });
    Json(Value::Array(users))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PutUser {
    password: String,
    api_access: Option<bool>,
}

async fn put_user(
    State(simulator): State<Simulator>,
    Path(name): Path<String>,
    Json(wanted): Json<Value>,
) -> Result<StatusCode, Refused> {
    // The error of serde may quote a value, and that may be the password.
    let PutUser { password, api_access } = serde_json::from_value(wanted).map_err(|_| {
        refuse(
            StatusCode::UNPROCESSABLE_ENTITY,
            "wanted: {\"password\": a string, \"apiAccess\": true or false}",
        )
    })?;
    let user = User::new(&name, &password);
    simulator.set_user(&if api_access == Some(false) { user.without_api_access() } else { user });
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_user(State(simulator): State<Simulator>, Path(name): Path<String>) -> StatusCode {
    done(simulator.remove_user(&name))
}

async fn revoke(State(simulator): State<Simulator>, Path(name): Path<String>) -> StatusCode {
    done(simulator.revoke(&name))
}

fn done(known: bool) -> StatusCode {
    if known { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn counts(State(simulator): State<Simulator>) -> Json<Counts> {
    Json(simulator.counts())
}

async fn delete_counts(State(simulator): State<Simulator>) -> StatusCode {
    simulator.reset_counts();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

async fn calls(
    State(simulator): State<Simulator>,
    Query(Since { since }): Query<Since>,
) -> Json<Vec<CallRecord>> {
    Json(simulator.calls_since(since))
}
