//! The faults of a soak, and their times.

use std::time::Duration;

use super::fleet::{ACCOUNTS, CREDENTIALS};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    // These break a condition of the promise for all credentials, one at a time.
    KillLeader { away: Duration },
    KillStandby { away: Duration },
    PauseLeader { time: Duration },
    RestartApiServer { away: Duration },
    PauseApiServer { time: Duration },
    RestartEtcd { away: Duration },
    IssuerFails { status: u16, time: Duration },
    IssuerHangs { time: Duration },
    IssuerLosesAnswers { time: Duration },
    IssuerThrottles { seconds: u32, time: Duration },
    // These break none, or for one account or credential only; they come all the time.
    SlowAnswers { time: Duration },
    RefusedRefreshes { account: usize, time: Duration },
    LostAnswer { account: usize },
    ChangedPassword { account: usize },
    DeletedTarget { credential: usize },
    EditedTarget { credential: usize },
    WithdrawnPermission { owner: usize, time: Duration },
}

impl Fault {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::KillLeader { .. } => "leader killed",
            Self::KillStandby { .. } => "standby killed",
            Self::PauseLeader { .. } => "leader paused",
            Self::RestartApiServer { .. } => "API server restarted",
            Self::PauseApiServer { .. } => "API server paused",
            Self::RestartEtcd { .. } => "etcd restarted",
            Self::IssuerFails { .. } => "issuer fails (5xx)",
            Self::IssuerHangs { .. } => "issuer hangs",
            Self::IssuerLosesAnswers { .. } => "issuer loses answers",
            Self::IssuerThrottles { .. } => "issuer asks to wait (429)",
            Self::SlowAnswers { .. } => "slow answers",
            Self::RefusedRefreshes { .. } => "refreshes refused",
            Self::LostAnswer { .. } => "one answer lost",
            Self::ChangedPassword { .. } => "password changed",
            Self::DeletedTarget { .. } => "target deleted",
            Self::EditedTarget { .. } => "target edited",
            Self::WithdrawnPermission { .. } => "permission withdrawn",
        }
    }
}

pub(super) type Planned = (Duration, Fault);

pub(super) struct Plan {
    /// The heavy ones, one after the other, with time to recover in between.
    pub(super) blows: Vec<Planned>,
    pub(super) nuisances: Vec<Planned>,
}

impl Plan {
    /// The faults of this seed. A longer time only appends.
    pub(super) fn draw(seed: u64, time: Duration) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let (for_blows, for_nuisances) = (chance.fork(), chance.fork());
        Self {
            blows: series(time, 25.0..45.0, blow, for_blows),
            nuisances: series(time, 0.3..1.7, nuisance, for_nuisances),
        }
    }
}

/// Faults with these pauses between their beginnings, in seconds.
fn series(
    time: Duration,
    gap: std::ops::Range<f64>,
    draw: impl Fn(&mut fastrand::Rng) -> Fault,
    mut chance: fastrand::Rng,
) -> Vec<Planned> {
    let mut at = seconds(&mut chance, gap.clone()) / 2;
    let mut planned = Vec::new();
    while at < time {
        planned.push((at, draw(&mut chance)));
        at += seconds(&mut chance, gap.clone());
    }
    planned
}

fn seconds(chance: &mut fastrand::Rng, range: std::ops::Range<f64>) -> Duration {
    Duration::from_secs_f64(range.start + (range.end - range.start) * chance.f64())
}

fn blow(chance: &mut fastrand::Rng) -> Fault {
    let away = seconds(chance, 0.0..3.0);
    let time = seconds(chance, 3.0..9.0);
    match chance.u8(..11) {
        0 | 1 => Fault::KillLeader { away },
        2 => Fault::KillStandby { away },
        3 => Fault::PauseLeader { time },
        4 => Fault::RestartApiServer { away },
        5 => Fault::PauseApiServer { time: time / 2 },
        6 => Fault::IssuerFails { status: if chance.bool() { 500 } else { 503 }, time },
        7 => Fault::IssuerHangs { time },
        8 => Fault::IssuerLosesAnswers { time },
        9 => Fault::RestartEtcd { away },
        _ => Fault::IssuerThrottles { seconds: chance.u32(1..=3), time },
    }
}

fn nuisance(chance: &mut fastrand::Rng) -> Fault {
    let time = seconds(chance, 3.0..8.0);
    let (account, credential) = (chance.usize(..ACCOUNTS), chance.usize(..CREDENTIALS));
    match chance.u8(..14) {
        0 => Fault::SlowAnswers { time },
        1 => Fault::RefusedRefreshes { account, time: time * 5 },
        2 | 3 => Fault::LostAnswer { account },
        4 | 5 => Fault::ChangedPassword { account },
        6..=8 => Fault::DeletedTarget { credential },
        // Every account of an odd number has followers.
        9 | 10 => Fault::WithdrawnPermission { owner: account | 1, time: time * 5 },
        _ => Fault::EditedTarget { credential },
    }
}

#[test]
fn the_same_seed_brings_the_same_faults_and_more_time_only_more_of_them() {
    let (short, long) = (Plan::draw(7, Duration::from_secs(60)), Plan::draw(7, Duration::from_secs(600)));
    assert!(long.blows.starts_with(&short.blows) && long.nuisances.starts_with(&short.nuisances));
    assert!(
        !short.blows.is_empty() && long.blows.len() >= 15,
        "{} {}",
        short.blows.len(),
        long.nuisances.len()
    );
    assert_ne!(Plan::draw(8, Duration::from_secs(60)).nuisances, short.nuisances);
}
