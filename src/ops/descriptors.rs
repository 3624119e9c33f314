//! File descriptors: every connection, watch and open file takes one.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. The soft one is often 1,024, for the sake of programs that use `select`.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!("raise the limit of file descriptors above {}: {error}", allowed());
    }
}

/// How many this process may have.
#[must_use]
pub fn allowed() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// So many of something that takes descriptors, or a third of what this process may have: the rest is for others.
#[must_use]
pub fn share(wanted: usize) -> usize {
    wanted.min(allowed() / 3).max(1)
}

/// Whether it is descriptors that were lacking, in this process or on the whole machine.
#[must_use]
pub fn are_lacking(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|it| error.raw_os_error() == Some(it.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        raise_limit();
        let after = getrlimit(Resource::Nofile);
        assert_eq!((after.current, after.maximum), (before.maximum, before.maximum));
    }

    #[test]
    fn a_lack_of_descriptors_differs_from_a_lost_connection() {
        for (number, is_lack) in [(Errno::MFILE, true), (Errno::NFILE, true), (Errno::CONNABORTED, false)] {
            assert_eq!(
                are_lacking(&io::Error::from_raw_os_error(number.raw_os_error())),
                is_lack,
                "{number}"
            );
        }
    }
}
