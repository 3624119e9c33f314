//! A call to the API server: it ends within a time limit, and its failure is one of three.

use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::{Instant, timeout};

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The API server's own verdict. No other message is shown: other errors of the client may quote what they could not
    /// parse.
    #[error("{message}")]
    Refused {
        /// What it says.
        message: String,
        /// The HTTP status.
        code: u16,
    },
    /// No answer within this time.
    #[error("the API server did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// No answer, or none that can be understood.
    #[error(
        "the API server gave no usable response; check that it runs, that network policies allow the controller to reach it, and that the controller has file descriptors left"
    )]
    Unusable,
}

/// Waits for the answer to a request, and no longer than `limit`. A kube client retries within a call and
/// obeys any `Retry-After`; this limits both.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub(super) async fn call<T>(
    limit: Duration,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    match timeout(limit, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) => {
            Err(CallError::Refused { message: status.message, code: status.code })
        }
        Ok(Err(_)) => Err(CallError::Unusable),
        Err(_) => Err(CallError::TimedOut(limit)),
    }
}

/// The same, and reports how long the response took, or `None` after a timeout. A broken connection is not reported: it
/// says nothing about the server's speed.
///
/// # Errors
/// When the API server does not answer, or refuses.
pub(super) async fn measured_call<T>(
    limit: Duration,
    request: impl Future<Output = kube::Result<T>>,
    note: impl FnOnce(Option<SignedDuration>),
) -> Result<T, CallError> {
    let sent = Instant::now();
    let result = call(limit, request).await;
    match &result {
        Ok(_) | Err(CallError::Refused { .. }) => {
            note(Some(SignedDuration::try_from(sent.elapsed()).unwrap_or(SignedDuration::MAX)));
        }
        Err(CallError::TimedOut(_)) => note(None),
        Err(CallError::Unusable) => {}
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use std::future::{pending, ready};

    const LIMIT: Duration = Duration::from_secs(5);

    async fn outcome(request: impl Future<Output = kube::Result<()>>) -> (String, Vec<Option<i64>>) {
        let mut noted = Vec::new();
        let note = |took: Option<SignedDuration>| noted.push(took.map(|took| took.as_secs()));
        let outcome = measured_call(LIMIT, request, note).await;
        (outcome.map_or_else(|error| error.to_string(), |()| "done".to_owned()), noted)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_ends_in_time_and_every_answer_is_measured() {
        let answered = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            Ok(())
        };
        assert_eq!(outcome(answered).await, ("done".to_owned(), vec![Some(2)]));
        let refused =
            kube::Error::Api(Box::new(Status::failure("exceeded quota", "Forbidden").with_code(403)));
        assert_eq!(outcome(ready(Err(refused))).await, ("exceeded quota".to_owned(), vec![Some(0)]));
        let late = "the API server did not answer within 5 s".to_owned();
        assert_eq!(outcome(pending()).await, (late, vec![None]));
        let (message, noted) = outcome(ready(Err(kube::Error::LinesCodecMaxLineLengthExceeded))).await;
        assert!(message.starts_with("the API server gave no usable response; check") && noted.is_empty());
    }
}
