//! The kinds of trouble of the cluster: its API server, the replicas of the operator, and their machines.

use std::time::Duration;

use jiff::SignedDuration;

use crate::conditions::Source;
use crate::link::Wire;
use crate::storm::Storm;
use crate::trouble::{HOUR, MINUTE};
use crate::weather::ApiTrouble;
use crate::world::World;

pub(crate) fn watches_broken(world: &mut World, storm: &mut Storm) {
    if storm.chances.bool() {
        world.habitat.api.compact();
    }
    let replica = storm.one_of(world.replicas.len());
    if let Some(process) = &world.replicas[replica].process {
        world.habitat.api.break_watches(&process.name);
    }
    world.checker.touch(Source::Watches);
}

pub(crate) fn watches_silent(world: &mut World, storm: &mut Storm) {
    let replica = storm.one_of(world.replicas.len());
    let Some(name) = world.replicas[replica].process.as_ref().map(|process| process.name.clone()) else {
        return;
    };
    world.habitat.api.silence_watches(&name, true);
    world.checker.breaks(Source::Watches);
    let duration = storm.seconds(10.0, 20.0 * MINUTE);
    storm.ends_after(duration, world, move |world, _| {
        let is_alive = world.habitat.links.get(&name).is_some_and(|link| link.wire() != Wire::Dead);
        world.habitat.api.silence_watches(&name, !is_alive);
        world.checker.mends(Source::Watches);
    });
}

pub(crate) fn api_in_trouble(world: &mut World, storm: &mut Storm) {
    let slow = Duration::from_millis(storm.chances.u64(500..8000));
    let troubles = [
        ApiTrouble::Unreachable,
        ApiTrouble::Fails(500),
        ApiTrouble::Fails(429),
        ApiTrouble::LosesAnswers,
        ApiTrouble::Slow(slow),
        ApiTrouble::RefusesSecrets,
    ];
    let trouble = troubles[storm.one_of(troubles.len())];
    let share = if storm.chances.bool() { 1.0 } else { 0.3 };
    world.weather.begins(trouble, share);
    world.checker.breaks(Source::Api);
    let duration = storm.seconds(5.0, 15.0 * MINUTE);
    storm.ends_after(duration, world, move |world, _| {
        world.weather.ends(trouble);
        world.checker.mends(Source::Api);
    });
}

/// A replica without a process gets one after a while.
fn starts_again(world: &World, storm: &mut Storm, replica: usize) {
    let duration = storm.seconds(1.0, 10.0 * MINUTE);
    storm.ends_after(duration, world, move |world, _| {
        if world.replicas[replica].process.is_none() {
            world.replicas[replica].start(&world.habitat);
        }
    });
}

pub(crate) fn replica_stopped(world: &mut World, storm: &mut Storm) {
    let replica = storm.one_of(world.replicas.len());
    drop(world.replicas[replica].stop());
    starts_again(world, storm, replica);
}

pub(crate) fn replica_crashed(world: &mut World, storm: &mut Storm) {
    let replica = storm.one_of(world.replicas.len());
    world.replicas[replica].crash(&world.habitat.api);
    starts_again(world, storm, replica);
}

pub(crate) fn replica_stalled(world: &mut World, storm: &mut Storm) {
    let replica = storm.one_of(world.replicas.len());
    let duration = storm.seconds(5.0, 7.0 * MINUTE);
    if storm.chances.bool() {
        world.replicas[replica].stall(duration);
        return;
    }
    let Some(process) = &world.replicas[replica].process else { return };
    let link = std::sync::Arc::clone(&process.link);
    link.set(Wire::Cut);
    storm.ends_after(duration, world, move |_, _| {
        if link.wire() == Wire::Cut {
            link.set(Wire::Good);
        }
    });
}

pub(crate) fn wall_clock_set(world: &mut World, storm: &mut Storm) {
    let replica = storm.one_of(world.replicas.len());
    let by = SignedDuration::try_from(storm.seconds(5.0, 6.0 * HOUR)).unwrap();
    let ahead = if storm.chances.bool() { by } else { -by };
    world.replicas[replica].machine.set_ahead(ahead);
    world.checker.touch(Source::Leader);
    let duration = storm.seconds(MINUTE, 2.0 * HOUR);
    storm.ends_after(duration, world, move |world, _| {
        world.replicas[replica].machine.set_ahead(SignedDuration::ZERO);
        world.checker.touch(Source::Leader);
    });
}

pub(crate) fn machines_suspended(world: &mut World, storm: &mut Storm) {
    let duration = storm.seconds(MINUTE, 6.0 * HOUR);
    world.suspend(SignedDuration::try_from(duration).unwrap());
}
