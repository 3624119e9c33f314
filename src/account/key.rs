//! The key of an account.

use hmac::{Hmac, KeyInit, Mac};
use icu_normalizer::ComposingNormalizerBorrowed;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::core::endpoint::RefreshShape;
use crate::core::observed::AccountKey;
use crate::core::username_password::LoginPair;
use crate::issuer::{IssuerAddress, Trust};

/// The key of a user, whatever the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct UserKey([u8; 32]);

/// Derives account keys with a secret of this process, so that outside of it a key reveals nothing about a password.
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
    pub fn key(&self, address: &IssuerAddress, pair: &LoginPair) -> AccountKey {
        let trust: &[u8] = match &address.trust {
            Trust::PublicRoots => b"",
            Trust::Bundle(bundle) => bundle.digest(),
        };
        let shape: &[u8] = match address.endpoint.refresh_shape {
            RefreshShape::Flat => b"flat",
            RefreshShape::Nested => b"nested",
        };
        AccountKey(self.digest(&[
            address.endpoint.token.as_str().as_bytes(),
            address.endpoint.refresh.as_str().as_bytes(),
            shape,
            trust,
            pair.username().as_bytes(),
            pair.password().as_bytes(),
        ]))
    }

    /// The key of a user, whatever the password, and however the name is spelled.
    pub(super) fn user(&self, pair: &LoginPair) -> UserKey {
        UserKey(self.digest(&[spelled_out(pair.username()).as_bytes()]))
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

/// A user name as most issuers compare it: case, character width and composition do not matter, and surrounding blanks
/// and invisible characters are removed.
fn spelled_out(name: &str) -> Zeroizing<String> {
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let normalised = Zeroizing::new(nfkc.normalize(name).into_owned());
    // To upper case and back, so that what has several lower cases is one; before, what is upper only becomes lower.
    let folded: Zeroizing<String> = Zeroizing::new(
        normalised
            .chars()
            .filter(|letter| !is_unseen(*letter))
            .flat_map(char::to_lowercase)
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase)
            .collect(),
    );
    Zeroizing::new(nfkc.normalize(folded.trim()).into_owned())
}

/// Characters without a width of their own.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
        || matches!(letter, '\u{fe00}'..='\u{fe0f}')
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
        keys.key(&IssuerAddress { endpoint, trust: Trust::PublicRoots }, &pair)
    }

    #[test]
    fn all_spellings_of_a_user_name_have_one_key_and_other_names_another() {
        let keys = KeyMaker::new([7; 64]);
        let key = |name: &str| {
            keys.user(&LoginPair::parse(("u", Some(name.as_bytes())), ("p", Some(b"x"))).unwrap())
        };
        let spellings = [
            "stra\u{df}e.\u{e9}@example.org",
            "STRASSE.\u{c9}@EXAMPLE.ORG",
            "Stra\u{1e9e}e.e\u{301}@Example.Org",
            "\u{ff53}trasse.\u{e9}@example.org",
            "stra\u{17f}se.\u{e9}@example.org",
            "stras\u{200b}se.\u{e9}@exam\u{ad}ple.org",
        ];
        for spelling in spellings {
            assert!(key(spelling) == key(spellings[0]), "{spelling}");
        }
        assert!(key("\u{3a3}\u{3a3}") == key("\u{3c3}\u{3c2}"), "a letter of two lower cases");
        for other in ["strase.\u{e9}@example.org", "strasse.e@example.org", "strasse.\u{e9}@example.com"] {
            assert!(key(other) != key(spellings[0]), "{other}");
        }
        assert_eq!(*spelled_out(" \u{a0}Me@x.org\u{2003} "), "me@x.org");
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
