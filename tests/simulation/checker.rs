//! Checks the promise of the operator against the targets.
//!
//! *At any time, if during the two minutes before a controller held the lease, the issuer would have accepted the login,
//! the API server the write, and the account was neither waiting nor held under the login budget, then every published
//! token has at least five minutes left, or a tenth of a shorter life.* Where tokens live less than five minutes, the two
//! minutes are as much shorter.
//!
//! For a [follower](permissions), its owner permitted it during these two minutes, and the login is the owner's.

mod permissions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use idissuer_testbed::memory::Change;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::conditions::{Conditions, Source};
use crate::issuers::Issuers;
use crate::ledger::{Findings, Given, Ledger};
use crate::link::Link;
use crate::population::{Population, account_of_login, text};
use crate::process::{LEASE_NAMESPACE, Links};
use crate::time::TrueTime;
use permissions::Sharing;

/// For how long everything has to be well, of tokens that live five minutes or longer.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);
/// Shorter lives shorten it.
const FULL_LIFE: SignedDuration = SignedDuration::from_mins(5);
/// This long before it matters, an account is looked at.
const FORESIGHT: SignedDuration = SignedDuration::from_mins(3);
/// The user that edits targets by hand.
pub(crate) const EDITOR: &str = "vandal";

struct Watched {
    account: usize,
    issuer: usize,
    username: String,
    namespace: String,
    /// Where the login Secret lies.
    login_namespace: String,
    sharing: Sharing,
    /// What stands in the target, if it is a token.
    published: Option<Given>,
    renewal: Option<Timestamp>,
    /// The newest token that ever stood there.
    newest: Option<Given>,
    /// Who wrote that, and when: its session has obtained it.
    obtained: Option<(Arc<Link>, Timestamp)>,
    /// Since when the target is not as it should be: somebody deleted or edited it.
    damaged: Option<Timestamp>,
    /// The user changed something that only watches show, and no process has written since.
    needs_watch: bool,
    /// Whether the current token was already reported.
    is_told: bool,
}

#[derive(Default)]
struct State {
    conditions: Conditions,
    credentials: Vec<Watched>,
    /// The numbers of those that follow another.
    followers: Vec<usize>,
    targets: BTreeMap<(String, String), usize>,
    /// From when on each credential has to be looked at.
    due: BTreeSet<(Timestamp, usize)>,
    /// What stands in login Secrets, by namespace and account.
    passwords: BTreeMap<(String, usize), String>,
    /// The label of each namespace.
    teams: BTreeMap<String, String>,
    holder: Option<String>,
    /// Since when that is so.
    held_since: Option<Timestamp>,
    lateness: Vec<f64>,
    writes: BTreeMap<String, u64>,
}

impl State {
    fn is_edited(&mut self, number: usize, now: Timestamp) {
        self.conditions.touch(Source::Credential(number), now);
        self.credentials[number].needs_watch = true;
    }
}

pub(crate) struct Checker {
    state: Mutex<State>,
    issuers: Arc<Issuers>,
    ledger: Arc<Ledger>,
    links: Links,
    time: TrueTime,
    findings: Findings,
    /// Otherwise the process that was started last leads.
    has_lease: bool,
}

impl Checker {
    pub(crate) fn new(
        has_lease: bool,
        population: &Population,
        issuers: &Arc<Issuers>,
        ledger: &Arc<Ledger>,
        links: &Links,
        time: &TrueTime,
        findings: &Findings,
    ) -> Self {
        let mut state = State::default();
        for credential in &population.credentials {
            let key = (credential.namespace.clone(), credential.name.clone());
            state.targets.insert(key, credential.number);
            if credential.owner.is_some() {
                state.followers.push(credential.number);
                state.conditions.breaks(Source::Permission(credential.number), time.now());
            }
            state.credentials.push(Watched {
                account: credential.account,
                issuer: credential.issuer,
                username: population.accounts[credential.account].username(),
                namespace: credential.namespace.clone(),
                login_namespace: credential.login_namespace().to_owned(),
                sharing: Sharing::of(credential.owner.as_ref(), time.now()),
                published: None,
                renewal: None,
                newest: None,
                obtained: None,
                damaged: None,
                needs_watch: false,
                is_told: false,
            });
        }
        Self {
            state: Mutex::new(state),
            issuers: Arc::clone(issuers),
            ledger: Arc::clone(ledger),
            links: links.clone(),
            time: time.clone(),
            findings: findings.clone(),
            has_lease,
        }
    }

