//! What is wrong with the set-up of a sidecar, and the cure: it looks at everything that the settings name, and changes
//! nothing.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use rustix::process::{getegid, geteuid};

use super::folder::read;
use super::proxy::Upstream;
use super::record::RecordFile;
use super::run::{Output, Settings, SourceSettings};
use super::source::{LoginFiles, SecretKeys};
use crate::core::endpoint::Endpoint;
use crate::core::moment::Moment;
use crate::core::sidecar::held::{Found, Held};
use crate::core::sidecar::login::{Answer, Record};
use crate::core::sidecar::names::{TOKEN, TOKEN_JSON};
use crate::core::sidecar::trouble::Trouble;
use crate::issuer::{CaBundle, HttpTransport, Request, Transport as _, Trust};
use crate::ops::clock::{Clock, SystemClock};

/// How long the issuer or the API server may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// How far two clocks may be apart.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(30);

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
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

fn of_trouble(trouble: &Trouble) -> Finding {
    bad(format!("{}: {}", trouble.name(), trouble.message()))
}

/// Looks at everything that the settings name.
pub async fn check(settings: &Settings) -> Vec<Finding> {
    let now = SystemClock::start().now();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut findings =
        vec![good(format!("runs as user {} of group {}", geteuid().as_raw(), getegid().as_raw()))];
    if let Some(output) = &settings.output {
        findings.extend(check_output(output, &mounts, now));
    }
    if let Some(proxy) = &settings.proxy {
        findings.push(check_upstream(&proxy.upstream).await);
    }
    match &settings.source {
        SourceSettings::Directory { path, keys } => {
            findings.extend(check_directory(path, keys, &mounts, now));
        }
        SourceSettings::Login { files, endpoint, ca_file, .. } => {
            let record = settings.output.as_ref().map(|output| RecordFile::of(Some(output.folder.path())));
            findings.extend(check_login(files, record.and_then(|file| file.recall()), &mounts));
            findings.extend(check_issuer(endpoint, ca_file.as_deref(), settings, now).await);
        }
        SourceSettings::Secret { name, keys, client } => {
            let namespace = name.namespace.as_deref().unwrap_or_else(|| client.default_namespace());
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let read = tokio::time::timeout(LIMIT, api.get_opt(&name.name)).await;
            findings.push(of_secret(read.ok(), &name.to_string(), keys, now));
        }
    }
    findings
}

fn check_output(output: &Output, mounts: &str, now: Moment) -> Vec<Finding> {
    let path = output.folder.path();
    let mut findings: Vec<Finding> = sub_path(path, mounts).into_iter().collect();
    let place = path.display();
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let (mode, user, group) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
            findings.push(good(format!("{place} has mode {mode:o}, user {user} and group {group}")));
            findings.push(match output.folder.probe() {
                Ok(()) => good(format!("{place} can be written")),
                Err(error) => bad(error.to_string()),
            });
        }
        Ok(_) => findings.push(bad(format!("{place} is no directory; mount a volume there"))),
        Err(error) => {
            findings.push(bad(format!("{place}: {error}; mount a volume there, or make the directory")));
        }
    }
    let content = |name| output.folder.read(name).ok().flatten();
    findings.push(match (content(TOKEN), content(TOKEN_JSON)) {
        (None, _) => good(format!("{place} holds no token yet")),
        (Some(token), json) => {
            let json = json.as_deref().map(Vec::as_slice);
            of_token(Found { token: Some(&token), json, ..Found::default() }, &place.to_string(), now)
        }
    });
    findings
}

fn check_directory(path: &Path, keys: &SecretKeys, mounts: &str, now: Moment) -> Vec<Finding> {
    let content = |name: &str| read(&path.join(name)).ok();
    let [token, expires_at, json] = keys.all().map(content);
    let place = path.join(&keys.token).display().to_string();
    let of_content = match &token {
        None => of_trouble(&Trouble::SourceUnreadable { place }),
        Some(token) => {
            let found = Found {
                token: Some(token),
                expires_at: expires_at.as_deref().map(Vec::as_slice),
                json: json.as_deref().map(Vec::as_slice),
            };
            of_token(found, &place, now)
        }
    };
    sub_path(path, mounts).into_iter().chain([of_content]).collect()
}

fn check_login(files: &LoginFiles, record: Option<Record>, mounts: &str) -> Vec<Finding> {
    let place = files.directory.display();
    let mut findings: Vec<Finding> = sub_path(&files.directory, mounts).into_iter().collect();
    let reading = match files.read() {
        Ok(reading) => reading,
        Err(trouble) => {
            findings.push(of_trouble(&trouble));
            return findings;
        }
    };
    findings.push(good(format!("{place} holds a user name and a password")));
    let record = record.filter(|record| record.files == reading.identity);
    findings.extend(record.map(|record| match record.answer {
        Answer::Accepted => good("the issuer accepted this login"),
        Answer::Awaited => good("this login was tried, and nobody heard the answer"),
        Answer::Rejected | Answer::Forbidden => of_trouble(&Trouble::LoginRejected {
            forbidden: record.answer == Answer::Forbidden,
            proven: record.accepted.is_some(),
        }),
    }));
    findings
}

