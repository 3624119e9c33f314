//! The report of a soak.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use idissuer_simulator::UserCounts;

use super::fleet::{ACCOUNTS, CREDENTIALS, LIFETIME, name_of, owner_of};
use super::ledger::{Answer, Ledger, Read, Renewal, Scope, margin, window};

/// Broken promises that are shown one by one.
const SHOWN: usize = 12;

/// The conditions have to hold for so many percent of the reads at least, or it says little that none of them was refused.
const HELD: usize = 25;

pub(super) struct Table {
    seed: u64,
    time: Duration,
    held: usize,
    disturbed: usize,
    excused: usize,
    broken: Vec<Read>,
    setbacks: Vec<(usize, Duration)>,
    unpermitted: Vec<(usize, Duration)>,
    correct: usize,
    /// Those that are not correct, and whose accounts wait under the login budget.
    waiting: usize,
    issuer: UserCounts,
    undisturbed: Vec<Renewal>,
    others: Vec<Renewal>,
    faults: BTreeMap<&'static str, usize>,
}

impl Table {
    pub(super) fn of(
        ledger: &Ledger,
        issuer: UserCounts,
        correct: &BTreeSet<usize>,
        seed: u64,
        time: Duration,
    ) -> Self {
        let is_refused = |read: &&Read| matches!(read.answer, Answer::Refused(_));
        let (held, disturbed) = ledger.reads();
        let (undisturbed, others) = ledger.renewals();
        Self {
            seed,
            time,
            held: held.len(),
            disturbed: disturbed.len(),
            excused: disturbed.iter().filter(is_refused).count(),
            broken: held.into_iter().filter(|read| read.answer != Answer::Accepted).collect(),
            setbacks: ledger.setbacks(),
            unpermitted: ledger.unpermitted(),
            correct: correct.len(),
            waiting: (0..CREDENTIALS)
                .filter(|it| !correct.contains(it) && ledger.is_account_broken(*it))
                .count(),
            issuer,
            undisturbed,
            others,
            faults: ledger.faults(),
        }
    }

