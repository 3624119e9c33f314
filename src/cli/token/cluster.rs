//! The token of an `IdIssuerCredential`, with the rights of the kubeconfig.

use std::time::Duration;

use crate::cli::api_server::{self, KubeconfigChoice};
use crate::cli::{Failure, plugin};
use crate::core::sidecar::token::HeldToken;
use crate::core::token_command::MinTtl;
use crate::ops::clock::Clock;
use crate::plugin::published_token;
use crate::sidecar::source::SecretName;

/// Reads the credential and its target Secret.
pub(super) async fn token(
    name: &SecretName,
    min_ttl: MinTtl,
    limit: Duration,
    clock: &dyn Clock,
) -> Result<HeldToken, Failure> {
    let failed = |failure: crate::plugin::Failure| Failure {
        code: plugin::code(failure.kind),
        message: failure.message,
    };
    let client = api_server::client_of(KubeconfigChoice::default(), limit).await.map_err(failed)?;
    let namespace = name.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let token = published_token(client, &namespace, &name.name, min_ttl, clock).await;
    token.map_err(failed)
}
