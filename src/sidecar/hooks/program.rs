//! Running programs as hooks, each with all that it starts, and burying what they leave behind.
//!
//! A program leads a process group of its own, so that what it started ends with it when it takes too long. Whatever
//! outlives its parent becomes a child of the first process, and as that the sidecar has to take note of its end: it would
//! stay in the table of processes otherwise.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::HookError;

/// How long a program that was killed may take to be gone. Only one that hangs in the kernel takes longer.
const KILL_LIMIT: Duration = Duration::from_secs(1);

/// The programs that run as hooks. Every clone sees the same.
#[derive(Clone, Default)]
pub(in crate::sidecar) struct Programs(Arc<Mutex<BTreeSet<i32>>>);

/// One of them. Dropped before its end, it is killed with all that it started.
struct Running<'a> {
    child: Child,
    /// While it is not known to have ended: only so long its number is its own.
    group: Option<Pid>,
    number: Option<i32>,
    programs: &'a Programs,
}

impl Programs {
    /// Runs a program to its end. One that takes longer than `limit` is killed with all that it started.
    pub(super) async fn run(
        &self,
        program: &str,
        arguments: &[String],
        limit: Duration,
    ) -> Result<(), HookError> {
        let mut running = self.start(program, arguments).map_err(HookError::Io)?;
        let Ok(ended) = timeout(limit, running.ended()).await else {
            running.kill();
            let _ = timeout(KILL_LIMIT, running.ended()).await;
            return Err(HookError::TimedOut);
        };
        let status = ended.map_err(HookError::Io)?;
        if status.success() { Ok(()) } else { Err(HookError::Exit(status)) }
    }

    fn start(&self, program: &str, arguments: &[String]) -> io::Result<Running<'_>> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        command.process_group(0).kill_on_drop(true);
        // Held during the start, so that the new process is not treated as an orphan.
        let mut numbers = self.lock();
        let child = command.spawn()?;
        let number = child.id().and_then(|number| i32::try_from(number).ok());
        numbers.extend(number);
        drop(numbers);
        Ok(Running { child, group: number.and_then(Pid::from_raw), number, programs: self })
    }

    /// Reaps every child that is not a hook, while it is polled.
    pub(in crate::sidecar) async fn reap_orphans(self) {
        let Ok(mut ended) = signal(SignalKind::child()) else { return };
        loop {
            self.reap_exited();
            if ended.recv().await.is_none() {
                return;
            }
        }
    }

    fn reap_exited(&self) {
        let hooks = self.lock();
        for number in zombies().filter(|number| !hooks.contains(number)) {
            // What cannot be waited for has been waited for.
            let _ = waitpid(Pid::from_raw(number), WaitOptions::NOHANG);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running<'_> {
    async fn ended(&mut self) -> io::Result<std::process::ExitStatus> {
        let status = self.child.wait().await?;
        self.group = None;
        Ok(status)
    }

    fn kill(&self) {
        if let Some(group) = self.group {
            // It may have ended just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.kill();
        if let Some(number) = self.number {
            self.programs.lock().remove(&number);
        }
    }
}

/// The exited children of this process that are not reaped yet.
fn zombies() -> impl Iterator<Item = i32> {
    let own = std::process::id().to_string();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(move |number: &i32| {
        let text = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        // The name is in parentheses, and may contain parentheses itself.
        let mut fields = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).into_iter().flatten();
        fields.next() == Some("Z") && fields.next() == Some(own.as_str())
    })
}
