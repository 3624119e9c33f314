//! Finds problems of a sidecar's setup, and their cures: it checks everything that the settings name, and changes
//! nothing.

mod access;
mod mounts;
mod reach;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use jiff::SignedDuration;

use super::file::{file_error, read};
use super::hooks::Hook;
use super::record_file::RecordFile;
use super::run::{Output, Settings, SourceSettings};
use super::source::{LoginFiles, SecretKeys};
use crate::core::endpoint::Origin;
use crate::core::sidecar::attempts::Record;
use crate::core::sidecar::error::SourceError;
use crate::core::sidecar::files::{TOKEN, TOKEN_JSON};
use crate::core::sidecar::token::{HeldToken, TokenFields};
use crate::core::time::{Moment, to_second};
use crate::ops::clock::{Clock, SystemClock};
use access::{FilePermissions, Identity};
use mounts::sub_path;

/// So much later than now nothing was issued: one of two clocks is wrong.
const ISSUED_LATER: SignedDuration = SignedDuration::from_secs(30);

/// One result of the check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// Whether nothing is wrong with it.
    pub is_good: bool,
    /// What was found; if it is wrong, with the cure.
    pub text: String,
}

fn good(text: impl Into<String>) -> Finding {
    Finding { is_good: true, text: text.into() }
}

fn bad(text: impl Into<String>) -> Finding {
    Finding { is_good: false, text: text.into() }
}

fn finding_of(error: &SourceError) -> Finding {
    bad(format!("{}: {}", error.name(), error.message()))
}

/// The findings about one thing. After something that is wrong with it, nothing good is said of it: a reader would take that
/// for the result.
fn of_one_thing(mut findings: Vec<Finding>) -> Vec<Finding> {
    let mut has_failed = false;
    findings.retain(|finding| {
        has_failed |= !finding.is_good;
        !(finding.is_good && has_failed)
    });
    findings
}

/// The environment of the check.
struct Context {
    own: Identity,
    mounts: String,
    clock: SystemClock,
}

/// Checks everything that the settings name.
pub async fn check(settings: &Settings) -> Vec<Finding> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let context = Context { own: Identity::own(), mounts, clock: SystemClock::start() };
    let mut findings = vec![good(format!("runs as {}", context.own))];
    if let Some(output) = &settings.output {
        findings.extend(context.output(output));
    }
    if let Some(proxy) = &settings.proxy {
        findings.extend(reach::upstream(&proxy.upstream, &context.clock).await);
    }
    findings.extend(match &settings.source {
        SourceSettings::Directory { path, keys } => context.directory(path, keys),
        SourceSettings::Secret { name, keys, client } => {
            reach::secret(name, keys, client, &context.clock).await
        }
        SourceSettings::Login { files, endpoint, ca_file, .. } => {
            let record =
                settings.output.as_ref().map(|output| RecordFile::of(Some(output.output_dir.path())));
            let mut findings = context.login(files, record.and_then(|file| file.load()), &endpoint.origin);
            let through_proxy = settings.use_environment_proxy;
            findings.extend(
                reach::issuer(endpoint, ca_file.as_deref(), through_proxy, &context.own, &context.clock)
                    .await,
            );
            findings
        }
    });
    findings.extend(settings.hooks.iter().filter_map(of_hook));
    // Issuer and upstream may be one server.
    let mut told = HashSet::new();
    findings.retain(|finding| told.insert(finding.clone()));
    findings
}

