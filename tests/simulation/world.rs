//! The whole simulation: issuers, the API server, their users, and the operator between them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use idissuer::controller::TargetPolicy;
use idissuer::core::lease::Timings;
use idissuer_simulator::{CallRecord, FaultRule};
use idissuer_testbed::memory::MemoryApi;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::api_faults::ApiFaults;
use crate::checker::{Checker, EDITOR};
use crate::conditions::Source;
use crate::issuers::Issuers;
use crate::ledger::{Findings, Ledger};
use crate::population::{Credential, Population, labelled, login_secret, text};
use crate::process::{Environment, Links, Replica};
use crate::time::TrueTime;

/// How often the checker looks, where tokens live five minutes or longer.
const LOOK: Duration = Duration::from_secs(5);

const ENOUGH: usize = 20;

pub(crate) struct World {
    pub(crate) environment: Environment,
    pub(crate) population: Population,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) checker: Arc<Checker>,
    pub(crate) api_faults: ApiFaults,
    pub(crate) findings: Findings,
    /// The credentials that were ever deleted: their targets may be garbage.
    pub(crate) garbage: BTreeSet<usize>,
    look: Duration,
}

pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) accounts: usize,
    pub(crate) credentials: usize,
    /// None: one replica without a lease.
    pub(crate) lease: Option<Timings>,
}

impl World {
    /// A simulation in which nothing runs yet.
    pub(crate) fn new(plan: &Plan, issuers: Issuers) -> Self {
        let population = Population::new(&issuers, plan.accounts, plan.credentials);
        Self::of(plan, issuers, population)
    }

    /// One in which many credentials [follow](Population::share) others.
    pub(crate) fn shared(plan: &Plan, issuers: Issuers) -> Self {
        let mut population = Population::new(&issuers, plan.accounts, plan.credentials);
        population.share();
        Self::of(plan, issuers, population)
    }

    /// One of this population.
    pub(crate) fn of(plan: &Plan, issuers: Issuers, population: Population) -> Self {
        let time = TrueTime::new();
        let look = LOOK.mul_f64((issuers.shortest_lifetime().as_secs_f64() / 300.0).min(1.0));
        let clock = time.clone();
        let api = MemoryApi::new(Arc::new(move || clock.now()));
        let (findings, links, issuers) = (Findings::default(), Links::default(), Arc::new(issuers));
        let ledger = Arc::new(Ledger::new(findings.clone()));
        let checker = Arc::new(Checker::new(
            plan.lease.is_some(),
            &population,
            &issuers,
            &ledger,
            &links,
            &time,
            &findings,
        ));
        let observer = Arc::clone(&checker);
        api.observe(move |change| observer.sees(change));
        let api_faults = ApiFaults::over(&api, &links, plan.seed);
        let (lease, seed) = (plan.lease, plan.seed);
        let (namespaces, carry, target_policy) = (Vec::new(), None, TargetPolicy::default());
        let environment = Environment {
            time,
            api,
            issuers,
            ledger,
            links,
            lease,
            seed,
            namespaces,
            // Raised for larger namespaces.
            max_credentials_per_namespace: plan.credentials.max(1000),
            target_policy,
            carry,
        };
        let replicas = if lease.is_some() { vec!["north", "south"] } else { vec!["alone"] };
        let replicas = replicas.into_iter().map(Replica::new).collect();
        let world = Self {
            environment,
            population,
            replicas,
            checker,
            api_faults,
            findings,
            garbage: BTreeSet::new(),
            look,
        };
        world.apply_all();
        world
    }

    fn apply_all(&self) {
        for account in &self.population.accounts {
            self.environment.issuers.get(account.issuer).simulator.set_user(&account.user());
        }
        for (account, namespace) in self.population.logins() {
            let account = &self.population.accounts[account];
            self.write(&login_secret(namespace, account, &account.password));
        }
        for namespace in self.population.namespaces() {
            self.write(&labelled(&namespace, &namespace));
        }
        for credential in &self.population.credentials {
            self.apply(credential, &json!({}));
        }
    }

