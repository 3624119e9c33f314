//! The issuer itself: users, sessions and tokens, and their state at a given time.
//!
//! A synchronous state machine: no clock, no sockets, no randomness but that of its seed. Cloning it forks its world,
//! so a test can try every continuation. It keeps tokens as fingerprints and shows no password.

mod account;
mod answer;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use account::Account;
pub use account::User;
pub use answer::{Answer, Grant, Reason, Refusal};
use jiff::{SignedDuration, Timestamp};

use crate::{
    Counts, Fingerprint, Personality, RefreshAccepted, RefreshTokens, Session, UNKNOWN_USER,
    generator::Generator, token,
};

#[derive(Clone, Debug)]
struct AccessToken {
    user: String,
    /// Its place among all that this issuer ever did.
    order: u64,
    expires: Timestamp,
    replaced: bool,
}

#[derive(Clone, Debug)]
struct RefreshToken {
    user: String,
    /// The login that it came from, by its order.
    family: u64,
    spent: bool,
}

/// The issuer's state. Every `now` is the true time; the personality's clock offset is added here.
#[derive(Clone, Debug)]
pub struct Issuer {
    personality: Personality,
    accounts: BTreeMap<String, Account>,
    access_tokens: HashMap<Fingerprint, AccessToken>,
    refresh_tokens: HashMap<Fingerprint, RefreshToken>,
    revoked_families: HashSet<u64>,
    order: u64,
    pub(crate) counts: Counts,
    pub(crate) generator: Generator,
}

impl Issuer {
    /// An issuer without users. The same seed makes the same tokens.
    #[must_use]
    pub fn new(personality: Personality, seed: u64) -> Self {
        Self {
            personality,
            accounts: BTreeMap::new(),
            access_tokens: HashMap::new(),
            refresh_tokens: HashMap::new(),
            revoked_families: HashSet::new(),
            order: 0,
            counts: Counts::default(),
            generator: Generator::new(seed),
        }
    }

    /// The personality.
    #[must_use]
    pub fn personality(&self) -> &Personality {
        &self.personality
    }

    /// The personality, to change it. What was issued before keeps its expiry.
    pub fn personality_mut(&mut self) -> &mut Personality {
        &mut self.personality
    }

    /// What every user's calls came to.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Adds a user, or gives an existing one this password and authorization and lifts its lock.
    pub fn set_user(&mut self, user: &User) {
        let order = self.next_order();
        self.accounts
            .entry(user.name.clone())
            .and_modify(|account| account.update(user))
            .or_insert_with(|| Account::new(user, order));
    }

    /// Removes a user. Its tokens are good for nothing from now on.
    pub fn remove_user(&mut self, name: &str) -> bool {
        self.accounts.remove(name).is_some()
    }

    /// Makes every token of a user invalid, access and refresh tokens alike.
    pub fn revoke(&mut self, name: &str) -> bool {
        let order = self.next_order();
        self.accounts.get_mut(name).is_some_and(|account| {
            account.sessions_since = order;
            account.tokens_since = order;
            true
        })
    }

    /// The users and whether each has "API Access", by name.
    pub fn users(&self) -> impl Iterator<Item = (&str, bool)> {
        self.accounts.iter().map(|(name, account)| (name.as_str(), account.api_access))
    }

    /// The issuer's own clock.
    #[must_use]
    pub fn clock(&self, now: Timestamp) -> Timestamp {
        now.checked_add(self.personality.clock_offset).unwrap_or(now)
    }

    /// A login.
    pub fn login(&mut self, username: &str, password: &str, now: Timestamp) -> Answer {
        let clock = self.clock(now);
        if let Err(reason) = self.may_login(username, password, clock) {
            let lockout = self.personality.lockout;
            let locked_now = reason == Reason::WrongPassword
                && self
                    .accounts
                    .get_mut(username)
                    .is_some_and(|account| account.wrong_password(lockout, clock));
            let counts = self.counts.entry(username);
            counts.logins_rejected += 1;
            counts.lockouts += u64::from(locked_now);
            return self.refuse(reason);
        }
        let family = self.next_order();
        let one_session = self.personality.login.session == Session::PerUser;
        if let Some(account) = self.accounts.get_mut(username) {
            account.right_password();
            if one_session {
                account.sessions_since = family;
            }
        }
        self.counts.entry(username).logins_accepted += 1;
        let refresh_token = match self.personality.refresh.tokens {
            RefreshTokens::SingleUse | RefreshTokens::Reusable => {
                Some(self.issue_refresh_token(username, family))
            }
            RefreshTokens::Absent => None,
        };
        self.grant(username, refresh_token, clock)
    }

