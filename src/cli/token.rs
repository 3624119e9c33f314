//! `idissuer token`: prints one valid token, at a keyboard or in a pipeline.

mod cluster;
mod prompt;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::exit_code::{FAILED, FORBIDDEN, INTERRUPTED, NOT_FOUND, NOT_READY, TIMED_OUT, UNREACHABLE, USAGE};
use super::{Failure, api_server, install_crypto_provider, origin};
use crate::core::endpoint::{DEFAULT_ISSUER, Endpoint, Origin, RefreshShape};
use crate::core::sidecar::token::HeldToken;
use crate::core::time::Moment;
use crate::core::token::Fingerprint;
use crate::core::token_command::{FailureKind, Fitness, LoginFailure, LoginOrigin, MinTtl, is_own};
use crate::ops::clock::{Clock, SystemClock};
use crate::ops::shutdown;
use crate::sidecar::source::{LoginFiles, SecretName};
use crate::sidecar::token_command::{
    Issuer, LockedEntry, Login, StateDirError, TokenError, entry_key, log_in,
};
use prompt::PromptError;

/// How long a stop may take: a login in progress has three seconds to be answered.
const STOP_LIMIT: Duration = Duration::from_secs(4);

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("source"),
    after_help = "Exit codes: 0 a token was printed, 1 failed, 2 usage, 3 not ready or rejected by the issuer, 4 forbidden, \
        5 not found, 6 issuer or API server unreachable, 124 timed out, 130 interrupted",
    after_long_help = "\
Examples:
  curl --oauth2-bearer \"$(idissuer token --login-dir ~/login)\" https://api.idissuer.pl/v2/reports
  curl -H \"$(idissuer token --username me@example.com --output header)\" https://api.idissuer.pl/v2/reports
  pass show idissuer | idissuer token --username me@example.com --password-stdin
  idissuer token --credential shop/billing --output json

A login's token is cached, and printed again while it lives for --min-ttl. Every attempt is recorded before it is sent:
a login that was never accepted is attempted once, and again only when it changes, so that the account is not locked.
If the command is killed during a login, the next attempt waits for five minutes.

Exit codes:
    0  a token was printed
    1  failed for another reason
    2  the command line is wrong
    3  the issuer rejects the login, or the credential has no valid token
    4  forbidden: missing rights in the cluster, or on a file
    5  the credential or a login file does not exist
    6  the issuer or the API server cannot be reached, or does not work; try again later
  124  timed out (--timeout-seconds)
  130  interrupted"
)]
pub(super) struct TokenArguments {
    /// Log in with the files `username` and `password` in this directory [env: `IDISSUER_LOGIN_DIR`]
    #[arg(long, value_name = "DIRECTORY", group = "source")]
    login_dir: Option<PathBuf>,

    /// Log in with this user name; the password is asked for on the terminal, without echo [env: `IDISSUER_USERNAME`]
    #[arg(long, value_name = "NAME", group = "source")]
    username: Option<String>,

    /// Read the token of this `IdIssuerCredential` from its Secret, with the rights of the kubeconfig, in the namespace of
    /// its context if none is given. Needs get on both [env: `IDISSUER_CREDENTIAL`]
    #[arg(long, value_name = "[NAMESPACE/]NAME", group = "source")]
    credential: Option<SecretName>,

    /// With a user name: read the password from standard input instead of the terminal
    #[arg(long)]
    password_stdin: bool,

    /// With --login-dir: the file with the user name
    #[arg(long, env = "IDISSUER_USERNAME_FILE", value_name = "NAME", default_value = "username")]
    username_file: String,

    /// With --login-dir: the file with the password
    #[arg(long, env = "IDISSUER_PASSWORD_FILE", value_name = "NAME", default_value = "password")]
    password_file: String,

    /// The issuer of a login. Plain HTTP only if the URL says http://
    #[arg(long, env = "IDISSUER_ISSUER_URL", value_name = "URL", default_value = DEFAULT_ISSUER, value_parser = origin)]
    issuer_url: Origin,

    /// The issuer's CA certificates (PEM) [default: the public CAs]
    #[arg(long, env = "IDISSUER_ISSUER_CA_FILE", value_name = "FILE")]
    issuer_ca_file: Option<PathBuf>,

