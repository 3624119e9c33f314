//! `kubectl idissuer report`: an archive for a bug report, without values of Secrets.

mod redact;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{AsyncRead, AsyncReadExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use serde::Serialize;
use serde_json::{Value, json};

use super::Context;
use super::cluster::{Cluster, Scope, send};
use super::failure::Failure;
use super::logs::log_request;
use super::operator::{self, CONTAINER, OperatorPod};
use super::version::{CrdState, OWN};
use crate::api::IdIssuerCredential;

/// How many lines of each log.
const LOG_LINES: i64 = 10_000;
/// How many bytes of each log and each metrics page.
const TEXT_LIMIT: u64 = 8 * 1024 * 1024;
/// How long the reading of one of them may take.
const TEXT_TIME: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl idissuer report
  kubectl idissuer report -A --file report.tar.gz

Writes the credentials with their status, the metadata of their Secrets, their Events, and the operator's pods, logs and
metrics into an archive. It contains no value of a Secret, no text of a template, and no value of an environment variable. It
does contain the names of your objects and hosts: read it before you publish it.

What may not be read is left out, and listed in README.txt of the archive.
Rights: list on idissuercredentials.idissuer.pl; better with list on events.events.k8s.io and pods, and get on secrets, pods/log
and pods/proxy.")]
pub(super) struct ReportArguments {
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// The archive [default: idissuer-report-TIME.tar.gz]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// The namespace of the operator [default: all namespaces]
    #[arg(long, value_name = "NAME")]
    operator_namespace: Option<String>,
}

/// The files of a report in the making, and what is missing.
#[derive(Default)]
struct Report {
    files: Vec<(String, Vec<u8>)>,
    missing: Vec<String>,
}

/// Writes the report.
pub(super) async fn run(arguments: ReportArguments, context: &mut Context<'_>) -> Result<(), Failure> {
    let cluster = context.cluster().await?;
    let scope = if arguments.all_namespaces { Scope::All } else { Scope::Namespace(&cluster.namespace) };
    let mut report = Report::default();
    match cluster.credentials(scope, None).await {
        Ok(credentials) => {
            report.missing.extend(credentials.notes());
            report.add_credentials(&cluster, &credentials.known).await;
        }
        Err(failure) => report.missing.push(failure.message),
    }
    report.add_operator(&cluster, arguments.operator_namespace.as_deref()).await;
    let now = context.clock.now().wall;
    report.add_versions(&cluster).await;
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let file = arguments.file.unwrap_or_else(|| format!("idissuer-report-{time}.tar.gz").into());
    let (count, missing) = (report.files.len(), report.missing.clone());
    report.write(&file, now.as_second()).map_err(|error| format!("write {}: {error}", file.display()))?;
    context.screen.line(&format!("{}: {count} files; no value of a Secret is in it", file.display()))?;
    for missing in missing {
        context.screen.line(&format!("Left out: {missing}"))?;
    }
    Ok(())
}

impl Report {
    fn add(&mut self, path: String, object: &impl Serialize) {
        match serde_saphyr::to_string(object) {
            Ok(text) => self.files.push((path, text.into_bytes())),
            Err(error) => self.missing.push(format!("{path}: {error}")),
        }
    }

    fn note<T>(&mut self, outcome: Result<T, Failure>) -> Option<T> {
        outcome.map_err(|failure| self.missing.push(failure.message)).ok()
    }

    async fn add_credentials(&mut self, cluster: &Cluster, credentials: &[IdIssuerCredential]) {
        let mut namespaces = BTreeSet::new();
        for credential in credentials {
            let metadata = &credential.metadata;
            let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else { continue };
            namespaces.insert(namespace.as_str());
            self.add(format!("{namespace}/credentials/{name}.yaml"), &redact::credential(value(credential)));
            let login = credential.spec.login_secret_ref.as_ref().map(|login| login.name.as_str());
            for secret in [Some(credential.secret_name()), login].into_iter().flatten() {
                let found = cluster.secret_metadata(namespace, secret).await;
                if let Some(found) = self.note(found).flatten() {
                    self.add(format!("{namespace}/secrets/{secret}.yaml"), &redact::secret(value(&found)));
                }
            }
        }
        for namespace in namespaces {
            let events = cluster.all_events(namespace).await;
            if let Some(events) = self.note(events) {
                self.add(format!("{namespace}/events.yaml"), &events);
            }
        }
        // The same right may be missing for many objects.
        self.missing.dedup();
    }

