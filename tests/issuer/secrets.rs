//! No output shows a password, a token or a text of the issuer.

use std::error::Error;
use std::fmt::{self, Debug};
use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use idissuer::account::{Accounts, KeyMaker, Session};
use idissuer::core::account::{Call, LastFailure, Strategy, TokenResponse};
use idissuer::core::connection_failure::ConnectionFailure;
use idissuer::core::endpoint::{AllowList, Origin, RefreshShape};
use idissuer::core::observed::AccountView;
use idissuer::core::reason::Reason;
use idissuer::issuer::{
    Answer, Exchange, HttpTransport, IssuerAddress, IssuerClient, IssuerError, Request, Transport,
    TransportError, Trust,
};
use idissuer::ops::clock::{Clock, SystemClock};
use idissuer::ops::metrics::Metrics;
use idissuer_simulator::{Config, Fault, FaultRule, Simulator, Tls, User};
use tokio_util::sync::CancellationToken;

use crate::support::{Caller, RawServer, http, make_address, make_pair, reason_of, tenant};

const SECRET_USER: &str = "vip.user@example.org";
const SECRET_PASSWORD: &str = "Tr0ub4dor-and-3";

/// Whether a type has Debug, at compile time.
macro_rules! has_debug {
    ($type:ty) => {{
        struct Probe<T: ?Sized>(PhantomData<T>);
        #[allow(dead_code, reason = "dead exactly where the answer is yes")]
        trait Otherwise {
            const ANSWER: bool = false;
        }
        impl<T: ?Sized> Otherwise for Probe<T> {}
        #[allow(dead_code, reason = "dead exactly where the answer is no")]
        impl<T: ?Sized + Debug> Probe<T> {
            const ANSWER: bool = true;
        }
        <Probe<$type>>::ANSWER
    }};
}

#[test]
fn what_is_made_of_secrets_has_no_debug_at_all() {
    assert!(has_debug!(IssuerAddress) && has_debug!(Session), "the question is answered");
    assert!(!has_debug!(Request), "its body holds the password");
    assert!(!has_debug!(Answer), "its body holds the token");
    assert!(!has_debug!(Exchange) && !has_debug!(IssuerClient) && !has_debug!(HttpTransport));
    assert!(!has_debug!(KeyMaker) && !has_debug!(Accounts));
}

/// Keeps all that is logged on this thread.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Captured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(&self.0.lock().unwrap()))
    }
}

fn assert_free_of(text: &str, secrets: &[String]) {
    for secret in secrets {
        assert!(!text.contains(secret.as_str()), "{secret} was found in:\n{text}");
    }
}

fn secrets_of(obtained: &TokenResponse) -> [String; 2] {
    [obtained.token.access.expose().to_owned(), obtained.refresh.as_ref().unwrap().expose().to_owned()]
}

#[tokio::test]
async fn debug_output_of_what_holds_secrets_shows_none() {
    let server =
        Simulator::start(Config::default().user(User::new(SECRET_USER, SECRET_PASSWORD))).await.unwrap();
    let obtained = Caller::of(&server.url()).pair(SECRET_USER, SECRET_PASSWORD).login().await.unwrap();
    let mut secrets = vec![SECRET_USER.to_owned(), SECRET_PASSWORD.to_owned()];
    secrets.extend(secrets_of(&obtained));
    let token = Arc::new(obtained.token.clone());
    let call = Call::Refresh { token: Arc::clone(&token), refresh: obtained.refresh.clone().unwrap() };
    let address = make_address(Origin::parse(&server.url()).unwrap(), None, None, RefreshShape::Flat);
    let pair = make_pair(SECRET_USER, SECRET_PASSWORD);
    let texts = [
        format!("{obtained:?} {obtained:#?}"),
        format!("{call:?} {:?} {:?}", call.grant(), Call::Login(pair.clone())),
        format!("{pair:?} {address:?} {:?}", Trust::PublicRoots),
    ];
    for text in texts {
        assert_free_of(&text, &secrets);
    }
}

