//! The result of a simulation.

use std::fmt::Write as _;
use std::time::Duration;

use idissuer::core::schedule::{Jitter, RenewBefore, Schedule};
use idissuer::core::time::Moment;
use idissuer::core::token::{LifetimeSource, Validity};
use jiff::{SignedDuration, Timestamp};

use crate::schedule::FaultSchedule;
use crate::world::World;

/// The seconds from one token of this lifetime to the next, for the credential with this UID.
fn interval(uid: &str, lifetime: Duration) -> f64 {
    let issued = Moment { wall: Timestamp::UNIX_EPOCH, monotonic: SignedDuration::ZERO };
    let lifetime = SignedDuration::try_from(lifetime).unwrap();
    let validity = Validity { issued, lifetime, source: LifetimeSource::ExpiresIn };
    Schedule::of(&validity, RenewBefore::default(), Jitter::seeded_by(uid)).renewal.monotonic.as_secs_f64()
}

/// The calls that lifetimes make necessary in this time: each token is renewed when the first of its members wants it.
pub(crate) fn necessary_calls(world: &World, time: SignedDuration) -> u64 {
    let of_account = |account: usize| {
        let members = world.population.credentials.iter().filter(|credential| credential.account == account);
        let intervals = members.map(|credential| {
            let lifetime = world.environment.issuers.get(credential.issuer).personality().token.lifetime;
            interval(world.credential(credential)["metadata"]["uid"].as_str().unwrap(), lifetime)
        });
        intervals.min_by(f64::total_cmp).map_or(0, |interval| whole(time.as_secs_f64() / interval) + 1)
    };
    (0..world.population.accounts.len()).map(of_account).sum()
}

/// The calls that were made for each one that was necessary.
pub(crate) fn call_ratio(world: &World) -> f64 {
    let necessary = necessary_calls(world, world.environment.time.awake());
    world.environment.ledger.calls().sent() as f64 / necessary as f64
}

fn whole(number: f64) -> u64 {
    Duration::from_secs_f64(number).as_secs()
}

/// A quantile, such as the median.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let index = whole((sorted.len().saturating_sub(1)) as f64 * share);
    sorted.get(usize::try_from(index).unwrap()).copied().unwrap_or_default()
}

/// The table that is printed at the end.
pub(crate) fn table(world: &World, schedule: &FaultSchedule, seed: u64, real: Duration) -> String {
    let calls = world.environment.ledger.calls();
    let elapsed = world.environment.time.elapsed();
    let necessary = necessary_calls(world, world.environment.time.awake());
    let lateness = world.checker.lateness();
    let seconds = |share| format!("{:.1} s", quantile(&lateness, share));
    let followers = world.population.credentials.iter().filter(|credential| credential.owner.is_some());
    let mut rows = vec![
        ("seed".to_owned(), seed.to_string()),
        ("simulated days".into(), format!("{:.1}", elapsed.as_secs_f64() / 86400.0)),
        ("credentials".into(), world.population.credentials.len().to_string()),
        ("  followers".into(), followers.count().to_string()),
        ("accounts".into(), world.population.accounts.len().to_string()),
        ("issuers".into(), world.environment.issuers.len().to_string()),
        ("logins".into(), calls.logins.to_string()),
        ("  rejected".into(), calls.logins_rejected.to_string()),
        ("refreshes".into(), calls.refreshes.to_string()),
        ("calls, least possible".into(), necessary.to_string()),
        ("  ratio".into(), format!("{:.3}", call_ratio(world))),
        ("calls that never left".into(), calls.unsent.to_string()),
        ("calls of those who led before".into(), calls.strays.to_string()),
        ("most in flight at an issuer".into(), world.environment.ledger.most_at_issuer().to_string()),
    ];
    rows.extend(
        world.checker.writes().into_iter().map(|(name, count)| (format!("writes {name}"), count.to_string())),
    );
    rows.push(("tokens published".into(), lateness.len().to_string()));
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
        rows.push((format!("  late, {name}"), seconds(share)));
    }
    rows.extend(schedule.counts.iter().map(|(name, count)| (format!("trouble: {name}"), count.to_string())));
    rows.push(("real seconds".into(), format!("{:.1}", real.as_secs_f64())));
    let mut table = String::new();
    for (name, value) in rows {
        writeln!(table, "  {name:<40} {value:>10}").unwrap();
    }
    table
}
