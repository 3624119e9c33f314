//! Other controllers over the same credentials: which one manages a credential, and which ones stand by.
//!
//! A credential's status names the controller that manages it while it is alive. To check that, another controller sets a
//! claim in status, and a live controller removes it. A claim that stays shows that the controller is gone. So no additional
//! permissions are needed, and nothing is written if there is only one controller.
//!
//! A controller of many namespaces is asked in a few of them, its witnesses. The others go by what is found out there: where it
//! is silent in all that were asked, it is gone everywhere. In the others it is asked rarely, for it may have left one alone.
//!
//! Limits: a controller that answers later than [`ANSWER_LIMIT`] counts as gone, and may log in once more before it
//! notices. And anyone who may write status can make a controller stand by or take over.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::SignedDuration;

use super::time::Moment;

/// How long a claim may stay before the controller counts as gone: a controller's successor needs up to 17 s to become leader.
pub const ANSWER_LIMIT: SignedDuration = SignedDuration::from_secs(18);
/// How soon after a sign of life a controller is checked again. Together with the limit this is less than half a minute.
const ASKED_AGAIN: SignedDuration = SignedDuration::from_secs(6);
/// How much later than the one that asked, others look that go by its answer.
const GRACE: SignedDuration = SignedDuration::from_secs(1);
/// For how long it counts as gone without being asked again.
const GONE_FOR: SignedDuration = SignedDuration::from_mins(1);
/// In so many namespaces a controller is asked that often.
const WITNESSES: usize = 3;
/// How long a witness may be late before another namespace takes its part: this controller has no credential left there.
const WITNESS_GRACE: SignedDuration = SignedDuration::from_secs(10);
/// After this time, and up to two minutes more, a controller is checked in a namespace that is not a witness: not in all of
/// them at once.
const RARE_CHECK_INTERVAL: SignedDuration = SignedDuration::from_mins(4);
const RARELY_SPREAD_SECONDS: u64 = 120;
/// Above this number of controllers, those not seen for [`GONE_FOR`] are forgotten: people who may write status can
/// write any name there.
const MAX_TRACKED: usize = 1000;

/// The claim in the status of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// There is no claim.
    None,
    /// Our own claim.
    Ours,
    /// The claim of another controller.
    Another,
}

/// What to do about a credential that another controller manages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PeerDecision {
    /// Claim it, and wait for the controller's answer.
    Ask,
    /// Stand by until then.
    StandBy(Moment),
    /// The controller is gone: manage it ourselves.
    TakeOver,
}

/// What is known of other controllers, by name.
#[derive(Debug, Default)]
pub struct PeerControllers(HashMap<String, PeerController>);

/// What is known of one of them, by namespace: it may well work in others only.
#[derive(Debug, Default)]
struct PeerController {
    places: HashMap<String, NamespaceState>,
    /// The namespaces in which it is asked often.
    witnesses: Vec<String>,
}

/// A namespace in which another controller was met.
#[derive(Debug)]
struct NamespaceState {
    /// When it was first met there.
    first: Moment,
    /// When it was last checked.
    last_checked: Moment,
    /// The last sign of life in that namespace.
    life: Option<Moment>,
    /// When it was last asked there; at first, when it was first met.
    asked: Moment,
    state: State,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    /// There is no open claim.
    Quiet,
    /// A claim that the controller has not answered yet.
    Asked(PendingClaim),
    /// It did not answer, here or in all its witness namespaces, or another controller replaced it.
    Gone { at: Moment, question: Option<PendingClaim> },
}

/// A claim on a credential that was not answered yet.
#[derive(Clone, Debug, PartialEq)]
struct PendingClaim {
    on: String,
    since: Moment,
    is_ours: bool,
}

impl PendingClaim {
    /// When it is certain that it was not answered; a little later for all but the credential that asks.
    fn limit(&self) -> Moment {
        self.since.plus(ANSWER_LIMIT + GRACE)
    }
}

/// By what a namespace goes.
enum Guide {
    /// By its own questions.
    Itself,
    /// By those in others, which say that the controller is gone.
    Gone,
    /// By those in others, which say so then at the latest. One of them may have gone unanswered for a while.
    Others { until: Moment, is_in_doubt: bool },
}

