//! The flags of the sidecar, and what they mean.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use url::Url;

use super::proxy::ProxyArguments;
use super::{Failure, api_server, install_crypto_provider, origin, trace_settings};
use crate::core::account::Strategy;
use crate::core::endpoint::{DEFAULT_ISSUER, Endpoint, Origin, RefreshShape};
use crate::core::sidecar::files::Files;
use crate::ops::descriptors;
use crate::ops::logging::{self, LogFormat};
use crate::ops::shutdown;
use crate::sidecar::file::read_text;
use crate::sidecar::hooks::{Hook, SignalHook};
use crate::sidecar::output_dir::{FileMode, OutputDir};
use crate::sidecar::source::{LoginFiles, SecretKeys, SecretName};
use crate::sidecar::{self, Output, RunError, Settings, SourceSettings};
use crate::traces::Variables;

/// How often the watch of a Secret is re-established.
const WATCH: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(super) struct SidecarArguments {
    /// Run this action instead of the sidecar; it may come before, between or after the flags
    action: Option<Action>,

    /// The source of tokens
    #[arg(long, env = "IDISSUER_SOURCE", value_enum, default_value_t)]
    source: SourceKind,

    /// Source secret-dir: the directory where the target Secret is mounted, without subPath, which is never updated
    #[arg(long, env = "IDISSUER_SECRET_DIR", value_name = "DIRECTORY")]
    secret_dir: Option<PathBuf>,

    /// Source secret: the target Secret, watched at the API server. Needs get, list and watch on that Secret
    #[arg(long, env = "IDISSUER_SECRET", value_name = "[NAMESPACE/]NAME")]
    secret: Option<SecretName>,

    /// Sources secret-dir and secret: the key or file with the bare token
    #[arg(long, env = "IDISSUER_TOKEN_KEY", value_name = "NAME", default_value = "token")]
    token_key: String,

    /// Source login: the directory with user name and password. With several replicas use a Secret source instead: each
    /// replica logs in on its own, with its own limit of rejections
    #[arg(long, env = "IDISSUER_LOGIN_DIR", value_name = "DIRECTORY")]
    login_dir: Option<PathBuf>,

    /// Source login: the file with the user name
    #[arg(long, env = "IDISSUER_USERNAME_FILE", value_name = "NAME", default_value = "username")]
    username_file: String,

    /// Source login: the file with the password
    #[arg(long, env = "IDISSUER_PASSWORD_FILE", value_name = "NAME", default_value = "password")]
    password_file: String,

    /// Source login: the issuer. Plain HTTP only if the URL says http://
    #[arg(long, env = "IDISSUER_ISSUER_URL", value_name = "URL", default_value = DEFAULT_ISSUER, value_parser = origin)]
    issuer_url: Origin,

    /// Source login: the issuer's CA certificates (PEM) [default: the public CAs]
    #[arg(long, env = "IDISSUER_ISSUER_CA_FILE", value_name = "FILE")]
    issuer_ca_file: Option<PathBuf>,

    /// Source login: how to obtain new tokens. Use auto only for an account that nobody else uses
    #[arg(long, env = "IDISSUER_STRATEGY", value_enum, default_value_t)]
    strategy: StrategyKind,

    /// The directory for the files: token, authorization, token.json and those of the templates. It must exist
    #[arg(long, env = "IDISSUER_OUTPUT_DIR", value_name = "DIRECTORY")]
    output_dir: Option<PathBuf>,

    /// The permission bits of the files
    #[arg(long, env = "IDISSUER_FILE_MODE", value_name = "OCTAL", default_value = "0440", value_parser = file_mode)]
    file_mode: FileMode,

    /// Allow a --file-mode that lets everyone read
    #[arg(long, env = "IDISSUER_ALLOW_WORLD_READABLE")]
    allow_world_readable: bool,

    /// A directory with templates, read at startup. Each is rendered to a file with the same name; the variables are token,
    /// `token_type`, `expires_at`, `issued_at` and `expires_in`
    #[arg(long, env = "IDISSUER_TEMPLATE_DIR", value_name = "DIRECTORY")]
    template_dir: Option<PathBuf>,

    #[command(flatten)]
    proxy: ProxyArguments,

    /// After each publication, send a POST to this URL. Repeatable
    #[arg(long = "hook-url", env = "IDISSUER_HOOK_URL", value_name = "URL", value_parser = hook_url)]
    hook_urls: Vec<Url>,

    /// After each publication, touch this file. Repeatable
    #[arg(long = "hook-touch", env = "IDISSUER_HOOK_TOUCH", value_name = "FILE")]
    hook_touches: Vec<PathBuf>,

    /// After each publication, send a signal to the process in a pid file, or to the process with a name, if the containers
    /// share the process namespace. It must run as the same user. Repeatable
    #[arg(long = "hook-signal", env = "IDISSUER_HOOK_SIGNAL", value_name = "SIGNAL:PIDFILE|SIGNAL:NAME")]
    hook_signals: Vec<SignalHook>,

    /// After each publication, run this program; a command line with quotes as in a shell. Our image contains no other
    /// programs and no shell: for images built on it, and outside clusters. Repeatable
    #[arg(long = "hook-exec", env = "IDISSUER_HOOK_EXEC", value_name = "COMMAND")]
    hook_execs: Vec<String>,

    /// How long a hook may run
    #[arg(long, env = "IDISSUER_HOOK_TIMEOUT_SECONDS", value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    hook_timeout_seconds: u16,

    /// Exit with code 0 after the first token, for an init container; with code 143 if stopped before. Runs no hooks
    #[arg(long, env = "IDISSUER_ONCE")]
    once: bool,

    /// How long to keep the token fresh after SIGTERM, which the program gets at the same time
    #[arg(long, env = "IDISSUER_SHUTDOWN_DELAY", value_name = "SECONDS", default_value_t = 0)]
    shutdown_delay: u16,

    /// The port on 127.0.0.1 where POST /quitquitquit stops the sidecar, for a Job without native sidecars
    #[arg(long, env = "IDISSUER_QUIT_PORT", value_name = "PORT")]
    quit_port: Option<u16>,

    /// The listen address of /startup, /livez, /readyz and /metrics
    #[arg(long, env = "IDISSUER_ADMIN_ADDR", value_name = "ADDRESS:PORT", default_value = "[::]:9440")]
    pub(super) admin_addr: SocketAddr,

    /// Call the issuer through the proxy variables (`HTTPS_PROXY`, …); the proxy then sees the destination of the password
    #[arg(long, env = "IDISSUER_USE_ENVIRONMENT_PROXY")]
    use_environment_proxy: bool,

    /// The log format; `RUST_LOG` sets the log filter
    #[arg(long, env = "IDISSUER_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,

    #[command(flatten)]
    traces: Variables,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    /// Check the setup that the flags describe, and name the cure for each problem
    Check,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum SourceKind {
    /// Log in with user name and password from files
    Login,
    /// Follow a target Secret that the kubelet mounts
    #[default]
    SecretDir,
    /// Watch a target Secret at the API server
    Secret,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum StrategyKind {
    /// Log in for each token: others may also use the account
    #[default]
    Login,
    /// Refresh if the issuer allows it, otherwise log in
    Auto,
}

fn file_mode(text: &str) -> Result<FileMode, String> {
    let bits = u32::from_str_radix(text, 8).ok();
    bits.and_then(FileMode::new)
        .ok_or_else(|| "not octal permission bits like 0440, read and write only".into())
}

fn hook_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.filter(|url| url.username().is_empty() && url.password().is_none());
    url.ok_or_else(|| {
        "not an http or https URL without a user; write it like http://127.0.0.1:8080/reload".into()
    })
}

/// Runs the sidecar, or checks its set-up.
pub(super) fn run(arguments: SidecarArguments) -> Result<(), Failure> {
    logging::start(arguments.log_format);
    descriptors::raise_limit();
    install_crypto_provider()?;
    let delay = Duration::from_secs(arguments.shutdown_delay.into());
    let limit = sidecar::stop_limit(arguments.proxy.is_wanted(), delay) + shutdown::MARGIN;
    let stop = shutdown::on_signal(limit).map_err(|error| format!("register signal handlers: {error}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // It has little work, and shares the pod's CPUs with the program.
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("start the runtime: {error}"))?;
    let outcome = runtime.block_on(async {
        let (action, is_once) = (arguments.action, arguments.once);
        // The files that it reads may be on a file system that hangs.
        let settings = tokio::spawn(arguments.settings());
        let settings = tokio::select! {
            settings = settings => settings.map_err(|error| format!("read the settings: {error}"))??,
            () = stop.cancelled() => return if is_once { Err(Failure::unfinished()) } else { Ok(()) },
        };
        match action {
            None => match sidecar::run(settings, stop).await {
                Err(RunError::Unfinished) => Err(Failure::unfinished()),
                outcome => outcome.map_err(|error| error.to_string().into()),
            },
            Some(Action::Check) => check(&settings).await.map_err(Failure::from),
        }
    });
    // Threads of name resolution cannot be interrupted, and must not delay the exit.
    runtime.shutdown_background();
    outcome
}

async fn check(settings: &Settings) -> Result<(), String> {
    let findings = sidecar::check(settings).await;
    let mut output = io::stdout().lock();
    for finding in &findings {
        let mark = if finding.is_good { "ok  " } else { "FAIL" };
        writeln!(output, "{mark} {}", finding.text)
            .map_err(|error| format!("print the findings: {error}"))?;
    }
    match findings.iter().filter(|finding| !finding.is_good).count() {
        0 => Ok(()),
        number => Err(format!("{number} of {} checks failed", findings.len())),
    }
}

impl SidecarArguments {
    async fn settings(self) -> Result<Settings, String> {
        if self.use_environment_proxy && matches!(self.source, SourceKind::Login) {
            api_server::proxy::check_for_issuer(&self.issuer_url)?;
        }
        let (source, output) = (self.source().await?, self.output()?);
        let (proxy, hooks) = (self.proxy.settings()?, self.hooks()?);
        if self.once && proxy.is_some() {
            return Err("remove --once or --proxy-listen; the proxy would stop after the first token".into());
        }
        if output.is_none() && proxy.is_none() {
            return Err("add --output-dir or --proxy-listen; there is nothing to do otherwise".into());
        }
        if output.is_none() && matches!(source, SourceSettings::Login { .. }) {
            return Err(
                "add --output-dir, for example an emptyDir; --source login records its attempts there, so that a crash loop does not lock the account".into(),
            );
        }
        Ok(Settings {
            source,
            output,
            proxy,
            hooks,
            hook_limit: Duration::from_secs(self.hook_timeout_seconds.into()),
            admin_address: self.admin_addr,
            quit_port: self.quit_port,
            once: self.once,
            shutdown_delay: Duration::from_secs(self.shutdown_delay.into()),
            use_environment_proxy: self.use_environment_proxy,
            traces: trace_settings(&self.traces, "idissuer-sidecar"),
        })
    }

    async fn source(&self) -> Result<SourceSettings, String> {
        let keys = SecretKeys { token: self.token_key.clone() };
        Ok(match self.source {
            SourceKind::SecretDir => {
                let path = self.secret_dir.clone().ok_or("--source secret-dir needs --secret-dir")?;
                SourceSettings::Directory { path, keys }
            }
            SourceKind::Secret => {
                let name = self.secret.clone().ok_or("--source secret needs --secret")?;
                SourceSettings::Secret { name, keys, client: api_server::client(WATCH).await? }
            }
            SourceKind::Login => {
                let files = LoginFiles {
                    directory: self.login_dir.clone().ok_or("--source login needs --login-dir")?,
                    username: self.username_file.clone(),
                    password: self.password_file.clone(),
                };
                let endpoint = Endpoint::new(self.issuer_url.clone(), None, None, RefreshShape::default())
                    .map_err(|_| "the API paths do not fit --issuer-url")?;
                let strategy = match self.strategy {
                    StrategyKind::Login => Strategy::Login,
                    StrategyKind::Auto => Strategy::Auto,
                };
                SourceSettings::Login {
                    files,
                    endpoint: Box::new(endpoint),
                    ca_file: self.issuer_ca_file.clone(),
                    strategy,
                }
            }
        })
    }

    fn output(&self) -> Result<Option<Output>, String> {
        if self.file_mode.is_world_readable() && !self.allow_world_readable {
            return Err(
                "--file-mode lets everyone read the token; change it, or add --allow-world-readable".into()
            );
        }
        let Some(path) = self.output_dir.clone() else {
            return match (&self.template_dir, self.hooks()?.is_empty()) {
                (None, true) => Ok(None),
                (Some(_), _) => Err("--template-dir needs --output-dir for its files".into()),
                (None, false) => Err("hooks need files; add --output-dir".into()),
            };
        };
        let templates = self.template_dir.as_deref().map(read_templates).transpose()?.unwrap_or_default();
        let files = Files::new(templates).map_err(|defect| format!("--template-dir: {defect}"))?;
        Ok(Some(Output { output_dir: OutputDir::new(path, self.file_mode), files }))
    }

    fn hooks(&self) -> Result<Vec<Hook>, String> {
        let execs = self.hook_execs.iter().map(|command| {
            let words = shlex::split(command).ok_or("close the quotes in --hook-exec")?;
            let (program, arguments) = words.split_first().ok_or("--hook-exec names no program")?;
            Ok(Hook::Exec { program: program.clone(), arguments: arguments.into() })
        });
        let urls = self.hook_urls.iter().cloned().map(Hook::Http);
        let touches = self.hook_touches.iter().cloned().map(Hook::Touch);
        let signals = self.hook_signals.iter().cloned().map(Hook::Signal);
        let hooks: Vec<Hook> =
            urls.chain(touches).chain(signals).map(Ok).chain(execs).collect::<Result<_, String>>()?;
        if self.once && !hooks.is_empty() {
            return Err("remove the hooks; --once runs none, because the program has not started".into());
        }
        Ok(hooks)
    }
}

/// The templates in a directory, by file name. Files that begin with `..` belong to the volume.
fn read_templates(directory: &Path) -> Result<BTreeMap<String, String>, String> {
    let cause = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| format!("read templates in {path}: {error}")
    };
    let mut templates = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(cause(directory))? {
        let path = entry.map_err(cause(directory))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.starts_with("..") {
            templates.insert(name, read_text(&path).map_err(cause(&path))?);
        }
    }
    Ok(templates)
}
