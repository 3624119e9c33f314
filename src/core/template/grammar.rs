//! The language of templates, and all of it:
//!
//! ```text
//! value      = { text | "{{" join "}}" | "{#" … "#}" | raw | if }
//! join       = term { "~" term }
//! term       = ( variable | string | "(" join ")" ) { "|" filter }
//! filter     = "tojson" | "b64encode"
//! raw        = "{% raw %}" … "{% endraw %}"
//! if         = "{% if" variable "%}" value { "{% elif" variable "%}" value } [ "{% else %}" value ] "{% endif %}"
//! ```
//!
//! A `-` inside of a delimiter takes away the white space beyond it. There are no numbers, lists, maps, operators, calls
//! and loops: nothing in it makes more of a text than its filters do. Every count has a limit, and what nests does so
//! within one, so that no text needs more stack, memory or time than any other of its length.

use super::fault::{DEEPEST, Fault, MOST_FILTERS, MOST_STEPS, Mistake, Name};
use super::program::{Filter, Program, Step, Variable};

/// Parses a value that may speak of these variables.
pub(super) fn parse(text: &str, knows: fn(Variable) -> bool) -> Result<Program, Mistake> {
    let mut parser = Parser::new(text, knows);
    match parser.value() {
        Ok(()) => Ok(Program { steps: parser.steps.into(), texts: parser.texts.into() }),
        Err(fault) => {
            let before = text.get(..parser.fault_at).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            Err(Mistake { fault, line })
        }
    }
}

/// An `if` whose `endif` is still to come.
struct OpenIf {
    at: usize,
    /// The step that leads to the next branch; none after `else`.
    condition: Option<usize>,
    /// The steps that lead to the end.
    jumps: Vec<usize>,
}

