//! `idissuer selftest`: tests an installed operator and reports in sentences.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Failure, origin};
use crate::api::{IdIssuerCredential, IdIssuerCredentialSpec, Issuer, LoginSecretRef};
use crate::core::conditions::ConditionType;
use crate::core::endpoint::Origin;
use crate::core::token::Fingerprint;
use crate::ops::clock::{Clock as _, SystemClock};

/// The polling interval. The test polls instead of watching, so that it needs permissions for two names only.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the garbage collection may take. The collector discovers new kinds every half minute, and retries owners of
/// unknown kinds with backoff: right after an installation this takes one or two minutes.
const REMOVAL_LIMIT: Duration = Duration::from_secs(180);

/// How long it may take to delete the credential once a signal has come. A pod is killed after half a minute.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(20);
/// The label of credentials of a selftest, so that leftovers can be removed.
const MADE_BY: (&str, &str) = ("app.kubernetes.io/created-by", "idissuer-selftest");

#[derive(Debug, Args)]
pub(super) struct SelftestArguments {
    /// The namespace of the credential
    #[arg(long, env = "IDISSUER_NAMESPACE", value_name = "NAME")]
    namespace: String,

    /// The name of the credential and of its target Secret; neither may exist, except from an earlier test
    #[arg(long, value_name = "NAME", default_value = "idissuer-selftest")]
    name: String,

    /// A Secret with the keys `username` and `password`, in that namespace; without it, the test fails and says what it needs
    #[arg(long, value_name = "NAME")]
    login_secret: Option<String>,

    /// The issuer [default: the operator's --issuer-url]
    #[arg(long, value_name = "URL", value_parser = origin)]
    issuer_url: Option<Origin>,

    /// Seconds to wait for a token before the test fails
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout_seconds: u16,
}

/// The error without a login: a test that tests nothing must fail.
const NEEDS_LOGIN: &str = "nothing was tested, because a token needs an account; name a Secret with the keys `username` and \
    `password` (--login-secret NAME; in the chart, test.login.secretName=NAME and test.namespace), or let the chart \
    simulate an issuer (test.simulator.enabled=true), with `helm upgrade --reuse-values --set …`";

/// Creates a credential, checks what the operator makes of it, and always removes it, even if it is stopped.
pub(super) async fn run(
    mut arguments: SelftestArguments,
    client: impl Future<Output = Result<Client, String>>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let login = arguments.login_secret.take().filter(|name| !name.is_empty());
    let login = login.ok_or_else(|| NEEDS_LOGIN.to_owned())?;
    let test = Selftest::new(arguments, login, client.await?);
    test.clean_up_previous(stop).await?;
    if stop.is_cancelled() {
        return Err(Failure::unfinished());
    }
    test.create().await?;
    let seen = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        seen = test.await_token() => Some(seen),
    };
    test.delete().await?;
    let gone = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        gone = test.await_deletion() => Some(gone),
    };
    let (Some(seen), Some(gone)) = (seen, gone) else { return Err(Failure::unfinished()) };
    seen.and(gone)?;
    print_line("The operator works.").map_err(Failure::from)
}

struct Selftest {
    arguments: SelftestArguments,
    login: String,
    credentials: Api<IdIssuerCredential>,
    secrets: Api<Secret>,
    clock: SystemClock,
}

impl Selftest {
    fn new(arguments: SelftestArguments, login: String, client: Client) -> Self {
        Self {
            credentials: Api::namespaced(client.clone(), &arguments.namespace),
            secrets: Api::namespaced(client, &arguments.namespace),
            arguments,
            login,
            clock: SystemClock::start(),
        }
    }

    fn target(&self) -> String {
        format!("Secret {}/{}", self.arguments.namespace, self.arguments.name)
    }

    fn credential(&self) -> String {
        format!("IdIssuerCredential {}/{}", self.arguments.namespace, self.arguments.name)
    }