    pub(crate) fn start(&mut self) {
        for replica in &mut self.replicas {
            replica.start(&self.environment);
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.environment.time.now()
    }

    pub(crate) fn write(&self, object: &Value) {
        self.environment.api.apply("owner", object).unwrap();
    }

    /// Applies a credential with these fields in its specification.
    pub(crate) fn apply(&self, credential: &Credential, spec: &Value) {
        self.write(&credential.manifest(&self.environment.issuers, spec));
    }

    /// The user changes the specification of a credential.
    pub(crate) fn edits(&self, credential: &Credential, spec: &Value) {
        self.apply(credential, spec);
        self.checker.edits(credential.number);
        self.lifts(credential);
    }

    /// The user asks for another attempt of the login, if that is the credential's own.
    pub(crate) fn lifts(&self, credential: &Credential) {
        if credential.owner.is_none() {
            self.environment.ledger.lifts(credential.account, self.now());
        }
    }

    /// Whether so much is wrong that more would say nothing.
    pub(crate) fn is_given_up(&self) -> bool {
        self.findings.len() >= ENOUGH
    }

    /// Lets time pass, and the checker look meanwhile.
    pub(crate) async fn pass(&self, duration: Duration) {
        let end = tokio::time::Instant::now() + duration;
        loop {
            let left = end - tokio::time::Instant::now();
            if left.is_zero() {
                return;
            }
            sleep(left.min(self.look)).await;
            self.collect_garbage();
            self.checker.looks();
        }
    }

    /// Deletes targets whose credential is gone, as the controller manager does.
    fn collect_garbage(&self) {
        for number in &self.garbage {
            let Credential { namespace, name, .. } = &self.population.credentials[*number];
            let get = |resource| self.environment.api.get(resource, namespace, name);
            let Some(target) = get("secrets") else { continue };
            let owner = target["metadata"]["ownerReferences"][0]["uid"].as_str();
            let uid = get("idissuercredentials")
                .and_then(|object| Some(object["metadata"]["uid"].as_str()?.to_owned()));
            if owner.is_some() && owner != uid.as_deref() {
                self.environment.api.delete("garbage collector", "secrets", namespace, name);
            }
        }
    }

    /// The machines sleep: monotonic clocks stop, wall clocks do not.
    pub(crate) fn suspend(&self, duration: SignedDuration) {
        self.environment.time.suspend(duration);
        self.checker.touch(Source::Leader);
    }

    pub(crate) fn leader(&self) -> Option<usize> {
        let holder = self.checker.holder()?;
        let holds =
            |replica: &Replica| replica.process.as_ref().is_some_and(|process| process.name == holder);
        self.replicas.iter().position(holds)
    }

    /// From now on this goes wrong at an issuer, until it [ends](Self::end_faults).
    pub(crate) fn start_fault(&self, issuer: usize, rule: FaultRule) {
        self.checker.breaks(Source::Issuer(issuer));
        self.environment.issuers.get(issuer).simulator.inject(rule);
    }

    /// Ends all faults of an issuer.
    pub(crate) fn end_faults(&self, issuer: usize) {
        self.environment.issuers.get(issuer).simulator.configure(|personality| personality.faults.clear());
        self.checker.mends(Source::Issuer(issuer));
    }

    /// The calls of an account that came to its issuer, in their order.
    pub(crate) fn calls_of(&self, account: usize) -> Vec<CallRecord> {
        let account = &self.population.accounts[account];
        let calls = self.environment.issuers.get(account.issuer).simulator.calls_since(0);
        calls.into_iter().filter(|call| call.user == account.username()).collect()
    }

    pub(crate) fn credential(&self, credential: &Credential) -> Arc<Value> {
        self.environment.api.get("idissuercredentials", &credential.namespace, &credential.name).unwrap()
    }

    /// Status and reason of a credential's condition, if it stands.
    pub(crate) fn condition(&self, credential: &Credential, kind: &str) -> Option<(String, String)> {
        let object = self.credential(credential);
        let conditions = object["status"]["conditions"].as_array()?;
        let condition = conditions.iter().find(|condition| condition["type"] == kind)?;
        let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        Some((text("status"), text("reason")))
    }

    /// The token that stands in the target.
    pub(crate) fn token(&self, credential: &Credential) -> Option<String> {
        text(&*self.environment.api.get("secrets", &credential.namespace, &credential.name)?, "token")
    }

    pub(crate) fn edit_target(&self, credential: &Credential, patch: Option<&Value>) {
        let (namespace, name) = (credential.namespace.as_str(), credential.name.as_str());
        if let Some(patch) = patch {
            // There may be nothing to change.
            drop(self.environment.api.merge(EDITOR, "secrets", (namespace, name), patch));
        } else {
            self.environment.api.delete(EDITOR, "secrets", namespace, name);
        }
    }

    /// Whether the credential is ready, and its token one that the issuer accepts; if not, what is wrong.
    pub(crate) fn health(&self, credential: &Credential) -> Result<(), String> {
        if self.condition(credential, "Ready").is_none_or(|(status, _)| status != "True") {
            let status = &self.credential(credential)["status"];
            return Err(format!("{} is not ready: {status}", credential.name));
        }
        let token = self.token(credential).ok_or_else(|| format!("{} has no token", credential.name))?;
        let simulator = &self.environment.issuers.get(credential.issuer).simulator;
        let checked = simulator.inspect(|issuer| {
            issuer.check(&token, self.now()).map(drop).map_err(|reason| format!("{reason:?}"))
        });
        checked.map_err(|reason| format!("{}: its token is not accepted: {reason}", credential.name))
    }

    pub(crate) fn verdict(&self) -> Vec<String> {
        let mut verdict = self.findings.all();
        verdict.extend(
            self.population.credentials.iter().filter_map(|credential| self.health(credential).err()),
        );
        let reused =
            |issuer: &crate::issuers::Issuer| issuer.simulator.counts().total().refresh_tokens_reused;
        let reused: u64 = self.environment.issuers.iter().map(reused).sum();
        verdict.extend((reused > 0).then(|| format!("{reused} spent refresh tokens were presented")));
        verdict
    }

    /// Fails unless every credential is healthy and nothing was found.
    pub(crate) fn assert_healthy(&self) {
        let verdict = self.verdict();
        assert!(verdict.is_empty(), "{}", verdict.join("\n"));
    }
}
