//! What is known of each credential, and what is news.

use std::collections::BTreeMap;

use idissuer::api::{Grant, IdIssuerCredential, TokenStatus};
use idissuer::core::time::Moment;
use idissuer::core::token::Fingerprint;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use crate::check::Verdict;
use crate::seconds;
use crate::watch::Sight;

/// All credentials, by name.
#[derive(Default)]
pub(crate) struct Board {
    rows: BTreeMap<String, Row>,
    /// The tokens in the Secrets, by the Secrets' names.
    held: BTreeMap<String, String>,
}

/// One credential.
#[derive(Default)]
pub(crate) struct Row {
    /// What its status says of the token.
    pub token: Option<TokenStatus>,
    /// How often its token was replaced.
    pub rotations: u32,
    /// How often the issuer was asked about what the Secret holds.
    pub checks: u32,
    /// What it said last.
    pub verdict: Option<Verdict>,
    /// When the token that stands there was first seen.
    pub since: Option<Moment>,
    /// Why it is not as it should be.
    pub trouble: Option<String>,
    /// Whether it shares the tokens of another credential.
    pub is_follower: bool,
    secret: String,
    url: Option<String>,
    told: Option<Told>,
    told_trouble: Option<String>,
    told_verdict: Option<Verdict>,
    refusals: u32,
}

/// The token that was news last.
struct Told {
    fingerprint: String,
    expiry: Timestamp,
}

/// Something worth a line.
pub(crate) struct News {
    /// The credential.
    pub name: String,
    /// What happened.
    pub text: String,
    /// Whether the issuer did not accept what the Secret holds.
    pub is_refusal: bool,
}

impl Board {
    /// Takes in what was seen; returns the credentials whose Secret it may concern.
    pub(crate) fn see(&mut self, sight: Sight) -> Vec<String> {
        match sight {
            Sight::Credential(credential) => self.see_credential(&credential).into_iter().collect(),
            Sight::CredentialGone(name) => {
                self.rows.remove(&name);
                Vec::new()
            }
            Sight::Secret(secret) => self.see_secret(&secret),
            Sight::SecretGone(name) => {
                self.held.remove(&name);
                Vec::new()
            }
        }
    }

    fn see_credential(&mut self, credential: &IdIssuerCredential) -> Option<String> {
        let name = credential.metadata.name.clone()?;
        let row = self.rows.entry(name.clone()).or_default();
        credential.secret_name().clone_into(&mut row.secret);
        row.is_follower = credential.spec.credential_ref.is_some();
        row.url = credential.spec.issuer.as_ref().and_then(|issuer| issuer.url.clone());
        let status = credential.status.clone().unwrap_or_default();
        let stalled = status.conditions.iter().find(|condition| condition.type_ == "Stalled");
        row.trouble = stalled.map(|stalled| format!("{}: {}", stalled.reason, stalled.message));
        row.token = status.token;
        Some(name)
    }

    fn see_secret(&mut self, secret: &Secret) -> Vec<String> {
        let Some(name) = secret.metadata.name.clone() else { return Vec::new() };
        match token_in(secret) {
            Some(token) => self.held.insert(name.clone(), token),
            None => self.held.remove(&name),
        };
        self.rows.iter().filter(|(_, row)| row.secret == name).map(|(name, _)| name.clone()).collect()
    }

    /// The credentials whose Secrets hold a token.
    pub(crate) fn holders(&self) -> Vec<String> {
        let holders = self.rows.iter().filter(|(_, row)| self.held.contains_key(&row.secret));
        holders.map(|(name, _)| name.clone()).collect()
    }

    /// The issuer and the token of a credential's Secret.
    pub(crate) fn held(&self, name: &str) -> Option<(Option<&str>, &str)> {
        let row = self.rows.get(name)?;
        Some((row.url.as_deref(), self.held.get(&row.secret)?))
    }

    /// Takes in what the issuer said.
    pub(crate) fn judge(&mut self, name: &str, verdict: Verdict) {
        if let Some(row) = self.rows.get_mut(name) {
            row.checks += 1;
            row.refusals += u32::from(verdict != Verdict::Accepted);
            row.verdict = Some(verdict);
        }
    }

