//! Which kubeconfig counts, and what is wrong with it, with the cure.

use std::io;
use std::path::{Path, PathBuf};

use kube::config::{InClusterError, Kubeconfig, KubeconfigError};

use crate::plugin::{Failure, FailureKind};

/// Which kubeconfig, and which of its contexts.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct KubeconfigChoice {
    /// The file [default: as kubectl finds it].
    pub(in crate::cli) file: Option<PathBuf>,
    /// The context [default: the current one].
    pub(in crate::cli) context: Option<String>,
}

impl KubeconfigChoice {
    pub(super) fn is_made(&self) -> bool {
        self.file.is_some() || self.context.is_some()
    }

    pub(super) fn read(&self) -> Result<Kubeconfig, KubeconfigError> {
        let mut kubeconfig = match &self.file {
            Some(file) => Kubeconfig::read_from(file)?,
            None => Kubeconfig::read()?,
        };
        if self.context.is_some() {
            kubeconfig.current_context.clone_from(&self.context);
        }
        Ok(kubeconfig)
    }

    /// What is wrong, and the cure. What cannot be parsed may hold credentials, so it is not repeated.
    pub(super) fn failure(&self, error: &KubeconfigError) -> Failure {
        use FailureKind::{Failed, Usage};
        let of_command_line = |is_named: bool| if is_named { Usage } else { Failed };
        let (kind, message) = match error {
            KubeconfigError::ReadConfig(error, path) => return self.unreadable(error, path),
            KubeconfigError::FindPath => (
                Failed,
                "no cluster: set KUBECONFIG to a kubeconfig; this user has no home directory".to_owned(),
            ),
            KubeconfigError::Parse(_) => {
                (Failed, "the kubeconfig cannot be parsed; `kubectl config view` says where".to_owned())
            }
            KubeconfigError::CurrentContextNotSet => (Failed, no_current_context()),
            KubeconfigError::LoadContext(name) if name.is_empty() => (Failed, no_current_context()),
            KubeconfigError::LoadContext(name) => (
                of_command_line(self.context.is_some()),
                format!("the kubeconfig has no context {name}; `kubectl config get-contexts` lists them"),
            ),
            KubeconfigError::LoadClusterOfContext(name) => (
                Failed,
                format!(
                    "the kubeconfig has no cluster {name}, which its context names; `kubectl config get-clusters` lists them"
                ),
            ),
            KubeconfigError::MissingClusterUrl => {
                (Failed, "the kubeconfig names no server for the cluster of its context; add it".to_owned())
            }
            other => (Failed, format!("the kubeconfig cannot be used: {other}")),
        };
        Failure { kind, message }
    }

    fn unreadable(&self, error: &io::Error, path: &Path) -> Failure {
        use FailureKind::{Failed, Forbidden, Usage};
        let file = path.display();
        let (kind, message) = match error.kind() {
            io::ErrorKind::NotFound if self.file.is_some() => {
                (Usage, format!("{file} does not exist; correct --kubeconfig"))
            }
            io::ErrorKind::NotFound if is_default(path) => (
                Failed,
                format!("no cluster: set KUBECONFIG to a kubeconfig, or create {file}, which does not exist"),
            ),
            io::ErrorKind::NotFound => (Failed, format!("{file} does not exist; correct KUBECONFIG")),
            io::ErrorKind::PermissionDenied => (
                Forbidden,
                format!("this user may not read {file}; change its owner or mode, or use another kubeconfig"),
            ),
            _ => (Failed, format!("the kubeconfig {file} cannot be read: {error}")),
        };
        Failure { kind, message }
    }
}

fn no_current_context() -> String {
    "the kubeconfig has no current context; choose one with `kubectl config use-context NAME`".to_owned()
}

/// Where kubectl looks in the home directory.
const DEFAULT: &str = ".kube/config";

/// Whether nobody named a kubeconfig, and there is none where kubectl looks.
pub(super) fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(error, path) => {
            error.kind() == io::ErrorKind::NotFound && is_default(path)
        }
        _ => false,
    }
}

fn is_default(path: &Path) -> bool {
    std::env::home_dir().is_some_and(|home| path == home.join(DEFAULT))
}

/// The failure where there is a pod's environment, but no service account; none where this is no pod.
pub(super) fn pod_failure(error: &InClusterError) -> Option<Failure> {
    let is_pod = !matches!(error, InClusterError::ReadEnvironmentVariable(_));
    is_pod.then(|| Failure {
        kind: FailureKind::Failed,
        message: format!(
            "the service account of this pod cannot be used: {error}; mount its token (automountServiceAccountToken), or set KUBECONFIG"
        ),
    })
}

/// The files of the kubeconfig, as kube finds them.
pub(super) fn files() -> Vec<PathBuf> {
    let named = std::env::var_os("KUBECONFIG");
    let named: Vec<PathBuf> = named.iter().flat_map(std::env::split_paths).collect();
    if named.iter().any(|path| !path.as_os_str().is_empty()) {
        return named;
    }
    std::env::home_dir().map(|home| home.join(DEFAULT)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_may_not_read_is_forbidden() {
        let denied = KubeconfigError::ReadConfig(io::ErrorKind::PermissionDenied.into(), "/etc/it".into());
        let failure = KubeconfigChoice::default().failure(&denied);
        assert_eq!(failure.kind, FailureKind::Forbidden);
        assert!(failure.message.starts_with("this user may not read /etc/it; "), "{}", failure.message);
    }

    #[test]
    fn a_kubeconfig_that_somebody_named_is_not_absent() {
        let default = std::env::home_dir().unwrap().join(DEFAULT);
        let unread = |kind: io::ErrorKind, path| KubeconfigError::ReadConfig(kind.into(), path);
        for (error, expected) in [
            (KubeconfigError::FindPath, true),
            (unread(io::ErrorKind::NotFound, default.clone()), true),
            (unread(io::ErrorKind::PermissionDenied, default), false),
            (unread(io::ErrorKind::NotFound, "/etc/kube/confg".into()), false),
            (KubeconfigError::CurrentContextNotSet, false),
        ] {
            assert_eq!(is_absent(&error), expected, "{error:?}");
        }
    }

    #[test]
    fn a_pod_without_a_service_account_is_named_and_another_machine_is_no_pod() {
        let unset = InClusterError::ReadEnvironmentVariable(std::env::VarError::NotPresent);
        assert_eq!(pod_failure(&unset), None);
        let unmounted = InClusterError::ReadDefaultNamespace(io::ErrorKind::NotFound.into());
        let message = pod_failure(&unmounted).unwrap().message;
        assert!(message.contains("mount its token"), "{message}");
    }
}
