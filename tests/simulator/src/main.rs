//! The binary: the simulator from the command line.

mod arguments;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use arguments::Arguments;
use clap::Parser as _;
use idissuer_simulator::{Server, Simulator};
use tokio::signal::unix::{SignalKind, signal};

/// One thread is plenty: the work is done under a lock anyway.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut line = format!("idissuer-simulator: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                line = format!("{line}: {cause}");
                source = cause.source();
            }
            // With stderr closed, only the exit code shows the error.
            let _ = writeln!(io::stderr(), "{line}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    // Before the start line: its reader may signal at once.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;

    let (print_calls, ca_file) = (arguments.print_calls, arguments.ca_file());
    let server = Simulator::start(arguments.config()?).await?;
    if let (Some(path), Some(pem)) = (ca_file, server.ca_pem()) {
        std::fs::write(path, pem)?;
    }
    say(&format!("idissuer-simulator listens on {} (control on {})", server.url(), server.control_url()))?;

    tokio::select! {
        result = tell_calls(&server, print_calls) => result?,
        _ = terminated.recv() => (),
        _ = interrupted.recv() => (),
    }
    server.stop().await;
    Ok(())
}

/// Ends only when stdout is closed.
async fn tell_calls(server: &Server, wanted: bool) -> io::Result<()> {
    if !wanted {
        return std::future::pending().await;
    }
    let mut newest = 0;
    loop {
        for call in server.calls_after(newest).await {
            newest = call.sequence;
            say(&serde_json::to_string(&call)?)?;
        }
    }
}

fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