struct Parser<'a> {
    text: &'a str,
    knows: fn(Variable) -> bool,
    /// How far it was read.
    at: usize,
    /// Where the construct began that is being read.
    fault_at: usize,
    /// Whether the tag before took away the white space behind it.
    trims: bool,
    steps: Vec<Step>,
    texts: String,
    ifs: Vec<OpenIf>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, knows: fn(Variable) -> bool) -> Self {
        let (steps, texts, ifs) = (Vec::new(), String::new(), Vec::new());
        Self { text, knows, at: 0, fault_at: 0, trims: false, steps, texts, ifs }
    }

    fn value(&mut self) -> Result<(), Fault> {
        while let Some((start, kind)) = self.next_tag() {
            self.open(start)?;
            match kind {
                b'{' => {
                    self.join(0)?;
                    self.close("}}")?;
                }
                b'%' => self.tag()?,
                _ => self.comment()?,
            }
        }
        self.literal(self.text.len(), false)?;
        self.ifs.last().map_or(Ok(()), |open| {
            self.fault_at = open.at;
            Err(Fault::OpenIf)
        })
    }

    /// Where the next tag begins, and the second character of its delimiter.
    fn next_tag(&self) -> Option<(usize, u8)> {
        let bytes = self.text.as_bytes();
        self.rest().match_indices('{').find_map(|(offset, _)| {
            let start = self.at + offset;
            let kind = *bytes.get(start + 1)?;
            matches!(kind, b'{' | b'%' | b'#').then_some((start, kind))
        })
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Takes the text before a tag, and the tag's opening delimiter.
    fn open(&mut self, start: usize) -> Result<(), Fault> {
        let marker = self.text.as_bytes().get(start + 2).copied();
        self.literal(start, marker == Some(b'-'))?;
        self.fault_at = start;
        self.at = start + if matches!(marker, Some(b'-' | b'+')) { 3 } else { 2 };
        Ok(())
    }

    /// Takes a tag's closing delimiter.
    fn close(&mut self, delimiter: &str) -> Result<(), Fault> {
        self.skip_blank();
        let rest = self.rest();
        let marked = rest.strip_prefix(['-', '+']).filter(|after| after.starts_with(delimiter));
        if marked.is_none() && !rest.starts_with(delimiter) {
            return Err(self.unexpected());
        }
        self.trims = marked.is_some() && rest.starts_with('-');
        self.at += delimiter.len() + usize::from(marked.is_some());
        Ok(())
    }

    /// Parses literal text.
    fn literal(&mut self, end: usize, trims_end: bool) -> Result<(), Fault> {
        let mut text = self.text.get(self.at..end).unwrap_or_default();
        if self.trims {
            text = text.trim_start();
        }
        if trims_end {
            text = text.trim_end();
        }
        (self.at, self.trims) = (end, false);
        let start = self.texts.len();
        self.texts.push_str(text);
        if text.is_empty() { Ok(()) } else { self.push_text(start) }
    }

    /// Adds the step that writes the texts from `start` on.
    fn push_text(&mut self, start: usize) -> Result<(), Fault> {
        let place = |at: usize| u16::try_from(at).map_err(|_| Fault::TooLarge);
        let step = Step::Text { start: place(start)?, end: place(self.texts.len())? };
        self.push(step).map(drop)
    }

    fn push(&mut self, step: Step) -> Result<usize, Fault> {
        self.has_room()?;
        self.steps.push(step);
        Ok(self.steps.len() - 1)
    }

    fn has_room(&self) -> Result<(), Fault> {
        if self.steps.len() < MOST_STEPS { Ok(()) } else { Err(Fault::TooManyParts) }
    }

    /// Takes texts that are joined. Returns the most filters that one of them goes through.
    fn join(&mut self, depth: usize) -> Result<usize, Fault> {
        let mut most = 0;
        loop {
            most = most.max(self.term(depth)?);
            if !self.eats('~') {
                return Ok(most);
            }
        }
    }

    fn term(&mut self, depth: usize) -> Result<usize, Fault> {
        let start = self.steps.len();
        let mut filters = 0;
        if self.eats('(') {
            if depth >= DEEPEST {
                return Err(Fault::TooDeep);
            }
            filters = self.join(depth + 1)?;
            if !self.eats(')') {
                return Err(self.unexpected());
            }
        } else if let Some(quote) = self.rest().chars().next().filter(|quote| matches!(quote, '"' | '\'')) {
            self.string(quote)?;
        } else {
            let variable = self.variable(Fault::Unexpected)?;
            self.push(Step::Variable(variable))?;
        }
        while self.eats('|') {
            let filter = self.filter()?;
            filters += 1;
            if filters > MOST_FILTERS {
                return Err(Fault::TooManyFilters);
            }
            self.filtered(start, filter)?;
        }
        Ok(filters)
    }

    /// Has what was taken from step `start` on go through a filter.
    fn filtered(&mut self, start: usize, filter: Filter) -> Result<(), Fault> {
        if let (Filter::Json, Some(&[Step::Variable(variable)])) = (filter, self.steps.get(start..)) {
            self.steps[start] = Step::Json(variable);
            return Ok(());
        }
        self.push(Step::End)?;
        self.has_room()?;
        self.steps.insert(start, Step::Begin(filter));
        Ok(())
    }

    /// Takes a name.
    fn word(&mut self) -> &'a str {
        self.skip_blank();
        let rest = self.rest();
        let is_part = |(at, letter): &(usize, char)| {
            letter.is_ascii_alphabetic() || *letter == '_' || *at > 0 && letter.is_ascii_digit()
        };
        let length = rest.char_indices().take_while(is_part).count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// Parses a variable; `otherwise` is the fault if there is no name.
    fn variable(&mut self, otherwise: Fault) -> Result<Variable, Fault> {
        let name = self.word();
        self.fault_at = self.at - name.len();
        if name.is_empty() {
            return Err(if self.rest().is_empty() { Fault::Unclosed } else { otherwise });
        }
        let known = Variable::named(name).filter(|variable| (self.knows)(*variable));
        known.ok_or_else(|| Fault::UnknownVariable(Name::new(name)))
    }

    fn filter(&mut self) -> Result<Filter, Fault> {
        let name = self.word();
        self.fault_at = self.at - name.len();
        if name.is_empty() {
            return Err(self.unexpected());
        }
        Filter::named(name).ok_or_else(|| Fault::UnknownFilter(Name::new(name)))
    }

    /// Parses a string with JSON escapes; a backslash before another character is literal.
    fn string(&mut self, quote: char) -> Result<(), Fault> {
        let (start, from) = (self.texts.len(), self.at);
        self.fault_at = from;
        let mut letters = self.rest().char_indices().skip(1);
        while let Some((offset, letter)) = letters.next() {
            match letter {
                _ if letter == quote => {
                    self.at = from + offset + 1;
                    return self.push_text(start);
                }
                '\\' => match letters.next().map(|(_, letter)| letter) {
                    None => break,
                    Some(escaped @ ('"' | '\'' | '\\' | '/')) => self.texts.push(escaped),
                    Some('b') => self.texts.push('\u{8}'),
                    Some('f') => self.texts.push('\u{c}'),
                    Some('n') => self.texts.push('\n'),
                    Some('r') => self.texts.push('\r'),
                    Some('t') => self.texts.push('\t'),
                    Some('u') => self.texts.push(escaped(&mut letters.by_ref().map(|(_, letter)| letter))?),
                    Some('x' | '0'..='9') => return Err(Fault::BadEscape),
                    Some(other) => self.texts.extend(['\\', other]),
                },
                other => self.texts.push(other),
            }
        }
        Err(Fault::Unclosed)
    }

    fn tag(&mut self) -> Result<(), Fault> {
        let at = self.fault_at;
        match self.word() {
            "raw" => self.raw(),
            "if" => {
                if self.ifs.len() >= DEEPEST {
                    return Err(Fault::TooDeep);
                }
                let condition = Some(self.condition()?);
                self.ifs.push(OpenIf { at, condition, jumps: Vec::new() });
                Ok(())
            }
            "elif" => {
                self.branch()?;
                let condition = self.condition()?;
                let open = self.ifs.last_mut().ok_or(Fault::StrayBranch)?;
                open.condition = Some(condition);
                Ok(())
            }
            "else" => {
                self.branch()?;
                self.close("%}")
            }
            "endif" => {
                let open = self.ifs.pop().ok_or(Fault::StrayBranch)?;
                open.condition.into_iter().chain(open.jumps).for_each(|step| self.leads_here(step));
                self.close("%}")
            }
            "" if self.rest().is_empty() => Err(Fault::Unclosed),
            _ => Err(Fault::UnknownTag),
        }
    }

    /// Takes the condition of a branch. Returns the step that leads past the branch.
    fn condition(&mut self) -> Result<usize, Fault> {
        let variable = self.variable(Fault::NoCondition)?;
        self.close("%}").map_err(|fault| match fault {
            Fault::Unexpected => Fault::NoCondition,
            other => other,
        })?;
        self.push(Step::Unless(variable, 0))
    }

    /// Ends a branch; another one begins.
    fn branch(&mut self) -> Result<(), Fault> {
        let condition = self.ifs.last_mut().and_then(|open| open.condition.take());
        let condition = condition.ok_or(Fault::StrayBranch)?;
        let jump = self.push(Step::Jump(0))?;
        if let Some(open) = self.ifs.last_mut() {
            open.jumps.push(jump);
        }
        self.leads_here(condition);
        Ok(())
    }

    /// The next step is where this one leads.
    fn leads_here(&mut self, step: usize) {
        // There are far fewer steps than such a number can count.
        let here = u16::try_from(self.steps.len()).unwrap_or(u16::MAX);
        if let Some(Step::Unless(_, to) | Step::Jump(to)) = self.steps.get_mut(step) {
            *to = here;
        }
    }

    /// Parses literal text between `raw` and `endraw`.
    fn raw(&mut self) -> Result<(), Fault> {
        self.close("%}")?;
        let end = self.rest().match_indices("{%").find(|(offset, _)| {
            let tag = self.rest()[offset + 2..].trim_start_matches(['-', '+']).trim_start();
            tag.strip_prefix("endraw")
                .is_some_and(|after| after.trim_start().trim_start_matches(['-', '+']).starts_with("%}"))
        });
        let (offset, _) = end.ok_or(Fault::Unclosed)?;
        self.open(self.at + offset)?;
        self.word();
        self.close("%}")
    }

    fn comment(&mut self) -> Result<(), Fault> {
        let length = self.rest().find("#}").ok_or(Fault::Unclosed)?;
        self.trims = self.rest()[..length].ends_with('-');
        self.at += length + 2;
        Ok(())
    }

    /// The fault for unexpected input.
    fn unexpected(&mut self) -> Fault {
        if self.rest().is_empty() {
            return Fault::Unclosed;
        }
        self.fault_at = self.at;
        Fault::Unexpected
    }

    fn skip_blank(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eats(&mut self, letter: char) -> bool {
        self.skip_blank();
        let eats = self.rest().starts_with(letter);
        self.at += if eats { letter.len_utf8() } else { 0 };
        eats
    }
}

/// The character of `\uXXXX`, or of two of them.
fn escaped(letters: &mut impl Iterator<Item = char>) -> Result<char, Fault> {
    let first = code_unit(letters)?;
    let mut second = 0;
    if (0xd800..0xdc00).contains(&first) {
        if letters.next() != Some('\\') || letters.next() != Some('u') {
            return Err(Fault::BadEscape);
        }
        second = code_unit(letters)?;
    }
    char::decode_utf16([first, second]).next().and_then(Result::ok).ok_or(Fault::BadEscape)
}

fn code_unit(letters: &mut impl Iterator<Item = char>) -> Result<u16, Fault> {
    let mut unit = 0;
    for _ in 0..4 {
        let digit = letters.next().and_then(|letter| letter.to_digit(16)).ok_or(Fault::BadEscape)?;
        unit = unit * 16 + digit;
    }
    u16::try_from(unit).map_err(|_| Fault::BadEscape)
}
