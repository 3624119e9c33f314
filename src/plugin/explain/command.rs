//! A command to paste, and when it is the one.

use std::fmt;

use serde::{Serialize, Serializer};

/// A command to paste.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) line: String,
    /// When it is the one, or what to do with it. None: always.
    pub(super) when: Option<String>,
}

impl Command {
    pub(super) fn when(self, when: impl Into<String>) -> Self {
        Self { when: Some(when.into()), ..self }
    }
}

impl From<String> for Command {
    fn from(line: String) -> Self {
        Self { line, when: None }
    }
}

impl From<&str> for Command {
    fn from(line: &str) -> Self {
        line.to_owned().into()
    }
}

/// As one line for a shell that knows comments.
impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.line)?;
        self.when.as_ref().map_or(Ok(()), |when| write!(formatter, "   # {when}"))
    }
}

/// Programs read the line.
impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_read_a_command_with_its_condition_as_a_comment() {
        let json = |command: &Command| serde_json::to_value(command).unwrap();
        assert_eq!(json(&"kubectl a".into()), "kubectl a");
        assert_eq!(json(&Command::from("kubectl b # c").when("if so")), "kubectl b # c   # if so");
    }
}
