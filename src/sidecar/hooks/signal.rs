//! A signal to the program: by its pid file, or by its name in a process namespace that the containers of a pod share.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::{HookError, file};

/// The allowed signals.
const SIGNALS: [(&str, Signal); 7] = [
    ("HUP", Signal::HUP),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("WINCH", Signal::WINCH),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("TERM", Signal::TERM),
];

/// The kernel keeps so much of a name.
const LONGEST_NAME: usize = 15;

/// A signal and its receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalHook {
    signal: Signal,
    receiver: Receiver,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Receiver {
    PidFile(PathBuf),
    Named(String),
}

/// The text is not a signal with its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not SIGNAL:/PATH/OF/PIDFILE or SIGNAL:NAME, with one of the signals HUP, USR1, USR2, WINCH, INT, QUIT, TERM"
)]
pub struct SignalHookError;

impl FromStr for SignalHook {
    type Err = SignalHookError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, receiver) = text.split_once(':').ok_or(SignalHookError)?;
        let name = name.strip_prefix("SIG").unwrap_or(name);
        let signal = SIGNALS.iter().find(|(known, _)| *known == name).ok_or(SignalHookError)?.1;
        let receiver = match receiver {
            "" => return Err(SignalHookError),
            path if path.starts_with('/') => Receiver::PidFile(path.into()),
            name => Receiver::Named(name.to_owned()),
        };
        Ok(Self { signal, receiver })
    }
}

impl fmt::Display for SignalHook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.receiver {
            Receiver::PidFile(path) => write!(formatter, "a signal to the process in {}", path.display()),
            Receiver::Named(name) => write!(formatter, "a signal to process {name}"),
        }
    }
}

impl SignalHook {
    pub(super) fn send(&self) -> Result<(), HookError> {
        kill_process(self.process()?, self.signal).map_err(|error| HookError::Io(error.into()))
    }

    /// Whether the signal can be sent, without sending it.
    ///
    /// # Errors
    /// For people: why not, and the cure.
    pub(in crate::sidecar) fn probe(&self) -> Result<(), String> {
        let found = self.process();
        let found = found.and_then(|pid| test_kill_process(pid).map_err(|error| HookError::Io(error.into())));
        found.map_err(|error| {
            let cure = match (&error, &self.receiver) {
                (HookError::Io(error), _) if error.kind() == io::ErrorKind::PermissionDenied => {
                    "run the sidecar and the program as the same user"
                }
                (_, Receiver::PidFile(_)) => "check that the program runs and writes its process ID there, and that the containers share the volume and the process namespace (shareProcessNamespace)",
                (_, Receiver::Named(_)) => "check that the program runs, and that the containers share their process namespace (shareProcessNamespace)",
            };
            format!("{error}; {cure}")
        })
    }

    fn process(&self) -> Result<Pid, HookError> {
        let pid = match &self.receiver {
            Receiver::PidFile(path) => {
                let text = file::read_text(path).map_err(HookError::Io)?;
                text.trim().parse().ok().filter(|pid| *pid > 0)
            }
            Receiver::Named(name) => first_of(name),
        };
        pid.filter(|pid| !is_sidecar(*pid)).and_then(Pid::from_raw).ok_or(HookError::NoProcess)
    }
}

/// Whether a process runs this very program. The first process of a container has the number 1 and may well have written
/// that into its pid file, but without a shared process namespace 1 is the sidecar.
fn is_sidecar(pid: i32) -> bool {
    let file = |process: &str| {
        let metadata = fs::metadata(format!("/proc/{process}/exe")).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    let is_own = i32::try_from(std::process::id()).is_ok_and(|own| own == pid);
    is_own || file(&pid.to_string()).is_some_and(|other| file("self") == Some(other))
}

/// The process of this name that no other of this name started: of a program with workers, the one above them.
fn first_of(name: &str) -> Option<i32> {
    let own = i32::try_from(std::process::id()).ok();
    let all = fs::read_dir("/proc").ok()?.flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let named: Vec<i32> = pids.filter(|pid| Some(*pid) != own && is_named(*pid, name)).collect();
    let is_first = |pid: &i32| parent(*pid).is_none_or(|parent| !named.contains(&parent));
    named.iter().copied().filter(is_first).min()
}

fn is_named(pid: i32, name: &str) -> bool {
    let output_dir = Path::new("/proc").join(pid.to_string());
    let short = fs::read_to_string(output_dir.join("comm")).unwrap_or_default();
    let is_short = name.len() <= LONGEST_NAME && short.trim_end() == name;
    let line = fs::read(output_dir.join("cmdline")).unwrap_or_default();
    let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
    is_short
        || Path::new(&*String::from_utf8_lossy(program)).file_name().is_some_and(|program| program == name)
}

fn parent(pid: i32) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses, and may contain parentheses itself.
    text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_goes_to_a_pid_file_or_to_a_name() {
        let parse = |text: &str| text.parse::<SignalHook>();
        let path = parse("SIGHUP:/run/nginx.pid").unwrap();
        assert_eq!((path.signal, path.receiver), (Signal::HUP, Receiver::PidFile("/run/nginx.pid".into())));
        let name = parse("USR1:nginx").unwrap();
        assert_eq!((name.signal, name.receiver), (Signal::USR1, Receiver::Named("nginx".into())));
        for text in ["HUP", "HUP:", "KILL:nginx", "hup:nginx", ":nginx"] {
            assert_eq!(parse(text), Err(SignalHookError), "{text}");
        }
    }

    #[test]
    fn a_pid_file_with_the_sidecars_own_id_names_no_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        fs::write(&path, std::process::id().to_string()).unwrap();
        let hook = SignalHook { signal: Signal::WINCH, receiver: Receiver::PidFile(path) };
        let told = hook.probe();
        assert!(told.is_err_and(|told| told.contains("shareProcessNamespace")));
    }

    #[test]
    fn a_process_is_found_by_its_name_and_the_one_above_its_children_is_meant() {
        // The shell of the parentheses has the same name.
        let script = "( read line; : ); :";
        let mut outer = std::process::Command::new("/bin/sh");
        let name = format!("hook-test-{}", std::process::id());
        std::os::unix::process::CommandExt::arg0(&mut outer, &name);
        let mut outer = outer.args(["-c", script]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(outer.id()).unwrap();
        // Its name shows a moment after it was started.
        let mut looks = std::iter::repeat_with(|| first_of(&name)).take(100_000);
        let found = looks.find_map(|found| found);
        let parent = parent(pid);
        drop(outer.stdin.take());
        outer.wait().unwrap();
        assert_eq!(found, Some(pid));
        assert_eq!(parent, i32::try_from(std::process::id()).ok());
        assert_eq!(first_of("no-such-program-anywhere"), None);
    }
}
