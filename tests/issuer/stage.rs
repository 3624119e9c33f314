//! The surroundings of a program under test: a simulated issuer, and a folder with the login files of one user.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use idissuer_simulator::{Config, Server, Simulator, User, UserCounts};
use idissuer_testbed::process::WorkFolder;

pub(crate) const NAME: &str = "shop@example.org";
pub(crate) const SECRET: &str = "correct-horse-battery-staple";
/// The lifetime of tokens that are not renewed while a test runs.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// An issuer that knows one user, and a folder with `login/username` and `login/password`.
pub(crate) struct Stage {
    // Dropped in this order.
    pub(crate) issuer: Server,
    pub(crate) folder: Arc<WorkFolder>,
    /// Where programs expect the issuer; a test may send them elsewhere.
    pub(crate) url: String,
}

impl Stage {
    /// With tokens of this lifetime.
    pub(crate) async fn prepare(lifetime: Duration) -> Self {
        let config = Config::default().user(User::new(NAME, SECRET));
        let config = config.personality(|personality| personality.token.lifetime = lifetime);
        let issuer = Simulator::start(config).await.unwrap();
        let stage = Self { url: issuer.url(), issuer, folder: Arc::new(WorkFolder::create().unwrap()) };
        fs::create_dir(stage.path("login")).unwrap();
        stage.write_login(NAME, SECRET);
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write_login(&self, username: &str, password: &str) {
        fs::write(self.path("login/username"), username).unwrap();
        fs::write(self.path("login/password"), password).unwrap();
    }

    /// The issuer's status for a request with this token.
    pub(crate) async fn present(&self, token: &str) -> u16 {
        let url = format!("{}/v2/authorized", self.issuer.url());
        let answer = reqwest::Client::new().get(url).bearer_auth(token).send().await.unwrap();
        answer.status().as_u16()
    }

    pub(crate) fn counts(&self) -> UserCounts {
        self.issuer.counts().of(NAME)
    }
}
