//! Builds one program with Go, once for all processes of this machine.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::program::build_flags;
use super::{Program, Tools};
use crate::error::{Error, Result};
use crate::process::{Grace, Supervised, WorkFolder};

/// How often a build reports progress.
const PROGRESS: Duration = Duration::from_secs(15);

pub(super) fn build(tools: &Tools, program: Program) -> Result<PathBuf> {
    let folder = tools.cache_folder(program);
    fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    let _lock = exclusive(&folder.join("lock"), program)?;
    if let Some(path) = tools.find(program) {
        return Ok(path);
    }
    require_go(program)?;

    let module = folder.join("module");
    program.module().write(&module)?;

    // Under a temporary name until it is complete: others may run the file.
    let unfinished = folder.join(format!("{}.unfinished", program.name()));
    run_go(program, &module, &unfinished)?;
    let path = folder.join(program.name());
    fs::rename(&unfinished, &path).map_err(Error::file("rename", &unfinished))?;
    Ok(path)
}

/// The lock goes with the file, and the file with the process, so a killed build leaves no lock behind.
fn exclusive(path: &Path, program: Program) -> Result<File> {
    let file = File::create(path).map_err(Error::file("create", path))?;
    if file.try_lock().is_err() {
        tell(&format!(
            "waiting for another process that builds the programs of the testbed, {} among them",
            program.name()
        ));
        file.lock().map_err(Error::file("lock", path))?;
    }
    Ok(file)
}

fn require_go(program: Program) -> Result<()> {
    let go = Command::new("go").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match go {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Error::GoMissing { program: program.name() })
        }
        // Whatever else is wrong with it, the build says better.
        _ => Ok(()),
    }
}

fn run_go(program: Program, module: &Path, output: &Path) -> Result<()> {
    let mut go = Command::new("go");
    go.arg("build")
        .args(build_flags(program.module()))
        .arg("-o")
        .arg(output)
        .arg(program.package())
        .current_dir(module)
        .env("CGO_ENABLED", if program.needs_c() { "1" } else { "0" })
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .env("GOFLAGS", "")
        .env_remove("GOOS")
        .env_remove("GOARCH");

    let start = Instant::now();
    tell(&format!(
        "building {} with Go, once; this takes about {} min on two cores",
        program.name(),
        program.usual_minutes()
    ));
    let folder = Arc::new(WorkFolder::create()?);
    let build = Supervised::spawn("go", &go, Grace::SHORT, &folder)?;
    let mut next_word = PROGRESS;
    let code = loop {
        if let Some(code) = build.exit_code() {
            break code;
        }
        if start.elapsed() >= next_word {
            tell(&format!("building {}: {} s", program.name(), start.elapsed().as_secs()));
            next_word += PROGRESS;
        }
        thread::sleep(Duration::from_millis(100));
    };
    if code != 0 {
        return Err(Error::BuildFailed { program: program.name(), output: build.output_tail() });
    }
    tell(&format!("built {} in {} s", program.name(), start.elapsed().as_secs()));
    Ok(())
}

/// Speaks past the capture of test output: a person waits.
pub(crate) fn tell(line: &str) {
    let _ = std::io::stderr().write_all(format!("idissuer-testbed: {line}\n").as_bytes());
}
