//! The user's template for the target Secret, and its rendering.
//!
//! A small language (see `template/grammar.rs`), because anyone who may create a credential can write templates, and a
//! more powerful engine can be abused. Errors name key, line and kind, and never a value. Templates cannot access the
//! password or the refresh token.

mod fault;
mod grammar;
mod program;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use zeroize::Zeroizing;

use self::fault::Mistake;
use self::program::{Output, Program, Variable};
use super::reason::Reason;

/// The largest rendered value.
const VALUE_LIMIT: usize = 32 * 1024;
/// The most that all rendered values of a credential may hold together; etcd takes a request of about 1.5 MiB.
const TOTAL_LIMIT: usize = 512 * 1024;
/// The most text that the templates of a credential may have together.
pub const TEXT_LIMIT: usize = 64 * 1024;

/// What a template is tried with.
const SAMPLE: Values<'static> = Values {
    token: "token",
    expires_at: Some("2000-01-01T01:00:00Z"),
    issued_at: Some("2000-01-01T00:00:00Z"),
    expires_in: Some(3600),
    credential: None,
};

/// A target Secret's data as rendered; wiped from memory when dropped.
pub type Data = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// What a template can speak of.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// The bearer token.
    pub token: &'a str,
    /// The expiry, RFC 3339; `none` in a template if it is unknown.
    pub expires_at: Option<&'a str>,
    /// The time of issue, RFC 3339; `none` in a template if it is unknown.
    pub issued_at: Option<&'a str>,
    /// The lifetime in seconds; `none` in a template if it is unknown.
    pub expires_in: Option<i64>,
    /// The credential; a sidecar has none, and its templates do not know these two variables.
    pub credential: Option<CredentialName<'a>>,
}

/// How a credential is called: borrowed, for samples and tests are constants.
#[derive(Clone, Copy)]
pub struct CredentialName<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// The two keys of a target without a template.
static PLAIN: LazyLock<Template> = LazyLock::new(|| {
    let pairs = [("token", Variable::Token), ("expires_at", Variable::ExpiresAt)];
    let programs = pairs.map(|(key, variable)| (key.to_owned(), Program::of(variable)));
    Template { programs: Arc::new(programs.into()), literal: None }
});

/// Key by key, the template of each value. Clones share it, and so do all targets without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    programs: Arc<BTreeMap<String, Program>>,
    /// The first key whose value has no variable in it.
    literal: Option<String>,
}

impl Default for Template {
    /// The two keys of a target without a template.
    fn default() -> Self {
        PLAIN.clone()
    }
}

impl Template {
    /// Accepts a template that renders with any token. A mistake shows before a login is spent on it.
    ///
    /// # Errors
    /// [`Reason::TemplateError`], [`Reason::TemplateTooLarge`] or [`Reason::TemplateTooLong`], naming the key.
    pub fn parse<K, V>(keys: impl IntoIterator<Item = (K, V)>) -> Result<Self, Reason>
    where
        K: Into<String>,
        V: AsRef<str>,
    {
        let credential = CredentialName { namespace: "namespace", name: "name" };
        Self::tried(keys, |_| true, TEXT_LIMIT, &[Values { credential: Some(credential), ..SAMPLE }])
    }

    /// Accepts a template that renders without a credential, and with a token of which no times are known as well.
    ///
    /// # Errors
    /// [`Reason::TemplateError`], [`Reason::TemplateTooLarge`] or [`Reason::TemplateTooLong`], naming the key.
    pub fn parse_for_sidecar<K, V>(keys: impl IntoIterator<Item = (K, V)>) -> Result<Self, Reason>
    where
        K: Into<String>,
        V: AsRef<str>,
    {
        let is_known = |variable| !matches!(variable, Variable::Namespace | Variable::Name);
        let timeless = Values { expires_at: None, issued_at: None, expires_in: None, ..SAMPLE };
        Self::tried(keys, is_known, TOTAL_LIMIT, &[SAMPLE, timeless])
    }

    fn tried<K, V>(
        keys: impl IntoIterator<Item = (K, V)>,
        is_known: fn(Variable) -> bool,
        text_limit: usize,
        samples: &[Values<'_>],
    ) -> Result<Self, Reason>
    where
        K: Into<String>,
        V: AsRef<str>,
    {
        let mut programs = BTreeMap::new();
        let mut left = text_limit;
        for (key, text) in keys {
            let (key, text) = (key.into(), text.as_ref());
            left = left.checked_sub(text.len()).ok_or(Reason::TemplateTooLong)?;
            match grammar::parse(text, is_known) {
                Ok(program) => drop(programs.insert(key, program)),
                Err(Mistake { line, fault }) => {
                    return Err(Reason::TemplateError { key, line, kind: fault.to_string() });
                }
            }
        }
        let mut template = Self { programs: Arc::new(programs), literal: None };
        let mut literal = None;
        for sample in samples {
            template.run(sample, |key, _, has_variable| {
                literal = literal.take().or_else(|| (!has_variable).then(|| key.to_owned()));
            })?;
        }
        template.literal = literal;
        Ok(template)
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.programs.keys().map(String::as_str)
    }

    /// The first key whose value is the same for every token and every credential, if there is one.
    #[must_use]
    pub fn literal_key(&self) -> Option<&str> {
        self.literal.as_deref()
    }

    /// Renders every key.
    ///
    /// # Errors
    /// [`Reason::TemplateTooLarge`], naming the key.
    pub fn render(&self, values: &Values<'_>) -> Result<Data, Reason> {
        let mut data = Data::new();
        self.run(values, |key, value, _| {
            data.insert(key.to_owned(), Zeroizing::new(value.to_vec()));
        })?;
        Ok(data)
    }

    /// Renders one key after the other, each in the space of the previous one, and returns whether it contains a
    /// variable.
    fn run(&self, values: &Values<'_>, mut rendered: impl FnMut(&str, &[u8], bool)) -> Result<(), Reason> {
        let mut output = Output::with_room(VALUE_LIMIT);
        let mut left = TOTAL_LIMIT;
        for (key, program) in &*self.programs {
            output.clear(left);
            let has_variable = program.run(values, &mut output);
            let has_variable = has_variable.map_err(|_| Reason::TemplateTooLarge { key: key.clone() })?;
            left -= output.bytes().len();
            rendered(key, output.bytes(), has_variable);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
