//! One line of the check.

use serde::Serialize;

use crate::plugin::screen::{Screen, Text, Tone};

/// How one check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Verdict {
    Good,
    /// It works, and something should be done.
    Warning,
    Failed,
    /// This user may not see it.
    Unknown,
}

/// A check, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    pub(super) message: String,
    /// What to do. Empty: nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) cure: String,
    /// The page of the documentation.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) page: &'static str,
}

impl Check {
    pub(super) fn new(name: &'static str, verdict: Verdict, message: impl Into<String>) -> Self {
        Self { name, verdict, message: message.into(), cure: String::new(), page: "" }
    }

    pub(super) fn good(name: &'static str, message: impl Into<String>) -> Self {
        Self::new(name, Verdict::Good, message)
    }

    pub(super) fn cure(mut self, cure: impl Into<String>, page: &'static str) -> Self {
        self.cure = cure.into();
        self.page = page;
        self
    }

    pub(super) fn render(&self, screen: &Screen, text: &mut Text) {
        let (tone, sign) = match self.verdict {
            Verdict::Good => (Tone::Good, "ok     "),
            Verdict::Warning => (Tone::Doubtful, "warning"),
            Verdict::Failed => (Tone::Bad, "FAIL   "),
            Verdict::Unknown => (Tone::Plain, "unknown"),
        };
        text.line(format!("{}  {}: {}", screen.paint(tone, sign), self.name, self.message));
        if !self.cure.is_empty() {
            text.line(format!("         cure: {}", self.cure));
        }
        if !self.page.is_empty() {
            text.line(format!("         page: {}", self.page));
        }
    }
}
