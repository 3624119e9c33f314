//! Spans, and what names them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::core::time::Moment;
use crate::core::token::Fingerprint;

/// The name of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The name of a span in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SpanId([u8; 8]);

impl TraceId {
    /// The trace of the renewal that brought this token: the fingerprint itself, which is as long and as random as a trace's
    /// name must be. So everything that tells the fingerprint names the trace.
    pub(super) fn of(fingerprint: &Fingerprint) -> Option<Self> {
        let digits = fingerprint.as_str();
        let number = u128::from_str_radix(digits, 16).ok().filter(|number| *number != 0);
        number.filter(|_| digits.len() == 32).map(|number| Self(number.to_be_bytes()))
    }

    /// Its first span. Whoever publishes the token knows it, too.
    pub(super) fn root(self) -> SpanId {
        let mut name = [0; 8];
        name.copy_from_slice(&self.0[..8]);
        SpanId(name)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// Makes names that no other process makes.
pub(super) struct Names {
    start: Sha256,
    count: AtomicU64,
}

impl Names {
    /// The names of the process that starts now.
    pub(super) fn new(now: Moment) -> Self {
        let mut start = Sha256::new();
        start.update(now.wall.as_nanosecond().to_be_bytes());
        start.update(std::process::id().to_be_bytes());
        Self { start, count: AtomicU64::new(0) }
    }

    /// The next name of a trace that brings no token.
    pub(super) fn trace(&self) -> TraceId {
        let mut digest = self.start.clone();
        digest.update(self.count.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let digest: [u8; 32] = digest.finalize().into();
        let mut name = [0; 16];
        name.copy_from_slice(&digest[..16]);
        TraceId(name)
    }

    /// The next name of a span.
    pub(super) fn span(&self) -> SpanId {
        self.trace().root()
    }
}

/// Which share of all traces is sent, by their names: every part of a trace is treated alike, in every process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sampler(f64);

impl Sampler {
    /// Every trace.
    pub(super) const ALL: Self = Self(1.0);

    /// This share, from 0 to 1.
    pub(super) fn share(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    pub(super) fn takes(self, trace: TraceId) -> bool {
        let [.., a, b, c, d] = trace.0;
        f64::from(u32::from_be_bytes([a, b, c, d])) < self.0 * (f64::from(u32::MAX) + 1.0)
    }
}

/// Where the time of a span was spent, as OTLP numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In this process.
    Internal = 1,
    /// In another one, which this one asked.
    Client = 3,
}

/// A named value of a span.
pub(super) type Attribute = (&'static str, String);

/// A part of a trace that has ended.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) trace: TraceId,
    pub(super) id: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) start: Moment,
    pub(super) end: Moment,
    pub(super) attributes: Vec<Attribute>,
    /// Why it failed, if it did.
    pub(super) failure: Option<String>,
}

impl Span {
    /// When it ended, by the clock that nobody sets.
    pub(super) fn ended(&self) -> Timestamp {
        self.start.plus(self.end.monotonic - self.start.monotonic).wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::at;

    #[test]
    fn a_trace_is_named_by_the_fingerprint_of_its_token() {
        let fingerprint = Fingerprint::of(b"token");
        let trace = TraceId::of(&fingerprint).unwrap();
        assert_eq!(trace.to_string(), fingerprint.as_str());
        assert_eq!(trace.root().to_string(), fingerprint.as_str()[..16]);
        for text in
            ["", "12", "none", "00000000000000000000000000000000", "+0000000000000000000000000000001f"]
        {
            assert_eq!(TraceId::of(&Fingerprint::recorded(text)), None, "{text}");
        }
    }

    #[test]
    fn names_differ_from_each_other_and_from_those_of_another_process() {
        let (names, others) = (Names::new(at(0)), Names::new(at(1)));
        let made = [names.trace(), names.trace(), others.trace(), others.trace()];
        let made = made.map(|trace| trace.to_string());
        assert_eq!(std::collections::BTreeSet::from(made).len(), 4);
        assert_ne!(names.span(), names.span());
    }

    #[test]
    fn a_sampler_takes_about_its_share() {
        let names = Names::new(at(0));
        for (share, least, most) in [(1.0, 1000, 1000), (0.5, 400, 600), (0.0, 0, 0)] {
            let sampler = Sampler::share(share).unwrap();
            let taken = (0..1000).filter(|_| sampler.takes(names.trace())).count();
            assert!((least..=most).contains(&taken), "{taken} of 1000 for {share}");
        }
        assert_eq!([-0.1, 1.1, f64::NAN].map(Sampler::share), [None; 3]);
    }

    #[test]
    fn a_clock_that_is_set_does_not_change_how_long_a_span_took() {
        let (start, jumped) = (at(10), Moment { wall: at(5000).wall, ..at(12) });
        let names = Names::new(start);
        let trace = names.trace();
        let (id, parent, name, kind) = (trace.root(), None, "renewal", Kind::Internal);
        let span =
            Span { trace, id, parent, name, kind, start, end: jumped, attributes: Vec::new(), failure: None };
        assert_eq!(span.ended(), at(12).wall);
    }
}
