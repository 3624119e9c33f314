//! Attacks on the port of probes and metrics, and the probe of a kubelet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::setup::Setup;

const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// So many failures in a row, and a kubelet restarts the container.
const FAILURES: usize = 3;
/// Connections of one attack: more than the operator may have descriptors.
const CONNECTIONS: usize = 1100;
/// How long an attack holds what it has.
const HOLD: Duration = Duration::from_secs(8);

#[derive(Default)]
pub(super) struct Probes {
    pub(super) good: AtomicUsize,
    pub(super) failed: AtomicUsize,
    /// How often there were so many failures in a row that a kubelet would have restarted the container.
    pub(super) restarts: AtomicUsize,
}

/// Probes `/livez` every second, each time on a connection of its own.
pub(super) fn probe(setup: &Arc<Setup>, probes: &Arc<Probes>) -> JoinHandle<()> {
    let (url, probes) = (format!("http://{}/livez", setup.operator.admin_address()), Arc::clone(probes));
    tokio::spawn(async move {
        let mut failures = 0;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // A client of its own has no connection that it could use again.
            let client = reqwest::Client::builder().timeout(PROBE_LIMIT).build().unwrap();
            let is_good = client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success());
            failures = if is_good { 0 } else { failures + 1 };
            let count = if is_good { &probes.good } else { &probes.failed };
            count.fetch_add(1, Ordering::Relaxed);
            if failures == FAILURES {
                probes.restarts.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
}

/// A way to use up what a listener has.
#[derive(Clone, Copy)]
enum Attack {
    Silence,
    LongHeads,
    /// Many requests for large answers that are never read.
    UnreadAnswers,
    /// A body that is announced and never comes.
    NoBody,
}

const ATTACKS: [Attack; 4] = [Attack::Silence, Attack::LongHeads, Attack::UnreadAnswers, Attack::NoBody];

/// Attacks the port, by all ways in turn. The tasks end by being aborted.
pub(super) fn attack(setup: &Arc<Setup>, seed: u64) -> Vec<JoinHandle<()>> {
    let (address, mut chance) = (setup.operator.admin_address(), fastrand::Rng::with_seed(seed));
    vec![tokio::spawn(async move {
        loop {
            let attack = ATTACKS[chance.usize(..ATTACKS.len())];
            let connections = futures::future::join_all((0..CONNECTIONS).map(|_| open(address, attack)));
            let held = tokio::time::timeout(HOLD, connections).await;
            tokio::time::sleep(HOLD / 4).await;
            drop(held);
        }
    })]
}

/// One connection of an attack, for as long as the other side keeps it.
async fn open(address: SocketAddr, attack: Attack) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    match attack {
        Attack::Silence => {}
        Attack::LongHeads => {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: ").await.ok()?;
            for _ in 0..100 {
                stream.write_all(&[b'a'; 4096]).await.ok()?;
            }
        }
        Attack::UnreadAnswers => {
            for _ in 0..100 {
                stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.ok()?;
            }
        }
        Attack::NoBody => {
            let head = b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
            stream.write_all(head).await.ok()?;
        }
    }
    // It stays open until it is dropped with the attack.
    std::future::pending::<()>().await;
    Some(stream)
}
