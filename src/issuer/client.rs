//! One login or one refresh: request, limit, answer, verdict.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use jiff::SignedDuration;
use url::Url;
use zeroize::Zeroizing;

use super::defect::AnswerError;
use super::error::IssuerError;
use super::transport::{Answer, Request, Transport, TransportError};
use super::trust::Trust;
use super::wire::{self, ResponseContext};
use crate::core::account::TokenResponse;
use crate::core::connection_failure::ConnectionFailure;
use crate::core::endpoint::{AllowList, Endpoint};
use crate::core::token::{Grant, IssuedToken, RefreshToken};
use crate::core::username_password::LoginPair;
use crate::ops::clock::Clock;

/// Where an issuer is called, and whom its certificate is trusted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IssuerAddress {
    /// The addresses and the shape of a refresh.
    pub endpoint: Endpoint,
    /// Whose certificate is accepted there.
    pub trust: Trust,
}

/// How a call went, beside its result.
pub struct Exchange {
    /// The token, or the error.
    pub result: Result<TokenResponse, IssuerError>,
    /// How long it took.
    pub duration: SignedDuration,
    /// How far the issuer's clock is ahead of ours, by its `Date` header.
    pub clock_skew: Option<SignedDuration>,
}

/// The client of the ID Issuer API.
#[derive(Clone)]
pub struct IssuerClient {
    transport: Arc<dyn Transport>,
    allow_list: Arc<AllowList>,
    clock: Arc<dyn Clock>,
}

impl IssuerClient {
    /// A client that sends over this transport, and to these origins only.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>, allow_list: Arc<AllowList>, clock: Arc<dyn Clock>) -> Self {
        Self { transport, allow_list, clock }
    }

    /// Logs in with user name and password.
    pub async fn login(&self, address: &IssuerAddress, pair: &LoginPair, limit: Duration) -> Exchange {
        let body = wire::login_body(pair);
        self.exchange(&address.endpoint.token, body, Grant::Login, &address.trust, limit).await
    }

    /// Refreshes: presents the refresh token together with the access token that it belongs to.
    pub async fn refresh(
        &self,
        address: &IssuerAddress,
        token: &IssuedToken,
        refresh: &RefreshToken,
        limit: Duration,
    ) -> Exchange {
        let body = wire::refresh_body(token, refresh, address.endpoint.refresh_shape);
        self.exchange(&address.endpoint.refresh, body, Grant::Refresh, &address.trust, limit).await
    }

    async fn exchange(
        &self,
        url: &Url,
        body: Zeroizing<Vec<u8>>,
        grant: Grant,
        trust: &Trust,
        limit: Duration,
    ) -> Exchange {
        let sent = self.clock.now();
        // The specification was checked when it was parsed; this is the last door before the password leaves.
        let answer = if self.allow_list.permits(url) {
            let (url, trust, headers) = (url.clone(), trust.clone(), HeaderMap::new());
            self.transport.send(Request { url, body, trust, limit, headers }).await
        } else {
            Err(TransportError::not_sent(ConnectionFailure::Refused))
        };
        let now = self.clock.now();
        let date = answer.as_ref().ok().and_then(|answer| wire::http_date(answer.date.as_deref()?));
        let met = answer.as_ref().ok().map(|answer| (answer.status, answer.is_page, answer.connection));
        let result = match answer {
            Err(error) => Err(IssuerError::Transport(error)),
            Ok(Answer { status: 200, broken: Some(connection_failure), .. }) => {
                Err(IssuerError::Broken(connection_failure))
            }
            Ok(Answer { status: 200, body, content_encoding, .. }) => {
                let encoding = content_encoding.as_deref();
                body.ok_or(AnswerError::TooLarge)
                    .and_then(|body| {
                        wire::parse_answer(body, ResponseContext { encoding, grant, sent, date })
                    })
                    .map_err(|defect| match grant {
                        Grant::Login => IssuerError::Unusable(defect),
                        Grant::Refresh => IssuerError::RefreshRejected,
                    })
            }
            Ok(Answer { status, retry_after, date, is_page, .. }) => {
                let retry_after = wire::retry_after(retry_after.as_deref(), date.as_deref(), now.wall);
                let of = if is_page { IssuerError::of_page } else { IssuerError::of_status };
                Err(of(status, grant, retry_after))
            }
        };
        if let Some((status, is_page, connection)) = met
            && !(result.is_ok() || is_refusal(status, is_page))
        {
            self.transport.retire(url, trust, connection);
        }
        Exchange {
            result,
            duration: now.monotonic - sent.monotonic,
            clock_skew: date.map(|date| date.duration_since(now.wall)),
        }
    }
}

/// Whether the issuer itself refuses a token. Any other response may come from a server that the name no longer points
/// to, that serves other names, or that is a proxy on this path only.
fn is_refusal(status: u16, is_page: bool) -> bool {
    match status {
        429 => true,
        404 | 405 | 407 | 408 | 410 | 415 | 421 | 425 | 451 => false,
        400..=499 => !is_page,
        _ => false,
    }
}