impl PeerControllers {
    /// What to do about the credential `on`, which `controller` keeps. If it is to be asked or taken over, that is what happens.
    pub fn stance(
        &mut self,
        controller: &str,
        namespace: &str,
        on: &str,
        claim: Claim,
        now: Moment,
    ) -> PeerDecision {
        self.track(controller, namespace, now);
        let peer = self.0.get_mut(controller);
        peer.map_or(PeerDecision::StandBy(now.plus(GRACE)), |peer| peer.stance(namespace, on, claim, now))
    }

    /// There is a sign of life of another controller. Returns whether it is the first one.
    pub fn on_sign_of_life(&mut self, peer: &str, namespace: &str, now: Moment) -> bool {
        let is_new = self.track(peer, namespace, now);
        let was_gone = self.0.get_mut(peer).is_some_and(|peer| peer.on_sign_of_life(namespace, now));
        is_new || was_gone
    }

    /// Another controller replaced it: it was gone.
    pub fn on_replaced(&mut self, peer: &str, namespace: &str, now: Moment) {
        if let Some(place) = self.place(peer, namespace) {
            place.mark_gone(now);
        }
    }

    /// The claim on the credential `on` could not be written, or its controller not be replaced: another controller was
    /// faster.
    pub fn on_conflict(&mut self, controller: &str, namespace: &str, on: &str) {
        let Some(place) = self.place(controller, namespace) else { return };
        match &place.state {
            State::Asked(question) if question.is_ours && question.on == on => place.state = State::Quiet,
            // It may have answered in the last moment, which its credential shows.
            State::Gone { question: Some(question), .. } if question.on == on => {
                place.state = State::Asked(question.clone());
            }
            State::Quiet | State::Asked(_) | State::Gone { .. } => {}
        }
    }

    fn place(&mut self, peer: &str, namespace: &str) -> Option<&mut NamespaceState> {
        self.0.get_mut(peer)?.places.get_mut(namespace)
    }

    /// Whether it was not met there before.
    fn track(&mut self, peer: &str, namespace: &str, now: Moment) -> bool {
        if let Some(place) = self.place(peer, namespace) {
            place.last_checked = now;
            return false;
        }
        if self.places() >= MAX_TRACKED {
            for peer in self.0.values_mut() {
                peer.places.retain(|_, place| !place.last_checked.plus(GONE_FOR).is_reached(now));
            }
            self.0.retain(|_, peer| !peer.places.is_empty());
        }
        let place =
            NamespaceState { first: now, last_checked: now, life: None, asked: now, state: State::Quiet };
        self.0.entry(peer.to_owned()).or_default().places.insert(namespace.to_owned(), place);
        true
    }

    fn places(&self) -> usize {
        self.0.values().map(|peer| peer.places.len()).sum()
    }
}

impl PeerController {
    fn stance(&mut self, namespace: &str, on: &str, claim: Claim, now: Moment) -> PeerDecision {
        if self.places.get_mut(namespace).is_some_and(|place| place.observe_claim(on, claim, now)) {
            self.on_sign_of_life(namespace, now);
        }
        if let Some(stance) = self.places.get_mut(namespace).and_then(|place| place.stance(on, now)) {
            return stance;
        }
        let guide = self.guide(namespace, now);
        let Some(place) = self.places.get_mut(namespace) else {
            return PeerDecision::StandBy(now.plus(GRACE));
        };
        let is_open = matches!(&place.state, State::Asked(question) if question.on == on);
        match (guide, place.life) {
            // It is unanswered, and the claimant did nothing about it.
            _ if is_open => {}
            (Guide::Itself, Some(life)) if !life.plus(ASKED_AGAIN).is_reached(now) => {
                return PeerDecision::StandBy(life.plus(ASKED_AGAIN));
            }
            (Guide::Itself, _) => {}
            (Guide::Gone, _) => {
                place.mark_gone(now);
                return PeerDecision::TakeOver;
            }
            // A question here would be decided later.
            (Guide::Others { until, is_in_doubt: true }, _) => return PeerDecision::StandBy(until),
            (Guide::Others { until, .. }, _) => {
                let asked_anyway = place.asked.plus(rare_check_interval(namespace));
                if !asked_anyway.is_reached(now) {
                    return PeerDecision::StandBy(until.earlier(asked_anyway, now));
                }
            }
        }
        place.asked = now;
        place.state = State::Asked(PendingClaim { on: on.to_owned(), since: now, is_ours: true });
        PeerDecision::Ask
    }