    /// The rows by name.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, &Row)> {
        self.rows.iter().map(|(name, row)| (name.as_str(), row))
    }

    /// Whether every credential has seen as many rotations.
    pub(crate) fn has_seen(&self, rotations: u32) -> bool {
        !self.rows.is_empty() && self.rows.values().all(|row| row.rotations >= rotations)
    }

    /// What has happened since it was asked last.
    pub(crate) fn news(&mut self, now: Moment) -> Vec<News> {
        let mut news = Vec::new();
        for (name, row) in &mut self.rows {
            let held = self.held.get(&row.secret);
            let texts = [row.rotation(held, now), row.news_finding_of()].into_iter().flatten();
            news.extend(texts.map(|text| News { name: name.clone(), text, is_refusal: false }));
            if let Some(text) = row.news_of_refusal() {
                news.push(News { name: name.clone(), text, is_refusal: true });
            }
        }
        news
    }

    /// What it all came to.
    pub(crate) fn summary(&self) -> Vec<String> {
        let rotations: Vec<String> =
            self.rows().map(|(name, row)| format!("{name} {}", row.rotations)).collect();
        let (checks, refusals) = self
            .rows
            .values()
            .fold((0, 0), |(checks, refusals), row| (checks + row.checks, refusals + row.refusals));
        let accepted = checks - refusals;
        vec![
            format!("Rotations: {}.", rotations.join(", ")),
            format!("Checks of what the Secrets hold: {checks}, of which the issuer accepted {accepted}."),
        ]
    }
}

impl Row {
    /// How its token was obtained.
    pub(crate) fn grant(&self, token: &TokenStatus) -> &'static str {
        match token.grant {
            _ if self.is_follower => "shared",
            Grant::Login => "Login",
            Grant::Refresh => "Refresh",
        }
    }

    /// A new token is news once Secret and status agree on it.
    fn rotation(&mut self, held: Option<&String>, now: Moment) -> Option<String> {
        let token = self.token.as_ref()?;
        let held = Fingerprint::of(held?.as_bytes());
        if held.as_str() != token.fingerprint
            || self.told.as_ref().is_some_and(|told| told.fingerprint == token.fingerprint)
        {
            return None;
        }
        let before = self
            .told
            .replace(Told { fingerprint: token.fingerprint.clone(), expiry: token.expiration_time.0 });
        self.since = Some(now);
        let verdict = self.verdict.map_or("not asked", describe);
        let token = format!("{} {:<7}", short(&token.fingerprint), self.grant(token));
        Some(match before {
            None => format!("first token  {token} {verdict}"),
            Some(before) => {
                self.rotations += 1;
                let left = before.expiry.duration_since(now.wall);
                let when = match seconds(left.abs()) {
                    late if left.is_negative() => format!("{late} TOO LATE"),
                    left => format!("with {left:>6} left"),
                };
                format!("rotation {:<3} {token} {when}, {verdict}", self.rotations)
            }
        })
    }

    fn news_finding_of(&mut self) -> Option<String> {
        if self.trouble == self.told_trouble {
            return None;
        }
        self.told_trouble.clone_from(&self.trouble);
        self.trouble.clone().or_else(|| Some("the trouble is over".to_owned()))
    }

    fn news_of_refusal(&mut self) -> Option<String> {
        let verdict = self.verdict.filter(|verdict| Some(*verdict) != self.told_verdict)?;
        self.told_verdict = Some(verdict);
        (verdict != Verdict::Accepted)
            .then(|| format!("the issuer, asked with the Secret's token: {}", describe(verdict)))
    }
}

/// The bare token in a Secret, with or without a template that says `Bearer`.
fn token_in(secret: &Secret) -> Option<String> {
    let data = secret.data.as_ref()?;
    let value = data.get("token").or_else(|| data.get("authorization"))?;
    let text = String::from_utf8(value.0.clone()).ok()?;
    Some(text.strip_prefix("Bearer ").unwrap_or(&text).to_owned())
}

/// As much of a fingerprint as tells tokens apart on a screen.
pub(crate) fn short(fingerprint: &str) -> &str {
    fingerprint.get(..12).unwrap_or(fingerprint)
}

/// A verdict in words.
pub(crate) fn describe(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "accepted",
        Verdict::Refused(401) => "401 REFUSED",
        Verdict::Refused(_) => "REFUSED",
        Verdict::Silent => "NO ANSWER",
    }
}
