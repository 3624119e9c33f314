//! A login that is typed or piped in: there are no files that would tell whether it is another than before.

use hmac::Hmac;
use sha2::Sha256;

use crate::core::sidecar::attempts::FilesIdentity;
use crate::core::username_password::LoginPair;

/// The identity of a typed login that was accepted: nothing of its password stays.
pub(super) const ACCEPTED: &str = "typed";
/// How much work one guess at a recorded password takes.
const ROUNDS: u32 = 100_000;
/// Enough to tell a corrected password from a wrong one; far too little to find the password by it.
const TAG_LENGTH: usize = 2;
const SALT_LENGTH: usize = 16;

/// The identity of a typed login: a salted tag of 16 bits. If the password is the same as at `before`, so is the
/// identity. `None` when the system's random source fails.
pub(super) fn identity(pair: &LoginPair, before: Option<&FilesIdentity>) -> Option<FilesIdentity> {
    let known = before.and_then(|identity| Some((identity, salt(identity)?)));
    if let Some((identity, salt)) = known
        && with_salt(pair, salt) == *identity
    {
        return Some(identity.clone());
    }
    let mut salt = [0; SALT_LENGTH];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.secure_random.fill(&mut salt).ok()?;
    Some(with_salt(pair, u128::from_be_bytes(salt)))
}

fn salt(identity: &FilesIdentity) -> Option<u128> {
    let (salt, _) = identity.0.strip_prefix(ACCEPTED)?.strip_prefix(':')?.split_once(':')?;
    u128::from_str_radix(salt, 16).ok()
}

fn with_salt(pair: &LoginPair, salt: u128) -> FilesIdentity {
    let mut tag = [0; TAG_LENGTH];
    // HMAC takes keys of any length, so it does not fail.
    let _ = pbkdf2::pbkdf2::<Hmac<Sha256>>(pair.password().as_bytes(), &salt.to_be_bytes(), ROUNDS, &mut tag);
    FilesIdentity(format!("{ACCEPTED}:{salt:032x}:{:04x}", u16::from_be_bytes(tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_the_tag_is_salted_and_short() {
        let pair =
            |password: &str| LoginPair::parse(("u", Some(b"me")), ("p", Some(password.as_bytes()))).unwrap();
        let first = identity(&pair("wrong"), None).unwrap();
        assert_eq!(identity(&pair("wrong"), Some(&first)).unwrap(), first);
        let accepted = FilesIdentity(ACCEPTED.to_owned());
        for (password, before) in [("wrong", None), ("wrong", Some(&accepted)), ("right", Some(&first))] {
            assert_ne!(identity(&pair(password), before).unwrap(), first);
        }
        assert_eq!(first.0.len(), "typed:".len() + 32 + ":".len() + 4);
        let tag = with_salt(&pair("wrong"), 7);
        assert_eq!(tag, with_salt(&pair("wrong"), 7));
    }
}
