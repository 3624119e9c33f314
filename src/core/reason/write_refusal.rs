//! What the API server answers when it refuses a call.

use super::Reason;

/// How many bytes of an answer of the API server a message shows: the note of an Event, of 1,024 bytes, has to hold it.
pub(super) const ANSWER_MAX_LENGTH: usize = 256;

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
    let words: Vec<&str> = answer.split(|it: char| it.is_whitespace() || is_deceptive(it)).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let shown = |(start, character): &(usize, char)| start + character.len_utf8() <= ANSWER_MAX_LENGTH;
    let mut answer: String = line.char_indices().take_while(shown).map(|(_, character)| character).collect();
    if answer.len() < line.len() {
        answer.push('…');
    }
    answer
}

/// Whether a character could make a terminal show something else: control characters, and those that are invisible or
/// change the direction of the text.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
