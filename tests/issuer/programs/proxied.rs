//! A proxy that adds the token, and a program that calls it and knows none.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use idissuer_testbed::process::Supervised;
use tokio::task::JoinHandle;

use super::Calling;

/// A proxy, and a client that calls it all the time.
pub(super) struct Proxied {
    proxy: Supervised,
    statuses: Arc<Mutex<Vec<u16>>>,
    client: JoinHandle<()>,
}

impl Proxied {
    /// Calls a proxy that listens on this socket.
    pub(super) fn new(proxy: Supervised, socket: PathBuf) -> Self {
        let statuses = Arc::<Mutex<Vec<u16>>>::default();
        let results = Arc::clone(&statuses);
        let client = tokio::spawn(async move {
            let client = reqwest::Client::builder().unix_socket(socket).build().unwrap();
            loop {
                if let Ok(response) = client.get("http://localhost/v2/reports").send().await {
                    results.lock().unwrap().push(response.status().as_u16());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { proxy, statuses, client }
    }
}

impl Calling for Proxied {
    fn statuses(&self) -> Vec<u16> {
        self.statuses.lock().unwrap().clone()
    }

    fn log(&self) -> String {
        self.proxy.output_tail()
    }
}

impl Drop for Proxied {
    fn drop(&mut self) {
        self.client.abort();
    }
}

/// A text of an example with something else in place of a part that it must have.
pub(super) fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the example has no {from}");
    text.replace(from, to)
}
