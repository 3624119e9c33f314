//! The kinds of faults of the cluster: its API server, the replicas of the operator, and their machines.

use std::time::Duration;

use jiff::SignedDuration;

use crate::api_faults::ApiFault;
use crate::conditions::Source;
use crate::link::Wire;
use crate::schedule::FaultSchedule;
use crate::trouble::{HOUR, MINUTE};
use crate::world::World;

pub(crate) fn watches_broken(world: &mut World, schedule: &mut FaultSchedule) {
    if schedule.chances.bool() {
        world.environment.api.compact();
    }
    let replica = schedule.one_of(world.replicas.len());
    if let Some(process) = &world.replicas[replica].process {
        world.environment.api.break_watches(&process.name);
    }
    world.checker.touch(Source::Watches);
}

pub(crate) fn watches_silent(world: &mut World, schedule: &mut FaultSchedule) {
    let replica = schedule.one_of(world.replicas.len());
    let Some(name) = world.replicas[replica].process.as_ref().map(|process| process.name.clone()) else {
        return;
    };
    world.environment.api.silence_watches(&name, true);
    world.checker.breaks(Source::Watches);
    let duration = schedule.seconds(10.0, 20.0 * MINUTE);
    schedule.ends_after(duration, world, move |world, _| {
        let is_alive = world.environment.links.get(&name).is_some_and(|link| link.wire() != Wire::Dead);
        world.environment.api.silence_watches(&name, !is_alive);
        world.checker.mends(Source::Watches);
    });
}

pub(crate) fn api_in_trouble(world: &mut World, schedule: &mut FaultSchedule) {
    let slow = Duration::from_millis(schedule.chances.u64(500..8000));
    let current = [
        ApiFault::Unreachable,
        ApiFault::Fails(500),
        ApiFault::Fails(429),
        ApiFault::LosesAnswers,
        ApiFault::Slow(slow),
        ApiFault::RefusesSecrets,
    ];
    let trouble = current[schedule.one_of(current.len())];
    let share = if schedule.chances.bool() { 1.0 } else { 0.3 };
    world.api_faults.begins(trouble, share);
    world.checker.breaks(Source::Api);
    let duration = schedule.seconds(5.0, 15.0 * MINUTE);
    schedule.ends_after(duration, world, move |world, _| {
        world.api_faults.ends(trouble);
        world.checker.mends(Source::Api);
    });
}

/// A replica without a process gets one after a while.
fn starts_again(world: &World, schedule: &mut FaultSchedule, replica: usize) {
    let duration = schedule.seconds(1.0, 10.0 * MINUTE);
    schedule.ends_after(duration, world, move |world, _| {
        if world.replicas[replica].process.is_none() {
            world.replicas[replica].start(&world.environment);
        }
    });
}

pub(crate) fn replica_stopped(world: &mut World, schedule: &mut FaultSchedule) {
    let replica = schedule.one_of(world.replicas.len());
    drop(world.replicas[replica].stop());
    starts_again(world, schedule, replica);
}

pub(crate) fn replica_crashed(world: &mut World, schedule: &mut FaultSchedule) {
    let replica = schedule.one_of(world.replicas.len());
    world.replicas[replica].crash(&world.environment.api);
    starts_again(world, schedule, replica);
}

pub(crate) fn replica_stalled(world: &mut World, schedule: &mut FaultSchedule) {
    let replica = schedule.one_of(world.replicas.len());
    let duration = schedule.seconds(5.0, 7.0 * MINUTE);
    if schedule.chances.bool() {
        world.replicas[replica].stall(duration);
        return;
    }
    let Some(process) = &world.replicas[replica].process else { return };
    let link = std::sync::Arc::clone(&process.link);
    link.set(Wire::Cut);
    schedule.ends_after(duration, world, move |_, _| {
        if link.wire() == Wire::Cut {
            link.set(Wire::Good);
        }
    });
}

pub(crate) fn wall_clock_set(world: &mut World, schedule: &mut FaultSchedule) {
    let replica = schedule.one_of(world.replicas.len());
    let by = SignedDuration::try_from(schedule.seconds(5.0, 6.0 * HOUR)).unwrap();
    let ahead = if schedule.chances.bool() { by } else { -by };
    world.replicas[replica].machine.set_ahead(ahead);
    world.checker.touch(Source::Leader);
    let duration = schedule.seconds(MINUTE, 2.0 * HOUR);
    schedule.ends_after(duration, world, move |world, _| {
        world.replicas[replica].machine.set_ahead(SignedDuration::ZERO);
        world.checker.touch(Source::Leader);
    });
}

pub(crate) fn machines_suspended(world: &mut World, schedule: &mut FaultSchedule) {
    let duration = schedule.seconds(MINUTE, 6.0 * HOUR);
    world.suspend(SignedDuration::try_from(duration).unwrap());
}
