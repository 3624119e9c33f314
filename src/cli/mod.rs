//! The command line: arguments and their meaning. The only module that prints to standard output.

mod api_server;
mod completion;
mod exit_code;
mod lease;
mod plugin;
mod proxy;
mod selftest;
mod sidecar;
mod token;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use completion::CompletionArguments;
use lease::LeaseArguments;
use selftest::SelftestArguments;
use sidecar::SidecarArguments;
use token::TokenArguments;

use crate::api::crd;
use crate::controller::{self, MetadataDomain, SecretType, Settings, TargetPolicy};
use crate::core::endpoint::{AllowList, Allowed, DEFAULT_ISSUER, Origin};
use crate::ops::descriptors;
use crate::ops::logging::{self, LogFormat};
use crate::ops::shutdown;
use crate::sidecar::RunError;
use crate::traces::{self, Variables};

/// How long the API server may take to answer the selftest, which watches nothing.
const SELFTEST_SILENCE: Duration = Duration::from_secs(60);

/// Keeps Kubernetes Secrets and files filled with valid ID Issuer tokens.
#[derive(Debug, Parser)]
#[command(name = "idissuer", version, about, propagate_version = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator, which keeps a valid token in the target Secret of every `IdIssuerCredential`
    Controller(Box<ControllerArguments>),
    /// Run the sidecar, which keeps a valid token in files beside one program, in a pod or without a cluster
    Sidecar(Box<SidecarArguments>),
    /// Print one valid token, at a keyboard or in a pipeline: of a login, or of a credential in the cluster
    Token(Box<TokenArguments>),
    /// What people ask about credentials: the kubectl plugin, which is this program by the name kubectl-idissuer
    #[command(after_help = plugin::EXIT_CODES)]
    Kubectl(Box<crate::plugin::Arguments>),
    /// Print the `CustomResourceDefinition`
    Crd,
    /// Test an installed operator: create a credential, check that its Secret holds a token, and delete it
    Selftest(SelftestArguments),
    /// Print the completion script of a shell
    Completion(CompletionArguments),
}

#[derive(Debug, Args)]
struct ControllerArguments {
    /// Manage this namespace only. Repeatable [default: all namespaces]
    #[arg(long = "namespace", env = "IDISSUER_NAMESPACE", value_name = "NAME", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    namespaces: Vec<String>,

    /// The issuer for credentials that name none
    #[arg(long, env = "IDISSUER_ISSUER_URL", value_name = "URL", default_value = DEFAULT_ISSUER, value_parser = origin)]
    issuer_url: Origin,

    /// Another issuer that credentials may name. Repeatable. With a path, as in `https://issuer.example.com/v2/auth/`, only
    /// URLs under it may be called, even for the default issuer. Plain HTTP only if the URL says http://
    #[arg(long = "allow-issuer", env = "IDISSUER_ALLOW_ISSUER", value_name = "URL", value_delimiter = ',', value_parser = allowed)]
    allow_issuers: Vec<Allowed>,

    /// A type that target Secrets may have besides Opaque, kubernetes.io/basic-auth and kubernetes.io/dockerconfigjson, for
    /// example `example.com/token`. Repeatable. Other types of `kubernetes.io` and `k8s.io` cannot be allowed
    #[arg(long = "allow-secret-type", env = "IDISSUER_ALLOW_SECRET_TYPE", value_name = "TYPE", value_delimiter = ',', value_parser = secret_type)]
    allow_secret_types: Vec<SecretType>,

    /// A domain, including its subdomains, for labels and annotations of target Secrets. Repeatable; `*` allows all, for
    /// single-tenant clusters. `kubernetes.io` (except `app.kubernetes.io`, which is always allowed), `k8s.io` and
    /// `idissuer.pl` cannot be allowed
    #[arg(long = "allow-metadata-domain", env = "IDISSUER_ALLOW_METADATA_DOMAIN", value_name = "DOMAIN", value_delimiter = ',', value_parser = metadata_domain)]
    allow_metadata_domains: Vec<MetadataDomain>,

