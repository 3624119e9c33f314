//! Asks the issuer whether it accepts a token, as the program that uses the token would.

use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode};

use crate::Outcome;
use crate::stage::Stage;

const LIMIT: Duration = Duration::from_secs(5);

/// What the issuer said to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It let the call through.
    Accepted,
    /// It did not: the status.
    Refused(u16),
    /// It did not answer.
    Silent,
}

/// Asks the issuers.
pub(crate) struct Checker {
    default_url: String,
    public: Client,
    private: Client,
}

impl Checker {
    /// One for the issuers of the stage.
    pub(crate) fn new(stage: &Stage) -> Outcome<Self> {
        let client = || Client::builder().no_proxy().timeout(LIMIT);
        let authority = Certificate::from_pem(stage.private_ca().as_bytes())?;
        Ok(Self {
            default_url: stage.issuer_url(),
            public: client().build()?,
            private: client().tls_certs_only([authority]).build()?,
        })
    }

    /// Calls the issuer's authorized endpoint with the token.
    pub(crate) async fn ask(&self, url: Option<&str>, token: &str) -> Verdict {
        let url = url.unwrap_or(&self.default_url);
        let client = if url.starts_with("https:") { &self.private } else { &self.public };
        match client.get(format!("{url}/v2/authorized")).bearer_auth(token).send().await {
            Ok(answer) if answer.status() == StatusCode::OK => Verdict::Accepted,
            Ok(answer) => Verdict::Refused(answer.status().as_u16()),
            Err(_) => Verdict::Silent,
        }
    }
}
