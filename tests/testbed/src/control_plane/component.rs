//! One part of the control plane or of a node: a program that can be stopped and started again in the same place.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::process::{Grace, Signal, Supervised, WorkFolder};

/// Within this time a part that was asked to end has done so, with its connections drained.
const STOP_LIMIT: Duration = Duration::from_secs(75);

/// A part of the control plane or of a node, for tests of what happens without it.
#[derive(Debug)]
pub struct Component {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    process: Mutex<Option<Arc<Supervised>>>,
    folder: Arc<WorkFolder>,
}

impl Component {
    pub(crate) fn new(
        name: &'static str,
        program: PathBuf,
        arguments: Vec<String>,
        folder: &Arc<WorkFolder>,
    ) -> Self {
        Self { name, program, arguments, process: Mutex::new(None), folder: Arc::clone(folder) }
    }

    /// Starts it, if it does not run. It is not ready yet when this returns: see
    /// [`ControlPlane::ready`](crate::ControlPlane::ready).
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&self) -> Result<()> {
        let mut slot = self.slot();
        let runs = slot.as_ref().is_some_and(|process| process.exit_code().is_none());
        if !runs {
            let mut command = Command::new(&self.program);
            command.args(&self.arguments);
            let process = Supervised::spawn(self.name, &command, Grace::NONE, &self.folder)?;
            *slot = Some(Arc::new(process));
        }
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits until it has. The API server first lets its requests finish and its watches
    /// end.
    ///
    /// # Errors
    /// When it does not run, or does not end.
    pub async fn stop(&self) -> Result<()> {
        let process = self.process()?;
        process.signal(Signal::Terminate)?;
        process.wait_timeout(STOP_LIMIT).await?;
        Ok(())
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&self) -> Result<()> {
        self.process()?.kill().await?;
        Ok(())
    }

    /// Freezes it (SIGSTOP): it keeps its connections and answers none of them.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.process()?.signal(Signal::Stop)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.process()?.signal(Signal::Continue)
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let process = self.process().ok()?;
        process.exit_code().is_none().then(|| process.pid())
    }

    /// The end of its log.
    #[must_use]
    pub fn output_tail(&self) -> String {
        self.process().map(|process| process.output_tail()).unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// An error, if it has ended by itself.
    pub(crate) fn check_running(&self) -> Result<()> {
        let process = self.process()?;
        match process.exit_code() {
            None => Ok(()),
            Some(code) => {
                Err(Error::ComponentEnded { component: self.name, code, output: process.output_tail() })
            }
        }
    }

    fn process(&self) -> Result<Arc<Supervised>> {
        self.slot().clone().ok_or_else(|| Error::Ended { program: self.name.to_owned() })
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Supervised>>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
