//! The user's template of the target Secret: what it may say, and how it is rendered.
//!
//! Rendering is strict and bounded: an unknown variable, endless work or an oversized value is an error that names
//! key, line and kind, and never a value. The password and the refresh token are not reachable from a template.
//!
//! Of the engine's tags only `if` and `raw` are allowed. Whatever binds names (`set`, `for`, `with`, `macro`) can build
//! values that double at each step, and the engine shows, compares and drops them by recursion: a few lines of template
//! would end the process.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value, context};
use zeroize::Zeroizing;

use super::reason::Reason;

/// The most that one rendered value may hold, in bytes.
const VALUE_LIMIT: usize = 32 * 1024;
/// The most that all rendered values may hold together; etcd takes a request of about 1.5 MiB.
const TOTAL_LIMIT: usize = 512 * 1024;
/// Steps of the template engine for one value: thousands of times what a template of this kind needs.
const FUEL: u64 = 100_000;

/// The tags that a template may use.
const TAGS: [&str; 6] = ["if", "elif", "else", "endif", "raw", "endraw"];

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
    /// When it dies, RFC 3339; `none` in a template where nobody knows.
    pub expires_at: Option<&'a str>,
    /// When it was issued, RFC 3339; `none` in a template where nobody knows.
    pub issued_at: Option<&'a str>,
    /// Seconds that it lives from then on; `none` in a template where nobody knows.
    pub expires_in: Option<i64>,
    /// The credential, where there is one: a sidecar has none, and to its templates these two are unknown.
    pub credential: Option<CredentialName<'a>>,
}

/// How a credential is called.
#[derive(Clone, Copy)]
pub struct CredentialName<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// Key by key, the template of each value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(BTreeMap<String, String>);

impl Default for Template {
    /// The two keys of a target without a template.
    fn default() -> Self {
        let pairs = [("token", "{{ token }}"), ("expires_at", "{{ expires_at }}")];
        Self(pairs.map(|(key, text)| (key.to_owned(), text.to_owned())).into())
    }
}

impl Template {
    /// Accepts a template that renders with any token. A mistake shows before a login is spent on it.
    ///
    /// # Errors
    /// [`Reason::TemplateError`] or [`Reason::TemplateTooLarge`], naming the key.
    pub fn parse(keys: BTreeMap<String, String>) -> Result<Self, Reason> {
        let credential = CredentialName { namespace: "namespace", name: "name" };
        Self::tried(keys, &[Values { credential: Some(credential), ..SAMPLE }])
    }

    /// Accepts a template that renders without a credential, and with a token of which no times are known as well.
    ///
    /// # Errors
    /// [`Reason::TemplateError`] or [`Reason::TemplateTooLarge`], naming the key.
    pub fn parse_for_sidecar(keys: BTreeMap<String, String>) -> Result<Self, Reason> {
        Self::tried(keys, &[SAMPLE, Values { expires_at: None, issued_at: None, expires_in: None, ..SAMPLE }])
    }

