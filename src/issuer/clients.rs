//! The HTTP clients, and with them the connections: kept while they serve, and never for long.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use reqwest::{Client, redirect};
use rustls::ClientConfig;
use url::Origin;

use super::diagnosis::without_tls;
use super::transport::{Request, TransportError};
use super::trust::Trust;
use crate::core::connection_failure::ConnectionFailure;
use crate::core::time::Moment;
use crate::ops::clock::Clock;

/// How long a connection to an issuer carries new requests: a name that moves is followed. The system's certificate
/// authorities are read again as often.
const LONGEST_USE: SignedDuration = SignedDuration::from_mins(5);
/// After a certificate was refused, the authorities are read again if they are older than this.
const SHORTEST_TRUST: SignedDuration = SignedDuration::from_secs(10);
/// The time limit for connecting to an issuer.
const LONGEST_CONNECT: Duration = Duration::from_secs(5);
/// Clients kept at once, for one trust. Origins are few, as the allow-list names them.
const CLIENTS_LIMIT: usize = 64;
/// What the CA bundles may cost that are kept ready, in bytes. They come from users.
const BUNDLES_LIMIT: usize = 4 * 1024 * 1024;
/// What those of one tenant may cost: room for its 28 small ones, or 3 of the largest.
const BUNDLES_OF_ONE: usize = 1024 * 1024;
/// What a bundle costs beside its text: a TLS configuration, clients and their connections.
const BUNDLE_COST: usize = 36 * 1024;
/// How long an idle connection is kept, if a CA bundle is used for its server: a tenant can bring many bundles.
const BUNDLE_IDLE: Duration = Duration::from_secs(15);

/// One HTTP client per trust, origin and connect limit, so that connections are reused and never shared across trusts.
pub(super) struct Clients {
    store: Mutex<Store>,
    clock: Arc<dyn Clock>,
    use_environment_proxy: bool,
}

#[derive(Default)]
struct Store {
    by_trust: HashMap<Trust, TrustClients>,
    /// The number of the newest client.
    newest: u64,
}

/// What is kept for one trust.
struct TrustClients {
    /// Shared, because parsing hundreds of CA certificates is expensive.
    tls: ClientConfig,
    read: Moment,
    used: Moment,
    /// The only tenant that brought the bundle.
    tenant: Option<Arc<str>>,
    clients: HashMap<(Origin, Duration), PooledClient>,
}

#[derive(Clone)]
struct PooledClient {
    client: Client,
    /// Clients are numbered in the order in which they were made.
    number: u64,
    made: Moment,
}

impl Clients {
    pub(super) fn new(use_environment_proxy: bool, clock: Arc<dyn Clock>) -> Self {
        Self { store: Mutex::default(), clock, use_environment_proxy }
    }

    /// The client for a request, and its number.
    pub(super) fn of(&self, request: &Request) -> Result<(Client, u64), TransportError> {
        let now = self.clock.now();
        let mut store = self.store();
        store.evict(&request.trust, now);
        let number = store.newest + 1;
        let trust_clients = store.trust_clients(&request.trust, now)?;
        let key = (request.url.origin(), connect_limit(request.limit));
        if let Some(kept) = trust_clients.clients.get(&key) {
            return Ok((kept.client.clone(), kept.number));
        }
        let client = self.build(request, trust_clients.tls.clone());
        let client = client.map_err(|_| TransportError::not_sent(ConnectionFailure::TlsFailed))?;
        trust_clients.clients.insert(key, PooledClient { client: client.clone(), number, made: now });
        store.newest = number;
        Ok((client, number))
    }

    /// The next call to this origin resolves its name and reconnects, unless that already happened since this client
    /// was created. Calls in progress continue.
    pub(super) fn retire(&self, origin: &Origin, trust: &Trust, number: u64) {
        if let Some(trust_clients) = self.store().by_trust.get_mut(trust) {
            trust_clients.clients.retain(|(other, _), kept| other != origin || kept.number > number);
        }
    }

    /// The authorities may have changed, or could not all be read.
    pub(super) fn reload_authorities(&self, trust: &Trust) {
        let (now, mut store) = (self.clock.now(), self.store());
        if store
            .by_trust
            .get(trust)
            .is_some_and(|trust_clients| trust_clients.read.plus(SHORTEST_TRUST).is_reached(now))
        {
            store.by_trust.remove(trust);
        }
    }

