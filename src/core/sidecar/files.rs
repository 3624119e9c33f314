//! The names and the content of the files that a sidecar writes.

use std::collections::BTreeMap;

use super::token::HeldToken;
use crate::core::reason::Reason;
use crate::core::template::{Data, Template, Values};

/// The bare token.
pub const TOKEN: &str = "token";
/// The value of an `Authorization` header.
pub const AUTHORIZATION: &str = "authorization";
/// The token with its times, as JSON; a restarted process reads it back.
pub const TOKEN_JSON: &str = "token.json";

/// The content of the files that are always written.
const ALWAYS: [(&str, &str); 3] = [
    (TOKEN, "{{ token }}"),
    (AUTHORIZATION, "{{ token_type }} {{ token }}"),
    (
        TOKEN_JSON,
        r#"{"token": {{ token|tojson }}, "token_type": {{ token_type|tojson }}, "issued_at": {{ issued_at|tojson }}, "expires_at": {{ expires_at|tojson }}}
"#,
    ),
];

/// The most templates of a sidecar.
const MOST: usize = 32;

/// Why file templates cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The name is not allowed for a published file.
    #[error(
        "{0:?} is not a valid file name: use letters, digits, dot, dash and underscore, and no leading `..`"
    )]
    Name(String),
    /// The sidecar itself writes a file with this name.
    #[error("the sidecar itself writes the file {0}; rename the template")]
    Taken(String),
    /// There are more templates than `MOST`.
    #[error("there are more than {MOST} templates")]
    TooMany,
    /// It does not render.
    #[error("template {key} cannot be rendered: {kind} in line {line}")]
    Unusable {
        /// The file.
        key: String,
        /// The line in its template.
        line: usize,
        /// What kind of error; never a value.
        kind: String,
    },
    /// It renders to more than 32 KiB, or all together to more than 512 KiB.
    #[error("template {0} renders to more than 32 KiB, or all templates to more than 512 KiB")]
    TooLarge(String),
    /// All together have more than 512 KiB of text.
    #[error("the templates have more than 512 KiB of text in total")]
    TooLong,
}

/// The files of a token.
#[derive(Clone, Debug)]
pub struct Files(Template);

impl Files {
    /// The three that are always there, and one for each of these templates.
    ///
    /// # Errors
    /// When a name or a template cannot be used.
    pub fn new(templates: BTreeMap<String, String>) -> Result<Self, TemplateError> {
        if templates.len() > MOST {
            return Err(TemplateError::TooMany);
        }
        for name in templates.keys() {
            if ALWAYS.iter().any(|(taken, _)| taken == name) {
                return Err(TemplateError::Taken(name.clone()));
            }
            if !is_file_name(name) {
                return Err(TemplateError::Name(name.clone()));
            }
        }
        let always = ALWAYS.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let all = templates.into_iter().chain(always);
        Template::parse_for_sidecar(all).map(Self).map_err(defect)
    }

    /// The content of each file.
    ///
    /// # Errors
    /// When it grows too large with this token.
    pub fn render(&self, held: &HeldToken) -> Result<Data, TemplateError> {
        let (issued, expiry) = (held.issued.map(|issued| issued.wall), held.expiry.map(|expiry| expiry.wall));
        let lifetime = issued.zip(expiry).map(|(issued, expiry)| expiry.duration_since(issued));
        let rendered = self.0.render(&Values {
            token: held.access.expose(),
            expires_at: expiry.map(|expiry| expiry.to_string()).as_deref(),
            issued_at: issued.map(|issued| issued.to_string()).as_deref(),
            expires_in: lifetime.map(|lifetime| lifetime.as_secs()),
            credential: None,
        });
        rendered.map_err(defect)
    }

    /// The names of all files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys()
    }
}

/// The rule of a Secret's keys, which the kubelet makes files of.
fn is_file_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=253).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with("..") && name != "."
}

fn defect(reason: Reason) -> TemplateError {
    match reason {
        Reason::TemplateError { key, line, kind } => TemplateError::Unusable { key, line, kind },
        Reason::TemplateTooLarge { key } => TemplateError::TooLarge(key),
        Reason::TemplateTooLong => TemplateError::TooLong,
        other => TemplateError::Unusable { key: String::new(), line: 1, kind: other.name().to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::sidecar::token::TokenFields;
    use crate::core::testing::{at, token};

    fn files(templates: &[(&str, &str)]) -> Result<Files, TemplateError> {
        Files::new(templates.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn three_files_are_always_there_and_the_json_is_read_back_as_the_same_token() {
        let held = HeldToken::issued(&token("a\"b", at(0), 60));
        let files = files(&[("netrc", "password {{ token }}")]).unwrap();
        let data = files.render(&held).unwrap();
        assert!(
            files.names().eq([AUTHORIZATION, "netrc", TOKEN, TOKEN_JSON]) && data.keys().eq(files.names())
        );
        assert_eq!((&*data[TOKEN], &*data[AUTHORIZATION]), (&b"a\"b".to_vec(), &b"Bearer a\"b".to_vec()));
        let read = TokenFields {
            token: Some(&data[TOKEN]),
            json: Some(&data[TOKEN_JSON]),
            ..TokenFields::default()
        };
        let read = HeldToken::found(read, at(0)).unwrap();
        assert!(read.is_same(&held) && read.issued == held.issued);
        let json: serde_json::Value = serde_json::from_slice(&data[TOKEN_JSON]).unwrap();
        assert_eq!(json["token"], "a\"b");
    }

    #[test]
    fn unknown_times_are_null() {
        let held = HeldToken::found(TokenFields { token: Some(b"opaque"), ..TokenFields::default() }, at(0))
            .unwrap();
        let data = files(&[]).unwrap().render(&held).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&data[TOKEN_JSON]).unwrap();
        assert!(json["expires_at"].is_null() && json["issued_at"].is_null(), "{json}");
    }

    #[test]
    fn a_name_that_hides_or_leads_elsewhere_is_refused() {
        for name in ["..data", "..", ".", "", "a/b", "/etc/passwd", "a b", "ä"] {
            assert_eq!(files(&[(name, "")]).err(), Some(TemplateError::Name(name.to_owned())), "{name:?}");
        }
        assert!(files(&[(".netrc", ""), ("a..b", "")]).is_ok());
        for name in [TOKEN, AUTHORIZATION, TOKEN_JSON] {
            assert_eq!(files(&[(name, "")]).err(), Some(TemplateError::Taken(name.to_owned())));
        }
    }

    #[test]
    fn a_template_that_cannot_be_rendered_is_refused_before_there_is_a_token() {
        let defect = files(&[("a", "\n{{ password }}")]).unwrap_err();
        assert_eq!(defect.to_string(), "template a cannot be rendered: unknown variable password in line 2");
    }
}
