//! What the API server answers when it refuses a call.

use super::Reason;

/// How many characters of an answer of the API server a message shows.
pub(super) const ANSWER_MAX_CHARACTERS: usize = 256;

impl Reason {
    /// The API server refused to write the target, with this answer.
    #[must_use]
    pub fn target_write_refused(secret: String, answer: &str) -> Self {
        Self::TargetWriteRefused { secret, answer: on_one_line(answer) }
    }

    /// A call to the API server fails over and over, the last time with this answer.
    #[must_use]
    pub fn api_server_call_failed(call: String, answer: &str) -> Self {
        Self::ApiServerCallFailed { call, answer: on_one_line(answer) }
    }
}

/// An answer on one line, and cut.
fn on_one_line(answer: &str) -> String {
    let words: Vec<&str> = answer.split(|it: char| it.is_whitespace() || it.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let mut answer: String = line.chars().take(ANSWER_MAX_CHARACTERS).collect();
    if answer.len() < line.len() {
        answer.push('…');
    }
    answer
}
