//! Child processes that end when the test process ends, even if it is killed.
//!
//! A `Drop` does not run after SIGKILL, nor for a static. So each child runs under a small supervisor
//! (`supervisor.sh`) that reads from a pipe whose write end only the test process holds: when that closes,
//! the supervisor ends the child. The supervisor is the child's parent and leads a process group of its own,
//! so Ctrl-C at a terminal reaches neither of them.

mod folder;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use folder::WorkFolder;

use crate::error::{Error, Result};
use crate::wait;

/// How often an end that is waited for is looked at.
const POLL: Duration = Duration::from_millis(10);
/// How long a program may take to log an address.
const ADDRESS_LIMIT: Duration = Duration::from_secs(20);

/// A signal for a supervised process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Asks it to end.
    Terminate,
    /// What Ctrl-C sends. A child starts with it ignored, as every background process of a shell does, and so
    /// gets it only if it installs a handler.
    Interrupt,
    /// Ends it at once.
    Kill,
    /// Freezes it.
    Stop,
    /// Lets it go on after [`Signal::Stop`].
    Continue,
    /// The first of the two signals that have no meaning of their own.
    User1,
}

/// A child process that does not outlive this process.
///
/// Dropping it ends the child: TERM, then KILL when its grace is over.
#[derive(Debug)]
pub struct Supervised {
    name: String,
    pid: u32,
    output_path: PathBuf,
    supervisor: Mutex<Supervisor>,
    /// Declared last: the folder goes after the process that works in it.
    _folder: Arc<WorkFolder>,
}

#[derive(Debug)]
struct Supervisor {
    process: Child,
    /// The pipe. `None` once the child must end.
    pipe: Option<ChildStdin>,
}

/// How long a child may take to end by itself when it is dropped or abandoned.
#[derive(Clone, Copy, Debug)]
pub struct Grace(u32);

impl Grace {
    /// It is killed at once: for what is thrown away anyway.
    pub const NONE: Self = Self(0);
    /// Two seconds: for a program that has something to put in order.
    pub const SHORT: Self = Self(20);
}

impl Supervised {
    /// Starts `command` as a child named `name`.
    ///
    /// Of `command`, the program, the arguments, the folder and the set or removed variables count; what it says
    /// of streams does not: the input is empty, and standard output and error are appended to `<name>.log` in
    /// `folder`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(name: &str, command: &Command, grace: Grace, folder: &Arc<WorkFolder>) -> Result<Self> {
        let failed = |source| Error::Spawn { program: name.to_owned(), source };
        let output_path = folder.path().join(format!("{name}.log"));
        fs::File::options()
            .create(true)
            .append(true)
            .open(&output_path)
            .map_err(Error::file("create", &output_path))?;

        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", include_str!("supervisor.sh"), "supervisor"])
            .arg(&output_path)
            .arg(grace.0.to_string())
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(folder.lease()?)
            .stderr(Stdio::piped())
            .process_group(0);
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(variable, value),
                None => shell.env_remove(variable),
            };
        }
        if let Some(current) = command.get_current_dir() {
            shell.current_dir(current);
        }

        let mut process = shell.spawn().map_err(failed)?;
        let pipe = process.stdin.take();
        let mut line = String::new();
        if let Some(stream) = process.stderr.take() {
            BufReader::new(stream).read_line(&mut line).map_err(failed)?;
        }
        let pid = line
            .trim()
            .parse()
            .map_err(|_| failed(std::io::Error::other("the supervisor named no process id for it")))?;
        Ok(Self {
            name: name.to_owned(),
            pid,
            output_path,
            supervisor: Mutex::new(Supervisor { process, pipe }),
            _folder: Arc::clone(folder),
        })
    }

    /// The process id of the program itself, not of its supervisor.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The file that gets what the program prints.
    #[must_use]
    pub fn output_path(&self) -> &Path {
        &self.output_path
    }

    /// What the program has printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read(&self.output_path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The end of [`output`](Self::output): what a person wants to see of a program that failed.
    #[must_use]
    pub fn output_tail(&self) -> String {
        const LINES: usize = 25;
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// The address that the log names so, once it is there.
    pub async fn logged_address(&self, name: &str) -> SocketAddr {
        wait::until(&format!("the address {name}"), ADDRESS_LIMIT, async || {
            let output = self.output();
            let (_, rest) = output.split_once(&format!(" {name}=")).ok_or_else(|| output.clone())?;
            let address = rest.split_whitespace().next().unwrap_or_default().trim_matches('"');
            address.parse::<SocketAddr>().map_err(|_| output.clone())
        })
        .await
    }

    /// The memory of the program in KiB: `VmRSS` now, `VmHWM` at most so far. `None` once it has ended.
    #[must_use]
    pub fn memory(&self, kind: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Sends `signal`. It goes through the supervisor and so arrives a moment later, but never at another process
    /// that got the same id.
    ///
    /// # Errors
    /// When the program has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let name = match signal {
            Signal::Terminate => "TERM",
            Signal::Interrupt => "INT",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
            Signal::User1 => "USR1",
        };
        let mut supervisor = self.supervisor();
        let ended = supervisor.exit_code().is_some();
        let sent = supervisor
            .pipe
            .as_mut()
            .is_some_and(|pipe| pipe.write_all(format!("{name}\n").as_bytes()).is_ok());
        if ended || !sent {
            return Err(Error::Ended { program: self.name.clone() });
        }
        Ok(())
    }

    /// The exit code, if the program has ended: as in a shell, 128 and the signal's number after a signal.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.supervisor().exit_code()
    }

    /// Waits until the program has ended, and returns its [`exit_code`](Self::exit_code).
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub async fn wait_timeout(&self, limit: Duration) -> Result<i32> {
        let start = Instant::now();
        loop {
            if let Some(code) = self.exit_code() {
                return Ok(code);
            }
            if start.elapsed() > limit {
                return Err(Error::StillRunning { program: self.name.clone(), limit });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Sends SIGKILL and waits until the program is gone.
    ///
    /// # Errors
    /// When it does not go, which only a process that hangs in the kernel does.
    pub async fn kill(&self) -> Result<i32> {
        let _ = self.signal(Signal::Kill);
        self.wait_timeout(Duration::from_secs(10)).await
    }

    fn supervisor(&self) -> std::sync::MutexGuard<'_, Supervisor> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let mut supervisor = self.supervisor();
        supervisor.pipe = None;
        let _ = supervisor.process.wait();
    }
}

impl Supervisor {
    fn exit_code(&mut self) -> Option<i32> {
        let status = self.process.try_wait().ok().flatten()?;
        // A supervisor that was itself killed has no code; nothing the testbed does leads there.
        Some(status.code().unwrap_or(-1))
    }
}