    /// Whether a login would be accepted, without making it.
    ///
    /// # Errors
    ///
    /// Why it would not.
    pub fn would_accept_login(&self, username: &str, password: &str, now: Timestamp) -> Result<(), Reason> {
        self.may_login(username, password, self.clock(now))
    }

    fn may_login(&self, username: &str, password: &str, clock: Timestamp) -> Result<(), Reason> {
        let account = self.accounts.get(username).ok_or(Reason::UnknownUser)?;
        if account.is_locked(clock) {
            Err(Reason::Locked)
        } else if !account.has_password(password) {
            Err(Reason::WrongPassword)
        } else if !account.api_access {
            Err(Reason::NoApiAccess)
        } else {
            Ok(())
        }
    }

    /// A refresh.
    pub fn refresh(&mut self, access_token: &str, refresh_token: &str, now: Timestamp) -> Answer {
        let clock = self.clock(now);
        let presented = Fingerprint::of(refresh_token);
        let owner = self.owner(presented).unwrap_or(UNKNOWN_USER).to_owned();
        match self.may_refresh(Fingerprint::of(access_token), presented, clock) {
            Err(reason) => {
                let counts = self.counts.entry(&owner);
                counts.refreshes_refused += 1;
                if reason == Reason::Spent {
                    counts.refresh_tokens_reused += 1;
                    self.punish_reuse(presented);
                }
                self.refuse(reason)
            }
            Ok(family) => {
                self.counts.entry(&owner).refreshes_accepted += 1;
                let refresh_token = self.personality.refresh.answers_new.then(|| {
                    if let Some(token) = self.refresh_tokens.get_mut(&presented) {
                        token.spent = true;
                    }
                    self.issue_refresh_token(&owner, family)
                });
                if let Some(token) = self.access_tokens.get_mut(&Fingerprint::of(access_token)) {
                    token.replaced = !self.personality.refresh.old_token_lives;
                }
                self.grant(&owner, refresh_token, clock)
            }
        }
    }

    /// The family of the tokens, if they can be refreshed.
    fn may_refresh(
        &self,
        access: Fingerprint,
        refresh: Fingerprint,
        clock: Timestamp,
    ) -> Result<u64, Reason> {
        let refresh_token = self.refresh_tokens.get(&refresh).ok_or(Reason::UnknownToken)?;
        let account = self.accounts.get(&refresh_token.user).ok_or(Reason::UnknownUser)?;
        let family = refresh_token.family;
        let single_use = self.personality.refresh.tokens == RefreshTokens::SingleUse;
        if refresh_token.spent && single_use {
            return Err(Reason::Spent);
        }
        if family < account.sessions_since || self.revoked_families.contains(&family) {
            return Err(Reason::Revoked);
        }
        let access_token = self.access_tokens.get(&access).filter(|token| token.user == refresh_token.user);
        let access_token = access_token.ok_or(Reason::UnknownToken)?;
        match self.personality.refresh.accepted {
            RefreshAccepted::Never => Err(Reason::NeverAccepted),
            RefreshAccepted::AfterExpiry if clock < access_token.expires => Err(Reason::TooEarly),
            RefreshAccepted::AfterExpiry | RefreshAccepted::Early if !account.api_access => {
                Err(Reason::NoApiAccess)
            }
            RefreshAccepted::AfterExpiry | RefreshAccepted::Early => Ok(family),
        }
    }

    fn punish_reuse(&mut self, presented: Fingerprint) {
        if self.personality.refresh.reuse_revokes_family
            && let Some(token) = self.refresh_tokens.get(&presented)
        {
            self.revoked_families.insert(token.family);
        }
    }

    /// Whose access token `bearer` is, if it is good.
    ///
    /// # Errors
    ///
    /// Why it is not: `Expired`, `Revoked` or `UnknownToken`.
    pub fn check(&self, bearer: &str, now: Timestamp) -> Result<&str, Reason> {
        let token = self.access_tokens.get(&Fingerprint::of(bearer)).ok_or(Reason::UnknownToken)?;
        let account = self.accounts.get(&token.user).ok_or(Reason::UnknownUser)?;
        if token.replaced || token.order < account.tokens_since {
            Err(Reason::Revoked)
        } else if self.clock(now) >= token.expires {
            Err(Reason::Expired)
        } else {
            Ok(&token.user)
        }
    }

    pub(crate) fn owner(&self, refresh_token: Fingerprint) -> Option<&str> {
        self.refresh_tokens.get(&refresh_token).map(|token| token.user.as_str())
    }