    async fn create(&self) -> Result<(), String> {
        let spec = IdIssuerCredentialSpec {
            login_secret_ref: Some(LoginSecretRef { name: self.login.clone(), ..LoginSecretRef::default() }),
            issuer: self
                .arguments
                .issuer_url
                .as_ref()
                .map(|origin| Issuer { url: Some(origin.to_string()), ..Issuer::default() }),
            ..IdIssuerCredentialSpec::default()
        };
        let mut credential = IdIssuerCredential::new(&self.arguments.name, spec);
        credential.labels_mut().insert(MADE_BY.0.to_owned(), MADE_BY.1.to_owned());
        match self.credentials.create(&PostParams::default(), &credential).await {
            Ok(_) => print_line(&format!("Created {}.", self.credential())),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                Err(format!("{} already exists; delete it, or set another --name", self.credential()))
            }
            Err(error) => Err(failed("create", &self.credential(), &error)),
        }
    }

    /// Waits until the credential is ready, and checks its Secret.
    async fn await_token(&self) -> Result<(), String> {
        let limit = Duration::from_secs(self.arguments.timeout_seconds.into());
        let mut last = String::new();
        let fingerprint = match timeout(limit, self.ready(&mut last)).await {
            Ok(fingerprint) => fingerprint?,
            Err(_) if last.is_empty() => {
                return Err(format!(
                    "{} has no status after {} s; check that the operator runs, that one of its pods is the leader, and that it manages this namespace",
                    self.credential(),
                    limit.as_secs()
                ));
            }
            Err(_) => return Err(format!("{} is not ready after {} s", self.credential(), limit.as_secs())),
        };
        let secret = self.secrets.get(&self.arguments.name).await;
        let secret = secret.map_err(|error| failed("read", &self.target(), &error))?;
        let expires = check_target(&secret, &fingerprint, self.clock.now().wall)
            .map_err(|defect| format!("{}: {defect}", self.target()))?;
        print_line(&format!("{} holds a token that is valid until {expires}.", self.target()))
    }

    /// The fingerprint of the published token. Meanwhile, messages of the operator are printed, and the last one is
    /// kept in `last`.
    async fn ready(&self, last: &mut String) -> Result<String, String> {
        loop {
            let credential = self.credentials.get(&self.arguments.name).await;
            let status = credential.map_err(|error| failed("read", &self.credential(), &error))?.status;
            let status = status.unwrap_or_default();
            if let Some(ready) = status.condition(ConditionType::Ready.as_str()) {
                let said = format!("Ready is {}, {}: {}", ready.status, ready.reason, ready.message);
                if *last != said {
                    print_line(&said)?;
                    *last = said;
                }
                if let Some(token) = status.token.as_ref().filter(|_| ready.status == "True") {
                    return Ok(token.fingerprint.clone());
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Removes what an earlier test left behind, as one that was killed.
    async fn clean_up_previous(&self, stop: &CancellationToken) -> Result<(), String> {
        let left = self.credentials.get_opt(&self.arguments.name).await;
        let left = left.map_err(|error| failed("read", &self.credential(), &error))?;
        let is_ours =
            |left: &IdIssuerCredential| left.labels().get(MADE_BY.0).is_some_and(|by| by == MADE_BY.1);
        if !left.is_some_and(|left| is_ours(&left)) {
            return Ok(());
        }
        print_line(&format!("Found {} of an earlier test.", self.credential()))?;
        self.delete().await?;
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            gone = self.await_deletion() => gone,
        }
    }

    async fn delete(&self) -> Result<(), String> {
        match self.credentials.delete(&self.arguments.name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(failed("delete", &self.credential(), &error)),
        }
        print_line(&format!(
            "Deleted {}; waiting for the garbage collection of its Secret.",
            self.credential()
        ))
    }

    /// With the credential its Secret has to go.
    async fn await_deletion(&self) -> Result<(), String> {
        match timeout(REMOVAL_LIMIT, self.gone()).await {
            Ok(gone) => gone?,
            Err(_) => {
                return Err(format!(
                    "{} still exists {} s after its credential was deleted; check the cluster's garbage collector",
                    self.target(),
                    REMOVAL_LIMIT.as_secs()
                ));
            }
        }
        print_line("Everything is deleted.")
    }

    async fn gone(&self) -> Result<(), String> {
        let name = &self.arguments.name;
        let read = |what: String| move |error: kube::Error| failed("read", &what, &error);
        while self.credentials.get_opt(name).await.map_err(read(self.credential()))?.is_some()
            || self.secrets.get_metadata_opt(name).await.map_err(read(self.target()))?.is_some()
        {
            sleep(PAUSE).await;
        }
        Ok(())
    }
}

/// Whether a target is as it should be, and until when its token is valid.
fn check_target(secret: &Secret, fingerprint: &str, now: Timestamp) -> Result<Timestamp, String> {
    let value = |key: &str| {
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        value.filter(|value| !value.0.is_empty()).ok_or_else(|| format!("the key {key} is missing or empty"))
    };
    if Fingerprint::of(&value("token")?.0).as_str() != fingerprint {
        return Err("its token is not the one in the status of the credential".to_owned());
    }
    let expires = std::str::from_utf8(&value("expires_at")?.0).ok().and_then(|text| text.parse().ok());
    let expires: Timestamp = expires.ok_or("the key expires_at is not an RFC 3339 time")?;
    if expires <= now {
        return Err(format!("its token expired at {expires}"));
    }
    Ok(expires)
}

fn failed(operation: &str, object: &str, error: &dyn Display) -> String {
    format!("cannot {operation} {object}: {error}")
}

fn print_line(line: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{line}").map_err(|error| format!("print: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    const NOW: &str = "2026-01-01T00:30:00Z";

    fn judged(keys: &[(&str, &str)]) -> Result<Timestamp, String> {
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        let data: BTreeMap<_, _> =
            keys.iter().map(|(key, value)| ((*key).to_owned(), bytes(value))).collect();
        let secret = Secret { data: Some(data), ..Secret::default() };
        check_target(&secret, Fingerprint::of(b"good").as_str(), NOW.parse().unwrap())
    }

    #[test]
    fn a_target_with_the_reported_token_is_good_until_the_token_expires() {
        let expires = judged(&[("token", "good"), ("expires_at", "2026-01-01T01:00:00Z")]).unwrap();
        assert_eq!(expires.to_string(), "2026-01-01T01:00:00Z");
    }

    #[test]
    fn errors_of_a_target_do_not_show_its_content() {
        for (token, expires, told) in [
            ("", "2026-01-01T01:00:00Z", "the key token is missing or empty"),
            ("other", "2026-01-01T01:00:00Z", "not the one in the status"),
            ("good", "", "the key expires_at is missing or empty"),
            ("good", "tomorrow", "not an RFC 3339 time"),
            ("good", NOW, "expired at 2026-01-01T00:30:00Z"),
        ] {
            let defect = judged(&[("token", token), ("expires_at", expires)]).unwrap_err();
            assert!(defect.contains(told), "{defect}");
            assert!(!defect.contains("other") && !defect.contains("tomorrow"), "{defect}");
        }
        assert!(judged(&[]).unwrap_err().contains("the key token is missing"));
    }
}
