//! The manifests of deploy/samples, fitted to the demo's issuer.

use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

use crate::Outcome;

const FILES: [&str; 6] = [
    include_str!("../../deploy/samples/simple.yaml"),
    include_str!("../../deploy/samples/templated.yaml"),
    include_str!("../../deploy/samples/several-consumers.yaml"),
    include_str!("../../deploy/samples/sharing.yaml"),
    include_str!("../../deploy/samples/login-only.yaml"),
    include_str!("../../deploy/samples/private-ca.yaml"),
];
/// What stands in the samples for an issuer of one's own, and for its authority.
const ISSUER_PLACEHOLDER: &str = "https://issuer.example.internal";
const CA_PLACEHOLDER: &str = "    -----BEGIN CERTIFICATE-----
    the PEM text of your authority's certificate
    -----END CERTIFICATE-----";

/// The samples, as a user finds them.
pub(crate) struct Samples {
    accounts: Vec<(String, String)>,
}

impl Samples {
    /// Reads them.
    pub(crate) fn read() -> Outcome<Self> {
        let mut accounts = Vec::new();
        for file in FILES {
            for document in serde_saphyr::from_multiple::<Value>(file)? {
                if document["kind"] == "Secret" {
                    accounts.push(account(serde_json::from_value(document)?)?);
                }
            }
        }
        Ok(Self { accounts })
    }

    /// The user names and passwords in them.
    pub(crate) fn accounts(&self) -> &[(String, String)] {
        &self.accounts
    }

    /// The samples with the private issuer's true address and authority.
    #[expect(clippy::unused_self, reason = "samples that could not be read have no manifests")]
    pub(crate) fn manifests(&self, issuer: &str, ca_pem: Option<&str>) -> Outcome<String> {
        let pem: Vec<String> = ca_pem.unwrap_or_default().lines().map(|line| format!("    {line}")).collect();
        let text = FILES.join("\n---\n");
        if !(text.contains(ISSUER_PLACEHOLDER) && text.contains(CA_PLACEHOLDER)) {
            return Err("deploy/samples/private-ca.yaml lacks its placeholders".into());
        }
        Ok(text.replace(ISSUER_PLACEHOLDER, issuer).replace(CA_PLACEHOLDER, &pem.join("\n")))
    }
}

/// The two values of a login Secret: the user name is the one that looks like a mail address.
fn account(secret: Secret) -> Outcome<(String, String)> {
    let values = secret.string_data.unwrap_or_default().into_values();
    let (names, passwords): (Vec<String>, Vec<String>) = values.partition(|value| value.contains('@'));
    match (names.into_iter().next(), passwords.into_iter().next()) {
        (Some(name), Some(password)) => Ok((name, password)),
        _ => Err("a login Secret of deploy/samples has no user name or no password".into()),
    }
}
