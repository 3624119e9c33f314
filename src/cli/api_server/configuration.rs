//! The address of the API server, our credentials for it, and its proxy.
//!
//! In a pod it is called directly whatever the environment says: there, the proxy variables are for issuers. With a
//! kubeconfig, the proxy is chosen as in kubectl.

use std::path::PathBuf;

use http::Uri;
use hyper_util::client::proxy::matcher::Intercept;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::kubeconfig::{self, KubeconfigChoice};
use super::proxy::{self, Environment};
use crate::plugin::Failure;

/// The CA certificates of a pod's cluster.
const POD_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// What to call.
pub(super) struct ApiServerAddress {
    pub(super) config: Config,
    pub(super) proxy: Option<Intercept>,
}

/// The cluster of the kubeconfig, or else the pod's own.
pub(super) async fn find(choice: &KubeconfigChoice) -> Result<ApiServerAddress, Failure> {
    let (mut config, named) = match of_kubeconfig(choice).await {
        Ok((config, named)) => (config, Some(named)),
        Err(error) if choice.is_made() => return Err(choice.failure(&error)),
        Err(error) => {
            // What is wrong with a kubeconfig that there is says more than a pod's missing account.
            let of_pod = |own| {
                let of_account = kubeconfig::pod_failure(&own).filter(|_| kubeconfig::is_absent(&error));
                of_account.unwrap_or_else(|| choice.failure(&error))
            };
            (Config::incluster().map_err(of_pod)?, None)
        }
    };
    config.apply_debug_overrides();
    config.proxy_url = None;
    let proxy = named.map_or(Ok(None), |named| choose(named.as_deref(), &config.cluster_url))?;
    if let Some(proxy) = &proxy {
        tracing::info!(proxy = %proxy.uri(), "calling the API server through a proxy");
    }
    Ok(ApiServerAddress { config, proxy })
}

/// The configuration, and the proxy that it names.
async fn of_kubeconfig(choice: &KubeconfigChoice) -> Result<(Config, Option<String>), KubeconfigError> {
    let mut kubeconfig = choice.read()?;
    let named = named_proxy(&kubeconfig);
    if !Environment::is_address_of_process() {
        // Without a proxy, kube uses that of the environment, and fails if it is not a valid address.
        for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
            cluster.proxy_url.get_or_insert_with(|| "unused".to_owned());
        }
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Ok((config?, named))
}

/// The files of the configuration: the kubeconfig and the files that it names, and the pod's CA certificates. Kube
/// itself reloads the pod's token.
pub(super) fn files() -> Vec<PathBuf> {
    let mut files = kubeconfig::files();
    if let Ok(kubeconfig) = Kubeconfig::read() {
        let clusters = kubeconfig.clusters.into_iter().filter_map(|named| named.cluster);
        let users = kubeconfig.auth_infos.into_iter().filter_map(|named| named.auth_info);
        files.extend(clusters.filter_map(|cluster| cluster.certificate_authority).map(PathBuf::from));
        let of_user = users.flat_map(|user| [user.client_certificate, user.client_key, user.token_file]);
        files.extend(of_user.flatten().map(PathBuf::from));
    }
    files.push(POD_CA.into());
    files
}

/// The `proxy-url` of the present context's cluster.
fn named_proxy(kubeconfig: &Kubeconfig) -> Option<String> {
    let current = kubeconfig.current_context.as_ref()?;
    let context = kubeconfig.contexts.iter().find(|named| named.name == *current)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.clone().filter(|address| !address.trim().is_empty())
}

/// A proxy in the kubeconfig must be used. One in the environment may be meant for other programs.
fn choose(named: Option<&str>, server: &Uri) -> Result<Option<Intercept>, Failure> {
    if let Some(address) = named {
        let proxy = proxy::parse(address.trim(), server);
        return proxy.map(Some).map_err(|defect| format!("proxy-url of the kubeconfig: {defect}").into());
    }
    Ok(Environment::of_process().proxy_for(server).unwrap_or_else(|defect| {
        tracing::warn!("calling the API server directly, not through the configured proxy: {defect}");
        None
    }))
}
