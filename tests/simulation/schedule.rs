//! Faults of every kind, at random times, and their end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::trouble::KINDS;
use crate::world::World;

type Action = Box<dyn FnOnce(&mut World, &mut FaultSchedule)>;

pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) daily: f64,
    /// Whether it comes more often where there are more accounts.
    pub(crate) grows: bool,
    pub(crate) begin: fn(&mut World, &mut FaultSchedule),
}

pub(crate) struct FaultSchedule {
    pub(crate) chances: fastrand::Rng,
    planned: BTreeMap<(Timestamp, u64), Action>,
    /// Faults that began and must end.
    ends: BTreeMap<(Timestamp, u64), Action>,
    /// Faults that cannot happen twice at once.
    pub(crate) active: BTreeSet<(&'static str, usize)>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    sequence: u64,
    /// How many times as much trouble there is as usual.
    force: f64,
}

impl FaultSchedule {
    /// A fault schedule of which every kind is yet to come, but for those whose names are listed.
    pub(crate) fn new(seed: u64, world: &World, force: u64, without: &str) -> Self {
        let mut schedule = Self {
            chances: fastrand::Rng::with_seed(seed),
            planned: BTreeMap::new(),
            ends: BTreeMap::new(),
            active: BTreeSet::new(),
            counts: BTreeMap::new(),
            sequence: 0,
            force: force as f64,
        };
        for kind in KINDS.iter().filter(|kind| !without.split(',').any(|name| name == kind.name)) {
            schedule.schedule_next(kind, world);
        }
        schedule
    }

    /// Schedules the next fault of a kind.
    fn schedule_next(&mut self, kind: &'static Kind, world: &World) {
        let growth = if kind.grows { world.population.accounts.len() as f64 / 30.0 } else { 1.0 };
        let pause = -86400.0 / (kind.daily * growth * self.force) * (1.0 - self.chances.f64()).ln();
        let at = world.now() + SignedDuration::from_secs_f64(pause);
        let action: Action = Box::new(move |world, schedule| {
            *schedule.counts.entry(kind.name).or_default() += 1;
            tracing::info!("trouble: {}", kind.name);
            (kind.begin)(world, schedule);
            schedule.schedule_next(kind, world);
        });
        let number = self.next();
        self.planned.insert((at, number), action);
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Something ends after this time, or when the fault schedule is over.
    pub(crate) fn ends_after(
        &mut self,
        duration: Duration,
        world: &World,
        action: impl FnOnce(&mut World, &mut FaultSchedule) + 'static,
    ) {
        let at = world.now() + SignedDuration::try_from(duration).unwrap();
        let number = self.next();
        self.ends.insert((at, number), Box::new(action));
    }

    pub(crate) fn one_of(&mut self, number: usize) -> usize {
        self.chances.usize(..number)
    }

    /// A time between two numbers of seconds, short ones as often as long ones.
    pub(crate) fn seconds(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(from * (to / from).powf(self.chances.f64()))
    }

    pub(crate) async fn run(&mut self, world: &mut World, duration: SignedDuration) {
        let end = world.now() + duration;
        while world.now() < end && !world.is_given_up() {
            let next =
                [&self.planned, &self.ends].into_iter().filter_map(|actions| actions.keys().next()).min();
            let next = next.map_or(end, |(at, _)| *at).min(end);
            let pause = next.duration_since(world.now());
            if pause > SignedDuration::ZERO {
                world.pass(Duration::try_from(pause).unwrap()).await;
            }
            self.run_due(world);
        }
    }

    fn run_due(&mut self, world: &mut World) {
        let now = (world.now(), u64::MAX);
        while let Some(action) =
            first_until(&mut self.ends, now).or_else(|| first_until(&mut self.planned, now))
        {
            action(world, self);
        }
    }

    pub(crate) fn end_all(&mut self, world: &mut World) {
        self.planned.clear();
        while let Some((_, action)) = self.ends.pop_first() {
            action(world, self);
        }
    }
}

fn first_until(actions: &mut BTreeMap<(Timestamp, u64), Action>, until: (Timestamp, u64)) -> Option<Action> {
    let entry = actions.first_entry()?;
    (*entry.key() <= until).then(|| entry.remove())
}
