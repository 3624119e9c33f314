//! What can be wrong with a template, and the limits that it has to keep.

/// The most parts of one value: texts, variables and tags.
pub(super) const MOST_STEPS: usize = 1024;
/// How deep `if` and parentheses may be nested.
pub(super) const DEEPEST: usize = 8;
/// The most filters on one value.
pub(super) const MOST_FILTERS: usize = 4;
/// The longest name that an error repeats.
const LONGEST_NAME: usize = 32;

/// What is wrong with a template; none of it holds a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("unclosed tag, string or parenthesis")]
    Unclosed,
    #[error("expected a variable, string, filter or `~`")]
    Unexpected,
    #[error("unknown variable{0}")]
    UnknownVariable(Name),
    #[error("unknown filter{0}")]
    UnknownFilter(Name),
    #[error("unknown tag, only if and raw exist")]
    UnknownTag,
    #[error("an if on something other than a variable")]
    NoCondition,
    #[error("elif, else or endif without if")]
    StrayBranch,
    #[error("if without endif")]
    OpenIf,
    #[error("invalid escape in a string")]
    BadEscape,
    #[error("more than {DEEPEST} levels of if or parentheses")]
    TooDeep,
    #[error("more than {MOST_FILTERS} filters on one value")]
    TooManyFilters,
    #[error("more than {MOST_STEPS} parts")]
    TooManyParts,
    #[error("more text than a value can hold")]
    TooLarge,
}

/// A name as an error repeats it, if it is a plain one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name(Option<String>);

impl Name {
    pub(super) fn new(name: &str) -> Self {
        Self((name.len() <= LONGEST_NAME).then(|| name.to_owned()))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |name| write!(formatter, " {name}"))
    }
}

/// A fault, and the line in which it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) fault: Fault,
    pub(super) line: usize,
}
