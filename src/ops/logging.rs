//! Logs, to standard error.

mod repetitions;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use tracing_subscriber::filter::Directive;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use self::repetitions::Repetitions;
use super::clock::SystemClock;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Directives that apply regardless of `RUST_LOG`, unless it names one of these targets.
///
/// On a response that it cannot parse, kube-client logs the whole body at WARN: a Secret, in base64. HTTP/2 and
/// rustls print frames and buffers at TRACE.
///
/// kube's controller wraps every line in a span that repeats the object.
const ALWAYS: [&str; 9] = [
    "kube_runtime::controller=warn",
    "kube_client::client=error",
    "hyper=info",
    "hyper_util=info",
    "h2=info",
    "rustls=info",
    "reqwest=info",
    "tower=info",
    "tonic=info",
];

/// Starts logging. The filter is `RUST_LOG`, or `info` without it. The same warning is not said twice within a minute.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::builder().with_default_directive(Directive::from(tracing::Level::INFO));
    let mut filter = filter.from_env_lossy();
    for directive in ALWAYS {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let repetitions = Repetitions::new(Arc::new(SystemClock::start()));
    tracing_subscriber::registry().with(filter).with(repetitions).with(lines).init();
}
