//! User name and password from a Secret or a file.

use secrecy::{ExposeSecret, SecretString};

/// Some editors put it in front of text; also a zero-width blank.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The longest user name, in bytes. Real ones are e-mail addresses.
pub const USERNAME_MAX_LENGTH: usize = 1024;
/// The longest password, in bytes. Waiting logins are in memory.
pub const PASSWORD_MAX_LENGTH: usize = 4096;

/// A user name and password. Both are masked in Debug and wiped from memory, because user names are confidential too.
#[derive(Clone, Debug)]
pub struct LoginPair {
    username: SecretString,
    password: SecretString,
}

/// What is wrong with a user name or password. Sending it would waste an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginError {
    /// The key or file does not exist.
    Missing,
    /// It is empty.
    Empty,
    /// It is longer than [`USERNAME_MAX_LENGTH`] or [`PASSWORD_MAX_LENGTH`].
    TooLong,
    /// It is not text.
    NotUtf8,
    /// It contains a NUL character, as UTF-16 does when read as UTF-8.
    Nul,
    /// It begins with a byte order mark, as some Windows editors write it.
    ByteOrderMark,
    /// It begins or ends with a line break, as `echo` without `-n` writes it.
    LineBreak,
    /// It begins or ends with a control character; a user name may not contain one anywhere.
    ControlCharacter,
    /// A user name begins or ends with a blank or an invisible character. In a password it may be intended.
    Blank,
}

impl LoginError {
    /// All defects.
    pub const ALL: [Self; 9] = [
        Self::Missing,
        Self::Empty,
        Self::TooLong,
        Self::NotUtf8,
        Self::Nul,
        Self::ByteOrderMark,
        Self::LineBreak,
        Self::ControlCharacter,
        Self::Blank,
    ];

    /// The name of the reason for a key of a Secret.
    #[must_use]
    pub fn name_of_key(self) -> &'static str {
        match self {
            Self::Missing => "LoginSecretKeyMissing",
            Self::Empty => "LoginSecretKeyEmpty",
            Self::TooLong => "LoginSecretTooLong",
            Self::NotUtf8 => "LoginSecretNotText",
            Self::Nul => "LoginSecretNulCharacter",
            Self::ByteOrderMark => "LoginSecretByteOrderMark",
            Self::LineBreak => "LoginSecretLineBreak",
            Self::ControlCharacter => "LoginSecretControlCharacter",
            Self::Blank => "LoginSecretBlank",
        }
    }

    /// The name of the reason for a file.
    #[must_use]
    pub fn name_of_file(self) -> &'static str {
        match self {
            Self::Missing => "LoginFileMissing",
            Self::Empty => "LoginFileEmpty",
            Self::TooLong => "LoginFileTooLong",
            Self::NotUtf8 => "LoginFileNotText",
            Self::Nul => "LoginFileNulCharacter",
            Self::ByteOrderMark => "LoginFileByteOrderMark",
            Self::LineBreak => "LoginFileLineBreak",
            Self::ControlCharacter => "LoginFileControlCharacter",
            Self::Blank => "LoginFileBlank",
        }
    }

    /// What is wrong and the cure, to follow the name of the key or file.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Missing => "does not exist; add it",
            Self::Empty => "is empty; fill it in",
            Self::TooLong => {
                "is too long for a user name (1 KiB) or a password (4 KiB), so it was not sent; store only that value there"
            }
            Self::NotUtf8 => {
                "is not UTF-8 text; save it as UTF-8 (Windows PowerShell writes UTF-16 by default)"
            }
            Self::Nul => "holds a NUL character, as UTF-16 text does, so it was not sent; save it as UTF-8",
            Self::ByteOrderMark => {
                "begins with a byte order mark, so it was not sent; save it as UTF-8 without one"
            }
            Self::LineBreak => {
                "begins or ends with a line break, so it was not sent; remove it (`printf %s`, or `echo -n`)"
            }
            Self::ControlCharacter => "holds a control character, so it was not sent; remove it",
            Self::Blank => {
                "begins or ends with a blank or an invisible character, so it was not sent; remove it from the user name"
            }
        }
    }
}

