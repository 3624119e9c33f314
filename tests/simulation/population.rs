//! Accounts at issuers, and credentials that use them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use idissuer_simulator::{RefreshRequest, User};
use serde_json::{Value, json};

use crate::issuers::Issuers;

pub(crate) const NAMESPACES: usize = 5;

#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) number: usize,
    pub(crate) issuer: usize,
    pub(crate) password: String,
}

impl Account {
    pub(crate) fn username(&self) -> String {
        format!("account-{}@example.org", self.number)
    }

    pub(crate) fn user(&self) -> User {
        User::new(&self.username(), &self.password)
    }

    pub(crate) fn login(&self) -> String {
        format!("login-{}", self.number)
    }
}

/// The number of the account with this user name, in upper or lower case.
pub(crate) fn account_of(username: &str) -> usize {
    username
        .to_ascii_lowercase()
        .trim_start_matches("account-")
        .trim_end_matches("@example.org")
        .parse()
        .unwrap()
}

/// The number of the account whose login Secret has this name; none: it is a target.
pub(crate) fn account_of_login(secret: &str) -> Option<usize> {
    secret.strip_prefix("login-")?.parse().ok()
}

/// A credential, and what a test knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) number: usize,
    pub(crate) account: usize,
    pub(crate) issuer: usize,
    pub(crate) namespace: String,
    /// Its name, and that of its target.
    pub(crate) name: String,
}

impl Credential {
    /// Its manifest, with these fields beside what it needs.
    pub(crate) fn manifest(&self, issuers: &Issuers, more: &Value) -> Value {
        let issuer = issuers.get(self.issuer);
        let (shape, path) = match issuer.personality().refresh.request {
            RefreshRequest::Flat => ("Flat", "/v2/auth/refreshtoken"),
            RefreshRequest::Nested => ("Nested", "/v2/auth/token"),
        };
        let mut spec = json!({
            "loginSecretRef": {"name": format!("login-{}", self.account)},
            "issuer": {"url": issuer.url, "refreshRequest": shape, "refreshPath": path},
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        json!({
            "apiVersion": "idissuer.pl/v1alpha1",
            "kind": "IdIssuerCredential",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": spec,
        })
    }
}

/// Accounts and credentials, spread evenly over issuers and namespaces.
#[derive(Clone, Debug)]
pub(crate) struct Population {
    pub(crate) accounts: Vec<Account>,
    pub(crate) credentials: Vec<Credential>,
}

impl Population {
    pub(crate) fn new(issuers: &Issuers, accounts: usize, credentials: usize) -> Self {
        let account = |number: usize| {
            let password = format!("password-{number}-0");
            Account { number, issuer: number % issuers.len(), password }
        };
        let accounts: Vec<Account> = (0..accounts).map(account).collect();
        let credential = |number: usize| {
            let account = &accounts[number % accounts.len()];
            let namespace = namespace(number / accounts.len() % NAMESPACES);
            let name = format!("credential-{number}");
            Credential { number, account: account.number, issuer: account.issuer, namespace, name }
        };
        let credentials = (0..credentials).map(credential).collect();
        Self { accounts, credentials }
    }

    /// The namespaces in which an account is used.
    pub(crate) fn namespaces_of(&self, account: usize) -> Vec<String> {
        let mut namespaces: Vec<String> = self
            .credentials
            .iter()
            .filter(|credential| credential.account == account)
            .map(|credential| credential.namespace.clone())
            .collect();
        namespaces.sort();
        namespaces.dedup();
        namespaces
    }
}

fn namespace(number: usize) -> String {
    format!("team-{number}")
}

pub(crate) fn login_secret(namespace: &str, account: &Account, password: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": account.login(), "namespace": namespace},
        "data": {"username": STANDARD.encode(account.username()), "password": STANDARD.encode(password)},
    })
}

/// The text of a key of a Secret.
pub(crate) fn text(secret: &Value, key: &str) -> Option<String> {
    let value = STANDARD.decode(secret["data"][key].as_str()?).ok()?;
    String::from_utf8(value).ok()
}
