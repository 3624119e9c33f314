//! `idissuer-testbed`: the testbed's errands outside of a test.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use idissuer_testbed::{Program, Tools};

const USAGE: &str = "\
Usage: idissuer-testbed tools

  tools   builds the programs of the testbed that are missing, and prints where each one is
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["tools"] => tools(),
        ["help" | "--help" | "-h"] => io::stdout().write_all(USAGE.as_bytes()),
        _ => {
            let _ = io::stderr().write_all(USAGE.as_bytes());
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "idissuer-testbed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tools() -> io::Result<()> {
    let start = Instant::now();
    let tools = Tools::locate().map_err(io::Error::other)?;
    let mut out = io::stdout().lock();
    for program in Program::ALL {
        let path = tools.provide(program).map_err(io::Error::other)?;
        writeln!(out, "{}", path.display())?;
    }
    writeln!(out, "ready in {:.0} s", start.elapsed().as_secs_f32())
}
