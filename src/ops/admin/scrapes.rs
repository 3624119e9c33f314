//! The text of scrapes: rendered seldom, and shared.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use tokio::time::Instant;

use crate::ops::metrics::{Metrics, TextFormat};

/// How long a rendering is shared.
const LIFE: Duration = Duration::from_secs(1);
/// How many renderings of each format there may be that are still read: each may have megabytes. While there are so many,
/// the newest is shared for longer, which lasts no longer than a reader may take.
const RENDERINGS: usize = 2;

/// The scrapes of some metrics.
#[derive(Clone)]
pub struct Scrapes {
    metrics: Arc<Metrics>,
    open_metrics: Arc<Mutex<Renderings>>,
    prometheus: Arc<Mutex<Renderings>>,
}

#[derive(Default)]
struct Renderings {
    newest: Option<Rendering>,
    /// Those that are still read.
    older: Vec<Weak<String>>,
}

struct Rendering {
    text: Arc<String>,
    since: Instant,
}

/// A rendering as the owner of bytes.
struct Text(Arc<String>);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Scrapes {
    /// Of these metrics.
    #[must_use]
    pub fn of(metrics: Arc<Metrics>) -> Self {
        Self { metrics, open_metrics: Arc::default(), prometheus: Arc::default() }
    }

    /// What is answered to a scrape, in the format that its `Accept` header prefers.
    #[must_use]
    pub fn answer(&self, request: &HeaderMap) -> Response {
        let accept = request.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let format = TextFormat::accepted(accept.unwrap_or_default());
        let Some(text) = self.text(format) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let body = Body::from(Bytes::from_owner(Text(text)));
        let headers = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")];
        (headers, body).into_response()
    }

    /// A rendering that is new enough.
    fn text(&self, format: TextFormat) -> Option<Arc<String>> {
        let renderings = match format {
            TextFormat::OpenMetrics => &self.open_metrics,
            TextFormat::Prometheus => &self.prometheus,
        };
        let mut renderings = renderings.lock().unwrap_or_else(PoisonError::into_inner);
        renderings.older.retain(|older| older.strong_count() > 0);
        // A response that nobody reads any more is dropped for the next one.
        let room = RENDERINGS - renderings.older.len();
        if let Some(Rendering { text, since }) = &renderings.newest
            && (since.elapsed() < LIFE || (room == 1 && Arc::strong_count(text) > 1))
        {
            return Some(Arc::clone(text));
        }
        let old = renderings.newest.take().map(|rendering| Arc::downgrade(&rendering.text));
        renderings.older.extend(old);
        let text = Arc::new(self.metrics.render(format).ok()?);
        renderings.newest = Some(Rendering { text: Arc::clone(&text), since: Instant::now() });
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::token::Grant;

    #[tokio::test(start_paused = true)]
    async fn a_rendering_is_shared_for_a_second_and_of_those_that_are_still_read_there_are_few() {
        let metrics = Arc::new(Metrics::new());
        let scrapes = Scrapes::of(Arc::clone(&metrics));
        let mut read: Vec<Arc<String>> = Vec::new();
        let mut distinct = 0;
        for _ in 0..10 * RENDERINGS {
            metrics.renewal(Grant::Login, "published");
            let text = scrapes.text(TextFormat::Prometheus).unwrap();
            assert!(Arc::ptr_eq(&text, &scrapes.text(TextFormat::Prometheus).unwrap()), "in the same second");
            distinct += usize::from(!read.iter().any(|other| Arc::ptr_eq(other, &text)));
            read.push(text);
            tokio::time::sleep(LIFE).await;
        }
        assert_eq!(distinct, RENDERINGS);
        drop(read);
        let told = format!("}} {}\n", 10 * RENDERINGS);
        assert!(
            scrapes.text(TextFormat::Prometheus).unwrap().contains(&told),
            "the newest, once they are read"
        );
    }
}
