//! The flags of the binary, as typed. Each has an environment variable; the control address can change most of them later.

mod meaning;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, builder::RangedU64ValueParser};
use idissuer_simulator::{
    DurationRange, ExpiresIn, FaultRule, Missing, RefreshAccepted, RefreshRequest, RefreshTokens, Session,
    TokenFormat, TrailingSlash,
};
use jiff::{SignedDuration, fmt::friendly::SpanParser};

const EXAMPLES: &str = r#"Examples:
  Tokens that live for 20 seconds, and a program under test pointed at http://127.0.0.1:8480:
    idissuer-simulator --token-lifetime 20s

  An issuer that refreshes only after expiry and keeps one session per user:
    idissuer-simulator --refresh-accepted after-expiry --session per-user

  Over https, with the authority written where a client can read it:
    idissuer-simulator --tls --ca-file ca.pem

  One call in ten fails, and the first refresh works but its answer is lost:
    idissuer-simulator \
      --fault '{"on":"refresh","fault":{"kind":"lost"},"times":1}' \
      --fault '{"fault":{"kind":"status","status":503,"retryAfter":{"seconds":5}},"chance":0.1}'

  Change it while it runs, and see what happened:
    curl -X PATCH -H 'content-type: application/json' http://127.0.0.1:8481/personality \
      -d '{"token":{"lifetime":"60s"}}'
    curl http://127.0.0.1:8481/counts

Faults: status, redirect, lost, hang, garbage, not-http, truncated, cut, oversize,
byte-order-mark, compressed, trickle.
GET / of the control address lists all that it can do."#;

/// A stand-in for the ID Issuer web API, with personalities and faults, for tests.
///
/// Serves POST /v2/auth/token, POST /v2/auth/refreshtoken and GET /v2/authorized. Without flags it is the issuer that
/// the vendor's page describes, at its kindest.
#[derive(Parser)]
#[command(name = "idissuer-simulator", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Where the API listens; port 0 takes a free one, shown in the first line of output.
    #[arg(
        long,
        env = "IDISSUER_SIMULATOR_LISTEN",
        default_value = "127.0.0.1:8480",
        value_name = "ADDRESS:PORT"
    )]
    listen: SocketAddr,

    /// Where the control listens. It has no authentication: keep it on loopback.
    #[arg(
        long,
        env = "IDISSUER_SIMULATOR_CONTROL_LISTEN",
        default_value = "127.0.0.1:8481",
        value_name = "ADDRESS:PORT"
    )]
    control_listen: SocketAddr,

    /// A user (repeatable; in the variable one per line) [default: demo@idissuer.pl:demo]
    #[arg(
        long = "user",
        env = "IDISSUER_SIMULATOR_USER",
        value_name = "NAME:PASSWORD[:no-api-access]",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    // Parsed later: clap would show a value that it cannot parse.
    users: Vec<String>,

    /// Makes the same tokens, latencies and faults at each start.
    #[arg(long, env = "IDISSUER_SIMULATOR_SEED", value_name = "NUMBER")]
    seed: Option<u64>,

    /// Prints each call as a line of JSON, without secrets.
    #[arg(long, env = "IDISSUER_SIMULATOR_PRINT_CALLS")]
    pub(crate) print_calls: bool,

    #[command(flatten)]
    https: HttpsFlags,
    #[command(flatten)]
    tokens: TokensFlags,
    #[command(flatten)]
    login: LoginFlags,
    #[command(flatten)]
    refresh: RefreshFlags,
    #[command(flatten)]
    weather: WeatherFlags,
}

#[derive(Args)]
#[command(next_help_heading = "https")]
struct HttpsFlags {
    /// Serves the API over https, with an authority and a certificate made at start.
    #[arg(long, env = "IDISSUER_SIMULATOR_TLS")]
    tls: bool,

    /// A host name or address in that certificate (repeatable). A wrong one makes a certificate that clients refuse.
    #[arg(
        long = "tls-name",
        env = "IDISSUER_SIMULATOR_TLS_NAME",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "localhost,127.0.0.1,::1"
    )]
    tls_names: Vec<String>,

    /// Serves the API over https with this certificate chain in PEM.
    #[arg(
        long,
        env = "IDISSUER_SIMULATOR_TLS_CERTIFICATE",
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "tls"
    )]
    tls_certificate: Option<PathBuf>,

    /// The key of --tls-certificate in PEM.
    #[arg(long, env = "IDISSUER_SIMULATOR_TLS_KEY", value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,

    /// Writes the authority made at start here, in PEM. It is also at /ca.pem of the control.
    #[arg(long, env = "IDISSUER_SIMULATOR_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

#[derive(Args)]
#[command(next_help_heading = "Access tokens")]
struct TokensFlags {
    /// How long a token is accepted: 20s, 5m, 1h.
    #[arg(long, env = "IDISSUER_SIMULATOR_TOKEN_LIFETIME", default_value = "1h", value_name = "DURATION", value_parser = duration)]
    token_lifetime: Duration,

    /// What a token looks like.
    #[arg(long, env = "IDISSUER_SIMULATOR_TOKEN_FORMAT", default_value = "jwt", value_enum)]
    token_format: TokenFormat,

    /// The text of `token_type`.
    #[arg(long, env = "IDISSUER_SIMULATOR_TOKEN_TYPE", default_value = "bearer", value_name = "TEXT")]
    token_type: String,