    /// Whose access token this is, good or not.
    pub(crate) fn bearer(&self, access_token: Fingerprint) -> Option<&str> {
        self.access_tokens.get(&access_token).map(|token| token.user.as_str())
    }

    fn issue_refresh_token(&mut self, user: &str, family: u64) -> String {
        let text = token::opaque(&mut self.generator);
        let token = RefreshToken { user: user.to_owned(), family, spent: false };
        self.refresh_tokens.insert(Fingerprint::of(&text), token);
        text
    }

    fn grant(&mut self, user: &str, refresh_token: Option<String>, clock: Timestamp) -> Answer {
        let expires = later(clock, self.personality.token.lifetime);
        let access_token = self.personality.token.format.make(user, clock, expires, &mut self.generator);
        let order = self.next_order();
        let token = AccessToken { user: user.to_owned(), order, expires, replaced: false };
        // An empty token is of no use to anybody.
        if !access_token.is_empty() {
            self.access_tokens.insert(Fingerprint::of(&access_token), token);
        }
        Answer::Granted(Grant { user: user.to_owned(), access_token, refresh_token, expires })
    }

    fn refuse(&self, reason: Reason) -> Answer {
        let personality = &self.personality;
        let status = match reason {
            Reason::UnknownUser | Reason::WrongPassword => personality.login.rejected_status,
            Reason::NoApiAccess => personality.login.no_access_status,
            Reason::Locked => personality.lockout.unwrap_or_default().status,
            Reason::NeverAccepted
            | Reason::TooEarly
            | Reason::UnknownToken
            | Reason::Spent
            | Reason::Revoked => personality.refresh.refused_status,
            Reason::Expired => 401,
            Reason::Misdirected => 400,
        };
        Answer::Refused(Refusal { reason, status })
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| time.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lockout, TokenFormat};

    const USER: &str = "u@example.com";

    /// An issuer, and a clock that the test moves.
    struct TestIssuer {
        issuer: Issuer,
        now: Timestamp,
    }

    impl TestIssuer {
        fn new(change: impl FnOnce(&mut Personality)) -> Self {
            let mut personality = Personality::default();
            change(&mut personality);
            let mut issuer = Issuer::new(personality, 1);
            issuer.set_user(&User::new(USER, "right"));
            issuer.set_user(&User::new("barred", "right").without_api_access());
            Self { issuer, now: Timestamp::from_second(1_000_000).unwrap() }
        }

        fn pass(&mut self, seconds: i64) {
            self.now += SignedDuration::from_secs(seconds);
        }

        fn login(&mut self) -> Grant {
            self.issuer.login(USER, "right", self.now).granted().unwrap()
        }

        fn refresh(&mut self, pair: &Grant) -> Answer {
            self.issuer.refresh(&pair.access_token, pair.refresh_token.as_deref().unwrap(), self.now)
        }

        fn check(&self, grant: &Grant) -> Result<&str, Reason> {
            self.issuer.check(&grant.access_token, self.now)
        }
    }

    #[test]
    fn a_login_gives_a_token_that_is_good_until_its_expiry() {
        let mut test = TestIssuer::new(|_| ());
        let grant = test.login();
        test.pass(3599);
        assert_eq!(test.check(&grant), Ok(USER));
        test.pass(1);
        assert_eq!(test.check(&grant), Err(Reason::Expired));
        assert_eq!(test.issuer.check("made up", test.now), Err(Reason::UnknownToken));
    }

    #[test]
    fn logins_are_refused_for_the_right_reason_and_with_its_status() {
        let mut test = TestIssuer::new(|personality| personality.login.rejected_status = 400);
        for (user, password, reason, status) in [
            (USER, "wrong", Reason::WrongPassword, 400),
            ("nobody", "right", Reason::UnknownUser, 400),
            ("barred", "right", Reason::NoApiAccess, 403),
        ] {
            let expected = Answer::Refused(Refusal { reason, status });
            assert_eq!(test.issuer.would_accept_login(user, password, test.now), Err(reason));
            assert_eq!(test.issuer.login(user, password, test.now), expected);
            assert_eq!(test.issuer.counts().of(user).logins_rejected, 1);
        }
        assert_eq!(test.issuer.counts().total().logins_accepted, 0);
    }

