//! Leaves out warnings that were said within the last minute: what is retried every few seconds fails every few seconds.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::ops::clock::Clock;

/// How long the same warning is not said again.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// How many warnings are remembered. More than these within a minute are said again.
const CAPACITY: usize = 4096;
/// A field that counts failures does not make a line new.
const COUNT: &str = "errors";

/// Leaves out repeated warnings. Other lines pass: they tell transitions, and the last one tells the state.
pub(super) struct Repetitions {
    clock: Arc<dyn Clock>,
    said: Mutex<Said>,
}

/// When which line was said, by a hash of its text.
#[derive(Default)]
struct Said(HashMap<u64, SignedDuration>);

impl Repetitions {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, said: Mutex::default() }
    }
}

impl<S: Subscriber> Layer<S> for Repetitions {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::WARN {
            return true;
        }
        let now = self.clock.now().monotonic;
        self.said.lock().unwrap_or_else(PoisonError::into_inner).is_new(line(event), now)
    }
}

impl Said {
    fn is_new(&mut self, line: u64, now: SignedDuration) -> bool {
        let is_recent = |at: &SignedDuration| now.saturating_sub(*at) < PAUSE;
        if self.0.get(&line).is_some_and(is_recent) {
            return false;
        }
        if self.0.len() >= CAPACITY {
            self.0.retain(|_, at| is_recent(at));
        }
        if self.0.len() < CAPACITY {
            self.0.insert(line, now);
        }
        true
    }
}

/// The hash of where a line comes from and what it says.
fn line(event: &Event<'_>) -> u64 {
    let mut text = Text(DefaultHasher::new());
    event.metadata().callsite().hash(&mut text.0);
    event.record(&mut text);
    text.0.finish()
}

struct Text(DefaultHasher);

impl fmt::Write for Text {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.0.write(part.as_bytes());
        Ok(())
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != COUNT {
            // Writing into a hash cannot fail.
            let _ = write!(self, "{}={value:?};", field.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_said_again_after_a_minute() {
        let mut said = Said::default();
        let mut is_new = |line, seconds| said.is_new(line, SignedDuration::from_secs(seconds));
        assert_eq!([is_new(1, 0), is_new(1, 5), is_new(2, 5), is_new(1, 59)], [true, false, true, false]);
        assert_eq!([is_new(1, 60), is_new(1, 61), is_new(2, 61)], [true, false, false]);
    }

    #[test]
    fn very_many_lines_are_all_said_and_cost_no_more_memory() {
        let mut said = Said::default();
        let lines = 0..2 * CAPACITY as u64;
        assert!(lines.clone().all(|line| said.is_new(line, SignedDuration::ZERO)));
        assert_eq!(said.0.len(), CAPACITY);
        assert!(!said.is_new(0, SignedDuration::ZERO));
        assert!(said.is_new(lines.end, SignedDuration::from_mins(2)));
        assert_eq!(said.0.len(), 1, "old ones make room");
    }
}
