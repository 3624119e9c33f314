//! The token of an `IdIssuerCredential`, with the rights of the kubeconfig.

use std::time::Duration;

use crate::cli::{Failure, api_server, plugin};
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
    let client = api_server::client(limit).await?;
    let namespace = name.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let token = published_token(client, &namespace, &name.name, min_ttl, clock).await;
    token.map_err(|failure| Failure { message: failure.message, code: plugin::code(failure.kind) })
}
