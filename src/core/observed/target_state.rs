//! The state of the target relative to the last write, and where its token is available.

use std::sync::Arc;

use super::{LastSeen, Observed};
use crate::core::reason::Reason;
use crate::core::target::{ObjectVersion, TargetSnapshot};
use crate::core::token::IssuedToken;

/// Where the published token can be had from without asking the issuer.
#[derive(Clone, Debug)]
pub enum TokenSource<'a> {
    /// From the account's session.
    Memory(&'a Arc<IssuedToken>),
    /// From the target itself, where its fingerprint was found.
    Target,
    /// Perhaps in the target, which must be read.
    Unread,
    /// From nowhere: it is lost.
    Nowhere,
}

/// The state of the target relative to the last write.
#[derive(Clone, Debug)]
pub enum TargetState<'a> {
    /// All that we own of it is as our last write left it.
    Untouched,
    /// Someone changed it, and it has not been read since.
    Unverified,
    /// It does not exist.
    Absent,
    /// It is not as we left it, and may be written.
    Ours(&'a TargetSnapshot),
    /// It may not or cannot be written.
    Blocked(Reason),
}

impl<'a> Observed<'a> {
    /// The state of the target.
    #[must_use]
    pub fn target_state(&self) -> TargetState<'a> {
        let Ok(spec) = self.spec else { return TargetState::Untouched };
        let written = self.target_written;
        let seen = match self.target_seen {
            LastSeen::Absent => return TargetState::Absent,
            // Written in this process, and no watch event came yet.
            LastSeen::Unknown if written.is_some() => return TargetState::Untouched,
            LastSeen::Unknown => return TargetState::Unverified,
            LastSeen::Version(seen) => seen,
        };
        let read = self.target_read.filter(|read| read.version == *seen);
        // Even what we wrote last may be of another type than the specification wants by now.
        match read.map(|read| (read, read.judge(self.identity, &spec.target, written))) {
            Some((_, Err(reason))) => TargetState::Blocked(reason),
            _ if written == Some(seen) => TargetState::Untouched,
            Some((read, Ok(()))) if read.intact => TargetState::Untouched,
            Some((read, Ok(()))) => TargetState::Ours(read),
            None => TargetState::Unverified,
        }
    }

    /// The version that a write of the target replaces; none when it must not exist.
    #[must_use]
    pub fn target_fence(&self) -> Option<&'a ObjectVersion> {
        match self.target_state() {
            // Another writer may have changed what is not ours since our last write.
            TargetState::Untouched => self.target_seen.version().or(self.target_written),
            TargetState::Ours(read) => Some(&read.version),
            TargetState::Absent | TargetState::Unverified | TargetState::Blocked(_) => None,
        }
    }

    /// Whether the target must be written, because it is not as we left it or the specification is another one.
    #[must_use]
    pub fn needs_write(&self, state: &TargetState<'_>) -> bool {
        let rendered_for = self.published.and_then(|published| published.generation);
        rendered_for != Some(self.generation) || !matches!(state, TargetState::Untouched)
    }

    /// Where the published token can be had from.
    #[must_use]
    pub fn token_source(&self, state: &TargetState<'_>) -> TokenSource<'_> {
        let Some(published) = self.published else { return TokenSource::Nowhere };
        let held = self.account().and_then(|account| account.token.as_ref());
        if let Some(token) = held.filter(|token| token.fingerprint == published.fingerprint) {
            return TokenSource::Memory(token);
        }
        match state {
            TargetState::Absent => TokenSource::Nowhere,
            TargetState::Unverified => TokenSource::Unread,
            TargetState::Untouched | TargetState::Ours(_) | TargetState::Blocked(_) => {
                match self.target_read.filter(|read| self.target_seen.version() == Some(&read.version)) {
                    Some(read) if read.token.is_some() => TokenSource::Target,
                    Some(_) => TokenSource::Nowhere,
                    None => TokenSource::Unread,
                }
            }
        }
    }
}
