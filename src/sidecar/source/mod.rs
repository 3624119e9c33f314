//! The sources of a sidecar's tokens, and the contract with their users: the publisher of files, the endpoints, and the
//! proxy.
//!
//! A user takes the token from [`TokenReceiver::now`] for each request, and stops sending it at its
//! [`HeldToken::last_use`]. If it is called expired nevertheless, [`TokenReceiver::renew`] waits for a newer one; if
//! there is none, [`TokenState::error`] says why and [`TokenState::next_attempt`] when to retry.
//!
//! ```text
//! source ──TokenSender──► TokenReceiver ──► publisher, endpoints, proxy
//!    ▲                          │
//!    └───────── renew ──────────┘   only a login of its own asks the issuer; the others wait for what is written elsewhere
//! ```

mod dir_watch;
mod directory;
mod login;
mod login_files;
mod secret;
mod version;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub(super) use dir_watch::Changes;
pub(super) use directory::Directory;
pub(super) use login::{LoginParts, LoginSource, bundle};
pub use login_files::LoginFiles;
pub(super) use secret::SecretSource;
pub use secret::{SecretKeys, SecretName};

use crate::core::sidecar::error::SourceError;
use crate::core::sidecar::token::HeldToken;
use crate::core::time::Moment;
use crate::core::token::Fingerprint;

/// What a source has to give now.
#[derive(Clone, Debug, Default)]
pub struct TokenState {
    /// The newest token. It may have expired: check [`HeldToken::is_expired`] or [`HeldToken::last_use`].
    pub token: Option<Arc<HeldToken>>,
    /// Why there is no newer token, if one is wanted.
    pub error: Option<SourceError>,
    /// When the source retries, if known.
    pub next_attempt: Option<Moment>,
}

/// The receiving end. Every clone sees the same state.
#[derive(Clone)]
pub struct TokenReceiver {
    state: watch::Receiver<TokenState>,
    reported_expired: Arc<watch::Sender<Option<Fingerprint>>>,
    asks_issuer: bool,
}

/// The end of the source.
pub(super) struct TokenSender {
    state: watch::Sender<TokenState>,
    reported_expired: watch::Receiver<Option<Fingerprint>>,
}

/// Both ends, with this first token. `asks_issuer` says whether the source can obtain tokens by itself.
pub(super) fn channel(token: Option<HeldToken>, asks_issuer: bool) -> (TokenSender, TokenReceiver) {
    let state = TokenState { token: token.map(Arc::new), ..TokenState::default() };
    let (state, supplied) = watch::channel(state);
    let (report_expired, reported_expired) = watch::channel(None);
    let receiver = TokenReceiver { state: supplied, reported_expired: Arc::new(report_expired), asks_issuer };
    (TokenSender { state, reported_expired }, receiver)
}

impl TokenReceiver {
    /// The current state.
    #[must_use]
    pub fn now(&self) -> TokenState {
        self.state.borrow().clone()
    }

    /// A receiver of every change. It ends with the source, when the process stops.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<TokenState> {
        self.state.clone()
    }

    /// Whether the source obtains tokens from the issuer by itself, and so immediately on request.
    #[must_use]
    pub fn asks_issuer(&self) -> bool {
        self.asks_issuer
    }

    /// Reports that the issuer called this token expired, without waiting for a new one.
    pub fn report_expired(&self, token: &Fingerprint) {
        self.reported_expired.send_if_modified(|known| {
            let is_news = known.as_ref() != Some(token);
            *known = Some(token.clone());
            is_news
        });
    }

    /// Waits for a newer token than one that the issuer called expired; `None` when there is none within `limit`.
    ///
    /// All requests share one call. A source that calls the issuer itself fails as soon as the call does; for any
    /// other, callers can only wait.
    pub async fn renew(&self, reported_expired: &Fingerprint, limit: Duration) -> Option<Arc<HeldToken>> {
        let is_other = |token: &Arc<HeldToken>| token.fingerprint != *reported_expired;
        let newer = |state: &TokenState| state.token.clone().filter(is_other);
        if let Some(token) = newer(&self.state.borrow()) {
            return Some(token);
        }
        self.report_expired(reported_expired);
        let mut state = self.state.clone();
        let has_ended =
            |state: &TokenState| newer(state).is_some() || self.asks_issuer && state.error.is_some();
        let ended = tokio::time::timeout(limit, state.wait_for(has_ended)).await;
        ended.ok()?.ok().and_then(|state| newer(&state))
    }
}

impl TokenSender {
    /// The token that was given last.
    fn token(&self) -> Option<Arc<HeldToken>> {
        self.state.borrow().token.clone()
    }

    /// Gives a token that is better than the one before.
    pub(super) fn send(&self, token: HeldToken) {
        tracing::info!(fingerprint = %token.fingerprint, "token received");
        self.state.send_replace(TokenState { token: Some(Arc::new(token)), ..TokenState::default() });
    }

    /// Reports why there is no newer token, or that nothing is wrong.
    pub(super) fn report(&self, error: Option<SourceError>, next_attempt: Option<Moment>) {
        self.state.send_if_modified(|state| {
            if state.error != error {
                if let Some(error) = &error {
                    tracing::warn!(reason = error.name(), "{}", error.message());
                } else {
                    tracing::info!("the source works again");
                }
            }
            let is_news = state.error != error || state.next_attempt != next_attempt;
            (state.error, state.next_attempt) = (error, next_attempt);
            is_news
        });
    }

    /// Whether nothing keeps a newer token from coming.
    fn is_healthy(&self) -> bool {
        self.state.borrow().error.is_none()
    }

    /// Whether a user reported this token as expired.
    fn is_reported_expired(&self, token: &HeldToken) -> bool {
        self.reported_expired.borrow().as_ref() == Some(&token.fingerprint)
    }

    /// Waits until a newer token is requested. Without any users left, it waits forever.
    async fn requested(&mut self) {
        if self.reported_expired.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{at, token};
    use futures::FutureExt as _;

    fn held(text: &str) -> HeldToken {
        HeldToken::issued(&token(text, at(0), 60))
    }

    #[tokio::test]
    async fn a_request_for_a_newer_token_waits_for_it_and_the_source_is_asked_once() {
        let first = held("first");
        let (mut sender, receiver) = channel(Some(first.clone()), true);
        let renew = || receiver.renew(&first.fingerprint, Duration::from_secs(60));
        let (mut one, mut other) = (Box::pin(renew()), Box::pin(renew()));
        assert!((&mut one).now_or_never().is_none() && (&mut other).now_or_never().is_none());
        assert!(sender.requested().now_or_never().is_some() && sender.is_reported_expired(&first));
        assert!(sender.requested().now_or_never().is_none(), "once");
        sender.send(held("second"));
        for waiting in [one, other] {
            assert_eq!(waiting.await.unwrap().access.expose(), "second");
        }
        assert_eq!(renew().await.unwrap().access.expose(), "second", "without asking again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_failed_ends_the_wait_and_a_source_that_cannot_ask_is_waited_for() {
        for (asks_issuer, waited) in [(true, 0), (false, 5)] {
            let first = held("first");
            let (sender, receiver) = channel(Some(first.clone()), asks_issuer);
            let start = tokio::time::Instant::now();
            let mut renewal = Box::pin(receiver.renew(&first.fingerprint, Duration::from_secs(5)));
            assert!((&mut renewal).now_or_never().is_none());
            sender.report(Some(SourceError::ApiServerUnreachable), None);
            assert!(renewal.await.is_none());
            assert_eq!(start.elapsed().as_secs(), waited);
        }
    }
}
