//! `idissuer-testbed`: the testbed outside of a test.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use idissuer_testbed::{Cluster, ControlPlane, Node, Options, Program, Recipe, Tools, bill_of_materials};

const USAGE: &str = "\
Usage: idissuer-testbed <command>

  tools        builds the programs of a control plane that are missing, and prints where each one is
  tools node   the same for those of a node; installs what building and running them needs of Debian's packages
  tools helm   the same for Helm 4 and Helm 3, which install the chart
  image <containerfile> <stage> <archive> [<argument>=<value>…]
               writes the image of a stage from scratch as an OCI archive; the arguments are those of a container engine
  materials <package>
               prints the bill of materials of a package of this workspace, in the form of CycloneDX
  up           starts a control plane, prints how to use it, and ends it on Ctrl-C
  up node [<image>=<archive>…]
               the same, with a node to run pods on, which knows these images, and with Helm
";

type Result = std::result::Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["tools"] => tools(&Program::CONTROL_PLANE),
        ["tools", "node"] => tools_of_node(),
        ["tools", "helm"] => tools(&Program::HELM),
        ["image", containerfile, stage, archive, arguments @ ..] => {
            image(containerfile, stage, archive, arguments)
        }
        ["materials", package] => materials(package),
        ["up"] => up(),
        ["up", "node", images @ ..] => up_with_node(images),
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

/// Where there can be no node, nobody needs them; but in CI there must be one.
fn tools_of_node() -> Result {
    if Node::available_for_test() {
        Node::prepare()?;
        tools(&Program::NODE)?;
    }
    Ok(())
}

/// The image has the name of its stage, and its version as the tag.
fn image(containerfile: &str, stage: &str, archive: &str, arguments: &[&str]) -> Result {
    let arguments: BTreeMap<String, String> = arguments
        .iter()
        .map(|argument| argument.split_once('=').ok_or_else(|| format!("{argument} has no value")))
        .map(|argument| argument.map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect::<std::result::Result<_, _>>()?;
    let tag = arguments.get("VERSION").ok_or("an image has a VERSION")?;
    let image = Recipe::read(Path::new(containerfile))?.image(stage, Path::new("."), &arguments)?;
    image.named(stage, tag).write(Path::new(archive))?;
    let size = fs::metadata(archive)?.len();
    say(&format!("{archive}: {stage}:{tag}, {}.{} MB\n", size / 1_000_000, size / 100_000 % 10))
}

fn materials(package: &str) -> Result {
    say(&format!("{:#}\n", bill_of_materials(Path::new("."), package)?))
}

#[tokio::main]
async fn up() -> Result {
    let start = Instant::now();
    stay(&ControlPlane::start(Options::new()).await?, start).await
}

#[tokio::main]
async fn up_with_node(images: &[&str]) -> Result {
    let start = Instant::now();
    let helm = Tools::locate()?.provide(Program::Helm)?;
    let cluster = Cluster::start(Options::new()).await?;
    for image in images {
        let (name, archive) = image.split_once('=').ok_or_else(|| format!("{image} has no archive"))?;
        cluster.node().import_named_image(Path::new(archive), name).await?;
    }
    say(&format!("alias helm={}\n", helm.display()))?;
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