    /// Call the issuer through the proxy variables (`HTTPS_PROXY`, …); the proxy then sees the destination of the password
    #[arg(long, env = "IDISSUER_USE_ENVIRONMENT_PROXY")]
    use_environment_proxy: bool,

    /// How many seconds the printed token must live at least [default: 60, at most a tenth of its lifetime]
    #[arg(long, env = "IDISSUER_MIN_TTL", value_name = "SECONDS")]
    min_ttl: Option<u32>,

    /// What to print
    #[arg(long, value_enum, default_value_t)]
    output: Output,

    /// The directory for cached tokens and the record of attempts, with mode 0700 [default: $`XDG_STATE_HOME`/idissuer, or
    /// ~/.local/state/idissuer]
    #[arg(long, env = "IDISSUER_STATE_DIR", value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,

    /// How long to wait for another process with the same login, and then for the issuer or the API server
    #[arg(long, env = "IDISSUER_TIMEOUT_SECONDS", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    timeout_seconds: u16,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// The bare token
    #[default]
    Token,
    /// `Authorization: Bearer …`, as for `curl -H`
    Header,
    /// An object with `token`, `token_type`, `expires_at` (RFC 3339) and `expires_in` (the seconds left)
    Json,
}

/// Where the token comes from.
enum Source {
    Files(LoginFiles),
    Typed(String),
    Credential(SecretName),
}

