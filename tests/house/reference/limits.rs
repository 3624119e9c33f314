//! The limits that no flag changes, with the comments of their constants.

use std::fmt::Write as _;
use std::fs;

use regex_lite::Regex;

use super::markdown::{cell, table};
use crate::source::root;

/// A file below `src`, and constants in it.
type Place = (&'static str, &'static [&'static str]);

/// What the limits are about, and where they stand.
const SECTIONS: [(&str, &[Place]); 5] = [
    (
        "Logins and tokens",
        &[
            ("core/username_password.rs", &["USERNAME_MAX_LENGTH", "PASSWORD_MAX_LENGTH"]),
            ("core/login_budget.rs", &["MIN_ATTEMPT_SPACING", "HOURLY_ATTEMPT", "MAX_REJECTIONS"]),
            ("core/token.rs", &["LONGEST_TOKEN", "ASSUMED_LIFETIME"]),
            ("core/schedule.rs", &["LONGEST_SCHEDULED", "SHORTEST_SERVED", "UNSERVED_PAUSE"]),
            ("core/refresh_support.rs", &["ASK_AGAIN"]),
        ],
    ),
    (
        "Issuers",
        &[
            ("core/circuit_breaker.rs", &["FAILURES_TO_OPEN", "FAILURE_WINDOW"]),
            ("issuer/transport.rs", &["ANSWER_LIMIT"]),
            ("issuer/clients.rs", &["LONGEST_CONNECT", "LONGEST_USE"]),
            ("issuer/bundles.rs", &["BUNDLE_MAX_SIZE", "TENANT_MAX_SIZE"]),
            ("controller/state.rs", &["CA_BUNDLE_RECHECK"]),
        ],
    ),
    (
        "Templates",
        &[
            ("core/template.rs", &["TEXT_LIMIT", "VALUE_LIMIT", "TOTAL_LIMIT"]),
            ("core/template/fault.rs", &["MOST_STEPS", "DEEPEST", "MOST_FILTERS"]),
        ],
    ),
    (
        "The cluster",
        &[
            ("core/schedule.rs", &["WRITES", "NAMESPACE_WRITES"]),
            ("controller/events.rs", &["RATE", "QUEUE_CAPACITY"]),
            ("core/sharing/followers.rs", &["FOLLOWERS_NAMED"]),
            ("controller/run.rs", &["STOP_LIMIT"]),
        ],
    ),
    (
        "Sidecar and proxy",
        &[
            ("core/sidecar/files.rs", &["MOST"]),
            ("sidecar/proxy/listener.rs", &["CONNECTIONS", "HEAD_LIMIT"]),
            ("sidecar/proxy/mod.rs", &["REQUESTS", "IDLE_LIMIT"]),
            (
                "sidecar/proxy/buffered_body.rs",
                &["MAX_BUFFERED_BODY", "MAX_BUFFERED_TOTAL", "BUFFERING_TIMEOUT"],
            ),
            ("sidecar/proxy/forward.rs", &["WAIT_FOR_OTHERS", "WAIT_FOR_ISSUER"]),
            ("sidecar/proxy/upstream.rs", &["CONNECT_LIMIT", "LONGEST_USE", "FIELDS"]),
            ("sidecar/run.rs", &["PROXY_STOP_LIMIT"]),
        ],
    ),
];

pub(super) fn tables() -> String {
    let mut made = String::new();
    for (title, files) in SECTIONS {
        let rows = files.iter().flat_map(|(file, names)| {
            let text = fs::read_to_string(root().join("src").join(file)).unwrap();
            names.iter().flat_map(move |name| rows(&text, name))
        });
        // Writing to a String cannot fail.
        let _ = write!(made, "\n## {title}\n\n{}", table(["Limit", "Of what"], rows));
    }
    made
}

/// A row for each constant of this name: its value and its comment.
fn rows(text: &str, name: &str) -> Vec<[String; 2]> {
    let constant =
        Regex::new(&format!(r"((?:[ ]*/// [^\n]+\n)+)[^\n]*const {name}: [^=\n]+ = ([^;]+);")).unwrap();
    let rows = constant.captures_iter(text).map(|found| {
        let comment = found[1].replace("///", " ");
        [value(&found[2]), cell(&comment)]
    });
    let rows: Vec<_> = rows.collect();
    assert!(!rows.is_empty(), "there is no {name} with a comment");
    rows
}

/// The value of a constant, as people write it.
fn value(expression: &str) -> String {
    let number = Regex::new("[0-9][0-9_]*").unwrap();
    let numbers: Vec<u64> = number
        .find_iter(expression)
        .filter_map(|found| found.as_str().replace('_', "").parse().ok())
        .collect();
    let (first, all) = (numbers[0], numbers.iter().product::<u64>());
    match expression {
        rate if rate.starts_with("Rate") => {
            format!("{} a minute, and {} at once", thousands(numbers[1]), thousands(first))
        }
        time if time.contains("from_millis(") => duration(first),
        time if time.contains("from_secs(") => duration(first * 1000),
        time if time.contains("from_mins(") => duration(first * 60_000),
        time if time.contains("from_hours(") => duration(first * 3_600_000),
        _ if numbers.len() > 2 => format!("{} MiB", all / (1024 * 1024)),
        _ if numbers.len() > 1 => format!("{} KiB", all / 1024),
        _ => thousands(first),
    }
}

/// So many milliseconds in the largest unit that fits.
fn duration(milliseconds: u64) -> String {
    match milliseconds {
        it if it % 3_600_000 == 0 => format!("{} h", it / 3_600_000),
        it if it % 60_000 == 0 => format!("{} min", it / 60_000),
        it if it % 1000 == 0 => format!("{} s", it / 1000),
        it => format!("{}.{} s", it / 1000, it % 1000 / 100),
    }
}

fn thousands(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

#[test]
fn a_value_is_written_as_people_do() {
    for (expression, expected) in [
        ("4096", "4,096"),
        ("10_000", "10,000"),
        ("64 * 1024", "64 KiB"),
        ("4 * 1024 * 1024", "4 MiB"),
        ("SignedDuration::from_mins(5)", "5 min"),
        ("Duration::from_millis(4500)", "4.5 s"),
        ("SignedDuration::from_secs(3600)", "1 h"),
        ("Rate { burst: 4_000, per_minute: 3_000 }", "3,000 a minute, and 4,000 at once"),
    ] {
        assert_eq!(value(expression), expected);
    }
}