    #[test]
    fn wrong_passwords_in_a_row_lock_the_user_for_a_while() {
        let lockout = Lockout { after: 2, duration: Duration::from_secs(60), status: 403 };
        let mut test = TestIssuer::new(|personality| personality.lockout = Some(lockout));
        test.issuer.login(USER, "wrong", test.now);
        test.login();
        test.issuer.login(USER, "wrong", test.now);
        assert_eq!(test.issuer.would_accept_login(USER, "right", test.now), Ok(()), "not in a row");
        test.issuer.login(USER, "wrong", test.now);
        test.pass(59);
        let locked = Answer::Refused(Refusal { reason: Reason::Locked, status: 403 });
        assert_eq!(test.issuer.login(USER, "right", test.now), locked);
        test.pass(1);
        test.login();
        assert_eq!(test.issuer.counts().of(USER).lockouts, 1);
    }

    #[test]
    fn a_changed_user_has_the_new_password_and_no_lock() {
        let mut test = TestIssuer::new(|personality| {
            personality.lockout = Some(Lockout { after: 1, ..Lockout::default() });
        });
        let grant = test.login();
        test.issuer.login(USER, "wrong", test.now);
        test.issuer.set_user(&User::new(USER, "new"));
        assert_eq!(test.issuer.login(USER, "right", test.now).refused(), Some(Reason::WrongPassword));
        test.issuer.set_user(&User::new(USER, "new"));
        assert!(test.issuer.login(USER, "new", test.now).granted().is_some());
        assert_eq!(test.check(&grant), Ok(USER));
        assert!(test.refresh(&grant).granted().is_some());
    }

    #[test]
    fn an_early_refresh_gives_a_younger_pair_and_the_old_token_lives_on() {
        let mut test = TestIssuer::new(|_| ());
        let first = test.login();
        test.pass(10);
        let second = test.refresh(&first).granted().unwrap();
        assert_ne!(first.access_token, second.access_token);
        assert_ne!(first.refresh_token, second.refresh_token);
        assert_eq!(second.expires.duration_since(first.expires), SignedDuration::from_secs(10));
        assert_eq!((test.check(&first), test.check(&second)), (Ok(USER), Ok(USER)));
    }

    #[test]
    fn the_old_token_dies_on_refresh_where_it_is_to() {
        let mut test = TestIssuer::new(|personality| personality.refresh.old_token_lives = false);
        let first = test.login();
        let second = test.refresh(&first).granted().unwrap();
        assert_eq!((test.check(&first), test.check(&second)), (Err(Reason::Revoked), Ok(USER)));
    }

    #[test]
    fn a_refresh_that_came_too_early_spends_nothing() {
        let mut test =
            TestIssuer::new(|personality| personality.refresh.accepted = RefreshAccepted::AfterExpiry);
        let grant = test.login();
        test.pass(3599);
        assert_eq!(test.refresh(&grant).refused(), Some(Reason::TooEarly));
        test.pass(1);
        assert!(test.refresh(&grant).granted().is_some());
    }

    #[test]
    fn refreshes_are_never_accepted_where_they_are_not_to_be() {
        let mut test = TestIssuer::new(|personality| {
            personality.refresh.accepted = RefreshAccepted::Never;
            personality.refresh.refused_status = 404;
        });
        let grant = test.login();
        test.pass(4000);
        let refused = Answer::Refused(Refusal { reason: Reason::NeverAccepted, status: 404 });
        assert_eq!(test.refresh(&grant), refused);
    }

    #[test]
    fn a_spent_refresh_token_is_noticed_and_takes_its_family_with_it() {
        let mut test = TestIssuer::new(|_| ());
        let other = test.login();
        let first = test.login();
        let second = test.refresh(&first).granted().unwrap();
        assert_eq!(test.refresh(&first).refused(), Some(Reason::Spent));
        assert_eq!(test.refresh(&second).refused(), Some(Reason::Revoked));
        assert!(test.refresh(&other).granted().is_some(), "another login is another family");
        let counts = test.issuer.counts().of(USER);
        assert_eq!(
            (counts.refresh_tokens_reused, counts.refreshes_refused, counts.refreshes_accepted),
            (1, 2, 2)
        );
    }

    #[test]
    fn reuse_goes_unpunished_where_it_is_to() {
        let mut test = TestIssuer::new(|personality| personality.refresh.reuse_revokes_family = false);
        let first = test.login();
        let second = test.refresh(&first).granted().unwrap();
        assert_eq!(test.refresh(&first).refused(), Some(Reason::Spent));
        assert!(test.refresh(&second).granted().is_some());
    }

    #[test]
    fn reusable_refresh_tokens_can_be_used_again() {
        let mut test = TestIssuer::new(|personality| personality.refresh.tokens = RefreshTokens::Reusable);
        let first = test.login();
        assert!(test.refresh(&first).granted().is_some());
        assert!(test.refresh(&first).granted().is_some());
        assert_eq!(test.issuer.counts().of(USER).refresh_tokens_reused, 0);
    }

