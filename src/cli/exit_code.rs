//! The exit codes. `make reference` lists them in the book with these comments.

/// It failed for another reason than those below, or several objects failed differently. Standard error says why.
pub(super) const FAILED: u8 = 1;
/// The command line is wrong.
pub(super) const USAGE: u8 = 2;
/// Not ready, or the issuer rejects the login.
pub(super) const NOT_READY: u8 = 3;
/// Forbidden: a permission in the cluster or on a file is missing, or the cluster does not accept the user. The message says which.
pub(super) const FORBIDDEN: u8 = 4;
/// What was named does not exist.
pub(super) const NOT_FOUND: u8 = 5;
/// The issuer or the API server cannot be reached, or does not work; a retry may help.
pub(super) const UNREACHABLE: u8 = 6;
/// It took too long, as `timeout` says it.
pub(super) const TIMED_OUT: u8 = 124;
/// Interrupted, as shells say it of Ctrl-C.
pub(super) const INTERRUPTED: u8 = 130;
/// Stopped before the work was done, as shells and the status of a pod say it of SIGTERM: `sidecar --once` without a token, for
/// example.
pub(super) const UNFINISHED: u8 = 143;
