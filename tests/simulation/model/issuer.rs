//! What a call to the issuer may come to, carried out on the simulator's model of an issuer.

use idissuer::core::account::{Call, TokenResponse};
use idissuer::core::connection_failure::ConnectionFailure;
use idissuer::core::retry::Failure;
use idissuer::core::time::Moment;
use idissuer::core::token::{AccessToken, Grant, IssuedToken, LifetimeSource, RefreshToken, Validity};
use idissuer::issuer::{AnswerError, IssuerError, TransportError};
use idissuer_simulator::{
    Answer, Fingerprint, Issuer, Personality, RefreshAccepted, RefreshTokens, Session, TokenFormat, User,
};
use jiff::{SignedDuration, Timestamp};

pub(super) const USER: &str = "billing@example.com";
pub(super) const PASSWORD: &str = "right";

/// A kind of issuer: the questions that the vendor's page leaves open and that matter here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) accepted: RefreshAccepted,
    pub(super) tokens: RefreshTokens,
    pub(super) session: Session,
    pub(super) lifetime: i64,
}

impl Family {
    pub(super) fn all(lifetimes: &[i64]) -> Vec<Self> {
        let mut all = Vec::new();
        for lifetime in lifetimes.iter().copied() {
            for accepted in [RefreshAccepted::Early, RefreshAccepted::AfterExpiry, RefreshAccepted::Never] {
                for tokens in [RefreshTokens::SingleUse, RefreshTokens::Reusable] {
                    for session in [Session::PerLogin, Session::PerUser] {
                        all.push(Self { accepted, tokens, session, lifetime });
                    }
                }
            }
        }
        all
    }

    pub(super) fn shape(self, personality: &mut Personality) {
        personality.token.format = TokenFormat::Opaque;
        personality.token.lifetime = SignedDuration::from_secs(self.lifetime).unsigned_abs();
        personality.refresh.accepted = self.accepted;
        personality.refresh.tokens = self.tokens;
        personality.login.session = self.session;
    }

    pub(super) fn issuer(self) -> Issuer {
        let mut personality = Personality::default();
        self.shape(&mut personality);
        let mut issuer = Issuer::new(personality, 1);
        issuer.set_user(&User::new(USER, PASSWORD));
        issuer
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The issuer's own answer arrives, good or bad.
    Answered,
    /// It was carried out, and the answer is lost.
    AnswerLost,
    NotSent,
    /// It was sent, not carried out, and no answer comes.
    Swallowed,
    /// It was carried out and answered with 500.
    FailedAfter,
    /// It was not carried out and answered with 503.
    Failed,
    /// 429: it was not carried out, and the issuer asks to wait this long.
    NotNow(i64),
    /// The issuer says no although it was in order: the password does not hold for a while, or the session is lost.
    Denied,
    /// It was carried out, and the 200 cannot be used.
    Unusable,
}

impl Outcome {
    pub(super) const ALL: [Self; 10] = [
        Self::Answered,
        Self::AnswerLost,
        Self::NotSent,
        Self::Swallowed,
        Self::FailedAfter,
        Self::Failed,
        Self::NotNow(7),
        Self::NotNow(100_000),
        Self::Denied,
        Self::Unusable,
    ];

    fn is_carried_out(self) -> bool {
        matches!(self, Self::Answered | Self::AnswerLost | Self::FailedAfter | Self::Unusable)
    }

    /// Whether the refresh token that was presented may be presented again.
    pub(super) fn leaves_token_unspent(self) -> bool {
        matches!(self, Self::NotSent | Self::NotNow(_))
    }

    /// How long it takes, in seconds; `limit` is the longest that anybody waits.
    pub(super) fn duration(self, limit: SignedDuration) -> SignedDuration {
        match self {
            Self::AnswerLost | Self::Swallowed => limit,
            _ => SignedDuration::from_millis(200),
        }
    }
}

/// What reaches the issuer of a call.
#[derive(Clone)]
pub(super) enum Message {
    Login,
    Refresh { access: String, refresh: String },
}

impl Message {
    pub(super) fn of(call: &Call) -> Self {
        match call {
            Call::Login(_) => Self::Login,
            Call::Refresh { token, refresh } => {
                Self::Refresh { access: token.access.expose().into(), refresh: refresh.expose().into() }
            }
        }
    }

    pub(super) fn presented(&self) -> Option<Fingerprint> {
        match self {
            Self::Login => None,
            Self::Refresh { refresh, .. } => Some(Fingerprint::of(refresh)),
        }
    }

    pub(super) fn arrive(&self, issuer: &mut Issuer, now: Timestamp) -> Answer {
        match self {
            Self::Login => issuer.login(USER, PASSWORD, now),
            Self::Refresh { access, refresh } => issuer.refresh(access, refresh, now),
        }
    }
}

/// How a call ended, on both sides.
pub(super) struct End {
    /// What the issuer said, if it carried the call out.
    pub(super) said: Option<Answer>,
    pub(super) told: Result<TokenResponse, Failure>,
}

/// Carries a call out, or not, as the outcome says.
pub(super) fn carry_out(
    issuer: &mut Issuer,
    message: &Message,
    outcome: Outcome,
    sent: Moment,
    lifetime: i64,
) -> End {
    let said = outcome.is_carried_out().then(|| message.arrive(issuer, sent.wall));
    let grant = if message.presented().is_some() { Grant::Refresh } else { Grant::Login };
    let of_status = |status, wait| IssuerError::of_status(status, grant, wait);
    let error = match outcome {
        Outcome::Answered => match &said {
            Some(Answer::Granted(granted)) => {
                let told = Ok(obtained(granted, grant, sent, lifetime));
                return End { said, told };
            }
            Some(Answer::Refused(refusal)) => of_status(refusal.status, None),
            None => of_status(503, None),
        },
        Outcome::AnswerLost => IssuerError::Transport(TransportError::perhaps_sent(ConnectionFailure::Lost)),
        Outcome::Swallowed => {
            IssuerError::Transport(TransportError::perhaps_sent(ConnectionFailure::TimedOut))
        }
        Outcome::NotSent => IssuerError::Transport(TransportError::not_sent(ConnectionFailure::Refused)),
        Outcome::FailedAfter => of_status(500, None),
        Outcome::Failed => of_status(503, None),
        Outcome::NotNow(wait) => of_status(429, Some(SignedDuration::from_secs(wait))),
        Outcome::Denied => of_status(401, None),
        Outcome::Unusable if grant == Grant::Login => IssuerError::Unusable(AnswerError::NotATokenAnswer),
        Outcome::Unusable => IssuerError::RefreshRejected,
    };
    End { said, told: Err(error.failure(false)) }
}

fn obtained(granted: &idissuer_simulator::Grant, grant: Grant, sent: Moment, lifetime: i64) -> TokenResponse {
    let access = AccessToken::parse(&granted.access_token).unwrap();
    let fingerprint = access.fingerprint();
    let lifetime = SignedDuration::from_secs(lifetime);
    let validity = Validity { issued: sent, lifetime, source: LifetimeSource::ExpiresIn };
    TokenResponse {
        token: IssuedToken { access, validity, grant, fingerprint },
        refresh: granted.refresh_token.as_deref().and_then(RefreshToken::parse),
    }
}
