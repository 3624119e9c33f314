//! Faults of sharing: permissions and references change.

use idissuer_testbed::memory::MemoryApi;
use serde_json::{Value, json};

use crate::conditions::Source;
use crate::population::{Credential, labelled};
use crate::schedule::FaultSchedule;
use crate::trouble::{HOUR, MINUTE, edits};
use crate::world::World;

/// One that is followed, if there is any.
fn one_owner(world: &World, schedule: &mut FaultSchedule) -> Option<Credential> {
    let credentials = &world.population.credentials;
    let is_followed = |owner: &&Credential| world.population.followers_of(owner.number).next().is_some();
    let owners: Vec<&Credential> = credentials.iter().filter(is_followed).collect();
    (!owners.is_empty()).then(|| owners[schedule.one_of(owners.len())].clone())
}

fn permitting(names: &[String]) -> Value {
    json!({"allowedNamespaces": {"names": names}})
}

/// An owner permits fewer namespaces for a while.
pub(crate) fn permission_withdrawn(world: &mut World, schedule: &mut FaultSchedule) {
    let Some(owner) = one_owner(world, schedule) else { return };
    let mut kept = owner.permitted.clone();
    kept.retain(|_| schedule.chances.bool());
    if kept == owner.permitted {
        kept.clear();
    }
    let duration = schedule.seconds(10.0, 8.0 * HOUR);
    edits(world, schedule, &owner, &permitting(&kept), duration, None);
}

/// A namespace that owners permit by its label has another one for a while.
pub(crate) fn namespace_relabelled(world: &mut World, schedule: &mut FaultSchedule) {
    let owners = world.population.credentials.iter();
    let selected: Vec<String> = owners.flat_map(|owner| owner.selected.clone()).collect();
    if selected.is_empty() {
        return;
    }
    let number = schedule.one_of(selected.len());
    let namespace = selected[number].clone();
    let place = selected.iter().position(|other| *other == namespace).unwrap_or(number);
    if !schedule.active.insert(("label", place)) {
        return;
    }
    world.write(&labelled(&namespace, "another"));
    let duration = schedule.seconds(10.0, 8.0 * HOUR);
    schedule.ends_after(duration, world, move |world, schedule| {
        world.write(&labelled(&namespace, &namespace));
        schedule.active.remove(&("label", place));
    });
}

/// An owner is deleted, and another one of its name permits nobody for a while.
pub(crate) fn owner_replaced(world: &mut World, schedule: &mut FaultSchedule) {
    let Some(owner) = one_owner(world, schedule) else { return };
    if !schedule.active.insert(("specification", owner.number)) {
        return;
    }
    let source = Source::Credential(owner.number);
    world.checker.breaks(source);
    delete(&world.environment.api, &owner);
    world.garbage.insert(owner.number);
    let (absent, strange) = (schedule.seconds(1.0, 10.0 * MINUTE), schedule.seconds(10.0, 4.0 * HOUR));
    schedule.ends_after(absent, world, move |world, schedule| {
        world.edits(&owner, &permitting(&[]));
        world.checker.mends(source);
        schedule.ends_after(strange, world, move |world, schedule| {
            world.edits(&owner, &json!({}));
            schedule.active.remove(&("specification", owner.number));
        });
    });
}

fn delete(api: &MemoryApi, Credential { namespace, name, .. }: &Credential) {
    api.delete("owner", "idissuercredentials", namespace, name);
}

/// A follower names a credential that does not exist, or that follows another one, for a while.
pub(crate) fn reference_edited(world: &mut World, schedule: &mut FaultSchedule) {
    let mut followers = world.population.credentials.clone();
    followers.retain(|credential| credential.owner.is_some());
    if followers.is_empty() {
        return;
    }
    let follower = followers[schedule.one_of(followers.len())].clone();
    let other = &followers[schedule.one_of(followers.len())];
    let name = if schedule.chances.bool() { "nothing" } else { &other.name };
    let spec = json!({"credentialRef": {"namespace": other.namespace, "name": name}});
    let duration = schedule.seconds(10.0, 4.0 * HOUR);
    edits(world, schedule, &follower, &spec, duration, None);
}
