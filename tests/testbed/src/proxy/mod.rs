//! A proxy between one client and the API server: it records what is asked, and lets requests fail.
//!
//! ```text
//! client ── http ── Proxy ── https, as the user that it was started for ── API server
//!                     └ rules: answer for the API server, lose its answer, fall silent
//! ```
//!
//! Each connection of the client has one of its own to the API server, and ends with it. Bodies are passed on as they
//! come, those of watches too.

mod relay;
mod rule;
mod upstream;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use rule::{Fault, ProxiedRequest, Rule};
use upstream::Upstream;

use crate::control_plane::ControlPlane;
use crate::error::{Error, Result};
use crate::kubeconfig;

/// After a failure to accept: out of file descriptors, say, and connections that end free some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running proxy. It ends when it is dropped, and its connections with it.
#[derive(Debug)]
pub struct Proxy {
    kubeconfig: PathBuf,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    state: Mutex<State>,
    /// Sends when the rules have changed.
    rules_changed: watch::Sender<()>,
    /// Sends when every connection is to be closed.
    cut: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    requests: Vec<ProxiedRequest>,
}

impl Proxy {
    /// Starts a proxy whose client is `user` to the API server, as [`ControlPlane::kubeconfig_as`] has it. It runs on the
    /// tokio runtime in which it is started.
    ///
    /// # Errors
    /// When it cannot listen, or the user cannot be had.
    pub fn start(control_plane: &ControlPlane, user: &str, group: Option<&str>) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let failed = |error: std::io::Error| Error::Proxy(error.into());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;

        let name = format!("proxy-{}.kubeconfig", COUNT.fetch_add(1, Ordering::Relaxed));
        let kubeconfig = control_plane.folder().path().join(name);
        kubeconfig::write_plain(&kubeconfig, &format!("http://{address}"))?;
        let shared = Arc::new(Shared {
            upstream: Upstream::new(control_plane, user, group)?,
            state: Mutex::default(),
            rules_changed: watch::Sender::new(()),
            cut: watch::Sender::new(()),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { kubeconfig, shared, accepting })
    }

    /// A kubeconfig file for the client. It holds no key: every client of the proxy is its user.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Adds a rule. Of those that fit a request, the first is its fault.
    pub fn inject(&self, rule: Rule) {
        self.shared.state().rules.push(rule);
        self.shared.rules_changed.send_replace(());
    }

    /// Removes all rules. What was held back by them is passed on.
    pub fn heal(&self) {
        self.shared.state().rules.clear();
        self.shared.rules_changed.send_replace(());
    }

    /// Closes every connection, those of watches too. New ones are accepted.
    pub fn cut(&self) {
        self.shared.cut.send_replace(());
    }

    /// Every request so far, in the order in which they came.
    #[must_use]
    pub fn requests(&self) -> Vec<ProxiedRequest> {
        self.shared.state().requests.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    /// Numbers and records a request, and says what becomes of it.
    fn receive(&self, request: &mut ProxiedRequest) -> Option<Fault> {
        let mut state = self.state();
        request.number = state.requests.len();
        state.requests.push(request.clone());
        state.rules.iter_mut().find_map(|rule| rule.applies(request))
    }

    fn answered(&self, number: usize, status: u16) {
        if let Some(request) = self.state().requests.get_mut(number) {
            request.status = Some(status);
        }
    }

    /// Waits while no byte may be passed on to this request.
    async fn while_silent(&self, request: &ProxiedRequest) {
        let mut changes = self.rules_changed.subscribe();
        while self.state().rules.iter_mut().any(|rule| rule.silences(request)) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends only by being aborted, and takes the connections with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(relay::serve(stream, Arc::clone(&shared)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