    pub(super) fn complaint(&self) -> Option<&'static str> {
        if !self.broken.is_empty() || !self.setbacks.is_empty() || !self.unpermitted.is_empty() {
            Some("the promise was broken")
        } else if self.correct + self.waiting < CREDENTIALS {
            Some("not every target was correct in the end")
        } else if self.held_percent() < HELD {
            Some("the conditions held too seldom for the soak to mean anything: space its faults")
        } else {
            None
        }
    }

    fn held_percent(&self) -> usize {
        self.held * 100 / (self.held + self.disturbed).max(1)
    }

    fn broken_by(&self, is_broken: impl Fn(&Answer) -> bool) -> String {
        self.broken.iter().filter(|read| is_broken(&read.answer)).count().to_string()
    }

    /// The credentials whose promise was broken, the first few.
    pub(super) fn names_of_broken(&self) -> Vec<String> {
        let broken = self.broken.iter().map(|read| read.credential);
        let others = self.setbacks.iter().chain(&self.unpermitted).map(|(number, _)| *number);
        let numbers: BTreeSet<usize> = broken.chain(others).collect();
        numbers.into_iter().take(SHOWN).map(name_of).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (minutes, lifetime) = (self.time.as_secs() / 60, LIFETIME.as_secs());
        let followers = (0..CREDENTIALS).filter(|number| owner_of(*number).is_some()).count();
        writeln!(to, "\nsoak of {minutes} min, seed {}", self.seed)?;
        writeln!(
            to,
            "{CREDENTIALS} credentials of {ACCOUNTS} accounts, {followers} of them followers, tokens of {lifetime} s, two replicas\n"
        )?;
        let mut row = |name: &str, value: String| writeln!(to, "  {name:<44}{value:>12}");
        row("READS", (self.held + self.disturbed).to_string())?;
        row("  while the conditions held", self.held.to_string())?;
        row(&format!("    percent of all (at least {HELD})"), self.held_percent().to_string())?;
        row("    refused (must be 0)", self.broken_by(|answer| matches!(answer, Answer::Refused(_))))?;
        row(
            &format!("    less than {} s left (must be 0)", margin().as_secs()),
            self.broken_by(|answer| *answer == Answer::AboutToExpire),
        )?;
        row(&format!("  within {} s of a broken condition", window().as_secs()), self.disturbed.to_string())?;
        row("    refused", self.excused.to_string())?;
        row("TARGETS CORRECT AT THE END", format!("{} of {CREDENTIALS}", self.correct))?;
        row("  of the others, waiting under the login budget", self.waiting.to_string())?;
        let UserCounts { logins_accepted, logins_rejected, refreshes_accepted, refreshes_refused, .. } =
            self.issuer;
        row("LOGINS", logins_accepted.to_string())?;
        row("  rejected", logins_rejected.to_string())?;
        row("REFRESHES", refreshes_accepted.to_string())?;
        row("  refused", refreshes_refused.to_string())?;
        row("RENEWALS SEEN", (self.undisturbed.len() + self.others.len()).to_string())?;
        row("  an older token over a younger (must be 0)", self.setbacks.len().to_string())?;
        row("  to followers not permitted (must be 0)", self.unpermitted.len().to_string())?;
        row("  late, undisturbed: p50, p99, max", quantiles(&lateness(&self.undisturbed)))?;
        let followers: Vec<_> =
            self.undisturbed.iter().copied().filter(|it| owner_of(it.credential).is_some()).collect();
        row("    of them, followers", quantiles(&lateness(&followers)))?;
        row(
            "  late, all: p50, p99, max",
            quantiles(&[lateness(&self.undisturbed), lateness(&self.others)].concat()),
        )?;
        row("FAULTS", self.faults.values().sum::<usize>().to_string())?;
        for (name, number) in &self.faults {
            row(&format!("  {name}"), number.to_string())?;
        }
        for Read { credential, at, answer } in self.broken.iter().take(SHOWN) {
            let (name, at) = (name_of(*credential), at.as_secs_f32());
            writeln!(to, "  BROKEN at {at:.1} s: {name}: {answer:?}")?;
        }
        for (credential, at) in self.setbacks.iter().take(SHOWN) {
            let (name, at) = (name_of(*credential), at.as_secs_f32());
            writeln!(to, "  BROKEN at {at:.1} s: {name}: an older token over a younger")?;
        }
        for (credential, at) in self.unpermitted.iter().take(SHOWN) {
            let (name, at) = (name_of(*credential), at.as_secs_f32());
            writeln!(to, "  BROKEN at {at:.1} s: {name}: a token without permission")?;
        }
        Ok(())
    }
}

fn lateness(renewals: &[Renewal]) -> Vec<Duration> {
    renewals.iter().map(|renewal| renewal.lateness).collect()
}

/// In seconds. Times in annotations are whole seconds, and targets are looked at twice a second.
fn quantiles(durations: &[Duration]) -> String {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let index = (sorted.len().saturating_sub(1) * percent).div_ceil(100);
        sorted.get(index).map_or_else(|| "-".to_owned(), |found| format!("{:.1}", found.as_secs_f32()))
    };
    format!("{} / {} / {} s", at(50), at(99), at(100))
}

#[test]
fn quantiles_are_of_what_was_seen() {
    let durations: Vec<_> = (0..=100).rev().map(Duration::from_secs).collect();
    assert_eq!(quantiles(&durations), "50.0 / 99.0 / 100.0 s");
    assert_eq!(quantiles(&[]), "- / - / - s");
}

#[test]
fn a_soak_fails_if_a_token_nearly_expired_while_it_could_be_renewed_or_if_it_rarely_could() {
    let complaint = |broken_from: u64, near_its_end: u64| {
        let ledger = Ledger::open();
        for at in 0..100 {
            let answer = if at == near_its_end { Answer::AboutToExpire } else { Answer::Accepted };
            ledger.read(Read { credential: 0, at: Duration::from_secs(at), answer });
        }
        ledger.broke(Scope::All, Duration::from_secs(broken_from), Duration::from_secs(100));
        let all = (0..CREDENTIALS).collect();
        let table = Table::of(&ledger, UserCounts::default(), &all, 0, Duration::from_secs(100));
        table.complaint().unwrap_or_default()
    };
    assert_eq!(complaint(25, 50), "");
    assert!(complaint(24, 50).contains("too seldom"));
    assert!(complaint(25, 10).contains("was broken"));
}
