//! Requests in, answers out: finds the call, draws its fault and latency, lets the model work, and keeps the records.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    Answer, CallRecord, Counts, FaultRule, Fingerprint, Issuer, Operation, Outcome, Reason, RefreshRequest,
    Request, Response, SimulatedAnswer, TrailingSlash, UNKNOWN_USER, record::CallLog,
};

/// Where the authorized endpoint is.
pub(crate) const AUTHORIZED_PATH: &str = "/v2/authorized";

/// Where the vendor's page has the flat refresh.
const FLAT_REFRESH_PATH: &str = "/v2/auth/refreshtoken";

/// The issuer with its records. What [`crate::Simulator`] locks.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) issuer: Issuer,
    pub(crate) log: CallLog,
    in_flight: BTreeMap<String, u64>,
}

/// What is to be done about a request: this answer, after this time, and then [`Service::landed`] for this user.
pub(crate) struct Handled {
    pub(crate) answer: SimulatedAnswer,
    pub(crate) delay: Duration,
    pub(crate) user: Option<String>,
}

enum Call {
    Login { username: String, password: String },
    Refresh { access_token: String, refresh_token: String },
    Authorized { token: Option<String> },
    Other(Response),
}

#[derive(Deserialize)]
struct LoginBody {
    username: String,
    password: String,
}

#[derive(Deserialize)]
struct FlatBody {
    access_token: String,
    refresh_token: String,
}

#[derive(Deserialize)]
struct NestedBody {
    access_token: NestedToken,
    refresh_token: String,
}

#[derive(Deserialize)]
struct NestedToken {
    token: String,
}

/// What the model did with a call.
struct Work {
    response: Response,
    outcome: Outcome,
    issued: Option<(Fingerprint, Timestamp)>,
}

impl Service {
    pub(crate) fn new(issuer: Issuer) -> Self {
        Self { issuer, log: CallLog::default(), in_flight: BTreeMap::new() }
    }

    /// Forgets the counts and starts again; the log goes on.
    pub(crate) fn reset_counts(&mut self) {
        self.issuer.counts.clear();
    }

    pub(crate) fn counts(&self) -> &Counts {
        self.issuer.counts()
    }

    /// One request, at the true time `now`.
    pub(crate) fn handle(&mut self, request: &Request, now: Timestamp) -> Handled {
        let call = self.understand(request);
        let operation = call.operation();
        let presented = call.presented();
        let user = self.user_of(&call, presented);

        let rule = self.draw_fault(operation, &user);
        let latency = self.issuer.personality().latency;
        let delay = latency.draw(operation, &mut self.issuer.generator);
        let work = match &rule {
            Some(rule) if !rule.works() => {
                Work { response: Response::empty(200), outcome: Outcome::NotReached, issued: None }
            }
            _ => self.work(call, now),
        };
        let clock = self.issuer.clock(now);
        let response = work.response.with("date", httpdate::fmt_http_date(clock.into()));
        let answer = match &rule {
            Some(rule) => rule.fault.apply(response, clock, &mut self.issuer.generator),
            None => SimulatedAnswer::Complete(response),
        };

        let in_flight =
            matches!(operation, Operation::Login | Operation::Refresh).then(|| self.departed(&user));
        let counts = self.issuer.counts.entry(&user);
        counts.faults += u64::from(rule.is_some());
        counts.in_flight_maximum = counts.in_flight_maximum.max(in_flight.unwrap_or(0));
        self.log.push(CallRecord {
            sequence: 0,
            at: now,
            operation,
            user: user.clone(),
            outcome: work.outcome,
            fault: rule.map(|rule| rule.fault.name()),
            status: answer.status(),
            presented,
            issued: work.issued.map(|(fingerprint, _)| fingerprint),
            expires: work.issued.map(|(_, expires)| expires),
        });
        Handled { answer, delay, user: in_flight.map(|_| user) }
    }

    fn departed(&mut self, user: &str) -> u64 {
        let in_flight = self.in_flight.entry(user.to_owned()).or_default();
        *in_flight += 1;
        *in_flight
    }

    /// The answer to a call of `user` has gone out, or its caller has gone away.
    pub(crate) fn landed(&mut self, user: &str) {
        if let Some(in_flight) = self.in_flight.get_mut(user) {
            *in_flight = in_flight.saturating_sub(1);
        }
    }