    async fn add_operator(&mut self, cluster: &Cluster, namespace: Option<&str>) {
        let pods = operator::pods(cluster, namespace).await;
        let Some(pods) = self.note(pods) else { return };
        if pods.is_empty() {
            self.missing.push("no pod of the operator is found: no log, no metrics".to_owned());
        }
        for pod in &pods {
            let OperatorPod { namespace, name, .. } = pod;
            let object = cluster.pod(namespace, name).await;
            if let Some(object) = self.note(object) {
                self.add(format!("operator/{namespace}/{name}.yaml"), &redact::pod(value(&object)));
            }
            let text = log(cluster, pod).await;
            if let Some(text) = self.note(text) {
                self.files.push((format!("operator/{namespace}/{name}.log"), text));
            }
            let text = metrics(cluster, pod).await;
            if let Some(text) = self.note(text) {
                self.files.push((format!("operator/{namespace}/{name}.metrics"), text));
            }
        }
    }

    async fn add_versions(&mut self, cluster: &Cluster) {
        let (crd, server) = tokio::join!(cluster.crd(), cluster.server_version());
        let crd = self.note(crd).map(|crd| CrdState::of(crd.as_ref()));
        let server = self.note(server);
        self.add("version.yaml".to_owned(), &json!({"client": OWN, "crd": crd, "server": server}));
    }

    /// What the archive is, and what is missing in it.
    fn readme(&self) -> String {
        let missing: Vec<_> = self.missing.iter().map(|missing| format!("- {missing}\n")).collect();
        let missing = if missing.is_empty() { "- nothing\n".to_owned() } else { missing.concat() };
        format!(
            "Written by kubectl idissuer report, version {OWN}.\nIt holds no value of a Secret. It holds names of objects and \
             hosts.\n\nLeft out:\n{missing}"
        )
    }

    fn write(self, path: &Path, time: i64) -> std::io::Result<()> {
        let readme = ("README.txt".to_owned(), self.readme().into_bytes());
        // It names objects and hosts, so others on this machine do not read it.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        for (path, bytes) in std::iter::once(readme).chain(self.files) {
            let mut header = tar::Header::new_gnu();
            header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            header.set_mode(0o600);
            header.set_mtime(u64::try_from(time).unwrap_or_default());
            archive.append_data(&mut header, Path::new("idissuer-report").join(path), bytes.as_slice())?;
        }
        archive.into_inner()?.finish()?.sync_all()
    }
}

fn value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

async fn log(cluster: &Cluster, pod: &OperatorPod) -> Result<Vec<u8>, Failure> {
    let parameters = LogParams {
        container: Some(CONTAINER.to_owned()),
        tail_lines: Some(LOG_LINES),
        timestamps: true,
        ..LogParams::default()
    };
    let api = cluster.api::<Pod>(&pod.namespace);
    let stream = send(log_request(pod), api.log_stream(&pod.name, &parameters)).await?;
    read(stream, "log", pod).await
}

async fn metrics(cluster: &Cluster, pod: &OperatorPod) -> Result<Vec<u8>, Failure> {
    read(cluster.metrics(&pod.namespace, &pod.name).await?, "metrics", pod).await
}

/// The begin of a text. Anyone can give a pod the labels of an operator, so it may have no end.
async fn read(text: impl AsyncRead, what: &str, pod: &OperatorPod) -> Result<Vec<u8>, Failure> {
    let mut begin = Vec::new();
    let mut text = std::pin::pin!(text.take(TEXT_LIMIT));
    let read = tokio::time::timeout(TEXT_TIME, text.read_to_end(&mut begin)).await;
    let failed = |cause: String| Failure::from(format!("read the {what} of {}: {cause}", pod.path()));
    match read {
        Ok(Ok(_)) => Ok(begin),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("not at its end after {} s", TEXT_TIME.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn an_archive_holds_the_files_and_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.tar.gz");
        let report = Report {
            files: vec![("shop/events.yaml".to_owned(), b"[]".to_vec())],
            missing: vec!["this user may not list pods".to_owned()],
        };
        report.write(&path, 0).unwrap();
        let mut archive =
            tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(&path).unwrap()));
        let files: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                (entry.path().unwrap().display().to_string(), text)
            })
            .collect();
        assert_eq!(files[0].0, "idissuer-report/README.txt");
        assert!(files[0].1.contains("- this user may not list pods"), "{}", files[0].1);
        assert_eq!(files[1], ("idissuer-report/shop/events.yaml".to_owned(), "[]".to_owned()));
    }
}