    /// A sign of life in this namespace. Returns whether the controller counted as gone there.
    fn on_sign_of_life(&mut self, namespace: &str, now: Moment) -> bool {
        let Some(place) = self.places.get_mut(namespace) else { return false };
        let was_gone = matches!(place.state, State::Gone { .. });
        place.life = Some(now);
        place.state = State::Quiet;
        // If it was silent in one namespace, it left only that one: this says nothing about the others.
        let Self { places, witnesses } = self;
        witnesses.retain(|it| places.get(it).is_some_and(|place| !matches!(place.state, State::Gone { .. })));
        was_gone
    }

    /// By what a namespace goes. It becomes a witness where there are too few.
    fn guide(&mut self, namespace: &str, now: Moment) -> Guide {
        let Self { places, witnesses } = self;
        witnesses.retain(|it| places.get(it).is_some_and(|place| !place.is_late(now)));
        if witnesses.iter().any(|it| it == namespace) {
            return Guide::Itself;
        }
        let found = || witnesses.iter().filter_map(|it| places.get(it));
        if found().next().is_some() && found().all(|place| matches!(place.state, State::Gone { .. })) {
            let silent = |(asked, gone): (Moment, Moment)| {
                places.get(namespace).is_some_and(|place| {
                    !place.first.is_after(gone) && place.life.is_none_or(|life| !life.is_after(asked))
                })
            };
            // A later sign of life here shows that it is not gone here.
            let is_gone = found().filter_map(NamespaceState::silence).any(silent);
            return if is_gone { Guide::Gone } else { Guide::Itself };
        }
        if witnesses.len() < WITNESSES {
            witnesses.push(namespace.to_owned());
            return Guide::Itself;
        }
        let undecided = found().filter_map(NamespaceState::expected);
        let until = undecided.fold(now.plus(GRACE), Moment::not_before);
        let is_old = |question: &PendingClaim| question.since.plus(GRACE).is_reached(now);
        let is_in_doubt =
            found().any(|place| matches!(&place.state, State::Asked(question) if is_old(question)));
        Guide::Others { until, is_in_doubt }
    }
}

impl NamespaceState {
    /// Takes in the claim on the credential `on`. Returns whether it is a sign of life of the controller, which removed a
    /// claim.
    fn observe_claim(&mut self, on: &str, claim: Claim, now: Moment) -> bool {
        let is_new = match (&self.state, claim) {
            (State::Asked(question), Claim::None) => return question.on == on,
            // The age of another's claim is unknown when it is first seen.
            (State::Quiet, Claim::Another) => true,
            (State::Asked(question), Claim::Another) if question.on == on => question.is_ours,
            (State::Asked(question), Claim::Another) => question.limit().is_reached(now),
            (State::Gone { .. }, _) | (_, Claim::None | Claim::Ours) => false,
        };
        if is_new {
            self.state = State::Asked(PendingClaim { on: on.to_owned(), since: now, is_ours: false });
        }
        false
    }

    /// What to do about the credential `on` by what is known of this namespace alone, if that says it.
    fn stance(&mut self, on: &str, now: Moment) -> Option<PeerDecision> {
        match &self.state {
            State::Gone { at, .. } => (!at.plus(GONE_FOR).is_reached(now)).then_some(PeerDecision::TakeOver),
            State::Asked(question) if question.is_ours && question.on == on => {
                let limit = question.since.plus(ANSWER_LIMIT);
                if !limit.is_reached(now) {
                    return Some(PeerDecision::StandBy(limit));
                }
                self.mark_gone(now);
                Some(PeerDecision::TakeOver)
            }
            State::Asked(question) => {
                let limit = question.limit();
                (!limit.is_reached(now)).then_some(PeerDecision::StandBy(limit))
            }
            State::Quiet => None,
        }
    }

    fn mark_gone(&mut self, now: Moment) {
        let question = match &self.state {
            State::Asked(question) => Some(question.clone()),
            State::Quiet | State::Gone { .. } => None,
        };
        self.state = State::Gone { at: now, question };
    }

    /// Since when it is silent, and when that was found out.
    fn silence(&self) -> Option<(Moment, Moment)> {
        match &self.state {
            State::Gone { at, question } => Some((question.as_ref().map_or(*at, |it| it.since), *at)),
            State::Quiet | State::Asked(_) => None,
        }
    }

    /// When it turns out at the latest that the controller is gone, if it is.
    fn expected(&self) -> Option<Moment> {
        match &self.state {
            State::Gone { .. } => None,
            State::Asked(question) => Some(question.limit()),
            State::Quiet => {
                Some(self.life.unwrap_or(self.last_checked).plus(ASKED_AGAIN + ANSWER_LIMIT + GRACE))
            }
        }
    }