impl LoginPair {
    /// Parses both values; `None` means that the key does not exist. A login with a defect is never sent.
    ///
    /// # Errors
    /// The key of the first unusable value, and its defect.
    pub fn parse<'a>(
        username: (&'a str, Option<&[u8]>),
        password: (&'a str, Option<&[u8]>),
    ) -> Result<Self, (&'a str, LoginError)> {
        Ok(Self {
            username: half(username.1, USERNAME_MAX_LENGTH, of_username)
                .map_err(|defect| (username.0, defect))?,
            password: half(password.1, PASSWORD_MAX_LENGTH, of_password)
                .map_err(|defect| (password.0, defect))?,
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

    /// Whether the password holds a blank or an invisible character. It is sent anyway, because it may be intended; the
    /// message of a rejection mentions it.
    #[must_use]
    pub fn password_has_blank(&self) -> bool {
        self.password().contains(is_invisible)
    }
}

/// Parses what both halves have in common, and then `check`s what one alone must not be.
fn half(
    bytes: Option<&[u8]>,
    max_length: usize,
    check: fn(&str) -> Result<(), LoginError>,
) -> Result<SecretString, LoginError> {
    let bytes = bytes.ok_or(LoginError::Missing)?;
    if bytes.len() > max_length {
        return Err(LoginError::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| LoginError::NotUtf8)?;
    if text.is_empty() {
        return Err(LoginError::Empty);
    }
    if text.contains('\0') {
        return Err(LoginError::Nul);
    }
    if text.starts_with(BYTE_ORDER_MARK) {
        return Err(LoginError::ByteOrderMark);
    }
    if at_an_end(text, |character| matches!(character, '\n' | '\r')) {
        return Err(LoginError::LineBreak);
    }
    check(text)?;
    Ok(text.into())
}

fn of_username(text: &str) -> Result<(), LoginError> {
    if at_an_end(text, |character| is_invisible(character) && !is_odd_control(character)) {
        return Err(LoginError::Blank);
    }
    if text.contains(char::is_control) { Err(LoginError::ControlCharacter) } else { Ok(()) }
}

/// Inside a password everything is allowed; the issuer decides.
fn of_password(text: &str) -> Result<(), LoginError> {
    if at_an_end(text, is_odd_control) { Err(LoginError::ControlCharacter) } else { Ok(()) }
}

fn at_an_end(text: &str, of_kind: impl Fn(char) -> bool) -> bool {
    text.starts_with(&of_kind) || text.ends_with(&of_kind)
}

/// A control character other than white space.
fn is_odd_control(character: char) -> bool {
    character.is_control() && character != '\t'
}

/// A blank of any width, or what changes only how the text beside it looks.
fn is_invisible(character: char) -> bool {
    let is_format = matches!(character, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | BYTE_ORDER_MARK);
    character.is_whitespace() || character.is_control() || is_format
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_half_is_bounded() {
        let parse = |username: usize, password: usize| {
            let (username, password) = ("u".repeat(username), "p".repeat(password));
            let parsed = LoginPair::parse(("u", Some(username.as_bytes())), ("p", Some(password.as_bytes())));
            parsed.map(drop)
        };
        assert_eq!(parse(1024, 4096), Ok(()));
        assert_eq!(parse(1025, 4096), Err(("u", LoginError::TooLong)));
        assert_eq!(parse(1024, 4097), Err(("p", LoginError::TooLong)));
    }

    #[test]
    fn each_defect_is_named_with_its_key() {
        let cases: [(Option<&[u8]>, LoginError); 13] = [
            (None, LoginError::Missing),
            (Some(b""), LoginError::Empty),
            (Some(b"\xff\xfes\0"), LoginError::NotUtf8),
            (Some(b"s\0e\0"), LoginError::Nul),
            (Some(b"\0"), LoginError::Nul),
            (Some(b"\xef\xbb\xbfsecret"), LoginError::ByteOrderMark),
            (Some(b"\xef\xbb\xbf"), LoginError::ByteOrderMark),
            (Some(b"secret\n"), LoginError::LineBreak),
            (Some(b"secret\r\n"), LoginError::LineBreak),
            (Some(b"\nsecret"), LoginError::LineBreak),
            (Some(b"\r\nsecret"), LoginError::LineBreak),
            (Some(b"secret\x1a"), LoginError::ControlCharacter),
            (Some("\u{85}secret".as_bytes()), LoginError::ControlCharacter),
        ];
        for (bytes, defect) in cases {
            let found = LoginPair::parse(("user", Some(b"me")), ("pass", bytes)).unwrap_err();
            assert_eq!(found, ("pass", defect));
            let found = LoginPair::parse(("user", bytes), ("pass", Some(b"x"))).unwrap_err();
            assert_eq!(found, ("user", defect));
        }
    }

    #[test]
    fn the_reason_for_a_file_is_named_like_that_for_a_key() {
        for defect in LoginError::ALL {
            let name = defect.name_of_key().replace("SecretKey", "Secret").replace("Secret", "File");
            assert_eq!(defect.name_of_file(), name);
        }
    }

    #[test]
    fn what_a_user_name_must_not_have_around_it_a_password_may_have_and_is_hinted_at() {
        let around = ["x ", " x", "x\t", "x\u{a0}", "\u{200b}x", "x\u{feff}", "x\u{202c}", "x\u{3000}"];
        let cases = around.map(|text| (text, Some(LoginError::Blank)));
        let within = [("a b", None), ("a\u{200d}b", None)].into_iter();
        let controls = ["a\nb", "a\u{7}b"].map(|text| (text, Some(LoginError::ControlCharacter)));
        for (text, defect) in cases.into_iter().chain(within).chain(controls) {
            let found = LoginPair::parse(("user", Some(text.as_bytes())), ("pass", Some(b"x"))).err();
            assert_eq!(found, defect.map(|defect| ("user", defect)), "{text:?}");
            let pair = LoginPair::parse(("user", Some(b"a b")), ("pass", Some(text.as_bytes()))).unwrap();
            assert_eq!((pair.username(), pair.password()), ("a b", text));
            assert!(pair.password_has_blank(), "{text:?}");
        }
        let plain = LoginPair::parse(("user", Some(b"a b")), ("pass", Some("zażółć-1".as_bytes()))).unwrap();
        assert!(!plain.password_has_blank());
    }

    #[test]
    fn debug_output_shows_neither_half() {
        let pair = LoginPair::parse(("u", Some(b"someone@example.org")), ("p", Some(b"hunter2"))).unwrap();
        let debug = format!("{pair:?}");
        assert!(!debug.contains("someone") && !debug.contains("hunter2"), "{debug}");
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_text_as_it_stood_without_a_line_break_at_an_end(bytes: Vec<u8>) {
            if let Ok(pair) = LoginPair::parse(("u", Some(b"me")), ("p", Some(&bytes))) {
                prop_assert_eq!(pair.password().as_bytes(), &bytes[..]);
                prop_assert!(!pair.password().ends_with(['\n', '\r']) && !pair.password().starts_with(['\n', '\r']));
                prop_assert!(!bytes.contains(&0));
                prop_assert!(!bytes.is_empty());
            }
        }
    }
}
