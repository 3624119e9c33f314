//! `kubectl idissuer verify`: checks the token in the Secret, and never shows it.

mod claims;

use std::slice;
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use self::claims::{claims, show};
use super::Context;
use super::cluster_clock::ClusterClock;
use super::failure::{Failure, FailureKind};
use super::lease::Leases;
use super::lifetime::{relative, short};
use super::published::{self, Published};
use super::screen::{Format, Screen, Text, Tone};
use crate::api::LifetimeSource;
use crate::core::token::{AccessToken, Claims};

/// How long the address may take to answer.
const LIMIT: Duration = Duration::from_secs(15);
/// How far two clocks may differ without a word, in seconds.
const CLOCKS_DIFFER: i64 = 5;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl idissuer verify billing
  kubectl idissuer verify billing --url https://api.idissuer.pl/v2/reports

Reads the token from the Secret, compares it with the status, and shows its claims, its expiry and how far the issuer's clock
differs. The claims are not verified: only the issuer can do that. With --url, it sends the token to that address, from this
machine, and reports the answer. The token itself is never shown.

Exit codes: 0 the token is valid, and accepted; 3 there is none, it has expired, or the address refuses it.
Rights: get on idissuercredentials.idissuer.pl and on the Secret. Without get on the Lease of the operator, its clock counts as right.")]
pub(super) struct VerifyArguments {
    /// The credential
    #[arg(value_name = "NAME")]
    name: String,

    /// Present the token to this address with GET, and say whether it is accepted. Plain HTTP only if it says http://
    #[arg(long, value_name = "URL")]
    url: Option<reqwest::Url>,

    /// The CA certificates (PEM) of that address [default: the public CAs]
    #[arg(long, value_name = "FILE", requires = "url")]
    ca_file: Option<std::path::PathBuf>,

    /// Print the findings as data: json or yaml
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    output: Option<Format>,
}

/// What is known of a token.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verified {
    secret: String,
    key: String,
    fingerprint: String,
    expiration_time: Timestamp,
    seconds_left: i64,
    lifetime_source: LifetimeSource,
    /// How far the issuer's clock is ahead of the operator's, by the token's own time of issue.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_ahead_seconds: Option<i64>,
    /// What the token says of itself; absent for one that is no JWT.
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
}

/// What an address answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    url: String,
    status: u16,
    accepted: bool,
}

/// Checks a token.
pub(super) async fn run(arguments: VerifyArguments, context: &mut Context<'_>) -> Result<(), Failure> {
    let cluster = context.cluster().await?;
    let published = published::read(&cluster, &arguments.name, context.clock).await?;
    let leases = Leases::read(&cluster, slice::from_ref(&published.credential)).await;
    let clock = ClusterClock::read(&cluster, context.clock).await;
    let now = clock.of_operator(leases.of(&published.credential)).now();
    let answer = match &arguments.url {
        Some(url) => Some(present(url, arguments.ca_file.as_deref(), &published.token.access).await?),
        None => None,
    };
    let verified = Verified::new(&published, answer, now);
    if let Some(format) = arguments.output {
        context.screen.data(format, &verified)?;
    } else {
        let text = verified.render(context.screen, now);
        context.screen.print(&text)?;
    }
    if verified.is_good() { Ok(()) } else { Err(Failure::shown(FailureKind::NotReady)) }
}

