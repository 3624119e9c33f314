//! A password from the terminal, or from standard input.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::core::username_password::PASSWORD_MAX_LENGTH;

/// The longest input that is read: a password that is too long, by one byte, and its line break.
const MAX_LENGTH: usize = PASSWORD_MAX_LENGTH + 3;

/// Why no password came.
pub(in crate::cli) enum PromptError {
    /// There is no terminal.
    NoTerminal,
    /// The process is asked to stop.
    Stopped,
    /// The terminal or standard input failed.
    Failed(io::Error),
}

impl From<io::Error> for PromptError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Asks on the terminal of this process, whatever its standard input and output are.
pub(in crate::cli) async fn ask(
    question: &str,
    stop: &CancellationToken,
) -> Result<Zeroizing<Vec<u8>>, PromptError> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let terminal = terminal.map_err(|_| PromptError::NoTerminal)?;
    let (reader, mut shown) = (terminal.try_clone()?, &terminal);
    let silenced = Silenced::new(&terminal)?;
    shown.write_all(question.as_bytes())?;
    let line = read(reader, stop, |byte| byte == b'\n').await;
    drop(silenced);
    // The line break that was typed is not shown either.
    shown.write_all(b"\n")?;
    line
}

/// Reads standard input to its end.
pub(in crate::cli) async fn read_stdin(stop: &CancellationToken) -> Result<Zeroizing<Vec<u8>>, PromptError> {
    read(io::stdin(), stop, |_| false).await
}

/// Reads up to a byte that ends the password, without the line break at its end. A stop request is not kept waiting.
async fn read(
    source: impl Read + Send + 'static,
    stop: &CancellationToken,
    is_end: fn(u8) -> bool,
) -> Result<Zeroizing<Vec<u8>>, PromptError> {
    let reading = tokio::task::spawn_blocking(move || read_password(source, is_end));
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(PromptError::Stopped),
        password = reading => Ok(password.map_err(io::Error::other)??),
    }
}

fn read_password(mut source: impl Read, is_end: fn(u8) -> bool) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut password = Zeroizing::new(Vec::with_capacity(MAX_LENGTH));
    let mut byte = Zeroizing::new([0; 1]);
    while password.len() < MAX_LENGTH {
        match source.read(&mut *byte) {
            Ok(0) => break,
            Ok(_) => password.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if is_end(byte[0]) {
            break;
        }
    }
    for end in [b'\n', b'\r'] {
        if password.last() == Some(&end) {
            password.pop();
        }
    }
    Ok(password)
}

/// A terminal that shows nothing of what is typed, until this is dropped. Ctrl-C still interrupts; the keys that would
/// end or stop the process without restoring the terminal do nothing.
struct Silenced<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silenced<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        silent.local_modes.insert(LocalModes::ICANON | LocalModes::ISIG);
        for key in [SpecialCodeIndex::VQUIT, SpecialCodeIndex::VSUSP] {
            silent.special_codes[key] = 0;
        }
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silenced<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_at_the_end_is_not_of_the_password() {
        for (input, password) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            ("secret\n\n", "secret\n"),
            (" two words ", " two words "),
            ("", ""),
        ] {
            assert_eq!(
                *read_password(input.as_bytes(), |_| false).unwrap(),
                password.as_bytes(),
                "{input:?}"
            );
        }
        assert_eq!(*read_password(&b"first\nsecond"[..], |byte| byte == b'\n').unwrap(), b"first");
        assert!(read_password(io::repeat(b'x'), |_| false).unwrap().len() > PASSWORD_MAX_LENGTH);
    }
}