    fn understand(&self, request: &Request) -> Call {
        let personality = self.issuer.personality();
        let login_path = personality.login.path.as_str();
        let refresh = &personality.refresh;
        let refresh_path = refresh.path.as_deref().unwrap_or(match refresh.request {
            RefreshRequest::Flat => FLAT_REFRESH_PATH,
            RefreshRequest::Nested => login_path,
        });

        let path = match served_path(&request.path, personality.trailing_slash) {
            Ok(path) => path,
            Err(location)
                if [login_path, refresh_path, AUTHORIZED_PATH].iter().any(|known| same(known, &location)) =>
            {
                return Call::Other(Response::empty(301).with("location", location));
            }
            Err(_) => return Call::Other(Response::empty(404)),
        };
        if same(path, AUTHORIZED_PATH) {
            return Call::Authorized { token: request.bearer().map(str::to_owned) };
        }
        if !same(path, login_path) && !same(path, refresh_path) {
            return Call::Other(Response::empty(404));
        }
        if request.method != "POST" {
            return Call::Other(Response::empty(405).with("allow", "POST"));
        }
        if !request.content_type.as_deref().is_some_and(is_json) {
            return Call::Other(Response::empty(415));
        }
        let read_refresh = || match refresh.request {
            RefreshRequest::Flat => {
                serde_json::from_slice(&request.body).map(|FlatBody { access_token, refresh_token }| {
                    Call::Refresh { access_token, refresh_token }
                })
            }
            RefreshRequest::Nested => {
                serde_json::from_slice(&request.body).map(|NestedBody { access_token, refresh_token }| {
                    Call::Refresh { access_token: access_token.token, refresh_token }
                })
            }
        };
        let read_login = || {
            serde_json::from_slice(&request.body)
                .map(|LoginBody { username, password }| Call::Login { username, password })
        };
        let as_refresh = same(path, refresh_path).then(read_refresh).and_then(Result::ok);
        let as_login = || same(path, login_path).then(read_login).and_then(Result::ok);
        as_refresh.or_else(as_login).unwrap_or_else(|| {
            Call::Other(Response::json(400, &serde_json::json!({"message": Reason::Misdirected.sentence()})))
        })
    }

    fn user_of(&self, call: &Call, presented: Option<Fingerprint>) -> String {
        let user = match call {
            Call::Login { username, .. } => Some(username.as_str()),
            Call::Refresh { .. } => presented.and_then(|token| self.issuer.owner(token)),
            Call::Authorized { .. } => presented.and_then(|token| self.issuer.bearer(token)),
            Call::Other(_) => None,
        };
        user.unwrap_or(UNKNOWN_USER).to_owned()
    }

    /// The first rule that applies and whose chance comes up; one less of it is left.
    fn draw_fault(&mut self, operation: Operation, user: &str) -> Option<FaultRule> {
        let mut rules = std::mem::take(&mut self.issuer.personality_mut().faults);
        let generator = &mut self.issuer.generator;
        let index = rules.iter().position(|rule| {
            rule.applies_to(operation, user) && (rule.chance >= 1.0 || generator.fraction() < rule.chance)
        });
        let drawn = index.map(|index| {
            let rule = rules[index].clone();
            match &mut rules[index].times {
                Some(0 | 1) => drop(rules.remove(index)),
                Some(times) => *times -= 1,
                None => (),
            }
            rule
        });
        self.issuer.personality_mut().faults = rules;
        drawn
    }

    fn work(&mut self, call: Call, now: Timestamp) -> Work {
        match call {
            Call::Login { username, password } => {
                let answer = self.issuer.login(&username, &password, now);
                self.granted(&answer, now)
            }
            Call::Refresh { access_token, refresh_token } => {
                let answer = self.issuer.refresh(&access_token, &refresh_token, now);
                self.granted(&answer, now)
            }
            Call::Authorized { token } => self.authorize(token.as_deref().unwrap_or_default(), now),
            Call::Other(response) => {
                self.issuer.counts.entry(UNKNOWN_USER).misdirected += 1;
                Work { response, outcome: Outcome::Refused(Reason::Misdirected), issued: None }
            }
        }
    }