/// Prints a token.
pub(super) fn run(arguments: TokenArguments) -> Result<(), Failure> {
    install_crypto_provider()?;
    let stop =
        shutdown::on_signal(STOP_LIMIT).map_err(|error| format!("register signal handlers: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("start the runtime: {error}"))?;
    let output = arguments.output;
    let clock = Arc::new(SystemClock::start());
    let token = runtime.block_on(arguments.token(Arc::clone(&clock), &stop));
    // Threads that read the terminal cannot be interrupted, and must not delay the exit.
    runtime.shutdown_background();
    print(output, &token?, clock.now())
}

fn print(output: Output, token: &HeldToken, now: Moment) -> Result<(), Failure> {
    let text = output.render(token, now);
    let written = io::stdout().write_all(text.as_bytes());
    written.map_err(|error| format!("print the token: {error}").into())
}

impl Output {
    fn render(self, token: &HeldToken, now: Moment) -> Zeroizing<String> {
        let (bare, kind) = (token.access.expose(), HeldToken::TYPE);
        Zeroizing::new(match self {
            Self::Token => format!("{bare}\n"),
            Self::Header => format!("Authorization: {kind} {bare}\n"),
            Self::Json => {
                let expires_at = token.expiry.map(|expiry| expiry.wall.to_string());
                let expires_in = token.expiry.map(|expiry| expiry.remaining(now).as_secs().max(0));
                let quoted = |text: &str| serde_json::Value::from(text).to_string();
                let (at, left) =
                    (expires_at.map(serde_json::Value::from), expires_in.map(serde_json::Value::from));
                let [at, left] = [at, left].map(Option::unwrap_or_default);
                format!(
                    "{{\"token\": {}, \"token_type\": \"{kind}\", \"expires_at\": {at}, \"expires_in\": {left}}}\n",
                    *Zeroizing::new(quoted(bare))
                )
            }
        })
    }
}

impl TokenArguments {
    async fn token(self, clock: Arc<SystemClock>, stop: &CancellationToken) -> Result<HeldToken, Failure> {
        let limit = Duration::from_secs(self.timeout_seconds.into());
        match self.source()? {
            Source::Credential(name) => {
                let token = cluster::token(&name, self.min_ttl(), limit, &*clock);
                tokio::select! {
                    biased;
                    () = stop.cancelled() => Err(interrupted()),
                    token = tokio::time::timeout(limit, token) => token.map_err(|_| timed_out("the API server", limit))?,
                }
            }
            Source::Files(files) => self.of_login(LoginInput::Files(files), limit, clock, stop).await,
            Source::Typed(username) => {
                let password = if self.password_stdin {
                    Some(prompt::read_stdin(stop).await.map_err(|error| unasked(error, "standard input"))?)
                } else {
                    None
                };
                self.of_login(LoginInput::Typed { username, password }, limit, clock, stop).await
            }
        }
    }

    /// What the flags name, or else the environment.
    fn source(&self) -> Result<Source, Failure> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let text =
            |value: OsString| value.into_string().map_err(|_| usage("set the variables to UTF-8 text"));
        let (mut credential, mut username, mut login_dir) =
            (self.credential.clone(), self.username.clone(), self.login_dir.clone());
        if credential.is_none() && username.is_none() && login_dir.is_none() {
            let named = variable("IDISSUER_CREDENTIAL").map(text).transpose()?;
            let named = named.map(|name| name.parse::<SecretName>()).transpose();
            credential = named.map_err(|error| usage(&format!("IDISSUER_CREDENTIAL: {error}")))?;
            username = variable("IDISSUER_USERNAME").map(text).transpose()?;
            login_dir = variable("IDISSUER_LOGIN_DIR").map(PathBuf::from);
        }
        let is_typed = username.is_some();
        let source = match (credential, username, login_dir) {
            (Some(name), None, None) => Source::Credential(name),
            (None, Some(username), None) => Source::Typed(username),
            (None, None, Some(directory)) => Source::Files(LoginFiles {
                directory,
                username: self.username_file.clone(),
                password: self.password_file.clone(),
            }),
            (None, None, None) => {
                return Err(usage(
                    "name the login: --login-dir, --username or --credential (or a variable: IDISSUER_LOGIN_DIR, IDISSUER_USERNAME, IDISSUER_CREDENTIAL)",
                ));
            }
            _ => {
                return Err(usage(
                    "set only one of IDISSUER_LOGIN_DIR, IDISSUER_USERNAME and IDISSUER_CREDENTIAL, or choose by a flag",
                ));
            }
        };
        if self.password_stdin && !is_typed {
            return Err(usage("add --username, or remove --password-stdin"));
        }
        Ok(source)
    }

    fn min_ttl(&self) -> MinTtl {
        MinTtl(self.min_ttl.map(|seconds| SignedDuration::from_secs(seconds.into())))
    }

    /// The cached token of a login, or else a new one.
    async fn of_login(
        self,
        input: LoginInput,
        limit: Duration,
        clock: Arc<SystemClock>,
        stop: &CancellationToken,
    ) -> Result<HeldToken, Failure> {
        if self.use_environment_proxy {
            api_server::proxy::check_for_issuer(&self.issuer_url)?;
        }
        let (min_ttl, issuer_url) = (self.min_ttl(), self.issuer_url.to_string());
        let state_dir = self.state_dir.clone().or_else(default_state_dir);
        let state_dir =
            state_dir.ok_or_else(|| "name a --state-dir; this user has no home directory".to_owned())?;
        let key = input.key(&issuer_url);
        let opening = LockedEntry::open(&state_dir, &key, limit);
        let entry = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(interrupted()),
            entry = opening => entry.map_err(of_state_dir)?,
        };
        let login_origin = input.origin();
        let failed = |failure: LoginFailure| of_login_failure(&failure, login_origin);
        let login = input.read_files().map_err(failed)?;
        let files = login.as_ref().and_then(Login::files);
        let cached = entry
            .token(clock.now())
            .filter(|token| entry.record().is_some_and(|record| is_own(&record, token, &issuer_url, files)));
        if let Some(token) = cached {
            match min_ttl.judge_cached(&token, clock.now()) {
                Fitness::Fit => return Ok(token),
                Fitness::LifetimeTooShort => return Err(short_lived(&token)),
                Fitness::EndsTooSoon => {}
            }
        }
        let login = match login {
            Some(login) => login,
            None => input.read_typed(&entry, &issuer_url, stop).await?,
        };
        let issuer = self.issuer()?;
        let obtaining = log_in(&entry, issuer, login, Arc::clone(&clock) as Arc<dyn Clock>, stop.clone());
        let new = match tokio::time::timeout(limit, obtaining).await {
            Err(_) => return Err(timed_out("the issuer", limit)),
            Ok(Err(TokenError::Stopped)) => return Err(interrupted()),
            Ok(Err(TokenError::Login(failure))) => return Err(failed(failure)),
            Ok(Ok(new)) => new,
        };
        if let Some(warning) = new.warning {
            // If standard error is closed, nobody reads it.
            let _ = writeln!(io::stderr(), "idissuer: the next call logs in again: {warning}");
        }
        match min_ttl.judge(&new.token, clock.now()) {
            Fitness::Fit => Ok(new.token),
            Fitness::EndsTooSoon | Fitness::LifetimeTooShort => Err(short_lived(&new.token)),
        }
    }

    fn issuer(self) -> Result<Issuer, String> {
        let endpoint = Endpoint::new(self.issuer_url, None, None, RefreshShape::default())
            .map_err(|_| "the API paths do not fit --issuer-url")?;
        Ok(Issuer {
            endpoint,
            ca_file: self.issuer_ca_file,
            use_environment_proxy: self.use_environment_proxy,
        })
    }
}

