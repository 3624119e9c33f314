//! An answer of the simulator, as a client gets it without a socket. `tests/issuer` uses it too.

use std::time::Duration;

use idissuer::core::connection_failure::ConnectionFailure;
use idissuer::issuer::{Answer, TransportError, is_page};
use idissuer_simulator::{Response, SimulatedAnswer};
use tokio::time::sleep;

pub(crate) const ANSWER_LIMIT: usize = 64 * 1024;

/// Whether the body is a page for people.
pub(crate) fn shows_page(response: &Response) -> bool {
    is_page(response.header("content-type"), response.header("content-encoding"), &response.body)
}

/// An answer with its head, and with none of its body.
fn head(response: &Response) -> Answer {
    Answer {
        status: response.status,
        retry_after: response.header("retry-after").map(str::to_owned),
        date: response.header("date").map(str::to_owned),
        content_encoding: response.header("content-encoding").map(str::to_owned),
        ..Answer::default()
    }
}

/// What comes back within `limit`; of one whose body lasts longer, the head does.
pub(crate) async fn answer(answer: &SimulatedAnswer, limit: Duration) -> Result<Answer, TransportError> {
    match answer {
        SimulatedAnswer::Complete(response) => Ok(Answer {
            body: Some(response.body.clone()).filter(|body| body.len() <= ANSWER_LIMIT).map(Into::into),
            is_page: shows_page(response),
            ..head(response)
        }),
        SimulatedAnswer::Cut(response) => {
            Ok(Answer { broken: Some(ConnectionFailure::Lost), ..head(response) })
        }
        SimulatedAnswer::Trickle(response, _) => {
            sleep(limit).await;
            Ok(Answer { broken: Some(ConnectionFailure::TimedOut), ..head(response) })
        }
        SimulatedAnswer::Never => std::future::pending().await,
        SimulatedAnswer::NotHttp(_) | SimulatedAnswer::Lost => {
            Err(TransportError::perhaps_sent(ConnectionFailure::Lost))
        }
    }
}
