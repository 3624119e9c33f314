//! What the API server answers when it refuses to write the target.

use super::Reason;

/// How many characters of an answer of the API server a message shows.
pub(super) const ANSWER_MAX_CHARACTERS: usize = 256;

impl Reason {
    /// The API server refused to write the target, with this answer.
    #[must_use]
    pub fn target_write_refused(secret: String, answer: &str) -> Self {
        let words: Vec<&str> = answer.split(|it: char| it.is_whitespace() || it.is_control()).collect();
        let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let mut answer: String = line.chars().take(ANSWER_MAX_CHARACTERS).collect();
        if answer.len() < line.len() {
            answer.push('…');
        }
        Self::TargetWriteRefused { secret, answer }
    }
}
