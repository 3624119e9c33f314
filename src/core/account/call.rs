//! A call that an account makes, and what it brings.

use std::sync::Arc;

use crate::core::token::{Grant, IssuedToken, RefreshToken};
use crate::core::username_password::LoginPair;

/// What a call needs beside the login itself.
#[derive(Debug)]
pub enum Call {
    /// A refresh, with the pair it presents.
    Refresh {
        /// The access token that belongs to the refresh token.
        token: Arc<IssuedToken>,
        /// The refresh token; it is gone from the state.
        refresh: RefreshToken,
    },
    /// A login, with what it presents.
    Login(LoginPair),
}

impl Call {
    /// Whether it presents a password with a blank or an invisible character.
    #[must_use]
    pub fn password_has_blank(&self) -> bool {
        matches!(self, Self::Login(pair) if pair.password_has_blank())
    }

    /// The grant that the call uses.
    #[must_use]
    pub fn grant(&self) -> Grant {
        match self {
            Self::Refresh { .. } => Grant::Refresh,
            Self::Login(_) => Grant::Login,
        }
    }
}

/// A good answer.
#[derive(Debug)]
pub struct TokenResponse {
    /// The new token.
    pub token: IssuedToken,
    /// The refresh token in the answer, if any.
    pub refresh: Option<RefreshToken>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_says_whether_its_password_holds_a_blank() {
        for (password, has_blank) in [("a b", true), ("ab", false)] {
            let pair = LoginPair::parse(("u", Some(b"me")), ("p", Some(password.as_bytes()))).unwrap();
            assert_eq!(Call::Login(pair).password_has_blank(), has_blank);
        }
    }
}
