//! An API that accepts the tokens of a simulated issuer, and a mounted Secret that holds one of them.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idissuer_testbed::wait;
use tokio::sync::Notify;

use super::envoy::resource;
use crate::secret_volume::swap;
use crate::stage::{HOUR, NAME, SECRET, Stage};
use crate::support::{Caller, RawServer, http};

/// How long anything may take, also the start of a compiler on a busy machine.
pub(super) const LIMIT: Duration = Duration::from_secs(90);

pub(super) struct Api {
    server: RawServer,
    state: Arc<State>,
}

struct State {
    stage: Stage,
    version: AtomicU32,
    is_next_call_late: AtomicBool,
    /// Lets the answer to a late call go.
    late_answer: Notify,
    /// The token of each call, and the status that it got.
    calls: Mutex<Vec<(String, u16)>>,
}

impl Api {
    /// With a first token in the mounted Secret.
    pub(super) async fn start() -> Self {
        let state = Arc::new(State {
            stage: Stage::prepare(HOUR).await,
            version: AtomicU32::new(0),
            is_next_call_late: AtomicBool::new(false),
            late_answer: Notify::new(),
            calls: Mutex::default(),
        });
        fs::create_dir(state.volume()).unwrap();
        state.rotate().await;
        let shared = Arc::clone(&state);
        let server = RawServer::start(move |mut stream, requests| {
            let state = Arc::clone(&shared);
            async move {
                use tokio::io::AsyncWriteExt as _;
                while let Some(request) = requests.read(&mut stream).await {
                    let answer = state.answer(&request).await;
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await;
        Self { server, state }
    }

    pub(super) fn stage(&self) -> &Stage {
        &self.state.stage
    }

    pub(super) fn origin(&self) -> String {
        self.server.url()
    }

    pub(super) fn token_file(&self) -> PathBuf {
        self.state.volume().join("token")
    }

    /// Puts a new token into the mounted Secret; the one before stays good. Returns the new one.
    pub(super) async fn rotate(&self) -> String {
        self.state.rotate().await
    }

    /// Makes all tokens invalid.
    pub(super) fn revoke(&self) {
        assert!(self.stage().issuer.revoke(NAME));
    }

    /// The next call carries a token that is replaced, and becomes invalid, before the call arrives. Its answer goes once this
    /// many tokens are `known`. Returns the new one.
    pub(super) async fn replace_token_during_a_call(&self, known: impl AsyncFnOnce(u32)) -> String {
        let old = self.token();
        self.state.is_next_call_late.store(true, Ordering::SeqCst);
        let what = "the late call";
        let new = wait::until(what, LIMIT, async || Some(self.token()).filter(|token| *token != old)).await;
        known(self.state.version.load(Ordering::SeqCst)).await;
        self.state.late_answer.notify_one();
        new
    }

    fn token(&self) -> String {
        fs::read_to_string(self.token_file()).unwrap()
    }

    pub(super) async fn until_served(&self, token: &str) {
        wait::until("a served call with the current token", LIMIT, async || {
            let calls = self.state.calls.lock().unwrap();
            let is_served = calls.iter().any(|(used, status)| used == token && *status == 200);
            if is_served { Ok(()) } else { Err(format!("{} calls", calls.len())) }
        })
        .await;
    }

    /// How many calls got a 401.
    pub(super) fn refused(&self) -> usize {
        self.state.calls.lock().unwrap().iter().filter(|(_, status)| *status == 401).count()
    }
}

impl State {
    fn volume(&self) -> PathBuf {
        self.stage.path("volume")
    }

    async fn rotate(&self) -> String {
        let response = Caller::of(&self.stage.issuer.url()).pair(NAME, SECRET).login().await.unwrap();
        let token = response.token.access.expose().to_owned();
        let version = self.version.fetch_add(1, Ordering::SeqCst);
        swap(&self.volume(), &format!("..{version}"), &[("token", &token), ("sds.yaml", &resource(&token))]);
        token
    }

    async fn answer(&self, request: &str) -> String {
        let token = request.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            value.strip_prefix("Bearer ").filter(|_| name.eq_ignore_ascii_case("authorization"))
        });
        let token = token.unwrap_or_default().to_owned();
        if self.is_next_call_late.swap(false, Ordering::SeqCst) {
            assert!(self.stage.issuer.revoke(NAME));
            self.rotate().await;
            self.late_answer.notified().await;
        }
        let status = self.stage.present(&token).await;
        self.calls.lock().unwrap().push((token, status));
        http(&format!("{status} Status"), "content-type: application/json\r\n", "{}")
    }
}