    /// Whether a witness does not play its part any more.
    fn is_late(&self, now: Moment) -> bool {
        let end = match &self.state {
            State::Quiet => self.last_checked.plus(ASKED_AGAIN + WITNESS_GRACE),
            State::Asked(_) => self.last_checked.plus(ANSWER_LIMIT + GRACE + WITNESS_GRACE),
            State::Gone { at, .. } => at.plus(GONE_FOR),
        };
        end.is_reached(now)
    }
}

/// How long after a check in a namespace that is not a witness the controller is checked there again.
fn rare_check_interval(namespace: &str) -> SignedDuration {
    let mut hasher = DefaultHasher::new();
    namespace.hash(&mut hasher);
    let spread = i64::try_from(hasher.finish() % RARELY_SPREAD_SECONDS).unwrap_or_default();
    RARE_CHECK_INTERVAL + SignedDuration::from_secs(spread)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testing::at;
    use super::*;

    const NAMESPACE: &str = "shop";

    fn stance(peer_controllers: &mut PeerControllers, on: &str, claim: Claim, seconds: i64) -> PeerDecision {
        peer_controllers.stance("a", NAMESPACE, on, claim, at(seconds))
    }

    #[test]
    fn a_controller_that_answers_is_asked_again_and_again_by_one_credential_and_all_stand_by() {
        let mut peer_controllers = PeerControllers::default();
        for begin in [0, 10, 20] {
            assert_eq!(stance(&mut peer_controllers, "one", Claim::None, begin), PeerDecision::Ask);
            assert_eq!(
                stance(&mut peer_controllers, "two", Claim::None, begin),
                PeerDecision::StandBy(at(begin + 19))
            );
            assert_eq!(
                stance(&mut peer_controllers, "one", Claim::Ours, begin + 1),
                PeerDecision::StandBy(at(begin + 18))
            );
            assert_eq!(
                stance(&mut peer_controllers, "one", Claim::None, begin + 2),
                PeerDecision::StandBy(at(begin + 8))
            );
            assert_eq!(
                stance(&mut peer_controllers, "two", Claim::None, begin + 3),
                PeerDecision::StandBy(at(begin + 8))
            );
        }
    }

    #[test]
    fn a_controller_that_does_not_answer_is_gone_for_all_of_its_credentials_within_half_a_minute() {
        let mut peer_controllers = PeerControllers::default();
        // Its last sign of life.
        peer_controllers.on_sign_of_life("a", NAMESPACE, at(0));
        assert_eq!(stance(&mut peer_controllers, "one", Claim::None, 6), PeerDecision::Ask);
        assert_eq!(stance(&mut peer_controllers, "one", Claim::Ours, 24), PeerDecision::TakeOver);
        assert_eq!(stance(&mut peer_controllers, "two", Claim::None, 25), PeerDecision::TakeOver);
        let other = peer_controllers.stance("a", "bank", "one", Claim::None, at(25));
        assert_eq!(other, PeerDecision::Ask, "it may have left one namespace only");
        assert_eq!(
            stance(&mut peer_controllers, "two", Claim::None, 90),
            PeerDecision::Ask,
            "it may be back"
        );
    }

    #[test]
    fn if_the_one_that_was_to_ask_is_gone_another_one_asks() {
        let mut peer_controllers = PeerControllers::default();
        assert_eq!(stance(&mut peer_controllers, "one", Claim::None, 0), PeerDecision::Ask);
        assert_eq!(stance(&mut peer_controllers, "two", Claim::None, 19), PeerDecision::Ask);
    }

    #[test]
    fn a_claim_of_a_third_one_says_nothing_and_one_that_was_thought_gone_may_come_back() {
        let mut peer_controllers = PeerControllers::default();
        assert_eq!(stance(&mut peer_controllers, "one", Claim::None, 0), PeerDecision::Ask);
        // Its age is unknown, so it is left alone for as long as its owner may need.
        assert_eq!(stance(&mut peer_controllers, "one", Claim::Another, 30), PeerDecision::StandBy(at(49)));
        assert_eq!(stance(&mut peer_controllers, "two", Claim::Another, 31), PeerDecision::StandBy(at(49)));
        assert_eq!(stance(&mut peer_controllers, "one", Claim::Another, 48), PeerDecision::StandBy(at(49)));
        assert_eq!(
            stance(&mut peer_controllers, "one", Claim::Another, 49),
            PeerDecision::Ask,
            "its owner did nothing"
        );
        assert_eq!(stance(&mut peer_controllers, "one", Claim::Ours, 67), PeerDecision::TakeOver);
        assert!(peer_controllers.on_sign_of_life("a", NAMESPACE, at(68)), "it is news");
        assert!(!peer_controllers.on_sign_of_life("a", NAMESPACE, at(69)), "it is none");
        assert_eq!(stance(&mut peer_controllers, "two", Claim::None, 69), PeerDecision::StandBy(at(75)));
    }

    #[test]
    fn names_that_somebody_makes_up_are_forgotten_after_a_minute() {
        let mut peer_controllers = PeerControllers::default();
        let limit = i64::try_from(MAX_TRACKED).unwrap();
        for number in 0..2 * limit {
            let mut is_first = |name: i64| {
                peer_controllers.on_sign_of_life(&format!("made-up-{name}"), NAMESPACE, at(number))
            };
            assert!(is_first(number));
            let known = if number < limit { number / 2 } else { number - 1 };
            assert!(!is_first(known), "{known} of {number}");
        }
        assert!(peer_controllers.0.len() <= MAX_TRACKED, "{}", peer_controllers.0.len());
    }

    #[test]
    fn an_answer_to_the_question_of_another_is_a_sign_of_life_as_well() {
        let mut peer_controllers = PeerControllers::default();
        assert_eq!(stance(&mut peer_controllers, "one", Claim::Another, 0), PeerDecision::StandBy(at(19)));
        assert_eq!(stance(&mut peer_controllers, "one", Claim::None, 1), PeerDecision::StandBy(at(7)));
        assert_eq!(stance(&mut peer_controllers, "one", Claim::None, 7), PeerDecision::Ask);
    }

    #[test]
    fn who_comes_too_late_looks_again_and_learns_nothing_from_it() {
        let mut peer_controllers = PeerControllers::default();
        assert_eq!(stance(&mut peer_controllers, "one", Claim::Another, -19), PeerDecision::StandBy(at(0)));
        peer_controllers.on_conflict("a", NAMESPACE, "one");
        assert_eq!(
            stance(&mut peer_controllers, "one", Claim::Another, -1),
            PeerDecision::StandBy(at(0)),
            "the claim of another stands"
        );
        assert_eq!(stance(&mut peer_controllers, "one", Claim::Another, 0), PeerDecision::Ask);
        peer_controllers.on_conflict("a", NAMESPACE, "two");
        let waits = PeerDecision::StandBy(at(19));
        assert_eq!(stance(&mut peer_controllers, "two", Claim::None, 0), waits, "one is asked all the same");
        assert_eq!(stance(&mut peer_controllers, "two", Claim::Another, 0), waits, "by whoever asked first");
        peer_controllers.on_conflict("a", NAMESPACE, "one");
        assert_eq!(
            stance(&mut peer_controllers, "one", Claim::None, 1),
            PeerDecision::Ask,
            "it was not asked"
        );
        assert_eq!(stance(&mut peer_controllers, "one", Claim::Ours, 19), PeerDecision::TakeOver);
        peer_controllers.on_conflict("a", NAMESPACE, "two");
        assert_eq!(stance(&mut peer_controllers, "two", Claim::None, 19), PeerDecision::TakeOver);
        peer_controllers.on_conflict("a", NAMESPACE, "one");
        let mut answered = stance(&mut peer_controllers, "one", Claim::Ours, 20);
        assert_eq!(answered, PeerDecision::TakeOver, "the change was none of the controller's");
        peer_controllers.on_conflict("a", NAMESPACE, "one");
        answered = stance(&mut peer_controllers, "one", Claim::None, 21);
        assert_eq!(answered, PeerDecision::StandBy(at(27)), "it has answered in the last moment");
    }

    /// A controller of the namespaces `0` to `9`, each with one credential, which is looked at when it is due, and at once when
    /// the controller has answered. It works in those for which that is so.
    struct Many {
        peer_controllers: PeerControllers,
        /// When each is looked at, and whether our claim stands on it.
        due: Vec<(i64, Claim)>,
        asked: usize,
        taken_over: Vec<(usize, i64)>,
    }

    impl Many {
        fn new() -> Self {
            let due = vec![(0, Claim::None); 10];
            Self { peer_controllers: PeerControllers::default(), due, asked: 0, taken_over: Vec::new() }
        }

        fn run(&mut self, seconds: std::ops::Range<i64>, works_in: impl Fn(usize) -> bool) {
            for second in seconds {
                for number in 0..self.due.len() {
                    let (due, claim) = self.due[number];
                    let is_answered = claim == Claim::Ours && works_in(number);
                    let is_kept = !self.taken_over.iter().any(|(taken, _)| *taken == number);
                    if !is_kept || due > second && !is_answered {
                        continue;
                    }
                    let claim = if is_answered { Claim::None } else { claim };
                    let namespace = number.to_string();
                    let due = match self.peer_controllers.stance("a", &namespace, "one", claim, at(second)) {
                        PeerDecision::Ask => {
                            self.asked += 1;
                            self.due[number] = (second + 18, Claim::Ours);
                            continue;
                        }
                        PeerDecision::StandBy(until) => until.remaining(at(0)).as_secs(),
                        PeerDecision::TakeOver => {
                            self.taken_over.push((number, second));
                            continue;
                        }
                    };
                    self.due[number] = (due, claim);
                }
            }
        }
    }

    #[test]
    fn a_fourth_namespace_goes_by_the_answers_in_three_others_while_these_are_looked_at() {
        use PeerDecision::{Ask, StandBy};
        let mut peer_controllers = PeerControllers::default();
        let mut stance =
            |namespace, claim, now| peer_controllers.stance("a", namespace, "one", claim, at(now));
        for (witnesses, now, others) in [(Ask, 0, 19), (StandBy(at(16)), 10, 35), (Ask, 16, 35)] {
            assert_eq!(["1", "2", "3"].map(|it| stance(it, Claim::None, now)), [witnesses; 3], "{now}");
            assert_eq!(stance("4", Claim::None, now), StandBy(at(others)), "{now}");
        }
        assert_eq!(stance("5", Claim::Another, 16), StandBy(at(35)));
        assert_eq!(stance("5", Claim::Another, 35), Ask, "the claimant did nothing");
        assert_eq!(stance("4", Claim::None, 44), StandBy(at(45)), "three may have answered");
        assert_eq!(stance("4", Claim::None, 45), Ask, "nothing is left there to look at");
    }

    #[test]
    fn other_namespaces_are_checked_after_four_to_six_minutes_not_all_at_once() {
        let intervals: BTreeSet<_> =
            (0..200).map(|it| rare_check_interval(&it.to_string()).as_secs()).collect();
        assert!(intervals.len() > 60 && intervals.iter().all(|it| (240..360).contains(it)), "{intervals:?}");
    }

    #[test]
    fn a_controller_of_many_namespaces_is_asked_often_in_three_of_them() {
        let mut many = Many::new();
        many.run(0..600, |_| true);
        // A question and its answer take a second here, so three are asked every seven seconds, and seven every five minutes.
        assert!((3 * 80..=3 * 90 + 7 * 3).contains(&many.asked), "{}", many.asked);
        assert_eq!(many.taken_over, []);
    }

    #[test]
    fn one_that_is_silent_in_all_of_these_is_gone_everywhere_within_half_a_minute() {
        for end in 300..310 {
            let mut many = Many::new();
            many.run(0..end, |_| true);
            many.run(end..end + 30, |_| false);
            assert_eq!(many.taken_over.len(), 10, "{end}: {:?}", many.taken_over);
        }
        let mut many = Many::new();
        many.run(0..30, |_| false);
        assert_eq!(many.taken_over.len(), 10, "it was gone before: {:?}", many.taken_over);
    }

    #[test]
    fn one_that_is_silent_in_one_namespace_has_left_that_one_only() {
        for left in [0, 9] {
            let mut many = Many::new();
            many.run(0..300, |_| true);
            many.run(300..300 + 7 * 60, |number| number != left);
            let taken: Vec<usize> = many.taken_over.iter().map(|(number, _)| *number).collect();
            assert_eq!(taken, [left]);
            many.run(720..750, |_| false);
            assert_eq!(many.taken_over.len(), 10, "{:?}", many.taken_over);
        }
    }

    #[test]
    fn where_another_controller_has_followed_it_was_gone() {
        let mut many = Many::new();
        many.run(0..300, |_| true);
        for number in 0..3 {
            many.peer_controllers.on_replaced("a", &number.to_string(), at(300));
            many.taken_over.push((number, 300));
        }
        many.run(300..330, |_| false);
        assert_eq!(many.taken_over.len(), 10, "{:?}", many.taken_over);
    }
}
