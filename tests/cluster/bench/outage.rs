//! An issuer that fails while all tokens are due, and comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use idissuer_testbed::wait;
use serde_json::Value;
use tokio::time::Instant;

use super::field::{Field, LIMIT};
use super::figures::{Case, float};
use crate::operator::HOUR;

/// Every token is due, and has expired, within this time.
pub(super) const LIFETIME: Duration = Duration::from_secs(60);

/// All credentials of the field have just got their first tokens.
pub(super) async fn outage(field: &Field<'_>, size: usize, time: Duration, case: &mut Case) {
    let known = last_sequence(field).await;
    field.issuer.fail().await;
    let before = field.sample().await;
    tokio::time::sleep(LIFETIME + time).await;
    let spent = field.spent_since(&before).await;
    let statuses = spent.requests.iter().filter(|(request, _)| request.ends_with("/status"));
    let writes: usize = statuses.map(|(_, number)| number).sum();
    case.set("outage: seconds", spent.seconds);
    case.set("outage: status writes a credential", float(writes) / float(size));
    case.set("outage: requests a credential", float(spent.requests.values().sum()) / float(size));
    case.set("outage: operator CPU seconds", spent.operator);

    case.set("outage: most issuer calls in a second", busiest_second(&field.issuer.calls_since(known).await));

    let known = last_sequence(field).await;
    field.issuer.set_lifetime(HOUR).await;
    field.issuer.recover().await;
    let start = Instant::now();
    wait::until("all to be renewed", LIMIT, async || {
        let renewed = field.tracker.lateness_since(start).len();
        if renewed >= size { Ok(()) } else { Err(format!("{renewed} of {size}")) }
    })
    .await;
    case.set("recovery: seconds to all renewed", start.elapsed().as_secs_f64());
    case.set(
        "recovery: most issuer calls in a second",
        busiest_second(&field.issuer.calls_since(known).await),
    );
}

/// The number of the issuer's last call.
async fn last_sequence(field: &Field<'_>) -> u64 {
    let calls = field.issuer.calls_since(0).await;
    calls.last().and_then(|call| call["sequence"].as_u64()).unwrap_or_default()
}

/// The most calls that arrived within the same second.
fn busiest_second(calls: &[Value]) -> f64 {
    let mut seconds: BTreeMap<&str, u32> = BTreeMap::new();
    for second in calls.iter().filter_map(|call| call["at"].as_str()?.split('.').next()) {
        *seconds.entry(second).or_default() += 1;
    }
    f64::from(seconds.into_values().max().unwrap_or_default())
}
