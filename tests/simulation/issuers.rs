//! The simulated issuers, each with its own personality.

use std::sync::Mutex;
use std::time::Duration;

use idissuer::core::endpoint::{AllowList, Origin};
use idissuer_simulator::{
    CallRecord, Config, DurationRange, Exchange, Latency, Lockout, Personality, RefreshAccepted,
    RefreshRequest, RefreshTokens, Request, Session, Simulator,
};
use jiff::Timestamp;
use url::Url;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// Of those that are always in a hurry.
const MINUTE: Duration = Duration::from_secs(60);

pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) simulator: Simulator,
    /// How many things keep everyone from reaching it.
    unreachable: Mutex<u32>,
    /// The last call that was looked at.
    sequence: Mutex<u64>,
}

impl Issuer {
    /// A call, and what the issuer itself thought of it.
    pub(crate) fn call(&self, request: &Request, now: Timestamp) -> (Exchange, CallRecord) {
        let exchange = self.simulator.call(request, now);
        let mut sequence = self.sequence.lock().unwrap();
        let record = self.simulator.calls_since(*sequence).pop().unwrap();
        *sequence = record.sequence;
        (exchange, record)
    }

    pub(crate) fn is_unreachable(&self) -> bool {
        *self.unreachable.lock().unwrap() > 0
    }

    pub(crate) fn cut(&self) {
        *self.unreachable.lock().unwrap() += 1;
    }

    pub(crate) fn restore(&self) {
        *self.unreachable.lock().unwrap() -= 1;
    }

    pub(crate) fn personality(&self) -> Personality {
        self.simulator.personality()
    }
}

pub(crate) struct Issuers(Vec<Issuer>);

impl Issuers {
    /// One that takes refreshes early, and answers at once.
    pub(crate) fn plain(seed: u64, lifetime: Duration) -> Self {
        Self::one(seed, move |personality| personality.token.lifetime = lifetime)
    }

    pub(crate) fn one(seed: u64, character: impl FnOnce(&mut Personality) + 'static) -> Self {
        Self::of(seed, vec![Box::new(character)])
    }

    /// One for each of these lifetimes, otherwise like the plain one.
    pub(crate) fn living(seed: u64, lifetimes: &[Duration]) -> Self {
        let character = |lifetime: &Duration| -> Character {
            let lifetime = *lifetime;
            Box::new(move |personality| personality.token.lifetime = lifetime)
        };
        Self::of(seed, lifetimes.iter().map(character).collect())
    }

    /// Every character that there is: the refresh works early, after expiry, never; tokens live an hour, ten minutes, a
    /// day; refresh tokens are spent by use or not; a login ends other sessions or not.
    pub(crate) fn various(seed: u64) -> Self {
        Self::of(seed, characters())
    }

    /// As various as they can be, and one more, whose tokens live a minute.
    pub(crate) fn hurried(seed: u64) -> Self {
        use RefreshAccepted::Early;
        let hurried =
            character(MINUTE, Early, RefreshTokens::SingleUse, Session::PerLogin, RefreshRequest::Flat);
        Self::of(seed, characters().into_iter().chain([hurried]).collect())
    }

    fn of(seed: u64, characters: Vec<Character>) -> Self {
        let issuer = |(number, character): (usize, Character)| Issuer {
            url: format!("https://issuer-{number}.example.org"),
            simulator: Simulator::new(
                Config::default()
                    .seed(seed.wrapping_mul(31).wrapping_add(number as u64))
                    .user(idissuer_simulator::User::new("nobody", "nothing"))
                    .personality(character),
            ),
            unreachable: Mutex::default(),
            sequence: Mutex::default(),
        };
        Self(characters.into_iter().enumerate().map(issuer).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Issuer> {
        self.0.iter()
    }

    pub(crate) fn get(&self, number: usize) -> &Issuer {
        &self.0[number]
    }

    pub(crate) fn shortest_lifetime(&self) -> Duration {
        self.0.iter().map(|issuer| issuer.personality().token.lifetime).min().unwrap()
    }

    /// The number of the issuer that this request goes to.
    pub(crate) fn find(&self, url: &Url) -> usize {
        self.0.iter().position(|issuer| url.as_str().starts_with(&issuer.url)).unwrap()
    }

    pub(crate) fn allow_list(&self) -> AllowList {
        let mut origins: Vec<_> = self.0.iter().map(|issuer| Origin::parse(&issuer.url).unwrap()).collect();
        let default = origins.remove(0);
        AllowList::new(default, origins.into_iter().map(Into::into).collect())
    }
}

type Character = Box<dyn FnOnce(&mut Personality)>;

/// An issuer that answers in time, and locks accounts after wrong passwords.
fn character(
    lifetime: Duration,
    accepted: RefreshAccepted,
    tokens: RefreshTokens,
    session: Session,
    request: RefreshRequest,
) -> Character {
    let answers = DurationRange { from: Duration::from_millis(50), to: Duration::from_millis(500) };
    Box::new(move |personality: &mut Personality| {
        personality.latency = Latency::of(answers);
        personality.lockout = Some(Lockout::default());
        personality.token.lifetime = lifetime;
        personality.refresh.accepted = accepted;
        personality.refresh.tokens = tokens;
        personality.refresh.request = request;
        personality.login.session = session;
    })
}

fn characters() -> Vec<Character> {
    use RefreshAccepted::{AfterExpiry, Early, Never};
    use RefreshRequest::{Flat, Nested};
    use RefreshTokens::{Absent, Reusable, SingleUse};
    use Session::{PerLogin, PerUser};
    vec![
        character(HOUR, Early, SingleUse, PerLogin, Flat),
        character(HOUR, AfterExpiry, SingleUse, PerUser, Flat),
        character(10 * MINUTE, Early, SingleUse, PerUser, Nested),
        character(HOUR, Never, Reusable, PerLogin, Flat),
        character(24 * HOUR, Early, Reusable, PerLogin, Flat),
        character(24 * HOUR, AfterExpiry, Absent, PerUser, Flat),
    ]
}