    /// The listen address of /livez, /readyz and /metrics. `[::]` includes IPv4, and falls back to `0.0.0.0` without IPv6
    #[arg(long, env = "IDISSUER_ADMIN_ADDR", value_name = "ADDRESS:PORT", default_value = "[::]:8080")]
    admin_addr: SocketAddr,

    /// How many credentials are reconciled at once; one namespace may use seven eighths of them
    #[arg(long, env = "IDISSUER_CONCURRENCY", value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,

    /// How many credentials of each namespace are managed. The oldest have priority; the others report `TooManyCredentials`
    /// and take over places that become free
    #[arg(long, env = "IDISSUER_MAX_CREDENTIALS_PER_NAMESPACE", value_name = "NUMBER", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    max_credentials_per_namespace: u32,

    /// Read the labels of namespaces, for `spec.allowedNamespaces.selector`. Needs the permission to list and watch
    /// namespaces in the cluster. The watch starts with the first selector
    #[arg(long, env = "IDISSUER_NAMESPACE_SELECTORS")]
    namespace_selectors: bool,

    /// Show each credential by its name in the metrics; `false` leaves only totals, for clusters with very many
    #[arg(long, env = "IDISSUER_CREDENTIAL_METRICS", value_name = "BOOLEAN", default_value_t = true, action = clap::ArgAction::Set)]
    credential_metrics: bool,

    /// How often watches are re-established. Pings detect a dead connection within 45 seconds; if a proxy in front of the
    /// API server speaks only HTTP/1.1, a stalled watch hides changes until then
    #[arg(long, env = "IDISSUER_WATCH_TIMEOUT_SECONDS", value_name = "SECONDS", default_value_t = 290, value_parser = clap::value_parser!(u32).range(1..295))]
    watch_timeout_seconds: u32,

    #[command(flatten)]
    lease: LeaseArguments,

    /// Call issuers through the proxy variables (`HTTPS_PROXY`, …); the proxy then sees the destinations of passwords. A
    /// SOCKS proxy is rejected at startup
    #[arg(long, env = "IDISSUER_USE_ENVIRONMENT_PROXY")]
    use_environment_proxy: bool,

    /// The format of the log, which goes to standard error; `RUST_LOG` sets its filter
    #[arg(long, env = "IDISSUER_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,

    #[command(flatten)]
    traces: Variables,
}

fn origin(text: &str) -> Result<Origin, String> {
    Origin::parse(text).map_err(|defect| format!("{defect}; write it like {DEFAULT_ISSUER}"))
}

fn secret_type(text: &str) -> Result<SecretType, String> {
    SecretType::parse(text).map_err(|defect| defect.to_string())
}

fn metadata_domain(text: &str) -> Result<MetadataDomain, String> {
    MetadataDomain::parse(text).map_err(|defect| defect.to_string())
}

fn allowed(text: &str) -> Result<Allowed, String> {
    Allowed::parse(text)
        .map_err(|_| format!("not an http or https URL; write it like {DEFAULT_ISSUER}/v2/auth/"))
}

/// Parses the command line, runs the command, and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let command = match plugin::by_name() {
        Some(arguments) => Command::Kubectl(Box::new(arguments)),
        None => Arguments::parse().command,
    };
    let outcome = match command {
        Command::Controller(arguments) => run_controller(*arguments).map_err(Failure::from),
        Command::Sidecar(arguments) => sidecar::run(*arguments),
        Command::Token(arguments) => token::run(*arguments),
        Command::Completion(arguments) => {
            completion::print(&arguments, Arguments::command()).map_err(Failure::from)
        }
        Command::Kubectl(arguments) => plugin::run(*arguments),
        Command::Crd => print_crd().map_err(Failure::from),
        Command::Selftest(arguments) => run_selftest(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            if !message.is_empty() {
                // If standard error is closed, the message cannot be reported.
                let _ = writeln!(io::stderr(), "idissuer: {message}");
            }
            code.into()
        }
    }
}

/// Why the process failed.
struct Failure {
    /// Empty if the output says everything.
    message: String,
    /// The exit code.
    code: u8,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { message, code: exit_code::FAILED }
    }
}

