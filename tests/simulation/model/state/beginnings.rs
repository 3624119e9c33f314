//! States in which something has happened before the exploration begins.

use idissuer::core::decide::Plan;

use super::super::issuer::{Family, Outcome};
use super::{Broken, Point, State};

impl State {
    /// An account long after: its first token is published, and no call was made since.
    pub(in super::super) fn established(
        family: Family,
        free_calls: u32,
        crashes_left: u32,
    ) -> Result<Self, Broken> {
        let mut state = Self::new(family, 0, 0);
        state.works_until_published(1)?;
        state.history.clear();
        Ok(Self { free_calls, crashes_left, ..state })
    }

    /// A leader was paused, another one published a token, and the first one leads again with the session that it held
    /// all the time. In truth it has forgotten that; here it has not, and still has to know which token is the older one.
    pub(in super::super) fn resumed(
        family: Family,
        free_calls: u32,
        crashes_left: u32,
    ) -> Result<Self, Broken> {
        let mut state = Self::established(family, 0, 1)?;
        state.reports();
        let (paused, began, held) = (state.process.clone(), state.began, state.held);
        state.crash(Point::AtRest);
        state.works_until_published(2)?;
        state.reports();
        (state.began, state.held) = (began, held);
        state.process = paused.resumes(&state.cluster, state.moment());
        Ok(Self { free_calls, crashes_left, ..state })
    }

    fn works_until_published(&mut self, count: u32) -> Result<(), Broken> {
        self.works_until(&[], |state| state.published >= count)
    }

    /// Nothing disturbs it, but for what its calls come to; those that follow are answered. It ends before that if nothing
    /// is ever due.
    pub(in super::super) fn works_until(
        &mut self,
        outcomes: &[Outcome],
        is_over: impl Fn(&Self) -> bool,
    ) -> Result<(), Broken> {
        let mut outcomes = outcomes.iter().copied();
        while !is_over(self) {
            match self.plan() {
                Plan::Obtain { record_first, .. } => {
                    if record_first {
                        self.record_attempt();
                    }
                    let call = self.begin()?;
                    self.end(call, outcomes.next().unwrap_or(Outcome::Answered))?;
                }
                Plan::Rest { until } => {
                    if !self.rest(until)? {
                        return Ok(());
                    }
                }
                plan => self.act(plan)?,
            }
        }
        Ok(())
    }

    fn reports(&mut self) {
        let now = self.moment();
        self.process.rest(&mut self.cluster, now);
    }
}
