//! The exit codes of commands that people and scripts run.

/// It failed for another reason than those below.
pub(super) const FAILED: u8 = 1;
/// The command line is wrong; clap ends with it, too.
pub(super) const USAGE: u8 = 2;
/// Not ready, or the issuer rejects the login.
pub(super) const NOT_READY: u8 = 3;
/// This user may not do that.
pub(super) const FORBIDDEN: u8 = 4;
/// What was named does not exist.
pub(super) const NOT_FOUND: u8 = 5;
/// The issuer or the API server cannot be reached, or does not work; a retry may help.
pub(super) const UNREACHABLE: u8 = 6;
/// It took too long, as `timeout` says it.
pub(super) const TIMED_OUT: u8 = 124;
/// Stopped by a signal, as shells say it of Ctrl-C.
pub(super) const INTERRUPTED: u8 = 130;
