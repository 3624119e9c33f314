//! Load from a known generator: while tokens rotate, and to measure.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse as _;
use futures::FutureExt as _;
use idissuer_testbed::process::{Grace, Signal, Supervised};
use idissuer_testbed::{skip, variable, wait};

use super::super::{HOUR, LIMIT, Sidecar};
use super::{Recorder, forwarding};

const WRK: &str = "/usr/bin/wrk";
/// How many tokens follow each other; `ROTATIONS=100` for more.
const ROTATIONS: u64 = 20;
/// Renewed when about half of it is over; the rest outlasts a disk that is slow to keep a record.
const LIFETIME: Duration = Duration::from_secs(6);
/// How often each way is measured.
const ROUNDS: u32 = 3;
/// How many connections make requests, one after the other.
const CONNECTIONS: &str = "--connections=8";

/// Whether there is a load generator. In CI there has to be.
fn can_load() -> bool {
    let is_there = Path::new(WRK).exists();
    if !is_there {
        skip(&format!("{WRK} is missing; install wrk"));
    }
    is_there
}

/// Starts requests to this address that go on for so long.
fn load(sidecar: &Sidecar, name: &str, url: &str, duration: Duration) -> Supervised {
    let mut wrk = Command::new(WRK);
    wrk.args(["--threads=1", CONNECTIONS, "--latency"])
        .arg(format!("--duration={}", duration.as_secs()))
        .arg(url);
    Supervised::spawn(name, &wrk, Grace::SHORT, &Arc::clone(&sidecar.folder)).unwrap()
}

/// What the generator says in the end; every request has to have been answered with success.
async fn report(load: &Supervised, limit: Duration) -> String {
    load.wait_timeout(limit).await.unwrap();
    let report = load.output();
    let is_good =
        report.contains("Requests/sec") && !report.contains("Non-2xx") && !report.contains("Socket errors");
    assert!(is_good, "{report}");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_no_request_carries_an_expired_token_through_many_rotations() {
    if !can_load() {
        return;
    }
    let rotations = variable("ROTATIONS").and_then(|number| number.parse().ok()).unwrap_or(ROTATIONS);
    let (sidecar, proxy) = forwarding(LIFETIME, "").await;
    let limit = LIFETIME * u32::try_from(rotations).unwrap() + Duration::from_secs(30);
    let load = load(&sidecar, "wrk", &format!("http://{proxy}/v2/authorized"), limit);
    let rotated = async || {
        let made = sidecar.counts().logins_accepted;
        if made > rotations { Ok(()) } else { Err(made) }
    };
    wait::until("the rotations", limit, rotated).await;
    // It says then what it saw.
    load.signal(Signal::Interrupt).unwrap();
    let report = report(&load, LIMIT).await;
    let counts = sidecar.counts();
    assert_eq!((counts.authorized_expired, counts.authorized_invalid), (0, 0));
    assert!(
        counts.authorized_accepted > 100 * rotations,
        "{} requests are no load",
        counts.authorized_accepted
    );
    eprintln!("{rotations} rotations, {} requests:\n{report}", counts.authorized_accepted);
}

/// The word behind this one in a report.
fn figure<'a>(report: &'a str, name: &str) -> &'a str {
    let mut words = report.split_whitespace().skip_while(|word| *word != name);
    words.nth(1).unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures: make figures"]
async fn what_the_proxy_costs() {
    assert!(can_load(), "nothing can be measured without wrk");
    let upstream = Recorder::start(|_| async { "a short answer".into_response() }.boxed()).await;
    let (sidecar, proxy) = forwarding(HOUR, &upstream.url()).await;
    let mut figures = BTreeMap::new();
    let mebibytes =
        |kind: &str| f64::from(u32::try_from(sidecar.process().memory(kind).unwrap()).unwrap()) / 1024.0;
    figures.insert("resident MiB at rest".to_owned(), mebibytes("VmRSS"));
    eprintln!("{:<10} {:>12} {:>10} {:>10}", "", "requests/s", "p50", "p99");
    for round in 1..=ROUNDS {
        for (way, url) in [("direct", upstream.url()), ("proxy", format!("http://{proxy}"))] {
            let load = load(&sidecar, &format!("{way}-{round}"), &format!("{url}/"), Duration::from_secs(5));
            let report = report(&load, LIMIT).await;
            let [rate, p50, p99] = ["Requests/sec:", "50%", "99%"].map(|name| figure(&report, name));
            eprintln!("{way:<10} {rate:>12} {p50:>10} {p99:>10}");
            let found = [
                ("requests a second", rate.parse().unwrap()),
                ("p50 ms", milliseconds(p50)),
                ("p99 ms", milliseconds(p99)),
            ];
            for (name, value) in found {
                *figures.entry(format!("{way}: {name}")).or_default() += value / f64::from(ROUNDS);
            }
        }
    }
    figures.insert("resident MiB at most".to_owned(), mebibytes("VmHWM"));
    eprintln!("memory, MiB: {:.1} at rest, {:.1} at most", mebibytes("VmRSS"), mebibytes("VmHWM"));
    if let Some(path) = variable("FIGURES") {
        std::fs::write(path, serde_json::to_vec(&figures).unwrap()).unwrap();
    }
}

/// A time of the generator's report.
fn milliseconds(text: &str) -> f64 {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0)];
    let found = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    found.map_or(f64::NAN, |(number, factor)| number.parse::<f64>().unwrap() * factor)
}
