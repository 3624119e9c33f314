//! The patterns of the schema's rules, compiled.

use std::sync::LazyLock;

use regex_lite::Regex;

use crate::api::rules;

/// A pattern that is compiled once, which takes far longer than matching. One that did not compile would match nothing; a
/// test compiles every one.
pub(super) type Pattern = LazyLock<Option<Regex>>;

pub(super) static NAME: Pattern = Pattern::new(|| Regex::new(rules::NAME_PATTERN).ok());
pub(super) static NAMESPACE: Pattern = Pattern::new(|| Regex::new(rules::NAMESPACE_PATTERN).ok());
pub(super) static KEY: Pattern = Pattern::new(|| Regex::new(rules::KEY_PATTERN).ok());
pub(super) static RESERVED_KEY: Pattern = Pattern::new(|| Regex::new(rules::RESERVED_KEY_PATTERN).ok());
pub(super) static TYPE: Pattern = Pattern::new(|| Regex::new(rules::TYPE_PATTERN).ok());
pub(super) static RESERVED_TYPE: Pattern = Pattern::new(|| Regex::new(rules::RESERVED_TYPE_PATTERN).ok());
pub(super) static QUALIFIED_NAME: Pattern = Pattern::new(|| Regex::new(rules::QUALIFIED_NAME_PATTERN).ok());

/// Whether the pattern matches.
pub(super) fn is_match(pattern: &Pattern, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        let patterns = [&NAME, &NAMESPACE, &KEY, &RESERVED_KEY, &TYPE, &RESERVED_TYPE, &QUALIFIED_NAME];
        assert!(patterns.into_iter().all(|pattern| pattern.is_some()));
    }
}
