//! Two replicas and an API server that takes as long as it likes: whatever it does, no two of them act at once.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::super::testing::at;
use super::{CallLatency, Claim, LeaseRecord, SeenLease, Tenure, Timings, evaluate};

/// How a request fares, in seconds.
#[derive(Clone, Copy, Debug)]
struct RequestTiming {
    there: i64,
    back: i64,
    /// The request is processed, and its response lost.
    lost: bool,
}

#[derive(Clone)]
struct Write {
    replaces: Option<String>,
    record: LeaseRecord,
    timings: Timings,
}

/// A request on its way: a read, or a claim.
#[derive(Clone)]
struct Flight {
    write: Option<Write>,
    sent: i64,
    arrives: i64,
    answered: i64,
    given_up: i64,
    outcome: Option<Result<Option<LeaseRecord>, ()>>,
}

struct Replica {
    name: &'static str,
    seen: SeenLease,
    is_known: bool,
    call_latency: CallLatency,
    tenure: Option<Tenure>,
    flight: Option<Flight>,
    /// Aborted requests, which may still arrive.
    strays: Vec<Flight>,
    next: i64,
}

struct Simulation<W> {
    lease: Option<LeaseRecord>,
    version: u64,
    replicas: [Replica; 2],
    ways: W,
}

impl<W: Iterator<Item = RequestTiming>> Simulation<W> {
    fn new(ways: W) -> Self {
        let replica = |name| Replica {
            name,
            seen: SeenLease { record: None, since: at(0) },
            is_known: false,
            call_latency: CallLatency::default(),
            tenure: None,
            flight: None,
            strays: Vec::new(),
            next: 0,
        };
        Self { lease: None, version: 0, replicas: ["north", "south"].map(replica), ways }
    }

    /// One second. Who may act after it.
    fn tick(&mut self, now: i64) -> Vec<&'static str> {
        for replica in &mut self.replicas {
            let arriving = replica.flight.iter_mut().chain(&mut replica.strays);
            for flight in arriving.filter(|flight| flight.arrives == now) {
                flight.outcome = Some(match &flight.write {
                    None => Ok(self.lease.clone()),
                    Some(write) if write.replaces != self.lease.as_ref().map(|it| it.version.clone()) => {
                        Err(())
                    }
                    Some(write) => {
                        self.version += 1;
                        let record =
                            LeaseRecord { version: self.version.to_string(), ..write.record.clone() };
                        self.lease = Some(record.clone());
                        Ok(Some(record))
                    }
                });
            }
            replica.hears(now);
            if replica.flight.is_none() && now >= replica.next {
                let write = if replica.is_known { replica.decides(now) } else { None };
                replica.sends(write, self.ways.next().unwrap(), now);
            }
        }
        let acting =
            self.replicas.iter().filter(|it| it.tenure.is_some_and(|tenure| tenure.may_act(at(now))));
        acting.map(|replica| replica.name).collect()
    }
}

impl Replica {
    fn sends(&mut self, write: Option<Write>, way: RequestTiming, now: i64) {
        if let Some(write) = &write {
            self.tenure = self.tenure.map(|tenure| tenure.narrowed(at(now), write.timings));
        }
        let arrives = now + 1 + way.there;
        let answered = if way.lost { i64::MAX } else { arrives + way.back };
        let given_up = now + self.call_latency.call_limit(Timings::default()).as_secs() + 1;
        self.flight = Some(Flight { write, sent: now, arrives, answered, given_up, outcome: None });
    }

    fn hears(&mut self, now: i64) {
        let Some(flight) = self.flight.take_if(|flight| flight.answered.min(flight.given_up) <= now) else {
            return;
        };
        self.next = now.max(flight.sent + 2);
        if flight.answered > now {
            self.call_latency.unanswered();
            self.is_known = false;
            self.strays.push(flight);
            return;
        }
        self.call_latency.answered(SignedDuration::from_secs(now - flight.sent));
        self.is_known = matches!(flight.outcome, Some(Ok(_)));
        if let Some(Ok(record)) = flight.outcome {
            self.seen = self.seen.clone().updated(record, at(now));
            if let Some(write) = flight.write {
                self.tenure = Some(Tenure::granted(at(flight.sent), write.timings));
            } else {
                self.next = now;
            }
        }
    }

    /// What to claim; what it is to wait for is read again.
    fn decides(&mut self, now: i64) -> Option<Write> {
        let claim = evaluate(&self.seen, self.name, at(now));
        if !matches!(claim, Claim::Renew(_)) {
            self.tenure = None;
        }
        let replaced = match claim {
            Claim::Wait => {
                self.is_known = false;
                return None;
            }
            Claim::Create => None,
            Claim::Take(record) | Claim::Renew(record) => Some(record.version.clone()),
        };
        let timings = self.call_latency.timings(Timings::default());
        let record = LeaseRecord {
            version: String::new(),
            holder: Some(self.name.to_owned()),
            duration: timings.duration,
            transitions: 0,
            renewed: None,
        };
        Some(Write { replaces: replaced, record, timings })
    }
}

#[test]
fn a_lease_is_held_without_a_gap_however_long_each_answer_takes() {
    for answer in [0, 1, 3, 6, 12] {
        let mut play =
            Simulation::new(std::iter::repeat(RequestTiming { there: answer, back: 0, lost: false }));
        let acting: Vec<_> = (0..1800).map(|now| play.tick(now)).collect();
        let first = acting.iter().position(|who| !who.is_empty()).unwrap();
        assert!(first < 90, "{answer} s: {first}");
        let leader = &acting[1799];
        assert!(acting[200..].iter().all(|who| who == leader && who.len() == 1), "{answer} s");
    }
}

#[test]
fn a_lease_is_kept_when_answers_begin_to_take_long_and_when_they_stop() {
    for answer in [3, 6, 12] {
        let ways = (0..).map(|number| {
            let there = if (100..400).contains(&number) { answer } else { 0 };
            RequestTiming { there, back: 0, lost: false }
        });
        let mut play = Simulation::new(ways);
        let acting: Vec<_> = (0..6000).map(|now| play.tick(now)).collect();
        let idle = acting.iter().skip(10).filter(|who| who.is_empty()).count();
        assert!(idle < 90, "{answer} s: nobody acts for {idle} s");
    }
}

proptest! {
    #[test]
    fn no_two_replicas_act_at_once(
        ways in prop::collection::vec((0_i64..40, 0_i64..40, prop::bool::weighted(0.1), 0_u8..4), 1..60),
    ) {
        // Long rows of quick answers between those that are late, lost, or both.
        let ways = ways.into_iter().flat_map(|(there, back, lost, quick)| {
            let late = RequestTiming { there, back, lost };
            let rest = RequestTiming { there: 0, back: there % 3, lost: false };
            std::iter::once(late).chain(std::iter::repeat_n(rest, usize::from(quick) * 3))
        });
        let mut play = Simulation::new(ways.collect::<Vec<_>>().into_iter().cycle());
        for now in 0..2000 {
            let acting = play.tick(now);
            prop_assert!(acting.len() <= 1, "{now}: {acting:?}");
            let holder = play.lease.as_ref().and_then(|lease| lease.holder.as_deref());
            prop_assert!(acting.iter().all(|who| holder == Some(*who)), "{now}: {acting:?} under {holder:?}");
        }
    }
}