/// Sends the token there, and nothing but the status of the answer comes back. Redirects are not followed: they would
/// take the token elsewhere.
async fn present(
    url: &reqwest::Url,
    ca_file: Option<&std::path::Path>,
    token: &AccessToken,
) -> Result<Answer, Failure> {
    // Query and user may hold secrets of their own.
    let origin = url.origin().ascii_serialization();
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(LIMIT);
    let builder = match ca_file {
        Some(file) => {
            let pem = std::fs::read(file).map_err(|error| format!("read {}: {error}", file.display()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|_| format!("{} holds no usable certificate in PEM", file.display()))?;
            builder.tls_certs_only(certificates)
        }
        None => builder,
    };
    let client = builder.build().map_err(|error| format!("make the HTTP client: {}", error.without_url()))?;
    let answer = client.get(url.clone()).bearer_auth(token.expose()).send().await.map_err(|error| {
        let kind = if error.is_timeout() { FailureKind::TimedOut } else { FailureKind::Unreachable };
        let cause = error.without_url();
        Failure::new(
            kind,
            format!("present the token to {origin}: {cause}; check the address and the network"),
        )
    })?;
    let status = answer.status();
    Ok(Answer { url: origin + url.path(), status: status.as_u16(), accepted: status.is_success() })
}

impl Verified {
    fn new(published: &Published, answer: Option<Answer>, now: Timestamp) -> Self {
        let (token, status) = (&published.token, &published.status);
        let issued = Claims::of(&token.access).iat;
        Self {
            secret: published.credential.secret_name().to_owned(),
            key: published.key.clone(),
            fingerprint: status.fingerprint.clone(),
            expiration_time: status.expiration_time.0,
            seconds_left: status.expiration_time.0.duration_since(now).as_secs(),
            lifetime_source: status.lifetime_source,
            clock_ahead_seconds: issued.map(|issued| issued.duration_since(status.issued_time.0).as_secs()),
            claims: claims(&token.access),
            answer,
        }
    }

    fn is_good(&self) -> bool {
        self.seconds_left > 0 && self.answer.as_ref().is_none_or(|answer| answer.accepted)
    }

    fn render(&self, screen: &Screen, now: Timestamp) -> String {
        let mut text = Text::default();
        let mut line = |tone, title: &str, value: String| {
            text.line(format!("{}  {value}", screen.paint(tone, &format!("{title:<8}"))));
        };
        let Self { secret, key, fingerprint, .. } = self;
        line(
            Tone::Good,
            "Secret",
            format!("{secret}, key {key}, holds the token of the status ({fingerprint})"),
        );
        let source = match self.lifetime_source {
            LifetimeSource::ExpiresIn => "as the issuer said",
            LifetimeSource::Jwt => "as the token says",
            LifetimeSource::Assumed => "assumed, because the issuer does not say",
        };
        let tone = if self.seconds_left > 0 { Tone::Good } else { Tone::Bad };
        let word = if self.seconds_left > 0 { "valid until" } else { "expired at" };
        let when = relative(self.expiration_time, now);
        line(tone, "Expiry", format!("{word} {} ({when}), {source}", self.expiration_time));
        match self.clock_ahead_seconds {
            Some(ahead) if ahead.abs() > CLOCKS_DIFFER => {
                let way = if ahead > 0 { "ahead of" } else { "behind" };
                let by = short(SignedDuration::from_secs(ahead));
                line(Tone::Doubtful, "Clock", format!("the issuer's clock is {by} {way} the operator's"));
            }
            Some(_) => line(Tone::Good, "Clock", "the issuer's clock agrees with the operator's".to_owned()),
            None => {}
        }
        match &self.claims {
            Some(claims) => {
                for (name, value) in claims {
                    line(Tone::Plain, "Claim", format!("{name}: {}", show(name, value, now)));
                }
            }
            None => line(Tone::Plain, "Claims", "none: the token is opaque (no JWT)".to_owned()),
        }
        if let Some(answer) = &self.answer {
            let (tone, word) = match answer.status {
                _ if answer.accepted => (Tone::Good, "accepts the token"),
                401 | 403 => (Tone::Bad, "refuses the token"),
                _ => (Tone::Bad, "does not say that it accepts the token"),
            };
            line(tone, "URL", format!("{} {word} (status {})", answer.url, answer.status));
        }
        text.finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugin::row::tests::time;

    fn verified(seconds_left: i64, answer: Option<(u16, bool)>) -> Verified {
        Verified {
            secret: "billing".to_owned(),
            key: "token".to_owned(),
            fingerprint: "abc".to_owned(),
            expiration_time: time("2026-01-01T01:00:00Z"),
            seconds_left,
            lifetime_source: LifetimeSource::ExpiresIn,
            clock_ahead_seconds: Some(90),
            claims: json!({"sub": "shop", "exp": 1_767_229_200}).as_object().cloned(),
            answer: answer.map(|(status, accepted)| Answer {
                url: "https://x/y".to_owned(),
                status,
                accepted,
            }),
        }
    }

    #[test]
    fn a_token_is_good_while_it_lives_and_the_address_accepts_it() {
        for (left, answer, expected) in [
            (60, None, true),
            (0, None, false),
            (60, Some((200, true)), true),
            (60, Some((401, false)), false),
            (60, Some((302, false)), false),
        ] {
            assert_eq!(verified(left, answer).is_good(), expected, "{left} {answer:?}");
        }
    }

    #[test]
    fn claims_clock_and_answer_are_told() {
        let screen = Screen::new(Box::new(std::io::sink()), false);
        let text = verified(60, Some((401, false))).render(&screen, time("2026-01-01T00:59:00Z"));
        for part in [
            "valid until 2026-01-01T01:00:00Z (in 1m), as the issuer said",
            "the issuer's clock is 1m30s ahead of the operator's",
            "sub: shop",
            "exp: 2026-01-01T01:00:00Z (in 1m)",
            "https://x/y refuses the token (status 401)",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
