//! Renewals at a steady rate: what one costs, and how late it is.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::field::{Field, LIMIT};
use super::figures::{Case, Figures, float, percentile};

/// Renewals a second, each rate by adding credentials to the one before.
const RATES: [usize; 3] = [5, 20, 50];
/// With this lifetime, a token is renewed every 40 s: when half of it is left, or up to 5 % earlier.
pub(super) const LIFETIME: Duration = Duration::from_secs(82);
const PERIOD: usize = 40;
/// The most credentials that are needed.
pub(super) const SIZE: usize = RATES[2] * PERIOD;

/// Creates credentials evenly over one period, so that their renewals are spread as evenly.
async fn create_evenly(field: &Field<'_>, from: usize, to: usize) {
    let period = Duration::from_secs(u64::try_from(PERIOD).unwrap());
    let mut pace = interval(period / u32::try_from(to - from).unwrap());
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in from..to {
        pace.tick().await;
        field.create(number).await;
    }
    field.tracker.until_ready(to, LIMIT).await;
}

/// Measures each rate for so long.
pub(super) async fn steady(field: &Field<'_>, time: Duration, figures: &mut Figures) {
    let mut created = 0;
    for rate in RATES {
        create_evenly(field, created, rate * PERIOD).await;
        created = rate * PERIOD;
        // What the creation left behind is over.
        tokio::time::sleep(Duration::from_secs(5)).await;
        measure(field, time, figures.case("steady renewal", format!("{rate:02}"))).await;
    }
}

async fn measure(field: &Field<'_>, time: Duration, case: &mut Case) {
    let (start, before) = (Instant::now(), field.sample().await);
    tokio::time::sleep(time).await;
    let spent = field.spent_since(&before).await;
    let lateness = field.tracker.lateness_since(start);
    // The wanted time is in whole seconds, so up to one second of the lateness is rounding.
    case.set("renewals a second", float(lateness.len()) / spent.seconds);
    case.set("lateness p50 seconds", percentile(&lateness, 50));
    case.set("lateness p99 seconds", percentile(&lateness, 99));
    case.set("lateness maximum seconds", percentile(&lateness, 100));
    case.set_spent(&spent, lateness.len(), "renewal");
    case.set("heap MiB", field.memory().heap);
}