    fn tried(keys: BTreeMap<String, String>, samples: &[Values<'_>]) -> Result<Self, Reason> {
        let template = Self(keys);
        samples.iter().try_for_each(|sample| template.render(sample).map(drop))?;
        Ok(template)
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Renders every key.
    ///
    /// # Errors
    /// [`Reason::TemplateError`] or [`Reason::TemplateTooLarge`], naming the key.
    pub fn render(&self, values: &Values<'_>) -> Result<Data, Reason> {
        let environment = environment();
        let part = |of: fn(CredentialName<'_>) -> &str| {
            values.credential.map_or(Value::UNDEFINED, |credential| Value::from(of(credential)))
        };
        let values = context! {
            token => values.token,
            token_type => "Bearer",
            expires_at => values.expires_at,
            issued_at => values.issued_at,
            expires_in => values.expires_in,
            namespace => part(|credential| credential.namespace),
            name => part(|credential| credential.name),
        };
        let mut total = 0;
        let mut data = Data::new();
        for (key, text) in &self.0 {
            let value = render_value(&environment, key, text, &values)?;
            total += value.len();
            if total > TOTAL_LIMIT {
                return Err(Reason::TemplateTooLarge { key: key.clone() });
            }
            data.insert(key.clone(), value);
        }
        Ok(data)
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // By name, `token.json` would be escaped and break.
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // Cannot fail: only the delimiters are checked, and they are the usual ones.
    environment.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default());
    environment.set_fuel(Some(FUEL));
    environment.add_filter("tojson", |value: Value| {
        let json = serde_json::to_string(&value);
        json.map_err(|_| Error::new(ErrorKind::BadSerialization, "not serializable")).and_then(bounded)
    });
    environment.add_filter("b64encode", |value: Value| bounded(STANDARD.encode(value.to_string())));
    environment
}

/// What a filter makes, unless it is too much: filters behind filters would grow it without end.
fn bounded(text: String) -> Result<String, Error> {
    if text.len() <= VALUE_LIMIT {
        Ok(text)
    } else {
        Err(Error::new(ErrorKind::InvalidOperation, "a filter makes more than a value may hold"))
    }
}

/// The line of the first tag that is not allowed, if there is one. Also what would stand there as text: whoever wants that
/// writes it in two parts, `{{ "{" ~ "%" }}`.
fn forbidden_tag(text: &str) -> Option<usize> {
    text.match_indices("{%").find_map(|(start, opening)| {
        let tag = text.get(start + opening.len()..)?.trim_start_matches(['-', '+']).trim_start();
        let name = tag.split(|letter: char| !letter.is_ascii_alphanumeric()).next()?;
        (!TAGS.contains(&name)).then(|| text[..start].matches('\n').count() + 1)
    })
}

fn render_value(
    environment: &Environment<'_>,
    key: &str,
    text: &str,
    values: &Value,
) -> Result<Zeroizing<Vec<u8>>, Reason> {
    let error = |error: &Error| Reason::TemplateError {
        key: key.to_owned(),
        line: error.line().unwrap_or(1),
        kind: error.kind().to_string(),
    };
    if let Some(line) = forbidden_tag(text) {
        let kind = "a tag other than if and raw".to_owned();
        return Err(Reason::TemplateError { key: key.to_owned(), line, kind });
    }
    let template = environment.template_from_str(text).map_err(|e| error(&e))?;
    let mut output = Bounded { bytes: Zeroizing::new(Vec::with_capacity(VALUE_LIMIT)), full: false };
    match template.render_captured_to(values, &mut output) {
        _ if output.full => Err(Reason::TemplateTooLarge { key: key.to_owned() }),
        Ok(_) => Ok(Zeroizing::new(output.bytes.to_vec())),
        Err(failed) => Err(error(&failed)),
    }
}

/// A buffer that never grows, so that no copy of a token is left behind by a reallocation.
struct Bounded {
    bytes: Zeroizing<Vec<u8>>,
    full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > VALUE_LIMIT {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALUES: Values<'static> = Values {
        token: "abc.def",
        expires_at: Some("2026-01-01T01:00:00Z"),
        issued_at: Some("2026-01-01T00:00:00Z"),
        expires_in: Some(3600),
        credential: Some(CredentialName { namespace: "shop", name: "billing" }),
    };

    fn render(text: &str) -> Result<String, Reason> {
        let template = Template(BTreeMap::from([("k.json".to_owned(), text.to_owned())]));
        template.render(&VALUES).map(|data| String::from_utf8(data["k.json"].to_vec()).unwrap())
    }

    #[test]
    fn values_and_filters_render_without_escaping() {
        let cases = [
            ("{{ token }}", "abc.def"),
            ("{{ token_type }} {{ token }}", "Bearer abc.def"),
            (r#"{"t": {{ token|tojson }}, "n": {{ expires_in }}}"#, r#"{"t": "abc.def", "n": 3600}"#),
            ("{{ token|b64encode }}", "YWJjLmRlZg=="),
            ("<{{ namespace }}/{{ name }}>", "<shop/billing>"),
            ("{{ issued_at }} {{ expires_at }}", "2026-01-01T00:00:00Z 2026-01-01T01:00:00Z"),
            ("no newline is eaten\n", "no newline is eaten\n"),
        ];
        for (text, expected) in cases {
            assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_template_error_names_key_line_and_kind_and_no_value() {
        let cases = [
            ("a\n{{ password }}", 2, "undefined value"),
            ("{{ refresh_token }}", 1, "undefined value"),
            ("{{ token.x.y }}", 1, "undefined value"),
            ("{{ token", 1, "syntax error"),
            ("{{ token|nothing }}", 1, "unknown filter"),
            ("{{ token + 1 }}", 1, "invalid operation"),
        ];
        for (text, expected_line, expected_kind) in cases {
            let reason = render(text).unwrap_err();
            let Reason::TemplateError { key, line, kind } = &reason else { panic!("{reason:?}") };
            assert_eq!(
                (key.as_str(), *line, kind.as_str()),
                ("k.json", expected_line, expected_kind),
                "{text}"
            );
            assert!(!reason.message().contains("abc.def"));
        }
    }

    #[test]
    fn size_and_work_are_bounded() {
        let large = "x".repeat(VALUE_LIMIT);
        assert!(render(&large).is_ok());
        assert_eq!(render(&format!("{large}x")), Err(Reason::TemplateTooLarge { key: "k.json".into() }));
        let many = (0..17).map(|n| (format!("k{n}"), large.clone())).collect();
        assert!(matches!(Template::parse(many), Err(Reason::TemplateTooLarge { .. })));
        let endless = "{% for a in token %}{% for b in token %}{% for c in token %}{% for d in token %}{% for e in token %}{% for f in token %}{% for g in token %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}";
        assert!(matches!(render(endless), Err(Reason::TemplateError { .. })));
    }

    #[test]
    fn what_binds_names_or_grows_without_end_is_refused() {
        for text in [
            "a\n{% set a = [1] %}",
            "{%- for a in [[1]] -%}{% endfor %}",
            "{%+ with a = 1 %}{% endwith %}",
            "{% macro a() %}{% endmacro %}",
            "{%set a=1%}",
            "{%",
            "{% ä %}",
        ] {
            let Err(Reason::TemplateError { line, .. }) = render(text) else { panic!("{text}") };
            assert_eq!(line, if text.starts_with('a') { 1 + 1 } else { 1 }, "{text}");
        }
        let chain = format!("{{{{ token{} }}}}", "|b64encode".repeat(200));
        assert!(matches!(render(&chain), Err(Reason::TemplateError { .. })));
        let quoted = format!("{{{{ '\"'{} }}}}", "|tojson".repeat(200));
        assert!(matches!(render(&quoted), Err(Reason::TemplateError { .. })));
        assert!(render("{{ token * 1000000000000 }}").is_err());
        assert_eq!(render("{% if name == 'billing' -%} yes {%- else %}no{% endif %}").as_deref(), Ok("yes"));
        assert_eq!(render("{% raw %}{{ as it is }}{% endraw %}").as_deref(), Ok("{{ as it is }}"));
    }

    #[test]
    fn without_a_template_there_are_the_bare_token_and_its_expiry() {
        let data = Template::default().render(&VALUES).unwrap();
        let data: Vec<(&str, &[u8])> = data.iter().map(|(key, value)| (key.as_str(), &value[..])).collect();
        assert_eq!(data, [("expires_at", &b"2026-01-01T01:00:00Z"[..]), ("token", b"abc.def")]);
    }

    #[test]
    fn a_template_of_a_sidecar_knows_no_credential_and_has_to_do_without_times() {
        let parse = |text: &str| Template::parse_for_sidecar([("k".to_owned(), text.to_owned())].into());
        for text in ["{{ name }}", "{{ namespace }}", "{{ expires_in + 1 }}"] {
            assert!(matches!(parse(text), Err(Reason::TemplateError { .. })), "{text}");
        }
        let template = parse("{{ expires_at|tojson }} {{ expires_in|tojson }}").unwrap();
        let unknown = Values { expires_at: None, issued_at: None, expires_in: None, ..SAMPLE };
        assert_eq!(template.render(&unknown).unwrap()["k"].as_slice(), b"null null");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_renderer_panic_or_show_the_token_in_an_error(text in "[{}%|a-z_. \n\"'()+*\\[\\]0-9-]{0,80}") {
            if let Err(reason) = render(&text) {
                prop_assert!(!reason.message().contains("abc.def"));
            }
        }
    }
}
