//! When two states are equal.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use idissuer::core::token::Fingerprint;

use super::State;

impl State {
    /// What the future depends on. Two worlds of one key have the same future.
    pub(in super::super) fn key(&self) -> u64 {
        let mut key = Key(DefaultHasher::new());
        (self.now, self.began, self.quiet_since, &self.rejected, self.is_retry).hash(&mut key.0);
        (self.free_calls, self.crashes_left, self.published).hash(&mut key.0);
        // What is held of the issuer's, and what of it is still worth something.
        let held = self.held.map(|index| (self.is_alive(&self.given[index]), self.given[index].is_doubtful));
        held.hash(&mut key.0);
        let stray = self.stray.as_ref().map(|stray| {
            let presented = stray.presented();
            presented
                .map(|name| self.given.iter().find(|given| given.name == name).map(|it| self.is_alive(it)))
        });
        stray.hash(&mut key.0);
        let target = self.cluster.target.as_ref().map(|target| &target.name);
        let minted = self.minted.iter().find(|minted| Some(&minted.name) == target);
        minted.map(|minted| minted.expires).hash(&mut key.0);
        let names = self.names(target);
        names.hash(&mut key.0);
        // A hasher takes everything.
        let _ = self.process.describe(&mut key);
        let _ = self.cluster.describe(&mut key);
        key.0.finish()
    }

    /// Which of the names that are written down are those of one token.
    fn names(&self, target: Option<&Fingerprint>) -> [bool; 3] {
        let published = self.process.published().map(|published| &published.fingerprint);
        let held = self.process.account.token().map(|token| &token.fingerprint);
        [published == target, held == target, published == held]
    }
}

/// Hashes what is written, but for names of tokens: chance made them.
struct Key(DefaultHasher);

impl std::fmt::Write for Key {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let is_name = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_name {
            text.hash(&mut self.0);
        }
        Ok(())
    }
}
