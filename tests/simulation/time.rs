//! True time, and the clocks of machines.

use std::sync::{Arc, Mutex};

use idissuer::core::backoff::RandomFraction;
use idissuer::core::time::Moment;
use idissuer::ops::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

const BEGIN: i64 = 1_800_000_000;

/// The time that issuers and the API server live in. It passes with tokio's, and while the machine of the operator is
/// suspended, when tokio's stands still.
#[derive(Clone)]
pub(crate) struct TrueTime {
    start: Instant,
    suspended: Arc<Mutex<SignedDuration>>,
}

impl TrueTime {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), suspended: Arc::default() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let running = SignedDuration::try_from(self.start.elapsed()).unwrap();
        Timestamp::from_second(BEGIN).unwrap() + running + *self.suspended.lock().unwrap()
    }

    pub(crate) fn elapsed(&self) -> SignedDuration {
        self.now().duration_since(Timestamp::from_second(BEGIN).unwrap())
    }

    /// How much of it the machines were awake.
    pub(crate) fn awake(&self) -> SignedDuration {
        self.elapsed() - *self.suspended.lock().unwrap()
    }

    pub(crate) fn suspend(&self, duration: SignedDuration) {
        *self.suspended.lock().unwrap() += duration;
    }
}

/// How far the wall clock of a machine is ahead of the true time. Processes come and go, and the machine keeps it.
#[derive(Clone, Default)]
pub(crate) struct Machine(Arc<Mutex<SignedDuration>>);

impl Machine {
    pub(crate) fn set_ahead(&self, ahead: SignedDuration) {
        *self.0.lock().unwrap() = ahead;
    }

    pub(crate) fn ahead(&self) -> SignedDuration {
        *self.0.lock().unwrap()
    }
}

pub(crate) struct ProcessClock {
    time: TrueTime,
    machine: Machine,
    start: Instant,
    chances: Mutex<fastrand::Rng>,
}

impl ProcessClock {
    pub(crate) fn start(time: TrueTime, machine: Machine, seed: u64) -> Self {
        let chances = Mutex::new(fastrand::Rng::with_seed(seed));
        Self { time, machine, start: Instant::now(), chances }
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> Moment {
        let monotonic = SignedDuration::try_from(self.start.elapsed()).unwrap();
        Moment { wall: self.time.now() + self.machine.ahead(), monotonic }
    }

    fn random_fraction(&self) -> RandomFraction {
        RandomFraction::new(self.chances.lock().unwrap().f64())
    }
}