    fn granted(&self, answer: &Answer, now: Timestamp) -> Work {
        let response = Response::of(answer, self.issuer.personality());
        match answer {
            Answer::Granted(grant) => {
                // Back from the issuer's clock to the true one.
                let ahead = self.issuer.clock(now).duration_since(now);
                let expires = grant.expires.checked_sub(ahead).unwrap_or(grant.expires);
                let issued = Some((Fingerprint::of(&grant.access_token), expires));
                Work { response, outcome: Outcome::Accepted, issued }
            }
            Answer::Refused(refusal) => {
                Work { response, outcome: Outcome::Refused(refusal.reason), issued: None }
            }
        }
    }

    fn authorize(&mut self, token: &str, now: Timestamp) -> Work {
        let user = self.issuer.bearer(Fingerprint::of(token)).unwrap_or(UNKNOWN_USER).to_owned();
        let result = self.issuer.check(token, now).map(str::to_owned);
        let counts = self.issuer.counts.entry(&user);
        let outcome = match &result {
            Ok(_) => {
                counts.authorized_accepted += 1;
                Outcome::Accepted
            }
            Err(reason) => {
                match reason {
                    Reason::Expired => counts.authorized_expired += 1,
                    _ => counts.authorized_invalid += 1,
                }
                Outcome::Refused(*reason)
            }
        };
        Work {
            response: Response::of_use(result.as_deref().map_err(|reason| *reason)),
            outcome,
            issued: None,
        }
    }
}

impl Call {
    fn operation(&self) -> Operation {
        match self {
            Self::Login { .. } => Operation::Login,
            Self::Refresh { .. } => Operation::Refresh,
            Self::Authorized { .. } => Operation::Authorized,
            Self::Other(_) => Operation::Other,
        }
    }

    fn presented(&self) -> Option<Fingerprint> {
        match self {
            Self::Refresh { refresh_token, .. } => Some(Fingerprint::of(refresh_token)),
            Self::Authorized { token } => token.as_deref().map(Fingerprint::of),
            Self::Login { .. } | Self::Other(_) => None,
        }
    }
}

/// The path to serve, or the one to redirect to.
fn served_path(path: &str, rule: TrailingSlash) -> Result<&str, String> {
    let bare = path.strip_suffix('/');
    match (rule, bare) {
        (TrailingSlash::Removed, Some(bare)) => Err(bare.to_owned()),
        (TrailingSlash::Added, None) => Err(format!("{path}/")),
        (TrailingSlash::Ignored | TrailingSlash::Removed | TrailingSlash::Added, _) => Ok(path),
    }
}

