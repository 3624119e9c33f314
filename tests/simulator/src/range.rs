//! Durations that are drawn from a range, written as `200ms` or `50ms..2s`.

use std::{fmt, str::FromStr, time::Duration};

use jiff::fmt::friendly::{SpanParser, SpanPrinter};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Operation, generator::Generator};

/// How long the answers of each call are delayed. The work is done on arrival: a caller that gives up waiting has
/// still logged in or spent its refresh token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Latency {
    /// Of answers to a login.
    pub login: DurationRange,
    /// Of answers to a refresh.
    pub refresh: DurationRange,
    /// Of answers of the authorized endpoint.
    pub authorized: DurationRange,
}

impl Latency {
    /// The same for logins and refreshes.
    #[must_use]
    pub fn of(range: DurationRange) -> Self {
        Self { login: range, refresh: range, authorized: DurationRange::default() }
    }

    pub(crate) fn draw(&self, operation: Operation, generator: &mut Generator) -> Duration {
        match operation {
            Operation::Login => self.login.draw(generator),
            Operation::Refresh => self.refresh.draw(generator),
            Operation::Authorized => self.authorized.draw(generator),
            Operation::Other => Duration::ZERO,
        }
    }
}

/// A fixed duration, or one drawn evenly from a range. In JSON and flags: `"200ms"` or `"50ms..2s"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationRange {
    /// The shortest.
    pub from: Duration,
    /// The longest.
    pub to: Duration,
}

impl DurationRange {
    /// Always the same.
    #[must_use]
    pub const fn fixed(duration: Duration) -> Self {
        Self { from: duration, to: duration }
    }

    fn draw(self, generator: &mut Generator) -> Duration {
        match self.to.checked_sub(self.from) {
            None | Some(Duration::ZERO) => self.from,
            Some(width) => self.from + width.mul_f64(generator.fraction()),
        }
    }
}

/// A text is not a duration (`200ms`) or a range of them (`50ms..2s`).
#[derive(Debug, thiserror::Error)]
#[error("neither a duration like 200ms nor a range like 50ms..2s")]
pub struct ParseRangeError(#[source] Option<jiff::Error>);

impl FromStr for DurationRange {
    type Err = ParseRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |part| {
            SpanParser::new().parse_unsigned_duration(part).map_err(|error| ParseRangeError(Some(error)))
        };
        let range = match text.split_once("..") {
            None => Self::fixed(parse(text)?),
            Some((from, to)) => Self { from: parse(from)?, to: parse(to)? },
        };
        if range.from > range.to { Err(ParseRangeError(None)) } else { Ok(range) }
    }
}

impl fmt::Display for DurationRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let print = |duration| SpanPrinter::new().unsigned_duration_to_string(duration);
        if self.from == self.to {
            formatter.write_str(&print(&self.from))
        } else {
            write!(formatter, "{}..{}", print(&self.from), print(&self.to))
        }
    }
}

impl Serialize for DurationRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DurationRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_survive_being_written_and_read_back() {
        for text in ["0s", "200ms", "50ms..2s", "1m 30s"] {
            let range: DurationRange = text.parse().unwrap();
            assert_eq!(range.to_string().parse::<DurationRange>().unwrap(), range, "{text}");
        }
        assert_eq!("50ms..2s".parse::<DurationRange>().unwrap().to, Duration::from_secs(2));
    }

    #[test]
    fn texts_that_are_no_ranges_are_refused() {
        for text in ["", "soon", "2s..1s", "1s..", "-1s"] {
            assert!(text.parse::<DurationRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_draw_stays_within_the_range() {
        let mut generator = Generator::new(3);
        let range: DurationRange = "1s..2s".parse().unwrap();
        let draws: Vec<Duration> = (0..100).map(|_| range.draw(&mut generator)).collect();
        assert!(draws.iter().all(|draw| (range.from..=range.to).contains(draw)));
        assert!(draws.iter().any(|draw| *draw != draws[0]));
    }
}
