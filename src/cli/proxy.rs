//! The flags of the sidecar's proxy, and what they mean.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::origin;
use crate::core::endpoint::Origin;
use crate::issuer::{CaBundle, Trust};
use crate::ops::clock::SystemClock;
use crate::sidecar::file::read;
use crate::sidecar::proxy::{HostName, ProxySettings, Upstream};

#[derive(Debug, Args)]
pub(super) struct ProxyArguments {
    /// Add the token to HTTP requests on this address and forward them to --upstream. A port alone means 127.0.0.1.
    /// Everyone who reaches the address uses the token
    #[arg(long, env = "IDISSUER_PROXY_LISTEN", value_name = "[ADDRESS:]PORT", value_parser = proxy_address, requires = "upstream")]
    proxy_listen: Option<SocketAddr>,

    /// The server that the proxy forwards to. Plain HTTP only to this machine, or with --allow-plain-upstream
    #[arg(long, env = "IDISSUER_UPSTREAM", value_name = "URL", value_parser = origin, requires = "proxy_listen")]
    upstream: Option<Origin>,

    /// The upstream's CA certificates (PEM), read at startup [default: the public CAs]
    #[arg(long, env = "IDISSUER_UPSTREAM_CA_FILE", value_name = "FILE")]
    upstream_ca_file: Option<PathBuf>,

    /// Allow a plain HTTP --upstream on another machine: everyone on the network path can read the token
    #[arg(long, env = "IDISSUER_ALLOW_PLAIN_UPSTREAM")]
    allow_plain_upstream: bool,

    /// A host name that requests to the proxy may use, and whose web pages may call it. Repeatable. On an address that others
    /// can reach, any name is allowed until one is given
    #[arg(long = "proxy-allow-host", env = "IDISSUER_PROXY_ALLOW_HOST", value_name = "NAME", value_delimiter = ',', value_parser = host_name, requires = "proxy_listen")]
    allowed_hosts: Vec<HostName>,
}

fn host_name(text: &str) -> Result<HostName, String> {
    HostName::parse(text).ok_or_else(|| "not a host name; write it like reports.shop".into())
}

fn proxy_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.parse().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok();
    port.or_else(|| text.parse().ok())
        .ok_or_else(|| "not a port like 8080, or an address like 127.0.0.1:8080".into())
}

impl ProxyArguments {
    /// Whether there is to be a proxy.
    pub(super) fn is_wanted(&self) -> bool {
        self.proxy_listen.is_some()
    }

    /// What they mean; nothing where there is to be no proxy.
    pub(super) fn settings(&self) -> Result<Option<ProxySettings>, String> {
        // Clap sees to it that one does not come without the other.
        let (Some(address), Some(origin)) = (self.proxy_listen, self.upstream.clone()) else {
            return Ok(None);
        };
        if !(origin.is_https() || origin.is_loopback() || self.allow_plain_upstream) {
            return Err(
                "use https for --upstream, or add --allow-plain-upstream; over plain HTTP, everyone on the network path can read the token"
                    .into(),
            );
        }
        if origin.is_loopback() && origin.port() == Some(address.port()) {
            return Err(
                "--upstream is the address of --proxy-listen, so requests would loop; set another one".into(),
            );
        }
        let trust = match &self.upstream_ca_file {
            None => Trust::PublicRoots,
            Some(path) => {
                let named = |error: &dyn Display| format!("--upstream-ca-file {}: {error}", path.display());
                let pem = read(path).map_err(|error| named(&error))?;
                Trust::Bundle(CaBundle::parse(&pem).map_err(|defect| named(&defect))?)
            }
        };
        let clock = Arc::new(SystemClock::start());
        let upstream =
            Upstream::new(origin, &trust, clock).map_err(|defect| format!("--upstream: {defect}"))?;
        let (upstream, allowed_hosts) = (Arc::new(upstream), self.allowed_hosts.clone());
        Ok(Some(ProxySettings { address, upstream, allowed_hosts }))
    }
}