/// The user name and password, as far as they are known before the cache is looked at.
enum LoginInput {
    Files(LoginFiles),
    Typed { username: String, password: Option<Zeroizing<Vec<u8>>> },
}

impl LoginInput {
    /// The entry in the state folder. The folder of the files counts as it is found in the end, without links.
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

    fn read_files(&self) -> Result<Option<Login>, LoginFailure> {
        match self {
            Self::Files(files) => Ok(Login::in_files(files).map(Some)?),
            Self::Typed { .. } => Ok(None),
        }
    }

    /// A typed login, now that there is no cached token; asks for the password unless it was piped in.
    async fn read_typed(
        self,
        entry: &LockedEntry,
        issuer: &str,
        stop: &CancellationToken,
    ) -> Result<Login, Failure> {
        let Self::Typed { username, password } = self else {
            return Err("read the login files: they were not read".to_owned().into());
        };
        let password = match password {
            Some(password) => password,
            None => prompt::ask(&format!("Password of {username} at {issuer}: "), stop)
                .await
                .map_err(|error| unasked(error, "the terminal"))?,
        };
        let login = Login::typed(&username, &password, entry.record().as_ref());
        login.map_err(|error| of_login_failure(&error.into(), LoginOrigin::Typed))
    }
}

/// `$XDG_STATE_HOME/idissuer`; a relative path does not count.
fn default_state_dir() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let parent = named.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")));
    parent.map(|parent| parent.join("idissuer"))
}

fn usage(message: &str) -> Failure {
    Failure { message: format!("{message}; see `idissuer token --help`"), code: USAGE }
}

fn interrupted() -> Failure {
    Failure { message: "interrupted before there was a token".to_owned(), code: INTERRUPTED }
}

fn timed_out(server: &str, limit: Duration) -> Failure {
    let message =
        format!("no token within {} s; check {server}, or raise --timeout-seconds", limit.as_secs());
    Failure { message, code: TIMED_OUT }
}

fn short_lived(token: &HeldToken) -> Failure {
    let lifetime =
        token.expiry.zip(token.issued).map(|(expiry, issued)| expiry.wall.duration_since(issued.wall));
    let seconds =
        lifetime.map_or_else(|| "unknown".to_owned(), |lifetime| format!("{} s", lifetime.as_secs()));
    Failure {
        message: format!(
            "no token lives as long as --min-ttl; lower it (the lifetime of the issuer's tokens is {seconds})"
        ),
        code: NOT_READY,
    }
}

fn of_login_failure(failure: &LoginFailure, origin: LoginOrigin) -> Failure {
    let code = match failure.kind() {
        FailureKind::Other => FAILED,
        FailureKind::Refused => NOT_READY,
        FailureKind::Forbidden => FORBIDDEN,
        FailureKind::NotFound => NOT_FOUND,
        FailureKind::Unreachable => UNREACHABLE,
    };
    Failure { message: failure.message(origin), code }
}

fn of_state_dir(error: StateDirError) -> Failure {
    let code = if matches!(error, StateDirError::Locked(_)) { TIMED_OUT } else { FAILED };
    Failure { message: error.to_string(), code }
}

fn unasked(error: PromptError, place: &str) -> Failure {
    match error {
        PromptError::NoTerminal => {
            usage("no terminal to ask for the password; use --password-stdin or --login-dir")
        }
        PromptError::Stopped => interrupted(),
        PromptError::Failed(error) => format!("read the password from {place}: {error}").into(),
    }
}
