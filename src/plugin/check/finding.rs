//! One line of the check.

use serde::Serialize;

use crate::ops::documentation;
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
    /// The address of the page about it. Empty: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) page: String,
}

impl Check {
    pub(super) fn new(name: &'static str, verdict: Verdict, message: impl Into<String>) -> Self {
        Self { name, verdict, message: message.into(), cure: String::new(), page: String::new() }
    }

    pub(super) fn good(name: &'static str, message: impl Into<String>) -> Self {
        Self::new(name, Verdict::Good, message)
    }

    /// With what to do, and the file of the page about it.
    pub(super) fn cure(mut self, cure: impl Into<String>, page: &str) -> Self {
        self.cure = cure.into();
        if !page.is_empty() {
            self.page = documentation::page(page);
        }
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
