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
    let published_before = Published::read(field).await;
    tokio::time::sleep(time).await;
    let spent = field.spent_since(&before).await;
    let lateness = field.tracker.lateness_since(start);
    let punctual = Published::read(field).await.punctual_since(&published_before);
    case.set("% published within half a second of the time", punctual * 100.0);
    // Status has whole seconds: of the issue and of the renewal, so up to two seconds of these are rounding.
    case.set("renewals a second", float(lateness.len()) / spent.seconds);
    case.set("lateness p50 seconds", percentile(&lateness, 50));
    case.set("lateness p99 seconds", percentile(&lateness, 99));
    case.set("lateness maximum seconds", percentile(&lateness, 100));
    case.set_spent(&spent, lateness.len(), "renewal");
    case.set("heap MiB", field.memory().heap);
}

/// What the operator's own histogram of lateness says.
struct Published {
    all: f64,
    /// Those that were published at most half a second after their time, which is not rounded there.
    punctual: f64,
}

impl Published {
    async fn read(field: &Field<'_>) -> Self {
        let (_, page) = field.operator.page("/metrics").await;
        let value = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse().unwrap()
        };
        let histogram = "idissuer_renewal_lateness_seconds";
        Self {
            all: value(&format!("{histogram}_count")),
            punctual: value(&format!(r#"{histogram}_bucket{{le="0.5"}}"#)),
        }
    }

    fn punctual_since(&self, before: &Self) -> f64 {
        (self.punctual - before.punctual) / (self.all - before.all)
    }
}