impl Context {
    fn output(&self, output: &Output) -> Vec<Finding> {
        let path = output.output_dir.path();
        let mut findings: Vec<Finding> = sub_path(path, &self.mounts).into_iter().collect();
        let place = path.display().to_string();
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let rights = FilePermissions::from(&metadata);
                findings.push(match output.output_dir.probe() {
                    Ok(()) => good(format!("{place} is writable")),
                    Err(error) => bad(format!("{error}. It has {rights}")),
                });
                findings.push(access::readers(&place, rights, output.output_dir.mode(), &self.own));
            }
            Ok(_) => findings.push(bad(format!("{place} is not a directory; mount a volume there"))),
            Err(error) => {
                findings
                    .push(bad(format!("{place}: {error}; mount a volume there, or create the directory")));
            }
        }
        match output.output_dir.read(TOKEN) {
            Err(error) => findings.push(bad(error.to_string())),
            Ok(None) => findings.push(good(format!("{place} contains no token yet"))),
            Ok(Some(token)) => {
                let json = output.output_dir.read(TOKEN_JSON).ok().flatten();
                let json = json.as_deref().map(Vec::as_slice);
                let found = TokenFields { token: Some(&token), json, ..TokenFields::default() };
                findings.extend(of_token(found, &place, self.clock.now()));
            }
        }
        of_one_thing(findings)
    }

    fn directory(&self, path: &Path, keys: &SecretKeys) -> Vec<Finding> {
        let mut findings: Vec<Finding> = sub_path(path, &self.mounts).into_iter().collect();
        let [token, expires_at, json] = keys.all().map(|name| read(&path.join(name)));
        let [expires_at, json] = [expires_at, json].map(Result::ok);
        let file = path.join(&keys.token);
        let place = file.display().to_string();
        match &token {
            Err(error) => {
                let otherwise = SourceError::SourceUnreadable { place: place.clone() };
                findings.push(finding_of(&file_error(error, place, otherwise)));
                findings.extend(access::denial(&file, &self.own));
            }
            Ok(token) => {
                let found = TokenFields {
                    token: Some(token),
                    expires_at: expires_at.as_deref().map(Vec::as_slice),
                    json: json.as_deref().map(Vec::as_slice),
                };
                findings.extend(of_token(found, &place, self.clock.now()));
            }
        }
        of_one_thing(findings)
    }

    fn login(&self, files: &LoginFiles, record: Option<Record>, origin: &Origin) -> Vec<Finding> {
        let mut findings: Vec<Finding> = sub_path(&files.directory, &self.mounts).into_iter().collect();
        let both = [&files.username, &files.password].map(|name| files.directory.join(name));
        match files.read() {
            Err(error) => {
                findings.push(finding_of(&error));
                findings.extend(both.iter().find_map(|file| access::denial(file, &self.own)));
            }
            Ok(reading) => {
                let place = files.directory.display();
                findings.push(good(format!("{place} contains a user name and a password")));
                let record = record.filter(|record| record.files == reading.identity);
                let blank = reading.pair.password_has_blank();
                let login = files.directory.display().to_string();
                findings.extend(record.as_ref().map(|record| of_record(record, blank, &login, origin)));
            }
        }
        findings.extend(access::world_readable(&both[1]));
        of_one_thing(findings)
    }
}

/// The result of the recorded attempt with this login; `blank` says whether its password holds a blank.
fn of_record(record: &Record, blank: bool, login: &str, origin: &Origin) -> Finding {
    if record.is_awaited() {
        return good("this login was attempted, and the response is unknown");
    }
    let is_proven = record.attempts.accepted.is_some();
    match record.attempts.failure(blank) {
        Some(failure) => finding_of(&SourceError::of_call(&failure, login, origin, is_proven)),
        None => good("the issuer accepted this login"),
    }
}

fn of_hook(hook: &Hook) -> Option<Finding> {
    let Hook::Signal(signal) = hook else { return None };
    Some(match signal.probe() {
        Ok(()) => good(format!("{signal} can be sent")),
        Err(cure) => bad(format!("{signal} cannot be sent: {cure}")),
    })
}

fn of_token(found: TokenFields<'_>, place: &str, now: Moment) -> Vec<Finding> {
    let place = place.to_owned();
    let held = match HeldToken::found(found, now) {
        Err(defect) => return vec![finding_of(&SourceError::TokenUnusable { place, defect })],
        Ok(held) => held,
    };
    let later =
        held.issued.map(|issued| issued.wall.duration_since(now.wall)).filter(|later| *later > ISSUED_LATER);
    let clock = later.map(|later| {
        let seconds = later.as_secs();
        bad(format!("the token in {place} was issued {seconds} s in the future by this clock; correct the clock (NTP) of this machine or of the machine that obtained the token"))
    });
    let expiry = held.expiry.map_or_else(
        || "with unknown expiry".to_owned(),
        |expiry| format!("valid until {}, {} s from now", expiry.wall, expiry.remaining(now).as_secs()),
    );
    let token = if held.is_expired(now) {
        let error = finding_of(&SourceError::TokenExpired { place });
        bad(format!("{}. This clock says {}", error.text, to_second(now.wall)))
    } else {
        good(format!("{place} contains a valid token {}, {expiry}", held.fingerprint))
    };
    std::iter::once(token).chain(clock).collect()
}