    /// A fault starts that breaks a condition.
    pub(crate) fn breaks(&self, source: Source) {
        tracing::info!("{source:?} does not hold");
        self.state.lock().unwrap().conditions.breaks(source, self.time.now());
    }

    /// A fault ends that broke a condition.
    pub(crate) fn mends(&self, source: Source) {
        tracing::info!("{source:?} holds again");
        self.state.lock().unwrap().conditions.mends(source, self.time.now());
    }

    /// A condition was broken for a moment.
    pub(crate) fn touch(&self, source: Source) {
        self.state.lock().unwrap().conditions.touch(source, self.time.now());
    }

    pub(crate) fn holder(&self) -> Option<String> {
        self.state.lock().unwrap().holder.clone()
    }

    /// The seconds by which each renewal came after its time.
    pub(crate) fn lateness(&self) -> Vec<f64> {
        let mut lateness = self.state.lock().unwrap().lateness.clone();
        lateness.sort_by(f64::total_cmp);
        lateness
    }

    pub(crate) fn writes(&self) -> BTreeMap<String, u64> {
        self.state.lock().unwrap().writes.clone()
    }

    pub(crate) fn sees(&self, change: &Change) {
        let now = self.time.now();
        let mut state = self.state.lock().unwrap();
        if self.links.get(&change.user).is_some() {
            let status = if change.to_status { "/status" } else { "" };
            *state.writes.entry(format!("{}{status}", change.resource)).or_default() += 1;
        }
        match change.resource {
            "leases" if change.namespace == LEASE_NAMESPACE => {
                let holder = change.after.as_ref().and_then(|lease| lease["spec"]["holderIdentity"].as_str());
                let holder = holder.filter(|holder| !holder.is_empty()).map(str::to_owned);
                if state.holder != holder {
                    (state.holder, state.held_since) = (holder.clone(), Some(now));
                    state.conditions.touch(Source::Leader, now);
                    self.ledger.leader_changes(holder, now);
                }
            }
            "secrets" => match account_of_login(&change.name) {
                Some(account) => self.sees_login(&mut state, change, account, now),
                None => self.sees_target(&mut state, change, now),
            },
            "idissuercredentials" if !change.to_status => state.sees_specification(change, now),
            "namespaces" => state.sees_labels(change, now),
            _ => {}
        }
    }

    fn sees_login(&self, state: &mut State, change: &Change, account: usize, now: Timestamp) {
        let Some(password) = change.after.as_ref().and_then(|secret| text(secret, "password")) else {
            return;
        };
        let key = (change.namespace.clone(), account);
        let before = state.passwords.insert(key, password.clone());
        if before.is_some_and(|before| before != password) {
            self.ledger.lifts(account, now);
            let of = |(number, watched): (usize, &Watched)| {
                (watched.account == account && watched.login_namespace == change.namespace).then_some(number)
            };
            let members: Vec<usize> = state.credentials.iter().enumerate().filter_map(of).collect();
            for number in members {
                state.is_edited(number, now);
            }
        }
    }

    /// The owner of a credential changed something that concerns it.
    pub(crate) fn edits(&self, credential: usize) {
        self.state.lock().unwrap().is_edited(credential, self.time.now());
    }