    /// What `expires_in` says: the truth, nothing, a word for a lie, or this JSON.
    #[arg(
        long,
        env = "IDISSUER_SIMULATOR_EXPIRES_IN",
        default_value = "exact",
        value_name = "exact|absent|zero|negative|text|float|huge|JSON"
    )]
    expires_in: ExpiresIn,
}

#[derive(Args)]
#[command(next_help_heading = "Login")]
struct LoginFlags {
    /// The path of the login.
    #[arg(
        long,
        env = "IDISSUER_SIMULATOR_LOGIN_PATH",
        default_value = "/v2/auth/token",
        value_name = "PATH"
    )]
    login_path: String,

    /// What a path with one slash too many or too few gets.
    #[arg(long, env = "IDISSUER_SIMULATOR_TRAILING_SLASH", default_value = "ignored", value_enum)]
    trailing_slash: TrailingSlash,

    /// Whether a login ends the user's earlier session.
    #[arg(long, env = "IDISSUER_SIMULATOR_SESSION", default_value = "per-login", value_enum)]
    session: Session,

    /// The status for a wrong user name or password.
    #[arg(long, env = "IDISSUER_SIMULATOR_REJECTED_STATUS", default_value = "401", value_name = "STATUS", value_parser = status())]
    rejected_status: u16,

    /// The status for a user without "API Access".
    #[arg(long, env = "IDISSUER_SIMULATOR_NO_ACCESS_STATUS", default_value = "403", value_name = "STATUS", value_parser = status())]
    no_access_status: u16,

    /// Locks a user after this many wrong passwords in a row.
    #[arg(long, env = "IDISSUER_SIMULATOR_LOCKOUT_AFTER", value_name = "NUMBER")]
    lockout_after: Option<u32>,

    /// How long a lock lasts.
    #[arg(long, env = "IDISSUER_SIMULATOR_LOCKOUT_DURATION", default_value = "15m", value_name = "DURATION", value_parser = duration)]
    lockout_duration: Duration,

    /// The status for a locked user.
    #[arg(long, env = "IDISSUER_SIMULATOR_LOCKOUT_STATUS", default_value = "423", value_name = "STATUS", value_parser = status())]
    lockout_status: u16,
}

#[derive(Args)]
#[command(next_help_heading = "Refresh")]
struct RefreshFlags {
    /// When a refresh is accepted.
    #[arg(long, env = "IDISSUER_SIMULATOR_REFRESH_ACCEPTED", default_value = "early", value_enum)]
    refresh_accepted: RefreshAccepted,

    /// The status of a refused refresh; with 200 it has an unusable body.
    #[arg(long, env = "IDISSUER_SIMULATOR_REFUSED_STATUS", default_value = "400", value_name = "STATUS", value_parser = status())]
    refused_status: u16,

    /// The shape of a refresh request: two strings, or the whole answer of the login.
    #[arg(long, env = "IDISSUER_SIMULATOR_REFRESH_REQUEST", default_value = "flat", value_enum)]
    refresh_request: RefreshRequest,

    /// The path of the refresh [default: /v2/auth/refreshtoken if flat, the login's if nested]
    #[arg(long, env = "IDISSUER_SIMULATOR_REFRESH_PATH", value_name = "PATH")]
    refresh_path: Option<String>,

    /// Whether refresh tokens can be used again, or exist at all.
    #[arg(long, env = "IDISSUER_SIMULATOR_REFRESH_TOKENS", default_value = "single-use", value_enum)]
    refresh_tokens: RefreshTokens,

    /// Refuses a spent refresh token without revoking what came from the same login.
    #[arg(long, env = "IDISSUER_SIMULATOR_FORGIVE_REUSE")]
    forgive_reuse: bool,

    /// A refresh answers no new refresh token; the old one stays good.
    #[arg(long, env = "IDISSUER_SIMULATOR_KEEP_REFRESH_TOKEN")]
    keep_refresh_token: bool,

    /// How an answer without a refresh token says so.
    #[arg(long, env = "IDISSUER_SIMULATOR_MISSING_REFRESH_TOKEN", default_value = "omitted", value_enum)]
    missing_refresh_token: Missing,

    /// A refresh ends the access token that it replaces.
    #[arg(long, env = "IDISSUER_SIMULATOR_END_OLD_TOKEN")]
    end_old_token: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Weather")]
struct WeatherFlags {
    /// How long logins and refreshes take: 200ms, or drawn from 50ms..2s. The work is done at once on arrival.
    #[arg(
        long,
        env = "IDISSUER_SIMULATOR_LATENCY",
        default_value = "0s",
        value_name = "DURATION[..DURATION]"
    )]
    latency: DurationRange,

    /// How far the issuer's clock is ahead: 90s, or -5m for behind.
    #[arg(
        long,
        env = "IDISSUER_SIMULATOR_CLOCK_OFFSET",
        default_value = "0s",
        value_name = "DURATION",
        allow_hyphen_values = true
    )]
    clock_offset: SignedDuration,

    /// Something that goes wrong (repeatable; in the variable one per line): see the examples.
    #[arg(long = "fault", env = "IDISSUER_SIMULATOR_FAULT", value_name = "JSON", value_parser = fault, value_delimiter = '\n')]
    faults: Vec<FaultRule>,
}

fn duration(text: &str) -> Result<Duration, jiff::Error> {
    SpanParser::new().parse_unsigned_duration(text)
}

fn fault(text: &str) -> Result<FaultRule, serde_json::Error> {
    serde_json::from_str(text)
}

fn status() -> RangedU64ValueParser<u16> {
    RangedU64ValueParser::new().range(200..600)
}