/// Asks the issuer for a page that no login is sent to: that it answers, and what time it has there.
async fn check_issuer(
    endpoint: &Endpoint,
    ca_file: Option<&Path>,
    settings: &Settings,
    now: Moment,
) -> Vec<Finding> {
    let trust = match ca_file.map(|path| (path, read(path).ok().and_then(|pem| CaBundle::parse(&pem).ok()))) {
        None => Trust::PublicRoots,
        Some((_, Some(bundle))) => Trust::Bundle(bundle),
        Some((path, None)) => {
            return vec![of_trouble(&Trouble::CaFile { file: path.display().to_string() })];
        }
    };
    let Ok(url) = endpoint.token.join("/") else { return Vec::new() };
    let request = Request { url, body: b"{}".to_vec().into(), trust, limit: LIMIT };
    let origin = &endpoint.origin;
    match HttpTransport::new(settings.use_environment_proxy).send(request).await {
        Err(error) => vec![bad(format!(
            "{origin}: {error}; see that its address resolves, that network policies let the sidecar out, and whom its certificate is from"
        ))],
        Ok(answer) => {
            let date = answer.date.and_then(|date| httpdate::parse_http_date(&date).ok());
            let date = date.and_then(|date| Timestamp::try_from(date).ok());
            let clock = date.map(|date| of_clock(date.duration_since(now.wall)));
            std::iter::once(good(format!("{origin} answers"))).chain(clock).collect()
        }
    }
}

/// Asks the upstream for the head of a page, without a token.
async fn check_upstream(upstream: &Upstream) -> Finding {
    let origin = upstream.origin();
    match tokio::time::timeout(LIMIT, upstream.probe()).await {
        Ok(Ok(())) => good(format!("{origin} answers")),
        Ok(Err(message)) => bad(format!("{origin}: {message}")),
        Err(_) => bad(format!(
            "{origin} did not answer within {} s; see that it works, and that network policies let the sidecar out",
            LIMIT.as_secs()
        )),
    }
}

fn of_clock(skew: SignedDuration) -> Finding {
    if skew.abs() <= CLOCKS_DIFFER {
        return good("this clock and the issuer's agree");
    }
    let (seconds, way) = (skew.abs().as_secs(), if skew.is_positive() { "ahead of" } else { "behind" });
    bad(format!("the issuer's clock is {seconds} s {way} this one; set the clock of this machine (NTP)"))
}

fn of_secret(
    read: Option<kube::Result<Option<Secret>>>,
    name: &str,
    keys: &SecretKeys,
    now: Moment,
) -> Finding {
    let secret = name.to_owned();
    match read {
        Some(Ok(Some(found))) => {
            let key = |name: &str| found.data.as_ref()?.get(name).map(|value| value.0.as_slice());
            let [token, expires_at, json] = keys.all().map(key);
            of_token(Found { token, expires_at, json }, &format!("Secret {name}"), now)
        }
        Some(Ok(None)) => of_trouble(&Trouble::SecretMissing { secret }),
        Some(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
            of_trouble(&Trouble::SecretForbidden { secret })
        }
        Some(Err(_)) | None => of_trouble(&Trouble::ApiServerUnreachable),
    }
}

fn of_token(found: Found<'_>, place: &str, now: Moment) -> Finding {
    let place = place.to_owned();
    match Held::found(found, now) {
        Err(defect) => of_trouble(&Trouble::TokenUnusable { place, defect }),
        Ok(held) if held.is_expired(now) => of_trouble(&Trouble::TokenExpired { place }),
        Ok(held) => {
            let expiry = held.expiry.map_or_else(
                || "and nobody knows until when".to_owned(),
                |expiry| format!("until {}, {} s from now", expiry.wall, expiry.remaining(now).as_secs()),
            );
            good(format!("{place} holds a valid token {}, {expiry}", held.fingerprint))
        }
    }
}

/// Says so when a part of a volume is mounted there: it never changes.
fn sub_path(path: &Path, mounts: &str) -> Option<Finding> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mount = mounted_part(&path, mounts)?;
    let cure = "Kubernetes never updates that; mount the whole volume as a directory, without subPath";
    Some(bad(format!("{mount} is mounted with subPath; {cure}")))
}

/// The mount point at or below this path that shows a part of a volume, if there is one: by the kernel's list of mounts, in
/// which the fourth word says what of a file system is shown, and the fifth where.
fn mounted_part<'a>(path: &Path, mounts: &'a str) -> Option<&'a str> {
    let entries = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.nth(3)?, words.next()?))
    });
    let is_part = |root: &str| {
        root.contains("/volume-subpaths/")
            || root.split('/').any(|step| step.starts_with("..") && step != "..")
    };
    entries
        .filter(|(root, point)| is_part(root) && Path::new(point).starts_with(path))
        .map(|(_, point)| point)
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_path_is_told_from_a_volume_that_is_mounted_whole() {
        let mounts = "\
36 35 0:30 / /run/whole rw - tmpfs tmpfs rw
37 35 0:31 /..2026_11_24_03_02_35.1/token /run/part/token ro - tmpfs tmpfs rw
38 35 8:1 /var/lib/kubelet/pods/1/volume-subpaths/v/c/0 /run/directory rw - ext4 /dev/sda1 rw
39 35 8:1 /var/lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/v /run/empty rw - ext4 /dev/sda1 rw";
        for (path, point) in [
            ("/run/whole", None),
            ("/run/part", Some("/run/part/token")),
            ("/run/directory", Some("/run/directory")),
            ("/run/empty", None),
        ] {
            assert_eq!(mounted_part(Path::new(path), mounts), point, "{path}");
        }
    }

    #[test]
    fn a_clock_that_is_wrong_is_named_with_its_direction() {
        assert!(of_clock(SignedDuration::from_secs(-20)).is_good);
        let ahead = of_clock(SignedDuration::from_secs(90));
        assert!(!ahead.is_good && ahead.text.contains("90 s ahead of"), "{ahead:?}");
        assert!(of_clock(SignedDuration::from_secs(-90)).text.contains("90 s behind"));
    }
}
