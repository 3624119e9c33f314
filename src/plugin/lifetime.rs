//! The lifetime of a token as people read it: a duration of two units, and a bar.

use jiff::{SignedDuration, Timestamp};

/// How wide a bar is.
const WIDTH: i64 = 12;
/// Units, in seconds.
const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];

/// A duration in its two largest units: `2d4h`, `43m12s`, `0s`. A negative one is written without its sign.
pub(super) fn short(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().saturating_abs();
    let first = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let mut rest = seconds;
    let parts = UNITS.iter().enumerate().skip(first).take(2).filter_map(|(index, (unit, name))| {
        let count = rest / unit;
        rest %= unit;
        (count > 0 || index == first).then(|| format!("{count}{name}"))
    });
    parts.collect()
}

/// A time, seen from now: `in 43m12s`, `5m ago`, `now`.
pub(super) fn relative(time: Timestamp, now: Timestamp) -> String {
    let left = time.duration_since(now);
    if left.as_secs() == 0 {
        return "now".to_owned();
    }
    if left.as_secs() < 0 { format!("{} ago", short(left)) } else { format!("in {}", short(left)) }
}

/// How much of a token's life is left, as a bar with a mark where the renewal is due: `█████|███░░░░`.
pub(super) fn bar(issued: Timestamp, renewal: Timestamp, expiration: Timestamp, now: Timestamp) -> String {
    let whole = expiration.duration_since(issued).as_secs().max(1);
    let cells = |until: Timestamp| {
        let left = expiration.duration_since(until).as_secs().clamp(0, whole);
        // Rounded up, so that a bar is empty only when nothing is left.
        (left * WIDTH + whole - 1) / whole
    };
    let (left, mark) = (cells(now), cells(renewal).min(WIDTH - 1));
    let cell = |index| if index < left { '█' } else { '░' };
    (0..WIDTH).flat_map(|index| (index == mark).then_some('|').into_iter().chain([cell(index)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn durations_have_their_two_largest_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (2_592, "43m12s"),
            (3_600, "1h"),
            (3_605, "1h"),
            (90_000, "1d1h"),
            (-61, "1m1s"),
        ] {
            assert_eq!(short(SignedDuration::from_secs(seconds)), text, "{seconds}");
        }
        assert!(!short(SignedDuration::MIN).is_empty());
    }

    #[test]
    fn times_are_told_from_now() {
        assert_eq!(relative(at(100), at(40)), "in 1m");
        assert_eq!(relative(at(40), at(100)), "1m ago");
        assert_eq!(relative(at(40), at(40)), "now");
    }

    #[test]
    fn a_bar_empties_from_the_right_and_marks_the_renewal() {
        let drawn = |now| bar(at(0), at(900), at(1_200), at(now));
        for (now, expected) in [
            (0, "███|█████████"),
            (600, "███|███░░░░░░"),
            (900, "███|░░░░░░░░░"),
            (1_199, "█░░|░░░░░░░░░"),
            (1_200, "░░░|░░░░░░░░░"),
            (9_999, "░░░|░░░░░░░░░"),
            (-50, "███|█████████"),
        ] {
            assert_eq!(drawn(now), expected, "{now}");
        }
        assert_eq!(bar(at(5), at(5), at(5), at(5)).chars().count(), 13, "a lifetime of nothing");
    }
}
