//! Random walks with a credential that follows the one of the model: any outcome of any call, while the permission is given and
//! withdrawn, the owner deleted and made anew, the process ended and the follower's target deleted.

use idissuer::core::decide::Plan;
use idissuer::core::time::Moment;
use idissuer_testbed::variable;

use super::issuer::{Family, Outcome};
use super::state::{Broken, Point, State, sooner};
use super::{PUBLISHED_AT_THE_END, STEPS, tell};

/// Calls of a walk whose outcome may be anything.
const FREE_CALLS: u32 = 12;
/// Walks at each kind of issuer, and more of them in `make simulation`.
const WALKS: u64 = 40;
const MANY_WALKS: u64 = 1000;

struct Walk {
    state: State,
    chances: fastrand::Rng,
    /// Since the last rest of this process.
    steps: u32,
}

impl Walk {
    /// Until two more tokens are published after the last thing that went wrong, or the login is held for good.
    fn finish(&mut self) -> Result<(), Broken> {
        loop {
            self.steps += 1;
            if self.steps > STEPS {
                return Err(Broken("no rest"));
            }
            let follower_until = self.state.follow()?;
            if !self.state.has_owner() {
                self.steps = 0;
                self.without_owner(follower_until)?;
                continue;
            }
            match self.state.plan() {
                Plan::Obtain { record_first, .. } => self.call(record_first)?,
                Plan::Rest { until } => {
                    self.steps = 0;
                    if self.is_over() || !self.rest(until, follower_until)? {
                        return Ok(());
                    }
                }
                plan => self.state.act(plan)?,
            }
        }
    }

    fn is_wild(&self) -> bool {
        self.state.free_calls > 0
    }

    fn is_over(&self) -> bool {
        !self.is_wild() && self.state.is_permitted() && self.state.published >= PUBLISHED_AT_THE_END
    }

    fn one_of(&mut self, number: u8) -> bool {
        self.chances.u8(..number) == 0
    }

    fn call(&mut self, record_first: bool) -> Result<(), Broken> {
        if record_first {
            self.state.record_attempt();
        }
        let call = self.state.begin()?;
        if self.is_wild() && self.one_of(8) {
            self.steps = 0;
            let point = [Point::InFlightBeforeIssuer, Point::InFlightAfterIssuer][self.chances.usize(..2)];
            return self.state.crash_in_flight(&call, point);
        }
        // What happens while it is in flight.
        self.state.follow()?;
        let is_answered = !self.is_wild() || self.chances.bool();
        let other = Outcome::ALL[self.chances.usize(..Outcome::ALL.len())];
        self.state.end(call, if is_answered { Outcome::Answered } else { other })
    }

    /// Something may happen; otherwise, time passes until something is due. Whether anything ever is.
    fn rest(&mut self, until: Option<Moment>, follower_until: Option<Moment>) -> Result<bool, Broken> {
        let until = sooner(until, follower_until, self.state.moment());
        if !self.is_wild() {
            if !self.state.is_permitted() {
                self.state.permit(true);
                return Ok(true);
            }
            return self.state.rest(until);
        }
        match (self.chances.u8(..16), until) {
            (0 | 1, _) => self.state.permit(false),
            (2..=4, _) => self.state.permit(true),
            (5, _) => self.state.delete_owner(),
            (6, _) => self.state.crash(Point::AtRest),
            (7, _) => self.state.delete_target_of_follower(),
            (8, _) => self.state.sleep(),
            (9 | 10, Some(until)) => self.state.rest_nearly(until)?,
            _ => return self.state.rest(until),
        }
        Ok(true)
    }

    fn without_owner(&mut self, until: Option<Moment>) -> Result<(), Broken> {
        match until {
            Some(until) if self.is_wild() && self.chances.bool() => {
                let now = self.state.moment();
                self.state.rest_without_owner(until.remaining(now))
            }
            _ => {
                let is_permitted = self.chances.bool();
                self.state.make_owner(is_permitted);
                Ok(())
            }
        }
    }
}

fn walk(family: Family, seed: u64) {
    let mut walk = Walk {
        state: State::followed(family, FREE_CALLS),
        chances: fastrand::Rng::with_seed(seed),
        steps: 0,
    };
    if let Err(broken) = walk.finish() {
        println!("seed {seed}");
        tell(&walk.state, &broken);
    }
}

#[test]
fn no_random_walk_breaks_a_promise_about_a_follower() {
    let first = variable("SIMULATION_SEED").map_or(1, |seed| seed.parse().unwrap());
    let walks = if crate::is_long() { MANY_WALKS } else { WALKS };
    for family in Family::all(&[3600, 60]) {
        for seed in first..first + walks {
            walk(family, seed);
        }
    }
}