#[tokio::test]
async fn a_session_logs_and_shows_no_secret_in_any_event() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // Tests beside this one log as well. Without anyone who listens there, tracing would take it from the first of them
    // that nobody ever listens at that place.
    tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap();
    // Of this thread only; the runtime of this test has no other.
    let _guard = tracing::subscriber::set_default(subscriber);

    let config = Config::default().user(User::new(SECRET_USER, SECRET_PASSWORD)).tls(Tls::localhost());
    let server = Simulator::start(config).await.unwrap();
    let (accounts, mut told) = accounts_of(&server.url());
    let mut address = make_address(Origin::parse(&server.url()).unwrap(), None, None, RefreshShape::Flat);
    let ca = idissuer::issuer::CaBundle::parse(server.ca_pem().unwrap().as_bytes()).unwrap();
    address.trust = Trust::Bundle(ca);
    // Lives of a second, so that each is due again at once.
    server.configure(|personality| personality.token.lifetime = std::time::Duration::from_secs(1));
    let pair = make_pair(SECRET_USER, SECRET_PASSWORD);
    let session = accounts.open(address, &pair, "billing-login");
    let _membership = session.join("member".into(), Strategy::Auto);
    let mut secrets = vec![SECRET_USER.to_owned(), SECRET_PASSWORD.to_owned()];
    let mut seen = String::new();
    for fault in [
        None,
        None,
        Some(Fault::Garbage),
        Some(Fault::Lost),
        Some(Fault::Truncated),
        Some(Fault::status(401)),
    ] {
        if let Some(fault) = fault {
            server.inject(FaultRule::new(fault).after_work().once());
        }
        while !session.obtain(&tenant(), Some(pair.clone()), true) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        told.recv().await.unwrap();
        if let Some(token) = session.view(&tenant()).token {
            secrets.push(token.access.expose().to_owned());
        }
        let view: AccountView = session.view(&tenant());
        let shown = format!("{session:?} {view:?}");
        assert!(shown.contains("Account {"), "the state of the account is part of it: {shown}");
        seen += &shown;
        let origin = &session.address().endpoint.origin;
        let message = |it: LastFailure| Reason::of_call(&it.failure, "billing-login", origin).message();
        seen += &view.last_failure.map_or(String::new(), message);
    }
    let logged = captured.to_string();
    assert!(logged.contains("token obtained") && logged.contains("log in"), "it was listened to:\n{logged}");
    assert!(server.counts().of(SECRET_USER).refreshes_accepted > 0, "{:?}", server.counts());
    assert_free_of(&logged, &secrets);
    assert_free_of(&seen, &secrets);
}

fn accounts_of(url: &str) -> (Accounts, tokio::sync::mpsc::UnboundedReceiver<idissuer::account::Member>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let transport: Arc<dyn Transport> = Arc::new(HttpTransport::new(false));
    let allowed = Arc::new(AllowList::new(Origin::parse(url).unwrap(), Vec::new()));
    let issuer = IssuerClient::new(transport, allowed, Arc::clone(&clock));
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let metrics = Arc::new(Metrics::new());
    (
        Accounts::new(
            issuer,
            clock,
            metrics,
            KeyMaker::new([1; 64]),
            tell,
            || true,
            CancellationToken::new(),
        ),
        told,
    )
}

/// The error and all its causes, as people and as programmers see them.
fn everything_of(error: &(dyn Error + 'static)) -> String {
    let causes: Vec<_> = std::iter::successors(Some(error), |&cause| cause.source()).collect();
    let shown: Vec<String> = causes.iter().map(ToString::to_string).collect();
    format!("{shown:?} {causes:?} {causes:#?}")
}

#[tokio::test]
async fn no_error_repeats_what_was_sent_or_what_the_issuer_said() {
    const SAID: &str = "the-issuer-said-this";
    let body = format!("{SAID} {SECRET_USER} {SECRET_PASSWORD}");
    let headers =
        format!("location: https://{SAID}/\r\nretry-after: {SAID}\r\ndate: {SAID}\r\nx: {SAID}\r\n");
    let secrets = [SAID, SECRET_USER, SECRET_PASSWORD].map(str::to_owned);
    let answers = ["200", "301", "400", "401", "403", "404", "423", "429", "500", "503"]
        .map(|status| http(&format!("{status} {SAID}"), &headers, &body))
        .into_iter()
        .chain([format!("{SAID}\r\n\r\n"), format!("HTTP/1.1 200 OK\r\n{SAID}\r\n\r\n")])
        .chain([
            http("200 OK", "", &format!(r#"{{"access_token":{{"token_type":"{SAID}","token":"{SAID}"}}}}"#)),
            http(
                "200 OK",
                "",
                &format!(r#"{{"access_token":{{"token_type":"bearer","token":"{SAID} ą"}}}}"#),
            ),
            http("200 OK", "", &format!(r#"{{"access_token":"{SAID}"}}"#)),
        ]);
    for answer in answers {
        let server = RawServer::answering(answer.clone()).await;
        let caller = Caller::of(&server.url()).pair(SECRET_USER, SECRET_PASSWORD);
        let exchange = caller.login_exchange().await;
        assert_eq!(exchange.clock_skew, None, "{answer}");
        let error: IssuerError = exchange.result.err().unwrap();
        let reason = reason_of(&error, &Origin::parse("https://issuer.example").unwrap());
        let text = format!(
            "{} {reason:?} {} {} {:?}",
            everything_of(&error),
            reason.message(),
            error.outcome(),
            error.class()
        );
        assert_free_of(&text, &secrets);
    }
    let transport = ConnectionFailure::ALL.map(TransportError::not_sent).into_iter();
    for error in transport.chain(ConnectionFailure::ALL.map(TransportError::perhaps_sent)) {
        assert_free_of(&everything_of(&IssuerError::Transport(error)), &secrets);
    }
}
