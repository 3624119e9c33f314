//! The reference of the log names every line that the program writes, with its fields.

use std::collections::BTreeSet;
use std::fs;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::source::{program, root};

const PAGE: &str = "docs/src/reference/logs.md";
/// What a person sees without a filter of his own.
const LEVELS: [&str; 3] = ["error", "warn", "info"];

/// The beginning of a row of the page: level, message and fields.
type Row = (String, String, String);

/// The rows that a piece of code needs.
fn rows(tokens: TokenStream, found: &mut BTreeSet<Row>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        rows(group.stream(), found);
        // tracing :: LEVEL ! ( … )
        let Some(start) = index.checked_sub(5) else { continue };
        let call: Vec<_> = tokens[start..index].iter().map(ToString::to_string).collect();
        let level = LEVELS.iter().find(|level| call == ["tracing", ":", ":", **level, "!"]);
        if let (Some(level), Delimiter::Parenthesis) = (level, group.delimiter()) {
            found.insert(row(level, group.stream()));
        }
    }
}

fn row(level: &str, arguments: TokenStream) -> Row {
    let (mut fields, mut message) = (Vec::new(), None);
    let arguments: Vec<_> = arguments.into_iter().collect();
    for argument in arguments.split(|token| matches!(token, TokenTree::Punct(it) if it.as_char() == ',')) {
        match argument {
            // What follows the message is written into it.
            [TokenTree::Literal(text), ..] if message.is_none() => message = Some(text.to_string()),
            [TokenTree::Punct(_), TokenTree::Ident(name), ..] | [TokenTree::Ident(name), ..]
                if message.is_none() =>
            {
                fields.push(format!("`{name}`"));
            }
            _ => {}
        }
    }
    let message = message.unwrap_or_default();
    let message = message.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or_default();
    let message = message.replace("\\\"", "\"");
    (level.to_uppercase(), format!("`{message}`"), fields.join(", "))
}

/// The rows of the page.
fn told() -> BTreeSet<Row> {
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let row = |line: &str| match &cells(line)[..] {
        [_, level, message, fields, meaning, _] if LEVELS.contains(&level.to_lowercase().as_str()) => {
            assert!(!meaning.is_empty(), "{line}");
            Some((level.clone(), message.clone(), fields.clone()))
        }
        _ => None,
    };
    page.lines().filter_map(row).collect()
}

#[test]
fn the_reference_names_every_line_of_the_log_with_its_fields() {
    let mut said = BTreeSet::new();
    for file in program() {
        let text = file.text.split("#[cfg(test)]\nmod").next().unwrap();
        rows(text.parse().unwrap(), &mut said);
    }
    assert!(said.len() > 40, "{said:#?}");
    let told = told();
    let differences = |rows: &BTreeSet<Row>, others: &BTreeSet<Row>| {
        let line = |(level, message, fields): &Row| format!("| {level} | {message} | {fields} |");
        rows.difference(others).map(line).collect::<Vec<_>>().join("\n")
    };
    let (missing, outdated) = (differences(&said, &told), differences(&told, &said));
    assert!(
        missing.is_empty() && outdated.is_empty(),
        "{PAGE}\nlacks\n{missing}\nand has, though nobody says it,\n{outdated}"
    );
}

#[test]
fn lines_are_found_wherever_they_stand_with_their_fields() {
    let code = r#"
        fn f() { select! { () = x => tracing::warn!(%origin, ?grant, token.field, seconds = y.as_secs(), "a {}: \"b\"", c) } }
        fn g() { tracing::debug!("not told"); other::info!("nor this"); it.map(|_| tracing::info!("{error}")); }
    "#;
    let mut found = BTreeSet::new();
    rows(code.parse().unwrap(), &mut found);
    let expected =
        [("INFO", "`{error}`", ""), ("WARN", "`a {}: \"b\"`", "`origin`, `grant`, `token`, `seconds`")];
    let expected =
        expected.map(|(level, message, fields)| (level.to_owned(), message.to_owned(), fields.to_owned()));
    assert_eq!(found, BTreeSet::from(expected));
}