    fn build(&self, request: &Request, tls: ClientConfig) -> reqwest::Result<Client> {
        let mut builder = Client::builder()
            .user_agent(concat!("idissuer/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .https_only(request.url.scheme() == "https")
            .connect_timeout(connect_limit(request.limit))
            .tls_backend_preconfigured(tls);
        if request.trust != Trust::PublicRoots {
            builder = builder.pool_idle_timeout(BUNDLE_IDLE);
        }
        if !self.use_environment_proxy {
            builder = builder.no_proxy();
        }
        builder.build()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Drops what is too old, and of the rest what was not used for longest, until there is room for this trust.
    fn evict(&mut self, wanted: &Trust, now: Moment) {
        let is_young = |since: Moment| !since.plus(LONGEST_USE).is_reached(now);
        self.by_trust.retain(|_, trust_clients| {
            trust_clients.clients.retain(|_, kept| is_young(kept.made));
            is_young(trust_clients.read) || !trust_clients.clients.is_empty()
        });
        if self.by_trust.contains_key(wanted) {
            return;
        }
        while let Some(least) = self.eviction_candidate(wanted) {
            self.by_trust.remove(&least);
        }
    }

    /// The bundle to evict for this one, if any: one of the same tenant if it has many, and otherwise one of the tenant
    /// with the most; of those, the least recently used.
    fn eviction_candidate(&self, wanted: &Trust) -> Option<Trust> {
        let mut costs: BTreeMap<&Option<Arc<str>>, usize> = BTreeMap::new();
        for (trust, trust_clients) in &self.by_trust {
            *costs.entry(&trust_clients.tenant).or_default() += cost(trust);
        }
        let (added, tenant) = (cost(wanted), tenant(wanted));
        let own = costs.get(&&tenant).copied().unwrap_or_default();
        let crowd = if tenant.is_some() && own > 0 && own + added > BUNDLES_OF_ONE {
            &tenant
        } else if added > 0 && costs.values().sum::<usize>() + added > BUNDLES_LIMIT {
            costs.into_iter().max_by_key(|(_, cost)| *cost)?.0
        } else {
            return None;
        };
        let its = self.by_trust.iter().filter(|(trust, it)| cost(trust) > 0 && it.tenant == *crowd);
        its.min_by_key(|(_, trust_clients)| trust_clients.used.monotonic).map(|(trust, _)| trust.clone())
    }

    /// What is kept for this trust, with authorities that were read not long ago.
    fn trust_clients(&mut self, trust: &Trust, now: Moment) -> Result<&mut TrustClients, TransportError> {
        let known = self.by_trust.remove(trust);
        let is_fresh = |trust_clients: &TrustClients| !trust_clients.read.plus(LONGEST_USE).is_reached(now);
        let mut trust_clients = match known {
            Some(trust_clients) if is_fresh(&trust_clients) => trust_clients,
            stale => {
                let tls = trust.tls().map_err(|_| without_tls())?;
                let clients = stale.map(|stale| stale.clients).unwrap_or_default();
                TrustClients { tls, read: now, used: now, tenant: tenant(trust), clients }
            }
        };
        trust_clients.used = now;
        // A tenant must not evict a bundle that several tenants brought.
        trust_clients.tenant = trust_clients.tenant.filter(|known| Some(known) == tenant(trust).as_ref());
        if trust_clients.clients.len() >= CLIENTS_LIMIT {
            trust_clients.clients.clear();
        }
        Ok(self.by_trust.entry(trust.clone()).or_insert(trust_clients))
    }
}

/// What it costs to keep this trust ready, of what is bounded.
fn cost(trust: &Trust) -> usize {
    match trust {
        Trust::PublicRoots => 0,
        Trust::Bundle(bundle) => bundle.pem().len() + BUNDLE_COST,
    }
}

/// The tenant that brought it.
fn tenant(trust: &Trust) -> Option<Arc<str>> {
    match trust {
        Trust::PublicRoots => None,
        Trust::Bundle(bundle) => bundle.tenant().cloned(),
    }
}

/// Half of the call's time limit, in whole seconds: connecting times out before the call does, which distinguishes it
/// from a late response. The refresh token in the request stays valid.
fn connect_limit(call_limit: Duration) -> Duration {
    Duration::from_secs(call_limit.as_secs() / 2).clamp(Duration::from_secs(1), LONGEST_CONNECT)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::super::bundles::Bundles;
    use super::super::trust::CaBundle;
    use super::*;
    use crate::core::backoff::RandomFraction;
    use crate::core::testing::at;

    fn request(url: &str, trust: Trust) -> Request {
        let limit = Duration::from_secs(10);
        let (url, headers) = (url.parse().unwrap(), http::HeaderMap::new());
        Request { url, body: Vec::new().into(), trust, limit, headers }
    }

    fn bundle() -> Trust {
        let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        Trust::Bundle(CaBundle::parse(authority.cert.pem().as_bytes()).unwrap())
    }

    fn number(clients: &Clients, url: &str, trust: &Trust) -> u64 {
        clients.of(&request(url, trust.clone())).unwrap().1
    }

    /// A clock that is set by hand.
    #[derive(Default)]
    struct ManualClock(AtomicI64);

    impl Clock for ManualClock {
        fn now(&self) -> Moment {
            at(self.0.load(Ordering::SeqCst))
        }

        fn random_fraction(&self) -> RandomFraction {
            RandomFraction::new(0.5)
        }
    }

    fn clients() -> Clients {
        Clients::new(false, Arc::<ManualClock>::default())
    }

    #[test]
    fn a_client_is_kept_for_five_minutes_and_no_longer() {
        let hands = Arc::<ManualClock>::default();
        let (clients, trust) = (Clients::new(false, Arc::<ManualClock>::clone(&hands)), bundle());
        let first = number(&clients, "https://one.example", &trust);
        for (seconds, is_first) in [(1, true), (150, true), (299, true), (300, false)] {
            hands.0.store(seconds, Ordering::SeqCst);
            assert_eq!(number(&clients, "https://one.example", &trust) == first, is_first, "{seconds}");
        }
    }

    #[test]
    fn a_failure_retires_the_clients_that_were_there_when_its_call_began_and_no_other() {
        let (clients, trust, other_trust) = (clients(), bundle(), bundle());
        let failed = number(&clients, "https://one.example", &trust);
        let elsewhere = number(&clients, "https://two.example", &trust);
        let trusting_others = number(&clients, "https://one.example", &other_trust);
        let origin = request("https://one.example", trust.clone()).url.origin();
        clients.retire(&origin, &trust, failed);
        let next = number(&clients, "https://one.example", &trust);
        assert_ne!(next, failed);
        assert_eq!(number(&clients, "https://two.example", &trust), elsewhere);
        assert_eq!(number(&clients, "https://one.example", &other_trust), trusting_others);
        // Hundreds of calls may end with the same connection.
        for _ in 0..100 {
            clients.retire(&origin, &trust, failed);
        }
        assert_eq!(number(&clients, "https://one.example", &trust), next);
    }

    #[test]
    fn bundles_of_any_number_are_kept_within_a_bound() {
        let clients = clients();
        let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        let padding = "#".repeat(BUNDLES_LIMIT / 8);
        for count in 0..20 {
            let pem = format!("# {count}\n{padding}\n{}", authority.cert.pem());
            let trust = Trust::Bundle(CaBundle::parse(pem.as_bytes()).unwrap());
            number(&clients, "https://one.example", &trust);
            let cost: usize = clients.store().by_trust.keys().map(cost).sum();
            assert!(cost <= BUNDLES_LIMIT);
            assert!(clients.store().by_trust.contains_key(&trust));
        }
    }

    #[test]
    fn a_tenant_of_a_thousand_small_bundles_keeps_few_ready_and_takes_none_from_its_neighbours() {
        let (clients, bundles) = (clients(), Bundles::default());
        let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        let trust = |tenant: &str, number: usize| {
            let pem = format!("# {number}\n{}", authority.cert.pem());
            Trust::Bundle(bundles.accept(tenant, pem.as_bytes()).unwrap())
        };
        let shared = [trust("hostile", 0), trust("shop", 0)];
        assert!(shared[0] == shared[1]);
        let its: Vec<_> =
            ["shop", "bank", "mall"].into_iter().zip(1..).map(|(it, at)| trust(it, at)).collect();
        let number_of = |trust: &Trust| number(&clients, "https://one.example", trust);
        let numbers: Vec<_> = shared.iter().chain(&its).map(number_of).collect();
        for count in 10..1_010 {
            number_of(&trust("hostile", count));
            assert!(clients.store().by_trust.len() <= 32);
        }
        let after: Vec<_> = shared.iter().chain(&its).map(number_of).collect();
        assert_eq!(numbers, after);
    }

    #[test]
    fn of_many_tenants_with_bundles_the_one_with_most_makes_room() {
        let (clients, bundles) = (clients(), Bundles::default());
        let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        for tenant in 0..100 {
            for number in 0..=tenant % 3 {
                let pem = format!("# {tenant} {number}\n{}", authority.cert.pem());
                let bundle = bundles.accept(&format!("tenant-{tenant}"), pem.as_bytes()).unwrap();
                self::number(&clients, "https://one.example", &Trust::Bundle(bundle));
            }
        }
        let store = clients.store();
        let tenants: std::collections::BTreeSet<_> = store.by_trust.values().map(|it| &it.tenant).collect();
        assert_eq!(tenants.len(), 100, "none has lost its only one");
    }
}
