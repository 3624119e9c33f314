//! `idissuer`: the operator and the sidecar.

use std::process::ExitCode;

fn main() -> ExitCode {
    idissuer::cli::main()
}
