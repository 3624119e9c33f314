//! The key of an account.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::core::endpoint::RefreshShape;
use crate::core::login::LoginPair;
use crate::core::observed::AccountKey;
use crate::issuer::{Site, Trust};

/// The key of a user at an issuer, whatever the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct UserKey([u8; 32]);

/// Derives account keys under a secret of this process, so that a key says nothing about a password outside of it.
pub struct KeyMaker {
    secret: [u8; 64],
}

impl KeyMaker {
    /// Derives keys under this secret; draw a new one for each process.
    #[must_use]
    pub fn new(secret: [u8; 64]) -> Self {
        Self { secret }
    }

    /// Derives keys under a new secret; none when the system's random source fails.
    #[must_use]
    pub fn random() -> Option<Self> {
        let mut secret = [0; 64];
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.secure_random.fill(&mut secret).ok()?;
        Some(Self::new(secret))
    }

    /// The key of an account: issuer, paths, shape, trust, user name and password. Members that share all of them
    /// share a session.
    #[must_use]
    pub fn key(&self, site: &Site, pair: &LoginPair) -> AccountKey {
        let trust: &[u8] = match &site.trust {
            Trust::PublicRoots => b"",
            Trust::Bundle(bundle) => bundle.digest(),
        };
        let shape: &[u8] = match site.endpoint.refresh_shape {
            RefreshShape::Flat => b"flat",
            RefreshShape::Nested => b"nested",
        };
        AccountKey(self.digest(&[
            site.endpoint.token.as_str().as_bytes(),
            site.endpoint.refresh.as_str().as_bytes(),
            shape,
            trust,
            pair.username().as_bytes(),
            pair.password().as_bytes(),
        ]))
    }

    /// The key of a user at an issuer, whatever the password.
    pub(super) fn user(&self, site: &Site, pair: &LoginPair) -> UserKey {
        let origin = site.endpoint.origin.to_string();
        UserKey(self.digest(&[origin.as_bytes(), pair.username().as_bytes()]))
    }

    fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new(&self.secret.into());
        for part in parts {
            // With its length before each part, no two different logins make the same input.
            mac.update(&part.len().to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::endpoint::{Endpoint, Origin};

    fn key(keys: &KeyMaker, path: &str, username: &str, password: &str) -> AccountKey {
        let origin = Origin::parse("https://api.idissuer.pl").unwrap();
        let endpoint = Endpoint::new(origin, Some(path), None, RefreshShape::Flat).unwrap();
        let pair =
            LoginPair::parse(("u", Some(username.as_bytes())), ("p", Some(password.as_bytes()))).unwrap();
        keys.key(&Site { endpoint, trust: Trust::PublicRoots }, &pair)
    }

    #[test]
    fn the_same_login_has_the_same_key_and_any_other_another() {
        let keys = KeyMaker::new([7; 64]);
        let first = key(&keys, "/t", "me", "pass");
        assert_eq!(first, key(&keys, "/t", "me", "pass"));
        assert_ne!(first, key(&keys, "/u", "me", "pass"));
        assert_ne!(first, key(&keys, "/t", "mepa", "ss"), "the parts do not run together");
        assert_ne!(first, key(&KeyMaker::new([8; 64]), "/t", "me", "pass"), "another process");
    }
}
