//! Checks that the servers answer which the sidecar calls, and compares their clocks. Sends no login and no token.

use std::path::Path;
use std::time::Duration;

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::GetParams;
use kube::client::Body;
use kube::{Api, Client};

use super::access::{Identity, denial};
use super::{Finding, bad, finding_of, good, of_token};
use crate::core::connection_failure::Wording;
use crate::core::endpoint::Endpoint;
use crate::core::sidecar::error::SourceError;
use crate::core::sidecar::token::TokenFields;
use crate::issuer::{HttpTransport, Request, Transport as _, Trust};
use crate::ops::clock::{Clock, SystemClock};
use crate::sidecar::proxy::Upstream;
use crate::sidecar::source::{SecretKeys, SecretName, bundle};

/// How long a server may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// How far two clocks may differ.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(30);

/// Requests a page from the issuer, without a login.
pub(super) async fn issuer(
    endpoint: &Endpoint,
    ca_file: Option<&Path>,
    use_environment_proxy: bool,
    own: &Identity,
    clock: &SystemClock,
) -> Vec<Finding> {
    let trust = match ca_file.map(|path| bundle(path).map_err(|error| (path, error))) {
        None => Trust::PublicRoots,
        Some(Ok(bundle)) => Trust::Bundle(bundle),
        Some(Err((path, error))) => {
            return std::iter::once(finding_of(&error)).chain(denial(path, own)).collect();
        }
    };
    let Ok(url) = endpoint.token.join("/") else { return Vec::new() };
    let headers = HeaderMap::new();
    let request = Request { url, body: b"{}".to_vec().into(), trust, limit: LIMIT, headers };
    let origin = endpoint.origin.to_string();
    match HttpTransport::new(use_environment_proxy).send(request).await {
        Err(error) => vec![bad(error.connection_failure.problem(&origin, Wording::SIDECAR))],
        Ok(answer) => answers(&origin, answer.date.as_deref(), clock),
    }
}

/// Requests the headers of a page from the upstream.
pub(super) async fn upstream(upstream: &Upstream, clock: &SystemClock) -> Vec<Finding> {
    let origin = upstream.origin().to_string();
    match tokio::time::timeout(LIMIT, upstream.probe()).await {
        Ok(Ok(date)) => answers(&origin, date.as_deref(), clock),
        Ok(Err(message)) => vec![bad(format!("{origin}: {message}"))],
        Err(_) => vec![bad(format!(
            "{origin} did not answer within {} s; check that it works, and that network policies allow the sidecar to reach it",
            LIMIT.as_secs()
        ))],
    }
}

/// Reads the target Secret at the API server.
pub(super) async fn secret(
    name: &SecretName,
    keys: &SecretKeys,
    client: &Client,
    clock: &SystemClock,
) -> Vec<Finding> {
    let namespace = name.namespace.as_deref().unwrap_or_else(|| client.default_namespace());
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let read = tokio::time::timeout(LIMIT, api.get_opt(&name.name)).await;
    let secret = name.to_string();
    let found = match read {
        Ok(Ok(Some(found))) => {
            let key = |name: &str| found.data.as_ref()?.get(name).map(|value| value.0.as_slice());
            let [token, expires_at, json] = keys.all().map(key);
            of_token(TokenFields { token, expires_at, json }, &format!("Secret {name}"), clock.now())
        }
        Ok(Ok(None)) => vec![finding_of(&SourceError::SecretMissing { secret })],
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
            vec![finding_of(&SourceError::SecretForbidden { secret })]
        }
        // Nothing more is to be learned from a server that does not answer.
        Ok(Err(_)) | Err(_) => return vec![finding_of(&SourceError::ApiServerUnreachable)],
    };
    let date = api_server_date(&api, &name.name, client).await;
    found.into_iter().chain(answers("the API server", date.as_deref(), clock)).collect()
}

/// The time of the API server, from a header that the client hides when it reads objects. The request reads the Secret,
/// because the sidecar has permission for it.
async fn api_server_date(api: &Api<Secret>, name: &str, client: &Client) -> Option<String> {
    let request = kube::core::Request::new(api.resource_url()).get(name, &GetParams::default()).ok()?;
    let response = client.send(request.map(Body::from));
    let response = tokio::time::timeout(LIMIT, response).await.ok()?.ok()?;
    Some(response.headers().get(http::header::DATE)?.to_str().ok()?.to_owned())
}

fn answers(server: &str, date: Option<&str>, clock: &SystemClock) -> Vec<Finding> {
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let date = date.and_then(|date| Timestamp::try_from(date).ok());
    let skew = date.map(|date| date.duration_since(clock.now().wall));
    std::iter::once(good(format!("{server} answers")))
        .chain(skew.map(|skew| of_clock(server, skew)))
        .collect()
}

fn of_clock(server: &str, skew: SignedDuration) -> Finding {
    if skew.abs() <= CLOCKS_DIFFER {
        return good(format!("this clock and that of {server} agree"));
    }
    let (seconds, way) = (skew.abs().as_secs(), if skew.is_positive() { "ahead of" } else { "behind" });
    bad(format!("the clock of {server} is {seconds} s {way} this one; correct the wrong clock (NTP)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_is_named_with_its_direction() {
        let of_clock = |seconds| of_clock("https://issuer.example", SignedDuration::from_secs(seconds));
        assert!(of_clock(-20).is_good);
        let ahead = of_clock(90);
        assert!(!ahead.is_good && ahead.text.contains("issuer.example is 90 s ahead of"), "{ahead:?}");
        assert!(of_clock(-90).text.contains("90 s behind"));
    }
}
