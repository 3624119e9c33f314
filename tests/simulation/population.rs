//! Accounts at issuers, and credentials that use them.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use idissuer_simulator::{RefreshRequest, User};
use serde_json::{Value, json};

use crate::issuers::Issuers;

/// The label of namespaces by which owners permit them.
pub(crate) const TEAM_LABEL: &str = "team";
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
    /// The credential that it follows; none: it logs in.
    pub(crate) owner: Option<Owner>,
    /// The other namespaces whose credentials may follow it, by their names.
    pub(crate) permitted: Vec<String>,
    /// And by their labels.
    pub(crate) selected: Vec<String>,
}

/// The credential that a follower names.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) number: usize,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Credential {
    /// The namespace of the login Secret that its tokens come from.
    pub(crate) fn login_namespace(&self) -> &str {
        self.owner.as_ref().map_or(&self.namespace, |owner| &owner.namespace)
    }

    /// Its manifest, with these fields beside what it needs.
    pub(crate) fn manifest(&self, issuers: &Issuers, more: &Value) -> Value {
        let mut spec = match &self.owner {
            Some(owner) => json!({"credentialRef": {"namespace": owner.namespace, "name": owner.name}}),
            None => self.own_login(issuers),
        };
        if !self.permitted.is_empty() {
            spec["allowedNamespaces"] = json!({"names": self.permitted});
        }
        if !self.selected.is_empty() {
            let expression = json!({"key": TEAM_LABEL, "operator": "In", "values": self.selected});
            spec["allowedNamespaces"]["selector"] = json!({"matchExpressions": [expression]});
        }
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

    fn own_login(&self, issuers: &Issuers) -> Value {
        let issuer = issuers.get(self.issuer);
        let (shape, path) = match issuer.personality().refresh.request {
            RefreshRequest::Flat => ("Flat", "/v2/auth/refreshtoken"),
            RefreshRequest::Nested => ("Nested", "/v2/auth/token"),
        };
        json!({
            "loginSecretRef": {"name": format!("login-{}", self.account)},
            "issuer": {"url": issuer.url, "refreshRequest": shape, "refreshPath": path},
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
            Credential {
                number,
                account: account.number,
                issuer: account.issuer,
                namespace,
                name,
                owner: None,
                permitted: Vec::new(),
                selected: Vec::new(),
            }
        };
        let credentials = (0..credentials).map(credential).collect();
        Self { accounts, credentials }
    }

    /// Two of five credentials follow the first one of their account instead of logging in: every other account is used
    /// only so, and the others by several credentials that log in, and by followers.
    pub(crate) fn share(&mut self) {
        for number in self.accounts.len()..self.credentials.len() {
            let (account, turn) = (number % self.accounts.len(), number / self.accounts.len());
            if account % 2 == 1 || turn > 2 {
                self.follows(number, account);
            }
        }
    }

    fn follows(&mut self, follower: usize, owner: usize) {
        let Credential { namespace, name, account, .. } = self.credentials[owner].clone();
        let follower = &mut self.credentials[follower];
        if account % 4 == 3 && follower.number < 2 * self.accounts.len() {
            // It needs no permission.
            follower.namespace.clone_from(&namespace);
        }
        follower.owner = Some(Owner { number: owner, namespace: namespace.clone(), name });
        let permitted = if account % 6 == 5 { "*" } else { &follower.namespace }.to_owned();
        let is_needed = follower.namespace != namespace;
        let owner = &mut self.credentials[owner];
        let all = if account % 6 == 1 { &mut owner.selected } else { &mut owner.permitted };
        if is_needed && !all.contains(&permitted) {
            all.push(permitted);
        }
    }

    /// Has no namespace hold more than so many: a thousand is what the operator admits, and each has a limit of writes.
    pub(crate) fn spread(&mut self, per_namespace: usize) {
        for credential in &mut self.credentials {
            credential.namespace = namespace(credential.number / per_namespace);
        }
    }

    /// All namespaces with credentials.
    pub(crate) fn namespaces(&self) -> BTreeSet<String> {
        self.credentials.iter().map(|credential| credential.namespace.clone()).collect()
    }

    /// The credentials that follow this one.
    pub(crate) fn followers_of(&self, owner: usize) -> impl Iterator<Item = &Credential> {
        let is_followed = move |credential: &&Credential| {
            credential.owner.as_ref().is_some_and(|followed| followed.number == owner)
        };
        self.credentials.iter().filter(is_followed)
    }

    /// The accounts with a login Secret, and its namespace.
    pub(crate) fn logins(&self) -> BTreeSet<(usize, &str)> {
        self.credentials.iter().map(|credential| (credential.account, credential.login_namespace())).collect()
    }

    /// The namespaces with a login Secret of an account.
    pub(crate) fn namespaces_of(&self, account: usize) -> Vec<String> {
        let logins = self.logins().into_iter().filter(|(number, _)| *number == account);
        logins.map(|(_, namespace)| namespace.to_owned()).collect()
    }
}

/// A namespace with this label of its team; its name, unless somebody changes it.
pub(crate) fn labelled(namespace: &str, team: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace, "labels": {TEAM_LABEL: team}},
    })
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
