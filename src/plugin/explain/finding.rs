//! A finding: the cause, the evidence, and the cure as commands to paste.

use serde::Serialize;

use super::command::Command;
use crate::ops::documentation;
use crate::plugin::screen::{Screen, Text, Tone};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Severity {
    /// There is no valid token, or soon will be none.
    Problem,
    /// It works, and something will go wrong, or a consumer will not notice.
    Warning,
    /// Good to know.
    Note,
}

/// What is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) cause: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) evidence: Vec<String>,
    /// What to do, in a sentence. Empty: nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) cure: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) commands: Vec<Command>,
    /// The address of the page about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) page: Option<String>,
}

impl Finding {
    pub(super) fn new(severity: Severity, cause: impl Into<String>) -> Self {
        Self {
            severity,
            cause: cause.into(),
            evidence: Vec::new(),
            cure: String::new(),
            commands: Vec::new(),
            page: None,
        }
    }

    pub(super) fn evidence(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    pub(super) fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = cure.into();
        self
    }

    pub(super) fn command(mut self, command: impl Into<Command>) -> Self {
        self.commands.push(command.into());
        self
    }

    /// This command, and not those that stand there.
    pub(super) fn only_command(mut self, command: Command) -> Self {
        self.commands = vec![command];
        self
    }

    pub(super) fn commands(mut self, commands: Vec<Command>) -> Self {
        self.commands.extend(commands);
        self
    }

    /// The file of the page about it.
    pub(super) fn page(mut self, file: &str) -> Self {
        self.page = Some(documentation::page(file));
        self
    }

    /// The reason or alert whose page it is.
    pub(super) fn runbook(mut self, name: &str) -> Self {
        self.page = Some(documentation::runbook(name));
        self
    }

    /// The lines of it.
    pub(super) fn render(&self, screen: &Screen, text: &mut Text) {
        let (tone, title) = match self.severity {
            Severity::Problem => (Tone::Bad, "Problem"),
            Severity::Warning => (Tone::Doubtful, "Warning"),
            Severity::Note => (Tone::Plain, "Note"),
        };
        text.line(format!("{}  {}", screen.paint(tone, &format!("{title:<8}")), self.cause));
        for evidence in &self.evidence {
            text.line(format!("  seen:   {evidence}"));
        }
        if !self.cure.is_empty() {
            text.line(format!("  cure:   {}", self.cure));
        }
        for Command { line, when } in &self.commands {
            // Not beside it: some shells take a pasted comment for arguments.
            if let Some(when) = when {
                text.line(format!("          {}:", capitalized(when)));
            }
            text.line(format!("          {}", screen.paint(Tone::Title, line)));
        }
        if let Some(page) = &self.page {
            text.line(format!("  page:   {page}"));
        }
    }
}

fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_stands_alone_on_its_line_because_not_every_shell_takes_a_pasted_comment() {
        let mut text = Text::default();
        let screen = Screen::new(Box::new(std::io::sink()), false);
        Finding::new(Severity::Problem, "It failed")
            .command("kubectl a")
            .command(Command::from("kubectl b   # no comment").when("if that is so"))
            .render(&screen, &mut text);
        let expected = "Problem   It failed\n          kubectl a\n          If that is so:\n          kubectl b   # no comment\n";
        assert_eq!(text.finish(), expected);
    }
}
