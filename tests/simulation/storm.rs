//! Trouble of every kind, at random times, and its end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::trouble::KINDS;
use crate::world::World;

/// What happens at some time.
type Deed = Box<dyn FnOnce(&mut World, &mut Storm)>;

/// One sort of trouble.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// How often it comes in a day.
    pub(crate) daily: f64,
    /// Whether it comes more often where there are more accounts.
    pub(crate) grows: bool,
    pub(crate) begin: fn(&mut World, &mut Storm),
}

/// See the module.
pub(crate) struct Storm {
    pub(crate) chances: fastrand::Rng,
    coming: BTreeMap<(Timestamp, u64), Deed>,
    /// What was begun and has to end.
    ends: BTreeMap<(Timestamp, u64), Deed>,
    /// What cannot happen twice at a time.
    pub(crate) at_work: BTreeSet<(&'static str, usize)>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    sequence: u64,
    /// How many times as much trouble there is as usual.
    force: f64,
}

impl Storm {
    /// A storm of which every kind is yet to come, but for those whose names are listed.
    pub(crate) fn new(seed: u64, world: &World, force: u64, without: &str) -> Self {
        let mut storm = Self {
            chances: fastrand::Rng::with_seed(seed),
            coming: BTreeMap::new(),
            ends: BTreeMap::new(),
            at_work: BTreeSet::new(),
            counts: BTreeMap::new(),
            sequence: 0,
            force: force as f64,
        };
        for kind in KINDS.iter().filter(|kind| !without.split(',').any(|name| name == kind.name)) {
            storm.comes(kind, world);
        }
        storm
    }

    /// The next of a kind.
    fn comes(&mut self, kind: &'static Kind, world: &World) {
        let growth = if kind.grows { world.population.accounts.len() as f64 / 30.0 } else { 1.0 };
        let pause = -86400.0 / (kind.daily * growth * self.force) * (1.0 - self.chances.f64()).ln();
        let at = world.now() + SignedDuration::from_secs_f64(pause);
        let deed: Deed = Box::new(move |world, storm| {
            *storm.counts.entry(kind.name).or_default() += 1;
            tracing::info!("trouble: {}", kind.name);
            (kind.begin)(world, storm);
            storm.comes(kind, world);
        });
        let number = self.next();
        self.coming.insert((at, number), deed);
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Something ends after this time, or when the storm is over.
    pub(crate) fn ends_after(
        &mut self,
        duration: Duration,
        world: &World,
        deed: impl FnOnce(&mut World, &mut Storm) + 'static,
    ) {
        let at = world.now() + SignedDuration::try_from(duration).unwrap();
        let number = self.next();
        self.ends.insert((at, number), Box::new(deed));
    }

    /// One of so many.
    pub(crate) fn one_of(&mut self, number: usize) -> usize {
        self.chances.usize(..number)
    }

    /// A time between two numbers of seconds, short ones as often as long ones.
    pub(crate) fn seconds(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(from * (to / from).powf(self.chances.f64()))
    }

    /// Rages for this long.
    pub(crate) async fn rages(&mut self, world: &mut World, duration: SignedDuration) {
        let end = world.now() + duration;
        while world.now() < end && !world.is_given_up() {
            let next = [&self.coming, &self.ends].into_iter().filter_map(|deeds| deeds.keys().next()).min();
            let next = next.map_or(end, |(at, _)| *at).min(end);
            let pause = next.duration_since(world.now());
            if pause > SignedDuration::ZERO {
                world.pass(Duration::try_from(pause).unwrap()).await;
            }
            self.does_what_is_due(world);
        }
    }

    fn does_what_is_due(&mut self, world: &mut World) {
        let now = (world.now(), u64::MAX);
        while let Some(deed) = first_until(&mut self.ends, now).or_else(|| first_until(&mut self.coming, now))
        {
            deed(world, self);
        }
    }

    /// Is over: whatever goes on ends now.
    pub(crate) fn ceases(&mut self, world: &mut World) {
        self.coming.clear();
        while let Some((_, deed)) = self.ends.pop_first() {
            deed(world, self);
        }
    }
}

fn first_until(deeds: &mut BTreeMap<(Timestamp, u64), Deed>, until: (Timestamp, u64)) -> Option<Deed> {
    let entry = deeds.first_entry()?;
    (*entry.key() <= until).then(|| entry.remove())
}
