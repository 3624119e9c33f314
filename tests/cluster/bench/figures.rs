//! The figures of a run: a table, a JSON file, and the comparison with an earlier run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::field::Spent;

/// The figures of one case: a name with its unit, and the value.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Case(BTreeMap<String, f64>);

/// All figures: by section (`first issue`) and case (`1000`).
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Figures(BTreeMap<String, BTreeMap<String, Case>>);

/// A number of things as a divisor.
pub(super) fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// The value below which this share of the sorted ones lies.
pub(super) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

impl Case {
    pub(super) fn set(&mut self, name: impl Into<String>, value: f64) {
        // JSON knows no NaN, and nobody needs more digits.
        if value.is_finite() {
            self.0.insert(name.into(), (value * 1000.0).round() / 1000.0);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// The figures whose names begin so, without that part.
    pub(super) fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, *value)))
    }

    /// What one of `count` things cost: `what` names it.
    pub(super) fn set_spent(&mut self, spent: &Spent, count: usize, what: &str) {
        let count = float(count);
        self.set(format!("operator CPU ms a {what}"), spent.operator / count * 1000.0);
        self.set(format!("API server CPU ms a {what}"), spent.api_server / count * 1000.0);
        self.set(format!("etcd CPU ms a {what}"), spent.etcd / count * 1000.0);
        self.set(format!("issuer calls a {what}"), f64::from(spent.calls) / count);
        let total: usize = spent.requests.values().sum();
        self.set(format!("requests a {what}"), float(total) / count);
        for (request, number) in &spent.requests {
            self.set(format!("requests a {what}: {request}"), float(*number) / count);
        }
    }
}

impl Figures {
    pub(super) fn case(&mut self, section: &str, case: impl Into<String>) -> &mut Case {
        self.0.entry(section.to_owned()).or_default().entry(case.into()).or_default()
    }

    /// One figure of every case of a section, by the number that the case is named by.
    pub(super) fn series(&self, section: &str, name: &str) -> Vec<(f64, f64)> {
        let Some(cases) = self.0.get(section) else { return Vec::new() };
        let point = |(case, figures): (&String, &Case)| Some((case.parse().ok()?, figures.get(name)?));
        let mut points: Vec<(f64, f64)> = cases.iter().filter_map(point).collect();
        points.sort_by(|left, right| left.0.total_cmp(&right.0));
        points
    }

    /// Those of an earlier run, if there is one.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    pub(super) fn write(&self, path: &Path) {
        let json = serde_json::to_string_pretty(self).unwrap();
        std::fs::write(path, json + "\n").unwrap();
    }

    /// All figures beside those of an earlier run.
    pub(super) fn table(&self, earlier: Option<&Self>) -> String {
        let mut table = String::new();
        for (section, cases) in &self.0 {
            for (case, figures) in cases {
                writeln!(table, "\n{section}, {case}{:>40}{:>12}", "now", "before").unwrap();
                let old = earlier.and_then(|earlier| earlier.0.get(section)?.get(case));
                for (name, value) in &figures.0 {
                    let old = old.and_then(|old| old.get(name));
                    writeln!(table, "{}", row(name, *value, old)).unwrap();
                }
            }
        }
        table
    }
}

fn row(name: &str, value: f64, old: Option<f64>) -> String {
    let change = match old {
        Some(old) if old > 0.0 => format!("{old:>12.3}{:>+8.0} %", (value / old - 1.0) * 100.0),
        Some(old) => format!("{old:>12.3}"),
        None => String::new(),
    };
    format!("  {name:<56}{value:>12.3}{change}")
}
