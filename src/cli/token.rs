//! `idissuer token`: prints one valid token, at a keyboard or in a pipeline.

mod cluster;
mod failure;
mod login;
mod output;
pub(super) mod prompt;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args};
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

use super::{Failure, api_server, install_crypto_provider, origin};
use crate::core::endpoint::{DEFAULT_ISSUER, Endpoint, Origin, RefreshShape};
use crate::core::sidecar::token::HeldToken;
use crate::core::token_command::MinTtl;
use crate::ops::clock::{Clock as _, SystemClock};
use crate::ops::shutdown;
use crate::sidecar::source::{LoginFiles, SecretName};
use crate::sidecar::token_command::Issuer;
use failure::{interrupted, of_prompt, timed_out, usage};
use login::{LoginInput, LoginSettings};
use output::Output;

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

    /// The directory for cached tokens and the record of attempts, with mode 0700 [default: `$XDG_STATE_HOME/idissuer`, or
    /// ~/.local/state/idissuer]
    #[arg(long, env = "IDISSUER_STATE_DIR", value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,

    /// How long to wait for another process with the same login, and then for the issuer or the API server
    #[arg(long, env = "IDISSUER_TIMEOUT_SECONDS", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    timeout_seconds: u16,
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
    Ok(output::print(output, &token?, clock.now())?)
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
            Source::Files(files) => self.login(limit, clock, stop)?.token(LoginInput::Files(files)).await,
            Source::Typed(username) => {
                let password = if self.password_stdin {
                    let password = prompt::read_stdin(stop).await;
                    Some(password.map_err(|error| of_prompt(error, "standard input"))?)
                } else {
                    None
                };
                self.login(limit, clock, stop)?.token(LoginInput::Typed { username, password }).await
            }
        }
    }

    fn login(
        self,
        limit: Duration,
        clock: Arc<SystemClock>,
        stop: &CancellationToken,
    ) -> Result<LoginSettings, String> {
        if self.use_environment_proxy {
            api_server::proxy::check_for_issuer(&self.issuer_url)?;
        }
        let min_ttl = self.min_ttl();
        let endpoint = Endpoint::new(self.issuer_url, None, None, RefreshShape::default())
            .map_err(|_| "the API paths do not fit --issuer-url")?;
        let (ca_file, use_environment_proxy) = (self.issuer_ca_file, self.use_environment_proxy);
        let issuer = Issuer { endpoint, ca_file, use_environment_proxy };
        Ok(LoginSettings { issuer, state_dir: self.state_dir, min_ttl, limit, clock, stop: stop.clone() })
    }

    /// What the flags name, or else the environment.
    fn source(&self) -> Result<Source, Failure> {
        let mut named: Named = (self.credential.clone(), self.username.clone(), self.login_dir.clone());
        if let (None, None, None) = named {
            named = of_environment()?;
        }
        let source = match named {
            (Some(name), None, None) => Source::Credential(name),
            (None, Some(username), None) => Source::Typed(username),
            (None, None, Some(directory)) => Source::Files(LoginFiles {
                directory,
                username: self.username_file.clone(),
                password: self.password_file.clone(),
            }),
            (None, None, None) => {
                return Err(usage(&format!(
                    "name the login: --login-dir, --username or --credential (or a variable: {VARIABLES})"
                )));
            }
            _ => return Err(usage(&format!("choose by a flag, or set only one of {VARIABLES}"))),
        };
        if self.password_stdin && !matches!(source, Source::Typed(_)) {
            return Err(usage("add --username, or remove --password-stdin"));
        }
        Ok(source)
    }

    fn min_ttl(&self) -> MinTtl {
        MinTtl(self.min_ttl.map(|seconds| SignedDuration::from_secs(seconds.into())))
    }
}

/// The variables that name a login, which count without a flag.
const VARIABLES: &str = "IDISSUER_LOGIN_DIR, IDISSUER_USERNAME, IDISSUER_CREDENTIAL";

/// What flags or variables name: a credential, a user, or a login folder.
type Named = (Option<SecretName>, Option<String>, Option<PathBuf>);

/// What the environment names.
fn of_environment() -> Result<Named, Failure> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let text = |value: OsString| value.into_string().map_err(|_| usage("set the variables to UTF-8 text"));
    let credential = variable("IDISSUER_CREDENTIAL").map(text).transpose()?;
    let credential = credential.map(|name| name.parse::<SecretName>()).transpose();
    Ok((
        credential.map_err(|error| usage(&format!("IDISSUER_CREDENTIAL: {error}")))?,
        variable("IDISSUER_USERNAME").map(text).transpose()?,
        variable("IDISSUER_LOGIN_DIR").map(PathBuf::from),
    ))
}
