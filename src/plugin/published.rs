//! The published token of a credential, found in its Secret by the fingerprint in status.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;

use super::cluster::Cluster;
use super::failure::{Failure, FailureKind};
use super::row::NO_STATUS;
use crate::api::{IdIssuerCredential, TokenStatus};
use crate::core::conditions::ConditionType;
use crate::core::sidecar::token::HeldToken;
use crate::core::time::Moment;
use crate::core::token::{AccessToken, Fingerprint};
use crate::core::token_command::{Fitness, MinTtl};
use crate::ops::clock::Clock;

/// How often status and Secret are read again if they are not of one rotation: the Secret is written first.
const READINGS: u32 = 10;
/// The pause between two readings.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads the token of a credential, which must live for a while.
///
/// # Errors
/// When there is none, it ends too soon, or this user may not read it; with the cure.
pub async fn published_token(
    client: Client,
    namespace: &str,
    name: &str,
    min_ttl: MinTtl,
    clock: &dyn Clock,
) -> Result<HeldToken, Failure> {
    let cluster = Cluster { client, namespace: namespace.to_owned() };
    let credential = format!("IdIssuerCredential {namespace}/{name}");
    let Published { credential: object, token, .. } = read(&cluster, name, clock).await?;
    match min_ttl.judge(&token, clock.now()) {
        Fitness::Fit => Ok(token),
        Fitness::EndsTooSoon | Fitness::LifetimeTooShort => {
            let expiry = token.expiry.map(|expiry| expiry.wall.to_string()).unwrap_or_default();
            let ready = ready(&object);
            Err(Failure::new(
                FailureKind::NotReady,
                format!("the token of {credential} expires too soon, at {expiry} (see --min-ttl): {ready}"),
            ))
        }
    }
}

/// A token, and where it was found.
pub(super) struct Published {
    pub(super) credential: IdIssuerCredential,
    pub(super) token: HeldToken,
    pub(super) status: TokenStatus,
    /// The key of the Secret.
    pub(super) key: String,
}

/// Reads credential and Secret, until both are of one rotation.
pub(super) async fn read(cluster: &Cluster, name: &str, clock: &dyn Clock) -> Result<Published, Failure> {
    let namespace = &cluster.namespace;
    let mut readings = 0;
    loop {
        readings += 1;
        let credential = cluster.credential(namespace, name).await?;
        let (status, target) = published(&credential, namespace, name)?;
        let secret = cluster.secret(namespace, &target).await?;
        if let Some((key, access)) = secret.as_ref().and_then(|secret| find(secret, &status)) {
            let now = clock.now();
            let at = |time: Timestamp| Some(Moment::at_wall(time, now));
            let (issued, expiry) = (at(status.issued_time.0), at(status.expiration_time.0));
            let token = HeldToken { fingerprint: access.fingerprint(), access, issued, expiry };
            return Ok(Published { credential, token, status, key });
        }
        if readings == READINGS {
            return Err(Failure::new(
                FailureKind::NotReady,
                format!(
                    "Secret {namespace}/{target} does not hold the token in the status of IdIssuerCredential {namespace}/{name}; if its template encodes the token, add the key `token: \"{{{{ token }}}}\"`, otherwise see `kubectl idissuer explain {name} -n {namespace}`"
                ),
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What status says of the published token, and the name of its Secret.
fn published(
    credential: &IdIssuerCredential,
    namespace: &str,
    name: &str,
) -> Result<(TokenStatus, String), Failure> {
    let status = credential.status.as_ref();
    let token = status.and_then(|status| status.token.clone());
    let target = status.and_then(|status| status.secret_name.clone());
    token.zip(target).ok_or_else(|| {
        let ready = ready(credential);
        let message = format!("IdIssuerCredential {namespace}/{name} has no token: {ready}");
        Failure::new(FailureKind::NotReady, message)
    })
}

/// What `Ready` says.
fn ready(credential: &IdIssuerCredential) -> String {
    let ready = credential.status.as_ref().and_then(|it| it.condition(ConditionType::Ready.as_str()));
    ready.map_or_else(|| NO_STATUS.to_owned(), |ready| format!("{}: {}", ready.reason, ready.message))
}

/// The token with the fingerprint in status and its key, wherever the template has put it: alone, after `Bearer `, or in
/// quotes.
fn find(secret: &Secret, status: &TokenStatus) -> Option<(String, AccessToken)> {
    let is_token = |text: &&str| Fingerprint::of(text.as_bytes()).as_str() == status.fingerprint;
    let is_between = |character: char| !(character.is_ascii_alphanumeric() || "-._~+/=".contains(character));
    let values = secret
        .data
        .iter()
        .flatten()
        .filter_map(|(key, value)| std::str::from_utf8(&value.0).ok().map(|text| (key, text)));
    let mut words = values.flat_map(|(key, value)| {
        std::iter::once(value).chain(value.split(is_between)).map(move |word| (key, word))
    });
    let (key, text) = words.find(|(_, word)| is_token(word))?;
    AccessToken::parse(text).ok().map(|token| (key.clone(), token))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn a_token_is_found_wherever_a_template_puts_it_and_no_other_is() {
        let status = |token: &str| -> TokenStatus {
            let fingerprint = Fingerprint::of(token.as_bytes());
            serde_json::from_value(serde_json::json!({
                "issuedTime": "2026-01-01T00:00:00Z", "expirationTime": "2026-01-01T01:00:00Z",
                "renewalTime": "2026-01-01T00:45:00Z", "lifetimeSource": "ExpiresIn", "grant": "Login",
                "fingerprint": fingerprint.as_str(),
            }))
            .unwrap()
        };
        let secret = |value: &str| {
            let data = BTreeMap::from([
                ("other".to_owned(), ByteString(b"other".to_vec())),
                ("value".to_owned(), ByteString(value.as_bytes().to_vec())),
            ]);
            Secret { data: Some(data), ..Secret::default() }
        };
        let token = "aZ09-._~+/==";
        for value in [
            token,
            &format!("Bearer {token}"),
            &format!(r#"{{"token":"{token}"}}"#),
            &format!("a: {token}\n"),
        ] {
            let (key, found) = find(&secret(value), &status(token)).unwrap();
            assert_eq!((key.as_str(), found.expose()), ("value", token), "{value}");
        }
        assert!(find(&secret("Bearer another"), &status(token)).is_none());
        assert_eq!(find(&secret("with:colon"), &status("with:colon")).unwrap().1.expose(), "with:colon");
    }
}
