//! The token of a login: the cached one, or else a new one.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::failure::{interrupted, of_login_failure, of_prompt, of_state_dir, short_lived, timed_out};
use super::prompt;
use crate::cli::Failure;
use crate::core::sidecar::token::HeldToken;
use crate::core::token::Fingerprint;
use crate::core::token_command::{Fitness, LoginOrigin, MinTtl, is_own};
use crate::ops::clock::{Clock, SystemClock};
use crate::sidecar::source::LoginFiles;
use crate::sidecar::token_command::{Issuer, LockedEntry, Login, TokenError, entry_key, log_in};

/// The user name and password, as far as they are known before the cache is read.
pub(super) enum LoginInput {
    /// In a login folder.
    Files(LoginFiles),
    /// Typed: without a password, the terminal is asked for it if it is needed.
    Typed {
        /// The user name.
        username: String,
        /// What standard input held.
        password: Option<Zeroizing<Vec<u8>>>,
    },
}

/// What a login needs.
pub(super) struct LoginSettings {
    /// Where to log in.
    pub(super) issuer: Issuer,
    /// Where tokens and attempts are kept; if absent, where the user keeps such state.
    pub(super) state_dir: Option<PathBuf>,
    /// How much longer the token must live.
    pub(super) min_ttl: MinTtl,
    /// How long to wait for the lock, and then for the issuer.
    pub(super) limit: Duration,
    /// The clock.
    pub(super) clock: Arc<SystemClock>,
    /// Cancelled when the process is asked to stop.
    pub(super) stop: CancellationToken,
}

impl LoginSettings {
    /// The cached token if it lives long enough, or else a new one.
    pub(super) async fn token(self, input: LoginInput) -> Result<HeldToken, Failure> {
        let origin = input.origin();
        let entry = self.open(&input).await?;
        let login = match &input {
            LoginInput::Files(files) => {
                let login = Login::in_files(files);
                Some(login.map_err(|error| of_login_failure(&error.into(), origin))?)
            }
            LoginInput::Typed { .. } => None,
        };
        if let Some(token) = self.cached(&entry, login.as_ref())? {
            return Ok(token);
        }
        let login = match (login, input) {
            (None, LoginInput::Typed { username, password }) => {
                self.typed(&entry, &username, password).await?
            }
            (Some(login), _) => login,
            (None, LoginInput::Files(_)) => return Err("read the login files: no login".to_owned().into()),
        };
        self.obtain(&entry, login, origin).await
    }

    /// The entry of this login, once no other process holds it.
    async fn open(&self, input: &LoginInput) -> Result<LockedEntry, Failure> {
        let state_dir = self.state_dir.clone().or_else(default_state_dir);
        let state_dir =
            state_dir.ok_or_else(|| "name a --state-dir; this user has no home directory".to_owned())?;
        let key = input.key(&self.issuer_url());
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(interrupted()),
            entry = LockedEntry::open(&state_dir, &key, self.limit) => entry.map_err(|error| of_state_dir(&error)),
        }
    }

    fn cached(&self, entry: &LockedEntry, login: Option<&Login>) -> Result<Option<HeldToken>, Failure> {
        let (issuer, files, now) = (self.issuer_url(), login.and_then(Login::files), self.clock.now());
        let is_of_login =
            |token: &HeldToken| entry.record().is_some_and(|record| is_own(&record, token, &issuer, files));
        let Some(token) = entry.token(now).filter(is_of_login) else { return Ok(None) };
        match self.min_ttl.judge_cached(&token, now) {
            Fitness::Fit => Ok(Some(token)),
            Fitness::EndsTooSoon => Ok(None),
            Fitness::LifetimeTooShort => Err(short_lived(&token)),
        }
    }

    /// A typed login; asks for the password unless standard input held it. Meanwhile, the lock keeps others from asking.
    async fn typed(
        &self,
        entry: &LockedEntry,
        username: &str,
        password: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Login, Failure> {
        let password = match password {
            Some(password) => password,
            None => prompt::ask(&format!("Password of {username} at {}: ", self.issuer_url()), &self.stop)
                .await
                .map_err(|error| of_prompt(error, "the terminal"))?,
        };
        let login = Login::typed(username, &password, entry.record().as_ref());
        login.map_err(|error| of_login_failure(&error.into(), LoginOrigin::Typed))
    }

    async fn obtain(
        self,
        entry: &LockedEntry,
        login: Login,
        origin: LoginOrigin,
    ) -> Result<HeldToken, Failure> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let obtaining = log_in(entry, self.issuer, login, clock, self.stop);
        let new = match tokio::time::timeout(self.limit, obtaining).await {
            Err(_) => return Err(timed_out("the issuer", self.limit)),
            Ok(Err(TokenError::Stopped)) => return Err(interrupted()),
            Ok(Err(TokenError::Login(failure))) => return Err(of_login_failure(&failure, origin)),
            Ok(Ok(new)) => new,
        };
        if let Some(warning) = new.warning {
            // If standard error is closed, nobody reads it.
            let _ = writeln!(io::stderr(), "idissuer: the next call logs in again: {warning}");
        }
        match self.min_ttl.judge(&new.token, self.clock.now()) {
            Fitness::Fit => Ok(new.token),
            Fitness::EndsTooSoon | Fitness::LifetimeTooShort => Err(short_lived(&new.token)),
        }
    }

    fn issuer_url(&self) -> String {
        self.issuer.endpoint.origin.to_string()
    }
}

impl LoginInput {
    /// The key of the entry in the state folder. The folder of the files counts without the links that lead to it.
    fn key(&self, issuer: &str) -> Fingerprint {
        match self {
            Self::Files(files) => {
                let directory =
                    fs::canonicalize(&files.directory).unwrap_or_else(|_| files.directory.clone());
                entry_key(&[issuer, "files", &directory.to_string_lossy(), &files.username, &files.password])
            }
            Self::Typed { username, .. } => entry_key(&[issuer, "typed", username]),
        }
    }

    fn origin(&self) -> LoginOrigin {
        match self {
            Self::Files(_) => LoginOrigin::Files,
            Self::Typed { .. } => LoginOrigin::Typed,
        }
    }
}

/// `$XDG_STATE_HOME/idissuer`; a relative path does not count.
fn default_state_dir() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let parent = named.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")));
    parent.map(|parent| parent.join("idissuer"))
}