impl Failure {
    /// Stopped before the work was done.
    fn unfinished() -> Self {
        Self { message: RunError::Unfinished.to_string(), code: exit_code::UNFINISHED }
    }
}

fn print_crd() -> Result<(), String> {
    let text = crd::crd_yaml().map_err(|error| format!("render the CRD: {error}"))?;
    io::stdout().write_all(text.as_bytes()).map_err(|error| format!("print the CRD: {error}"))
}

fn run_controller(mut arguments: ControllerArguments) -> Result<(), String> {
    logging::start(arguments.log_format);
    descriptors::raise_limit();
    install_crypto_provider()?;
    if arguments.use_environment_proxy {
        let listed = arguments.allow_issuers.iter().map(Allowed::origin);
        listed.chain([&arguments.issuer_url]).try_for_each(api_server::proxy::check_for_issuer)?;
    }
    let timings = arguments.lease.timings()?;
    arguments.namespaces.sort_unstable();
    arguments.namespaces.dedup();
    let mut settings = Settings {
        lease: None,
        namespaces: arguments.namespaces,
        allow_list: AllowList::new(arguments.issuer_url, arguments.allow_issuers),
        target_policy: TargetPolicy::new(arguments.allow_secret_types, arguments.allow_metadata_domains),
        admin_address: arguments.admin_addr,
        concurrency: arguments.concurrency.into(),
        max_credentials_per_namespace: usize::try_from(arguments.max_credentials_per_namespace)
            .unwrap_or(usize::MAX),
        namespace_selectors: arguments.namespace_selectors,
        credential_metrics: arguments.credential_metrics,
        watch_timeout_seconds: arguments.watch_timeout_seconds,
        use_environment_proxy: arguments.use_environment_proxy,
        traces: trace_settings(&arguments.traces, "idissuer-operator"),
    };
    let stop = shutdown::on_signal(controller::STOP_LIMIT + shutdown::MARGIN)
        .map_err(|error| format!("register signal handlers: {error}"))?;
    let runtime = one_thread()?;
    let outcome = runtime.block_on(async {
        let client = api_server::client(Duration::from_secs(settings.watch_timeout_seconds.into())).await?;
        settings.lease = arguments.lease.settings(timings, &settings.namespaces, client.default_namespace());
        controller::run(settings, client, stop).await.map_err(|error| error.to_string())
    });
    // Threads of name resolution cannot be interrupted, and must not delay the exit.
    runtime.shutdown_background();
    outcome
}

/// Where traces go, if they are on. A variable that cannot be used does not keep the program from its work.
fn trace_settings(variables: &Variables, service: &str) -> Option<traces::Settings> {
    variables.settings(service).unwrap_or_else(|error| {
        tracing::warn!("traces are off: {error}");
        None
    })
}

fn run_selftest(arguments: SelftestArguments) -> Result<(), Failure> {
    install_crypto_provider()?;
    // Process 1 ignores signals without a handler, so without this it would be killed.
    let stop = shutdown::on_signal(selftest::STOP_LIMIT)
        .map_err(|error| format!("register signal handlers: {error}"))?;
    one_thread()?.block_on(selftest::run(arguments, api_server::client(SELFTEST_SILENCE), &stop))
}

/// A runtime of one thread. With several, waking one another costs a quarter of the CPU time. The work waits for the network;
/// what blocks (files, name resolution) has threads of its own.
fn one_thread() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("start the runtime: {error}"))
}

/// kube and reqwest share one TLS provider; it must be installed before either is used.
fn install_crypto_provider() -> Result<(), String> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| "install the TLS provider: another one is already installed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_find_the_endpoints_on_a_pods_address_of_either_family() {
        let parse = |command| Arguments::try_parse_from(["idissuer", command]).unwrap().command;
        let (Command::Controller(operator), Command::Sidecar(sidecar)) =
            (parse("controller"), parse("sidecar"))
        else {
            panic!("other commands");
        };
        assert_eq!(operator.admin_addr.to_string(), "[::]:8080");
        assert_eq!(sidecar.admin_addr.to_string(), "[::]:9440");
    }
}
