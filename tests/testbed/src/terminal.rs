//! A terminal for a program that asks a person.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

/// A terminal, seen from its other side.
pub struct Terminal {
    master: File,
    /// Open as long as the test, or the master reads an end between two programs.
    slave: File,
}

impl Terminal {
    /// A new one.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn open() -> io::Result<Self> {
        // A program that has it open is not hung up on when a test fails, and stays.
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let name = name.to_str().map_err(io::Error::other)?;
        let slave = File::options().read(true).write(true).open(name)?;
        Ok(Self { master: File::from(master), slave })
    }

    /// Runs the program with this as its terminal. Its output is not the terminal, as in `$(…)`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn run(&self, command: &Command) -> io::Result<Child> {
        let mut changed = Command::new("setsid");
        changed.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            value.map(|value| changed.env(name, value));
        }
        changed.stdin(self.slave.try_clone()?);
        changed.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    /// What is shown, up to this text.
    ///
    /// # Errors
    /// If it is not shown within the limit.
    pub async fn until_shown(&self, text: &'static str, limit: Duration) -> io::Result<String> {
        let mut master = self.master.try_clone()?;
        let reading = tokio::task::spawn_blocking(move || {
            let (mut shown, mut part) = (String::new(), [0; 256]);
            while !shown.contains(text) {
                let length = master.read(&mut part)?;
                shown.push_str(&String::from_utf8_lossy(part.get(..length).unwrap_or_default()));
            }
            Ok(shown)
        });
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("{text:?} is not shown"));
        tokio::time::timeout(limit, reading).await.map_err(late)?.map_err(io::Error::other)?
    }

    /// Types this.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn type_in(&self, text: &str) -> io::Result<()> {
        (&self.master).write_all(text.as_bytes())
    }

    /// Whether it shows what is typed.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn echoes(&self) -> io::Result<bool> {
        Ok(tcgetattr(&self.slave)?.local_modes.contains(LocalModes::ECHO))
    }
}