    fn sees_target(&self, state: &mut State, change: &Change, now: Timestamp) {
        let key = (change.namespace.clone(), change.name.clone());
        let Some(&number) = state.targets.get(&key) else { return };
        let token = change.after.as_ref().and_then(|secret| text(secret, "token"));
        let given = token.and_then(|token| self.ledger.given(&token));
        let is_new = order(given.as_ref()) != order(state.credentials[number].published.as_ref());
        if is_new {
            // What stood there until now, and is never seen again.
            self.looks_at_leader(state, now);
            self.looks_at(state, number, now);
        }
        let is_known = self.is_denial_known(state, number, &change.user, now);
        let watched = &mut state.credentials[number];
        if self.links.get(&change.user).is_some() {
            self.checks_write(number, watched, given.as_ref(), now);
            if let Some(denied) = watched.sharing.denied.filter(|_| is_new && is_known) {
                let finding =
                    format!("credential {number} gets a token, and may not follow since {denied:.0}");
                self.findings.add(now, finding);
            }
            (watched.damaged, watched.needs_watch) = (None, false);
            if let Some(due) = watched.renewal.filter(|_| is_new) {
                state.lateness.push(now.duration_since(due).as_secs_f64().max(0.0));
            }
        } else if change.user == EDITOR && is_new {
            watched.damaged = watched.damaged.or(Some(now));
            watched.needs_watch = true;
        }
        watched.is_told &= !is_new;
        watched.renewal =
            change.after.as_ref().zip(given.as_ref()).and_then(|(secret, given)| renewal(secret, given));
        if order(given.as_ref()) > order(watched.newest.as_ref()) {
            watched.newest.clone_from(&given);
            watched.obtained = self.links.get(&change.user).map(|link| (link, now));
        }
        watched.published = given;
        let due = watched.due();
        state.due.retain(|(_, other)| *other != number);
        state.due.extend(due.map(|due| (due, number)));
    }

    /// What no write of a process may ever be.
    fn checks_write(&self, number: usize, watched: &Watched, given: Option<&Given>, now: Timestamp) {
        let Some(given) = given else {
            return self.findings.add(now, format!("credential {number} gets what no issuer gave"));
        };
        if given.account != watched.account {
            self.findings.add(now, format!("credential {number} gets a token of account {}", given.account));
        }
        if given.expires <= now {
            let finding = format!("credential {number} gets a token that is dead since {:.0}", given.expires);
            self.findings.add(now, finding);
        }
        // A token of another login is another account's, and may be older.
        let is_older = |newest: &&Given| newest.order > given.order && newest.password == given.password;
        if let Some(newest) = watched.newest.as_ref().filter(is_older) {
            let finding = format!(
                "credential {number} gets token {} of {:.0} after token {} of {:.0}",
                given.order, given.issued, newest.order, newest.issued
            );
            self.findings.add(now, finding);
        }
    }

    /// Looks whether a token is late. To be called every few seconds.
    pub(crate) fn looks(&self) {
        let now = self.time.now();
        let mut state = self.state.lock().unwrap();
        self.looks_at_leader(&mut state, now);
        let soon = (now + FORESIGHT, usize::MAX);
        let due: Vec<usize> = state.due.range(..=soon).map(|(_, number)| *number).collect();
        for number in due {
            self.looks_at(&mut state, number, now);
        }
    }

    fn leader(&self, state: &State) -> Option<Arc<Link>> {
        if self.has_lease {
            state.holder.as_ref().and_then(|holder| self.links.get(holder))
        } else {
            self.links.newest()
        }
    }

    fn looks_at_leader(&self, state: &mut State, now: Timestamp) {
        if !self.leader(state).is_some_and(|link| link.is_able()) {
            state.conditions.touch(Source::Leader, now);
        }
    }

    fn looks_at(&self, state: &mut State, number: usize, now: Timestamp) {
        if !self.may_log_in(state, number, now) {
            state.conditions.touch(Source::Credential(number), now);
        }
        let watched = &state.credentials[number];
        if watched.due().is_some_and(|due| due <= now) && !watched.is_told {
            self.judges(state, number, now);
        }
    }

