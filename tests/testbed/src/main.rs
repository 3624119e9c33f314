//! `idissuer-testbed`: the testbed outside of a test.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use idissuer_testbed::{Cluster, ControlPlane, Node, NodeOptions, Options, Program, Tools};

const USAGE: &str = "\
Usage: idissuer-testbed <command>

  tools        builds the programs of a control plane that are missing, and prints where each one is
  tools node   the same for those of a node; installs what building and running them needs of Debian's packages
  tools helm   the same for Helm 4 and Helm 3, which install the chart
  up           starts a control plane, prints how to use it, and ends it on Ctrl-C
  up node      the same, with a node to run pods on
";

type Result = std::result::Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["tools"] => tools(&Program::CONTROL_PLANE),
        ["tools", "node"] => Node::prepare().map_err(Into::into).and_then(|()| tools(&Program::NODE)),
        ["tools", "helm"] => tools(&Program::HELM),
        ["up"] => up(),
        ["up", "node"] => up_with_node(),
        ["help" | "--help" | "-h"] => say(USAGE),
        _ => {
            let _ = io::stderr().write_all(USAGE.as_bytes());
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("idissuer-testbed: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                text.push_str(": ");
                text.push_str(&error.to_string());
                cause = error.source();
            }
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

fn tools(programs: &[Program]) -> Result {
    let start = Instant::now();
    let tools = Tools::locate()?;
    for program in programs {
        say(&format!("{}\n", tools.provide(*program)?.display()))?;
    }
    say(&format!("ready in {:.0} s\n", start.elapsed().as_secs_f32()))
}

#[tokio::main]
async fn up() -> Result {
    let start = Instant::now();
    stay(&ControlPlane::start(Options::new()).await?, start).await
}

#[tokio::main]
async fn up_with_node() -> Result {
    let start = Instant::now();
    let cluster = Cluster::start(Options::new(), NodeOptions::new()).await?;
    stay(cluster.control_plane(), start).await
}

async fn stay(control_plane: &ControlPlane, start: Instant) -> Result {
    say(&format!(
        "ready in {:.1} s; Ctrl-C ends it\nexport KUBECONFIG={}\nalias kubectl={}\n",
        start.elapsed().as_secs_f32(),
        control_plane.kubeconfig().display(),
        control_plane.kubectl().program().display(),
    ))?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn say(text: &str) -> Result {
    Ok(io::stdout().write_all(text.as_bytes())?)
}