    #[test]
    fn without_a_new_refresh_token_the_old_one_stays_good() {
        let mut test = TestIssuer::new(|personality| personality.refresh.answers_new = false);
        let first = test.login();
        let second = test.refresh(&first).granted().unwrap();
        assert_eq!(second.refresh_token, None);
        assert!(test.refresh(&Grant { refresh_token: first.refresh_token, ..second }).granted().is_some());
    }

    #[test]
    fn a_login_answers_no_refresh_token_where_there_are_none() {
        let mut test = TestIssuer::new(|personality| personality.refresh.tokens = RefreshTokens::Absent);
        assert_eq!(test.login().refresh_token, None);
    }

    #[test]
    fn one_session_per_user_means_that_a_login_kills_the_earlier_refresh_token() {
        let mut test = TestIssuer::new(|personality| personality.login.session = Session::PerUser);
        let first = test.login();
        let second = test.login();
        assert_eq!(test.refresh(&first).refused(), Some(Reason::Revoked));
        assert_eq!(test.check(&first), Ok(USER), "the access token lives on");
        assert!(test.refresh(&second).granted().is_some());
    }

    #[test]
    fn a_refresh_needs_both_tokens_of_one_user() {
        let mut test = TestIssuer::new(|_| ());
        test.issuer.set_user(&User::new("other", "right"));
        let other = test.issuer.login("other", "right", test.now).granted().unwrap();
        let grant = test.login();
        let mixed = Grant { access_token: other.access_token, ..grant.clone() };
        assert_eq!(test.refresh(&mixed).refused(), Some(Reason::UnknownToken));
        assert_eq!(
            test.issuer.refresh(&grant.access_token, "", test.now).refused(),
            Some(Reason::UnknownToken)
        );
        assert_eq!(test.issuer.counts().of(UNKNOWN_USER).refreshes_refused, 1);
    }

    #[test]
    fn revoked_and_removed_users_have_no_good_tokens() {
        let mut test = TestIssuer::new(|_| ());
        let grant = test.login();
        assert!(test.issuer.revoke(USER));
        assert_eq!(test.check(&grant), Err(Reason::Revoked));
        assert_eq!(test.refresh(&grant).refused(), Some(Reason::Revoked));
        let grant = test.login();
        assert!(test.issuer.remove_user(USER));
        test.issuer.set_user(&User::new(USER, "right"));
        assert_eq!(test.check(&grant), Err(Reason::Revoked), "a new user of the same name is another one");
        assert!(!test.issuer.revoke("nobody") && !test.issuer.remove_user("nobody"));
    }

    #[test]
    fn a_user_that_loses_its_access_cannot_refresh() {
        let mut test = TestIssuer::new(|_| ());
        let grant = test.login();
        test.issuer.set_user(&User::new(USER, "right").without_api_access());
        assert_eq!(test.refresh(&grant).refused(), Some(Reason::NoApiAccess));
    }

    #[test]
    fn a_clock_that_moves_forward_expires_tokens() {
        let mut test = TestIssuer::new(|_| ());
        let grant = test.login();
        test.issuer.personality_mut().clock_offset = SignedDuration::from_hours(1);
        assert_eq!(test.check(&grant), Err(Reason::Expired));
        assert_eq!(test.login().expires.duration_since(test.now), SignedDuration::from_hours(2));
    }

    #[test]
    fn tokens_are_unique_and_the_seed_decides_them() {
        let tokens = || {
            let mut test = TestIssuer::new(|personality| personality.token.format = TokenFormat::Opaque);
            (0..50).map(|_| test.login().access_token).collect::<Vec<_>>()
        };
        assert_eq!(tokens(), tokens());
        assert_eq!(tokens().into_iter().collect::<HashSet<_>>().len(), 50);
    }

    #[test]
    fn a_clone_is_a_world_of_its_own() {
        let mut test = TestIssuer::new(|_| ());
        let grant = test.login();
        let mut fork = test.issuer.clone();
        assert!(test.refresh(&grant).granted().is_some());
        let refresh_token = grant.refresh_token.as_deref().unwrap();
        assert!(fork.refresh(&grant.access_token, refresh_token, test.now).granted().is_some());
    }

    #[test]
    fn debug_shows_no_secret() {
        let mut test = TestIssuer::new(|_| ());
        let grant = test.login();
        let shown = format!("{:?} {grant:?} {:?}", test.issuer, User::new(USER, "right"));
        for secret in ["right", &grant.access_token, grant.refresh_token.as_deref().unwrap()] {
            assert!(!shown.contains(secret), "{secret}");
        }
    }
}
