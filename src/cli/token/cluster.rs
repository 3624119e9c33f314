//! The token of an `IdIssuerCredential`, with the rights of the kubeconfig.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use crate::api::{IdIssuerCredential, TokenStatus};
use crate::cli::exit_code::{FAILED, FORBIDDEN, NOT_FOUND, NOT_READY, UNREACHABLE};
use crate::cli::{Failure, api_server};
use crate::core::conditions::ConditionType;
use crate::core::sidecar::token::HeldToken;
use crate::core::time::Moment;
use crate::core::token::{AccessToken, Fingerprint};
use crate::core::token_command::{Fitness, MinTtl};
use crate::ops::clock::Clock;
use crate::sidecar::source::SecretName;

/// How often status and Secret are read again if they are not of one rotation: the Secret is written first.
const READINGS: u32 = 10;
/// The pause between two readings.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads the credential and its target Secret.
pub(super) async fn token(
    name: &SecretName,
    min_ttl: MinTtl,
    limit: Duration,
    clock: &dyn Clock,
) -> Result<HeldToken, Failure> {
    let client = api_server::client(limit).await?;
    let namespace = name.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let credential = Credential { namespace, name: &name.name, client };
    let mut readings = 0;
    loop {
        readings += 1;
        match credential.read(min_ttl, clock.now()).await {
            Err(Problem::Rotates(_)) if readings < READINGS => tokio::time::sleep(PAUSE).await,
            outcome => return outcome.map_err(|problem| credential.failure(problem)),
        }
    }
}

/// Why a credential has no token to print.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    /// It has none; with what `Ready` says of it.
    NotReady(String),
    /// Its token ends too soon; with what `Ready` says of it.
    EndsTooSoon { expiry: Timestamp, ready: String },
    /// Its Secret holds another token than its status names, as during a rotation.
    Rotates(String),
    /// A request failed: the exit code, and what is wrong.
    Request(u8, String),
}

struct Credential<'a> {
    namespace: String,
    name: &'a str,
    client: Client,
}

impl Credential<'_> {
    async fn read(&self, min_ttl: MinTtl, now: Moment) -> Result<HeldToken, Problem> {
        let credentials: Api<IdIssuerCredential> = Api::namespaced(self.client.clone(), &self.namespace);
        let credential = credentials.get(self.name).await.map_err(|error| {
            let object = format!("IdIssuerCredential {}/{}", self.namespace, self.name);
            of_request(&error, &object, self.name, "idissuercredentials.idissuer.pl")
        })?;
        let (status, target) = published(&credential)?;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = secrets.get_opt(&target).await.map_err(|error| {
            of_request(&error, &format!("Secret {}/{target}", self.namespace), &target, "secrets")
        })?;
        let token = secret.as_ref().and_then(|secret| find(secret, &status));
        let access = token.ok_or(Problem::Rotates(target))?;
        let at = |time: Timestamp| Some(Moment::at_wall(time, now));
        let (issued, expiry) = (at(status.issued_time.0), at(status.expiration_time.0));
        let token = HeldToken { fingerprint: access.fingerprint(), access, issued, expiry };
        match min_ttl.judge(&token, now) {
            Fitness::Fit => Ok(token),
            Fitness::EndsTooSoon | Fitness::LifetimeTooShort => {
                Err(Problem::EndsTooSoon { expiry: status.expiration_time.0, ready: ready(&credential) })
            }
        }
    }

    fn failure(&self, problem: Problem) -> Failure {
        let (namespace, name) = (&self.namespace, self.name);
        let credential = format!("IdIssuerCredential {namespace}/{name}");
        match problem {
            Problem::Request(code, message) => Failure { message, code },
            Problem::NotReady(ready) => {
                Failure { message: format!("{credential} has no token: {ready}"), code: NOT_READY }
            }
            Problem::EndsTooSoon { expiry, ready } => Failure {
                message: format!(
                    "the token of {credential} expires too soon, at {expiry} (see --min-ttl): {ready}"
                ),
                code: NOT_READY,
            },
            Problem::Rotates(secret) => Failure {
                message: format!(
                    "Secret {namespace}/{secret} does not hold the token in the status of {credential}; if its template encodes the token, add the key `token: \"{{{{ token }}}}\"`, otherwise see `kubectl describe iic {name} --namespace {namespace}`"
                ),
                code: NOT_READY,
            },
        }
    }
}

/// What status says of the published token, and the name of its Secret.
fn published(credential: &IdIssuerCredential) -> Result<(TokenStatus, String), Problem> {
    let status = credential.status.as_ref();
    let token = status.and_then(|status| status.token.clone());
    let target = status.and_then(|status| status.secret_name.clone());
    token.zip(target).ok_or_else(|| Problem::NotReady(ready(credential)))
}

/// What `Ready` says.
fn ready(credential: &IdIssuerCredential) -> String {
    let conditions =
        credential.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = conditions.iter().find(|it| it.type_ == ConditionType::Ready.as_str());
    ready.map_or_else(
        || {
            "it has no status yet; check that the operator runs, and that it manages this namespace"
                .to_owned()
        },
        |ready| format!("{}: {}", ready.reason, ready.message),
    )
}

/// The token with the fingerprint in status, wherever the template has put it: alone, after `Bearer `, or in quotes.
fn find(secret: &Secret, status: &TokenStatus) -> Option<AccessToken> {
    let is_token = |text: &&str| Fingerprint::of(text.as_bytes()).as_str() == status.fingerprint;
    let is_between = |character: char| !(character.is_ascii_alphanumeric() || "-._~+/=".contains(character));
    let values = secret.data.iter().flatten().filter_map(|(_, value)| std::str::from_utf8(&value.0).ok());
    let mut words = values.flat_map(|value| std::iter::once(value).chain(value.split(is_between)));
    words.find(is_token).and_then(|text| AccessToken::parse(text).ok())
}

/// What the failure of a read means. An answer that could not be understood may hold a Secret, so it is not repeated.
fn of_request(error: &kube::Error, object: &str, name: &str, resource: &str) -> Problem {
    let (code, cure) = match error {
        kube::Error::Api(status) => match status.code {
            401 => (
                FORBIDDEN,
                "the API server does not accept the kubeconfig's user; log in to the cluster again",
            ),
            403 => {
                return Problem::Request(
                    FORBIDDEN,
                    format!(
                        "this user may not read {object}; ask for a Role with the verb get on {resource}, resourceNames [{name}]"
                    ),
                );
            }
            404 if status.details.as_ref().is_some_and(|details| details.name == name) => {
                (NOT_FOUND, "it does not exist; check name and namespace ([NAMESPACE/]NAME)")
            }
            404 => (
                NOT_FOUND,
                "the API server does not know this resource; install the CRD, or check the kubeconfig's context",
            ),
            429 | 500.. => (UNREACHABLE, "the API server fails; try again later"),
            _ => (FAILED, "the API server rejects the request"),
        },
        kube::Error::HyperError(_) | kube::Error::Service(_) => {
            (UNREACHABLE, "the API server cannot be reached; check the kubeconfig's server and the network")
        }
        _ => (FAILED, "the answer of the API server cannot be used"),
    };
    Problem::Request(code, format!("read {object}: {cure}"))
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
            assert_eq!(find(&secret(value), &status(token)).unwrap().expose(), token, "{value}");
        }
        assert!(find(&secret("Bearer another"), &status(token)).is_none());
        assert_eq!(find(&secret("with:colon"), &status("with:colon")).unwrap().expose(), "with:colon");
    }
}
