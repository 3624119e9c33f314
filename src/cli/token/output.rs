//! What is printed of a token.

use std::io::{self, Write as _};

use clap::ValueEnum;
use zeroize::Zeroizing;

use crate::core::sidecar::token::HeldToken;
use crate::core::time::Moment;

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Output {
    /// The bare token
    #[default]
    Token,
    /// `Authorization: Bearer …`, as for `curl -H`
    Header,
    /// An object with `token`, `token_type`, `expires_at` (RFC 3339) and `expires_in` (the seconds left)
    Json,
}

/// Prints the token in this form.
pub(super) fn print(output: Output, token: &HeldToken, now: Moment) -> Result<(), String> {
    let text = output.render(token, now);
    let written = io::stdout().write_all(text.as_bytes());
    written.map_err(|error| format!("print the token: {error}"))
}

impl Output {
    fn render(self, token: &HeldToken, now: Moment) -> Zeroizing<String> {
        let (bare, kind) = (token.access.expose(), HeldToken::TYPE);
        Zeroizing::new(match self {
            Self::Token => format!("{bare}\n"),
            Self::Header => format!("Authorization: {kind} {bare}\n"),
            Self::Json => {
                let expires_at = token.expiry.map(|expiry| expiry.wall.to_string());
                let expires_in = token.expiry.map(|expiry| expiry.remaining(now).as_secs().max(0));
                let quoted = |text: &str| serde_json::Value::from(text).to_string();
                let (at, left) =
                    (expires_at.map(serde_json::Value::from), expires_in.map(serde_json::Value::from));
                let [at, left] = [at, left].map(Option::unwrap_or_default);
                format!(
                    "{{\"token\": {}, \"token_type\": \"{kind}\", \"expires_at\": {at}, \"expires_in\": {left}}}\n",
                    *Zeroizing::new(quoted(bare))
                )
            }
        })
    }
}
