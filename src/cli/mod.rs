//! The command line: what was typed, and what it means. The only room that prints to standard output.

mod api_server;
mod lease;
mod proxy;
mod selftest;
mod sidecar;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};

use lease::LeaseArguments;
use selftest::SelftestArguments;
use sidecar::SidecarArguments;

use crate::api::crd;
use crate::controller::{self, MetadataDomain, SecretType, Settings, TargetPolicy};
use crate::core::endpoint::{AllowList, Allowed, DEFAULT_ISSUER, Origin};
use crate::ops::descriptors;
use crate::ops::logging::{self, LogFormat};
use crate::ops::shutdown;
use crate::sidecar::RunError;

/// How long the API server may take for an answer to the selftest, which watches nothing.
const SELFTEST_SILENCE: Duration = Duration::from_secs(60);

/// Rotating ID Issuer tokens in Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "idissuer", version, about, propagate_version = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator: keep the target Secret of every `IdIssuerCredential` filled with a valid token
    Controller(Box<ControllerArguments>),
    /// Run beside one program: keep files filled with a valid token, in a pod or without any cluster
    Sidecar(Box<SidecarArguments>),
    /// Print the `CustomResourceDefinition`
    Crd,
    /// Try an installed operator: create a credential, see that its Secret holds a token, and delete it again
    Selftest(SelftestArguments),
}

#[derive(Debug, Args)]
struct ControllerArguments {
    /// Work in this namespace only; may be given several times [default: all namespaces]
    #[arg(long = "namespace", env = "IDISSUER_NAMESPACE", value_name = "NAME", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    namespaces: Vec<String>,

    /// The issuer of credentials that name none
    #[arg(long, env = "IDISSUER_ISSUER_URL", value_name = "URL", default_value = DEFAULT_ISSUER, value_parser = origin)]
    issuer_url: Origin,

    /// Another issuer that credentials may name; may be given several times. With a path, only what lies under it may be
    /// called there, also of the default issuer. Plain http only where given as http://
    #[arg(long = "allow-issuer", env = "IDISSUER_ALLOW_ISSUER", value_name = "URL", value_delimiter = ',', value_parser = allowed)]
    allow_issuers: Vec<Allowed>,

    /// A type that target Secrets may have beside Opaque, kubernetes.io/basic-auth and kubernetes.io/dockerconfigjson; may be
    /// given several times
    #[arg(long = "allow-secret-type", env = "IDISSUER_ALLOW_SECRET_TYPE", value_name = "TYPE", value_delimiter = ',', value_parser = secret_type)]
    allow_secret_types: Vec<SecretType>,

    /// A domain of which target Secrets may have labels and annotations, with its subdomains; may be given several times,
    /// and is * for all where one tenant has the cluster
    #[arg(long = "allow-metadata-domain", env = "IDISSUER_ALLOW_METADATA_DOMAIN", value_name = "DOMAIN", value_delimiter = ',', value_parser = metadata_domain)]
    allow_metadata_domains: Vec<MetadataDomain>,

    /// Where /livez, /readyz and /metrics are served
    #[arg(long, env = "IDISSUER_ADMIN_ADDR", value_name = "ADDRESS:PORT", default_value = "[::]:8080")]
    admin_addr: SocketAddr,

    /// How many credentials are worked on at once
    #[arg(long, env = "IDISSUER_CONCURRENCY", value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,

    /// How many credentials of each namespace are worked on; those beyond wait, and are told so
    #[arg(long, env = "IDISSUER_MAX_CREDENTIALS_PER_NAMESPACE", value_name = "NUMBER", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    max_credentials_per_namespace: u32,

    /// After how long a watch is made anew: one that has fallen silent hides changes until then
    #[arg(long, env = "IDISSUER_WATCH_TIMEOUT_SECONDS", value_name = "SECONDS", default_value_t = 290, value_parser = clap::value_parser!(u32).range(1..295))]
    watch_timeout_seconds: u32,

    #[command(flatten)]
    lease: LeaseArguments,

    /// Call issuers through the proxy of `HTTPS_PROXY` and its kin, which then sees where passwords go
    #[arg(long, env = "IDISSUER_USE_ENVIRONMENT_PROXY")]
    use_environment_proxy: bool,

    /// How log lines look; what is logged is set by `RUST_LOG`
    #[arg(long, env = "IDISSUER_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
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

/// Runs what the command line says, to the end of the process.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Controller(arguments) => run_controller(*arguments).map_err(Failure::from),
        Command::Sidecar(arguments) => sidecar::run(*arguments),
        Command::Crd => print_crd().map_err(Failure::from),
        Command::Selftest(arguments) => run_selftest(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            // Where standard error is closed there is nobody to tell.
            let _ = writeln!(io::stderr(), "idissuer: {message}");
            code.into()
        }
    }
}

/// Why the process ends without having done its work.
struct Failure {
    message: String,
    /// What the process ends with.
    code: u8,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { message, code: 1 }
    }
}

impl Failure {
    /// Told to end before the work was done. A process that SIGTERM ends has this code in a shell, and in a pod's status.
    fn unfinished() -> Self {
        Self { message: RunError::Unfinished.to_string(), code: 143 }
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
        watch_timeout_seconds: arguments.watch_timeout_seconds,
        use_environment_proxy: arguments.use_environment_proxy,
    };
    let stop = shutdown::on_signal(controller::STOP_LIMIT + shutdown::MARGIN)
        .map_err(|error| format!("register signal handlers: {error}"))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("start the runtime: {error}"))?;
    let outcome = runtime.block_on(async {
        let client = api_server::client(Duration::from_secs(settings.watch_timeout_seconds.into())).await?;
        settings.lease = arguments.lease.settings(timings, &settings.namespaces, client.default_namespace());
        controller::run(settings, client, stop).await.map_err(|error| error.to_string())
    });
    // Name resolution runs on threads that nothing can interrupt; they must not hold up the end.
    runtime.shutdown_background();
    outcome
}

fn run_selftest(arguments: SelftestArguments) -> Result<(), Failure> {
    install_crypto_provider()?;
    // As process 1 it would not even be ended by a signal that nobody handles, but killed.
    let stop = shutdown::on_signal(selftest::STOP_LIMIT)
        .map_err(|error| format!("register signal handlers: {error}"))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("start the runtime: {error}"))?;
    runtime.block_on(selftest::run(arguments, api_server::client(SELFTEST_SILENCE), &stop))
}

/// kube and reqwest share one TLS provider; it has to be named before either is used.
fn install_crypto_provider() -> Result<(), String> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| "install the TLS provider: another one is there already".to_owned())
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