/// Whether two paths are the same but for a trailing slash.
fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Fault, Personality, RefreshTokens, User};

    const USER: &str = "u@example.com";
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn service(change: impl FnOnce(&mut Personality)) -> Service {
        let mut personality = Personality::default();
        change(&mut personality);
        let mut issuer = Issuer::new(personality, 1);
        issuer.set_user(&User::new(USER, "right"));
        Service::new(issuer)
    }

    fn login() -> Request {
        login_at("/v2/auth/token")
    }

    fn login_at(path: &str) -> Request {
        Request::post(path, &json!({"username": USER, "password": "right"}))
    }

    impl Service {
        fn answer(&mut self, request: &Request) -> SimulatedAnswer {
            self.handle(request, NOW).answer
        }

        fn status(&mut self, request: &Request) -> Option<u16> {
            self.answer(request).status()
        }

        fn logged_in(&mut self) -> Value {
            self.answer(&login()).json().unwrap()
        }
    }

    fn flat(pair: &Value) -> Value {
        json!({"access_token": pair["access_token"]["token"], "refresh_token": pair["refresh_token"]})
    }

    #[test]
    fn a_login_is_answered_as_on_the_page() {
        let mut service = service(|_| ());
        let pair = service.logged_in();
        assert_eq!(pair["access_token"]["token_type"], "bearer");
        assert_eq!(pair["access_token"]["expires_in"], 3600);
        let token = pair["access_token"]["token"].as_str().unwrap();
        assert_eq!(service.answer(&Request::authorized(token)).json(), Some(json!({"user": USER})));
    }

    #[test]
    fn a_flat_refresh_is_taken_at_its_own_path_only() {
        let mut service = service(|_| ());
        let pair = service.logged_in();
        assert_eq!(service.status(&Request::post("/v2/auth/refreshtoken", &pair)), Some(400), "nested");
        assert_eq!(
            service.status(&Request::post("/v2/auth/token", &flat(&pair))),
            Some(400),
            "flat at the login"
        );
        assert_eq!(service.status(&Request::post("/v2/auth/refreshtoken", &flat(&pair))), Some(200));
        assert_eq!(service.counts().of(UNKNOWN_USER).misdirected, 2);
    }

    #[test]
    fn a_nested_refresh_is_taken_where_logins_are() {
        let mut service = service(|personality| personality.refresh.request = RefreshRequest::Nested);
        let pair = service.logged_in();
        assert_eq!(service.status(&Request::post("/v2/auth/refreshtoken", &pair)), Some(404));
        assert_eq!(service.status(&Request::post("/v2/auth/token", &flat(&pair))), Some(400));
        assert_eq!(service.status(&Request::post("/v2/auth/token", &pair)), Some(200));
    }

    #[test]
    fn paths_are_what_they_are_set_to() {
        let mut service = service(|personality| {
            personality.login.path = "/in".to_owned();
            personality.refresh.path = Some("/again".to_owned());
        });
        assert_eq!(service.status(&login()), Some(404));
        let pair = service.answer(&login_at("/in")).json().unwrap();
        assert_eq!(service.status(&Request::post("/again", &flat(&pair))), Some(200));
    }

    #[test]
    fn trailing_slashes_are_ignored_removed_or_added() {
        for (rule, with, without) in [
            (TrailingSlash::Ignored, Ok(()), Ok(())),
            (TrailingSlash::Removed, Err("/v2/auth/token"), Ok(())),
            (TrailingSlash::Added, Ok(()), Err("/v2/auth/token/")),
        ] {
            for (path, expected) in [("/v2/auth/token/", with), ("/v2/auth/token", without)] {
                let mut service = service(|personality| personality.trailing_slash = rule);
                let SimulatedAnswer::Complete(response) = service.answer(&login_at(path)) else {
                    panic!("complete")
                };
                let expected = expected.map_or_else(|location| (301, Some(location)), |()| (200, None));
                assert_eq!((response.status, response.header("location")), expected, "{rule:?} {path}");
            }
        }
    }

    #[test]
    fn wrong_methods_types_and_bodies_get_different_answers() {
        let mut service = service(|_| ());
        let text = Request::new("POST", "/v2/auth/token").body("text/plain", b"{}".to_vec());
        assert_eq!(service.status(&text), Some(415));
        assert_eq!(service.status(&Request::new("GET", "/v2/auth/token")), Some(405));
        assert_eq!(service.status(&Request::post("/v2/auth/token", &json!({}))), Some(400));
        assert_eq!(service.status(&Request::new("GET", "/")), Some(404));
    }

    #[test]
    fn an_expired_token_gets_the_documented_401_and_a_wrong_one_another() {
        let mut service = service(|_| ());
        let pair = service.logged_in();
        service.issuer.personality_mut().clock_offset = jiff::SignedDuration::from_hours(1);
        let token = pair["access_token"]["token"].as_str().unwrap();
        let mut ask = |token| match service.answer(&Request::authorized(token)) {
            SimulatedAnswer::Complete(response) => response,
            _ => panic!("complete"),
        };
        let expired = ask(token);
        assert_eq!(
            (expired.status, expired.header("token-expired"), expired.body.len()),
            (401, Some("true"), 0)
        );
        assert_eq!(
            expired.header("www-authenticate"),
            Some(r#"Bearer error="invalid_token", error_description="The token is expired""#)
        );
        let invalid = ask("made up");
        assert_eq!((invalid.status, invalid.header("token-expired")), (401, None));
        let counts = service.counts().total();
        assert_eq!((counts.authorized_expired, counts.authorized_invalid), (1, 1));
    }

    #[test]
    fn a_refused_refresh_with_200_has_an_unusable_body() {
        let mut service = service(|personality| {
            personality.refresh.refused_status = 200;
            personality.refresh.tokens = RefreshTokens::Reusable;
        });
        let made_up = json!({"access_token": "a", "refresh_token": "r"});
        let answer = service.answer(&Request::post("/v2/auth/refreshtoken", &made_up));
        assert_eq!(answer.status(), Some(200));
        assert_eq!(answer.json().unwrap().get("access_token"), None);
    }

    #[test]
    fn faults_come_in_order_each_as_often_as_it_is_to() {
        let mut service = service(|personality| {
            personality.faults =
                vec![FaultRule::on_login(Fault::status(503)).times(2), FaultRule::new(Fault::Lost).once()];
        });
        let statuses: Vec<_> = (0..4).map(|_| service.status(&login())).collect();
        assert_eq!(statuses, [Some(503), Some(503), None, Some(200)]);
        assert!(service.issuer.personality().faults.is_empty());
        let counts = service.counts().of(USER);
        assert_eq!((counts.faults, counts.logins_accepted), (3, 2), "a lost answer was a login");
    }

    #[test]
    fn a_rule_says_whether_the_work_is_done() {
        let mut service = service(|personality| {
            personality.faults = vec![
                FaultRule::on_login(Fault::Lost).before_work().once(),
                FaultRule::on_login(Fault::status(500)).after_work().once(),
            ];
        });
        service.answer(&login());
        assert_eq!(service.counts().of(USER).logins_accepted, 0);
        assert_eq!(service.status(&login()), Some(500));
        assert_eq!(service.counts().of(USER).logins_accepted, 1);
        let log = service.log.since(0);
        assert_eq!((log[0].outcome, log[0].issued), (Outcome::NotReached, None));
        assert_eq!(
            (log[1].outcome, log[1].fault, log[1].status),
            (Outcome::Accepted, Some("status"), Some(500))
        );
        assert_eq!(log[1].expires, Some(Timestamp::from_second(3600).unwrap()));
    }

    #[test]
    fn a_steady_rate_of_errors_is_about_as_wanted() {
        let mut service = service(|personality| {
            personality.faults = vec![FaultRule::new(Fault::status(500)).chance(0.3)];
        });
        let errors = (0..1000).filter(|_| service.status(&login()) == Some(500)).count();
        assert!((250..350).contains(&errors), "{errors}");
    }

    #[test]
    fn latency_delays_the_calls_it_is_for() {
        let mut service = service(|personality| personality.latency.login = "2s".parse().unwrap());
        assert_eq!(service.handle(&login(), NOW).delay, Duration::from_secs(2));
        assert_eq!(service.handle(&Request::authorized("t"), NOW).delay, Duration::ZERO);
    }

    #[test]
    fn calls_in_flight_are_counted_by_user() {
        let mut service = service(|_| ());
        let (first, second) = (service.handle(&login(), NOW), service.handle(&login(), NOW));
        service.landed(&first.user.unwrap());
        service.landed(&second.user.unwrap());
        service.answer(&login());
        assert_eq!(service.counts().of(USER).in_flight_maximum, 2);
    }

    #[test]
    fn the_date_is_that_of_the_issuers_clock() {
        let mut service =
            service(|personality| personality.clock_offset = jiff::SignedDuration::from_secs(-60));
        let SimulatedAnswer::Complete(response) =
            service.handle(&login(), Timestamp::from_second(60).unwrap()).answer
        else {
            panic!("complete")
        };
        assert_eq!(response.header("date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        assert_eq!(
            service.log.since(0)[0].expires,
            Some(Timestamp::from_second(3660).unwrap()),
            "the true time"
        );
    }

    #[test]
    fn the_log_holds_fingerprints_and_no_secrets() {
        let mut service = service(|_| ());
        let pair = service.logged_in();
        service.answer(&Request::post("/v2/auth/refreshtoken", &flat(&pair)));
        let log = serde_json::to_string(&service.log.since(0)).unwrap();
        let [access_token, refresh_token] = [&pair["access_token"]["token"], &pair["refresh_token"]];
        assert!(log.contains(&Fingerprint::of(refresh_token.as_str().unwrap()).to_string()));
        for secret in [access_token.as_str().unwrap(), refresh_token.as_str().unwrap(), "right"] {
            assert!(!log.contains(secret), "{secret}");
        }
    }
}
