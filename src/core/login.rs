//! User name and password as they come out of a Secret or a file.

use secrecy::{ExposeSecret, SecretString};

/// What is sent to log in. Both halves are masked in Debug and wiped from memory: an account's name is nobody's
/// business either.
#[derive(Clone, Debug)]
pub struct LoginPair {
    username: SecretString,
    password: SecretString,
}

/// What is wrong with one half of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginDefect {
    /// The key or file does not exist.
    Missing,
    /// It holds nothing.
    Empty,
    /// It is not text.
    NotUtf8,
    /// It ends in a line break, as `echo` without `-n` makes it. Sending it would only burn an attempt.
    LineBreak,
}

impl LoginPair {
    /// Parses both halves; `None` stands for a key that is not there. A login with a defect is never sent.
    ///
    /// # Errors
    /// The first half that cannot be used, by its key, and what is wrong with it.
    pub fn parse<'a>(
        username: (&'a str, Option<&[u8]>),
        password: (&'a str, Option<&[u8]>),
    ) -> Result<Self, (&'a str, LoginDefect)> {
        Ok(Self {
            username: half(username.1).map_err(|defect| (username.0, defect))?,
            password: half(password.1).map_err(|defect| (password.0, defect))?,
        })
    }

    /// The user name itself.
    #[must_use]
    pub fn username(&self) -> &str {
        self.username.expose_secret()
    }

    /// The password itself.
    #[must_use]
    pub fn password(&self) -> &str {
        self.password.expose_secret()
    }
}

fn half(bytes: Option<&[u8]>) -> Result<SecretString, LoginDefect> {
    let bytes = bytes.ok_or(LoginDefect::Missing)?;
    let text = std::str::from_utf8(bytes).map_err(|_| LoginDefect::NotUtf8)?;
    if text.is_empty() {
        return Err(LoginDefect::Empty);
    }
    if text.ends_with(['\n', '\r']) {
        return Err(LoginDefect::LineBreak);
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_defect_is_named_with_its_key() {
        let cases: [(Option<&[u8]>, LoginDefect); 5] = [
            (None, LoginDefect::Missing),
            (Some(b""), LoginDefect::Empty),
            (Some(b"\xff\xfe"), LoginDefect::NotUtf8),
            (Some(b"secret\n"), LoginDefect::LineBreak),
            (Some(b"secret\r\n"), LoginDefect::LineBreak),
        ];
        for (bytes, defect) in cases {
            let found = LoginPair::parse(("user", Some(b"me")), ("pass", bytes)).unwrap_err();
            assert_eq!(found, ("pass", defect));
            let found = LoginPair::parse(("user", bytes), ("pass", Some(b"x"))).unwrap_err();
            assert_eq!(found, ("user", defect));
        }
    }

    #[test]
    fn debug_output_shows_neither_half() {
        let pair = LoginPair::parse(("u", Some(b"someone@example.org")), ("p", Some(b"hunter2"))).unwrap();
        let debug = format!("{pair:?}");
        assert!(!debug.contains("someone") && !debug.contains("hunter2"), "{debug}");
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_text_as_it_stood_without_a_line_break_at_its_end(bytes: Vec<u8>) {
            if let Ok(pair) = LoginPair::parse(("u", Some(b"me")), ("p", Some(&bytes))) {
                prop_assert_eq!(pair.password().as_bytes(), &bytes[..]);
                prop_assert!(!pair.password().ends_with(['\n', '\r']));
                prop_assert!(!bytes.is_empty());
            }
        }
    }
}