    fn may_log_in(&self, state: &State, number: usize, now: Timestamp) -> bool {
        let watched = &state.credentials[number];
        let Some(password) = state.passwords.get(&(watched.login_namespace.clone(), watched.account)) else {
            return false;
        };
        let owner = watched.sharing.owner.as_ref().map_or(watched, |owner| &state.credentials[owner.number]);
        // No digest of a login is stored anywhere, so another process does not know what the token came from.
        let is_own = owner.obtained.as_ref().zip(self.leader(state));
        let is_published = is_own.is_some_and(|((process, _), leader)| Arc::ptr_eq(process, &leader))
            && owner.published.as_ref().is_some_and(|given| *given.password == **password);
        let simulator = &self.issuers.get(watched.issuer).simulator;
        simulator.inspect(|issuer| issuer.would_accept_login(&watched.username, password, now)).is_ok()
            && !self.ledger.is_held(watched.account, password, is_published, now)
    }

    fn judges(&self, state: &mut State, number: usize, now: Timestamp) {
        let watched = &state.credentials[number];
        let mut sources =
            vec![Source::Leader, Source::Api, Source::Issuer(watched.issuer), Source::Credential(number)];
        let owner = watched.sharing.owner.as_ref().map(|owner| owner.number);
        sources.extend(owner.iter().flat_map(|it| [Source::Credential(*it), Source::Permission(number)]));
        // One that comes with a late token finds its account waiting for as long as the others' tokens allow. A follower has
        // to wait only while the session of its owner has obtained no newer token than it has: what another process obtained
        // stands in the owner's target, and a token that is read there is given to nobody else.
        let held = state.conditions.held(&sources[3..], now);
        let comes_late = watched.due().is_some_and(|due| now.duration_since(due) >= held);
        if comes_late && !self.has_newer_token_for(state, number, now) {
            sources.push(Source::Patience(watched.issuer));
        }
        if watched.needs_watch || owner.is_some_and(|owner| state.credentials[owner].needs_watch) {
            sources.push(Source::Watches);
        }
        let patience = state.patience_with(number);
        if state.conditions.held(&sources, now) < patience {
            return;
        }
        let finding = match (&watched.published, watched.damaged) {
            (_, Some(since)) if now.duration_since(since) < patience => return,
            (_, Some(since)) => format!("credential {number}: its target is damaged since {since:.0}"),
            (Some(given), None) => {
                let left = given.expires.duration_since(now).as_secs();
                format!(
                    "credential {number} of account {} at issuer {}: {left} s left of {} s",
                    watched.account,
                    watched.issuer,
                    given.lifetime().as_secs()
                )
            }
            (None, None) => return,
        };
        self.findings.add(now, finding);
        state.credentials[number].is_told = true;
    }
}

impl Watched {
    /// From when on it has to be looked at.
    fn due(&self) -> Option<Timestamp> {
        let margin = self.published.as_ref().map(Given::margin);
        self.damaged.or(margin)
    }

    /// For how long everything has to be well before the token may be called late.
    fn patience(&self) -> SignedDuration {
        let lifetime = self.published.as_ref().or(self.newest.as_ref()).map_or(FULL_LIFE, Given::lifetime);
        let share = lifetime.as_secs_f64() / FULL_LIFE.as_secs_f64();
        PATIENCE.mul_f64(share.min(1.0))
    }
}

fn order(given: Option<&Given>) -> Option<u64> {
    given.map(|given| given.order)
}

/// When the token is to be renewed, by true time: the annotations stand in that of the process.
fn renewal(secret: &Value, given: &Given) -> Option<Timestamp> {
    let annotations = &secret["metadata"]["annotations"];
    let time = |name: &str| annotations[name].as_str()?.parse::<Timestamp>().ok();
    let after = time("idissuer.pl/renewal-time")?.duration_since(time("idissuer.pl/issued-time")?);
    Some(given.issued + after)
}
