//! Hostile templates of the target Secret.

use std::collections::BTreeMap;
use std::thread;

use idissuer::core::reason::Reason;
use idissuer::core::template::{CredentialName, Data, TEXT_LIMIT, Template, Values};
use proptest::prelude::*;
use proptest::sample::select;

/// The most that one rendered value may hold, and all together.
const VALUE_LIMIT: usize = 32 * 1024;
const TOTAL_LIMIT: usize = 512 * 1024;
/// The longest text that the resource's rules let through.
const LONGEST_TEXT: usize = 16 * 1024;
/// All that a template may need of the stack, and far more. A worker of the operator has four times as much.
const STACK: usize = 512 * 1024;

/// These values occur nowhere else, to search messages for them.
const VALUES: Values<'static> = Values {
    token: "very-secret.token-text",
    expires_at: Some("2031-03-01T01:00:00Z"),
    issued_at: Some("2031-03-01T00:00:00Z"),
    expires_in: Some(987_654),
    credential: Some(CREDENTIAL),
};
const CREDENTIAL: CredentialName<'static> = CredentialName { namespace: "spacious", name: "nameless" };
const TOLD_OF_NONE: [&str; 6] = ["very-secret", "token-text", "2031", "987", "spacious", "nameless"];

const KNOWN: [&str; 7] =
    ["token", "token_type", "expires_at", "issued_at", "expires_in", "namespace", "name"];
const UNKNOWN: [&str; 9] =
    ["password", "refresh_token", "self", "range", "dict", "__class__", "super", "not token", ""];
/// What an engine for more than templates of a Secret would know.
const FOREIGN: [&str; 14] = [
    "[0] * 100000000",
    "-1",
    "1.5e9",
    "{1: token}",
    "token + token",
    "token == name",
    "token.x",
    "token[0]",
    "range(9)",
    "token if name else token",
    "token is defined",
    "token|length",
    "token|tojson(2)",
    "none",
];
const STATEMENTS: [&str; 8] = [
    "{% include 'a' %}",
    "{% extends name %}",
    "{% set a = [a, a] %}",
    "{% for x in token %}{{ x }}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}",
    "{% filter b64encode %}x{% endfilter %}",
    "{% else %}",
    "{% endif %}",
];
const SPACES: [&str; 4] = ["", " ", "\n", "\t "];
const MARKERS: [&str; 6] = ["", "", "", "", "-", "+"];

/// A string as a template writes it.
fn strings() -> impl Strategy<Value = String> {
    let pieces = "([a-z {}%#~|()\u{105}]|\\\\[\\\\\"'/bfnrtqd]|\\\\u[0-9a-f]{4}|\\\\ud83d\\\\ude0[0-9]){0,8}";
    (pieces, any::<bool>()).prop_map(|(inside, is_double)| {
        let quote = if is_double { '"' } else { '\'' };
        format!("{quote}{inside}{quote}")
    })
}

fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        20 => select(&KNOWN[..]).prop_map(str::to_owned),
        1 => select(&UNKNOWN[..]).prop_map(str::to_owned),
        1 => select(&FOREIGN[..]).prop_map(str::to_owned),
        12 => strings(),
    ];
    leaf.prop_recursive(6, 40, 4, |inner| {
        let joined = prop::collection::vec(inner.clone(), 1..4).prop_map(|terms| terms.join("~"));
        prop_oneof![
            4 => (joined.clone(), select(&SPACES[..])).prop_map(|(terms, space)| format!("({space}{terms}{space})")),
            4 => (inner, select(&["tojson", "b64encode"][..])).prop_map(|(term, filter)| format!("{term} | {filter}")),
            2 => joined,
        ]
    })
}

/// Text with statements and expressions in it.
fn texts() -> impl Strategy<Value = String> {
    let markers = || (select(&MARKERS[..]), select(&MARKERS[..]));
    let leaf = prop_oneof![
        6 => (expressions(), select(&SPACES[..]), markers()).prop_map(|(expression, space, (open, close))| {
            format!("{{{{{open}{space}{expression} {close}}}}}")
        }),
        3 => "[ -~\n\u{105}]{0,12}",
        1 => "\\{[{%#] ?[a-z(\\['\"]{0,8} ?([}%#]\\})?",
        1 => "[a-z {}%]{0,9}".prop_map(|inside| format!("{{# {inside} #}}")),
        1 => "[a-z {}%'\"|]{0,9}".prop_map(|inside| format!("{{% raw %}}{inside}{{% endraw %}}")),
        1 => select(&STATEMENTS[..]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(6, 24, 4, move |inner| {
        let several = prop::collection::vec(inner, 1..4).prop_map(|texts| texts.concat());
        let variable = || prop_oneof![12 => select(&KNOWN[..]), 1 => select(&UNKNOWN[..])];
        prop_oneof![
            2 => several.clone(),
            2 => (variable(), several.clone(), markers()).prop_map(|(variable, body, (open, close))| {
                format!("{{%{open} if {variable} %}}{body}{{% endif {close}%}}")
            }),
            2 => (variable(), variable(), several).prop_map(|(first, second, body)| {
                format!("{{% if {first} %}}{body}{{% elif {second} %}}{body}{{% else %}}{body}{{% endif %}}")
            }),
        ]
    })
}

/// Whole templates: a few keys, each with a text that may also be damaged, or repeated up to the longest there may be.
fn templates() -> impl Strategy<Value = BTreeMap<String, String>> {
    let damaged = (texts(), any::<prop::sample::Index>(), "[{}%#\"'|()~\\[\\]a ]{0,3}").prop_map(
        |(text, index, put)| {
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let (before, after) = text.split_at(*index.get(&places));
            format!("{before}{put}{}", after.chars().skip(put.len() % 2).collect::<String>())
        },
    );
    let repeated = (texts(), 1..3_000_usize)
        .prop_map(|(text, times)| text.repeat(times.min(LONGEST_TEXT / text.len().max(1))));
    let nested = (
        select(&["(", "{% if token %}", "{{", "-", "not ", "[", "{#", "{% raw %}", "'\"~"][..]),
        texts(),
        1..6_000_usize,
    )
        .prop_map(|(open, text, times)| {
            let times = times.min((LONGEST_TEXT - 200) / open.len());
            format!("{{{{ {}{:.100} }}}}", open.repeat(times), text)
        });
    let text = prop_oneof![6 => texts(), 2 => damaged, 1 => repeated, 1 => nested];
    prop::collection::btree_map("[a-z.]{1,5}", text, 1..4)
}

/// Does it with little stack. An overflow would end the process.
fn with_little_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

/// A reason names the key, the line and the kind, and shows no values.
fn assert_tells_nothing(reason: &Reason, template: &BTreeMap<String, String>) -> Result<(), TestCaseError> {
    if *reason == Reason::TemplateTooLong {
        prop_assert!(template.values().map(String::len).sum::<usize>() > TEXT_LIMIT);
        return Ok(());
    }
    let (Reason::TemplateError { key, .. } | Reason::TemplateTooLarge { key }) = reason else {
        return Err(TestCaseError::fail("another reason"));
    };
    prop_assert!(template.contains_key(key));
    let told = format!("{} {reason:?}", reason.message()).replace(key.as_str(), "");
    prop_assert!(!TOLD_OF_NONE.iter().any(|value| told.contains(value)), "{}", told);
    if let Reason::TemplateError { line, .. } = reason {
        prop_assert!((1..=template[key].lines().count() + 1).contains(line), "line {}", line);
    }
    Ok(())
}

fn assert_within_limits(data: &Data, template: &BTreeMap<String, String>) -> Result<(), TestCaseError> {
    prop_assert!(data.keys().eq(template.keys()));
    prop_assert!(data.values().all(|value| value.len() <= VALUE_LIMIT && std::str::from_utf8(value).is_ok()));
    prop_assert!(data.values().map(|value| value.len()).sum::<usize>() <= TOTAL_LIMIT);
    Ok(())
}

proptest! {
    #[test]
    fn a_template_renders_within_its_limits_or_fails_without_telling_a_value(template in templates()) {
        let outcome = with_little_stack(|| {
            let parsed = Template::parse(&template)?;
            Ok((parsed.render(&VALUES), parsed.render(&VALUES)))
        });
        match outcome {
            Err(reason) | Ok((Err(reason), _)) => assert_tells_nothing(&reason, &template)?,
            Ok((Ok(data), again)) => {
                assert_within_limits(&data, &template)?;
                prop_assert_eq!(again, Ok(data), "another time");
            }
        }
    }

    #[test]
    fn text_without_a_template_in_it_stands_as_it_is(
        texts in prop::collection::btree_map("[a-z]{1,3}", "([^{]|\\{[^{%#]){0,40}", 0..4),
    ) {
        let data = Template::parse(&texts).unwrap().render(&VALUES).unwrap();
        let rendered = data.into_iter().map(|(key, value)| (key, String::from_utf8(value.to_vec()).unwrap()));
        prop_assert!(rendered.eq(texts));
    }

    #[test]
    fn json_in_a_target_is_json_for_every_token(token in "[!-~]{1,60}", name in ".{0,30}") {
        let text = r#"{"token": {{ token|tojson }}, "name": {{ name|tojson }}, "both": {{ (token ~ name)|tojson }}}"#;
        let template = Template::parse([("k", text)]).unwrap();
        let credential = Some(CredentialName { name: &name, ..CREDENTIAL });
        let data = template.render(&Values { token: &token, credential, ..VALUES }).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&data["k"]).unwrap();
        prop_assert_eq!(document["token"].as_str(), Some(token.as_str()));
        prop_assert_eq!(document["name"].as_str(), Some(name.as_str()));
        let both = format!("{token}{name}");
        prop_assert_eq!(document["both"].as_str(), Some(both.as_str()));
    }

    #[test]
    fn no_sizes_of_keys_together_exceed_the_limit(
        counts in prop::collection::vec(0..10_usize, 1..32), length in 3_000..3_900_usize,
    ) {
        let token = "y".repeat(length);
        let texts = counts.iter().enumerate().map(|(key, count)| (format!("key-{key}"), "{{ token }}".repeat(*count)));
        let template: BTreeMap<String, String> = texts.collect();
        let sizes = || counts.iter().map(|count| count * length);
        let fits = sizes().all(|size| size <= VALUE_LIMIT) && sizes().sum::<usize>() <= TOTAL_LIMIT;
        match Template::parse(&template).unwrap().render(&Values { token: &token, ..VALUES }) {
            Ok(data) => {
                prop_assert!(fits);
                assert_within_limits(&data, &template)?;
            }
            Err(reason) => {
                prop_assert!(!fits);
                let is_too_large = matches!(reason, Reason::TemplateTooLarge { .. });
                prop_assert!(is_too_large, "{}", reason.message());
            }
        }
    }
}

fn parse(text: &str) -> Result<Template, Reason> {
    assert!(text.chars().count() <= LONGEST_TEXT);
    with_little_stack(|| Template::parse([("k", text)]))
}

/// Each of these once overflowed the stack, filled the memory or did not end.
pub(crate) fn hostile() -> Vec<String> {
    let deep = |open: &str, within: &str, close: &str, times: usize| {
        format!("{}{within}{}", open.repeat(times), close.repeat(times))
    };
    let mut texts = vec![
        format!("{{{{ {}1 }}}}", "-".repeat(5300)),
        format!("{{{{ {}token }}}}", "not ".repeat(3000)),
        "{{ ([0]*100000000)|tojson }}".into(),
        "{{ 'a' * 1000000000 }}".into(),
        format!("{{{{ {} }}}}", deep("(", "token", ")", 8000)),
        format!("{{{{ {} }}}}", deep("[", "", "]", 8000)),
        format!("{{{{ {}", "(".repeat(16_000)),
        deep("{% if token %}", "x", "{% endif %}", 600),
        "{% if token %}".repeat(1000),
        format!("{{{{ token{} }}}}", "|tojson".repeat(2000)),
        format!("{{{{ '\"'{} }}}}", "|tojson".repeat(30)),
        format!("{{{{ token{} }}}}", "|b64encode".repeat(1000)),
        format!("{{{{ token{} }}}}", ".a".repeat(8000)),
        "{{ token }}".repeat(1400),
        format!("{{{{ ''{} }}}}", "~''".repeat(5000)),
    ];
    // Every way of binding a value of twice the size of the last one, and everything that looks into all of a value.
    for doubling in ["{% set a = [a, a] %}", "{% set a = a + a %}", "{% set a = {1: a, 2: a} %}"] {
        for look in ["{{ a }}", "{{ a|tojson }}", "{{ a == b }}", "{{ {a: 1} }}"] {
            texts.push(format!("{{% set a = [1] %}}{}{look}", doubling.repeat(60)));
        }
    }
    // A list of lists that is as large as all of them together.
    let repeated = "([[[[1] * 9999] * 9999] * 9999] * 9999)";
    texts.extend(["", "|tojson", "|b64encode", " ~ 1"].map(|look| format!("{{{{ {repeated}{look} }}}}")));
    let compared = |look: &str| format!("{{% if {repeated} {look} {repeated} %}}{{% endif %}}");
    texts.extend(["==", "<", "in"].map(compared));
    texts
}

#[test]
fn nothing_that_is_deep_or_large_is_more_than_a_template_that_is_refused() {
    for text in hostile() {
        let refused = parse(&text);
        assert!(matches!(refused, Err(Reason::TemplateError { line: 1, .. })), "{text:.60}");
    }
}

/// So often each is parsed and rendered: the clock of a thread is a coarse one.
const TIMES: u32 = 100;

/// The templates of credentials that ask for the most that the schema admits, each by what it has much of.
fn worst() -> Vec<(&'static str, BTreeMap<String, String>)> {
    let keys =
        |count: usize, text: &str| (0..count).map(|key| (format!("key-{key}"), text.to_owned())).collect();
    // As much of this as fits into `count` keys.
    let full = |count: usize, piece: &str| {
        let length = (TEXT_LIMIT / count).min(LONGEST_TEXT);
        keys(count, &piece.repeat(length / piece.len()))
    };
    let within = |count: usize, before: &str, piece: &str, after: &str| {
        let length = (TEXT_LIMIT / count).min(LONGEST_TEXT) - before.len() - after.len();
        keys(count, &format!("{before}{}{after}", piece.repeat(length / piece.len())))
    };
    let through = |filter: &str, text: &str| format!("{{{{ {text}{} }}}}", format!("|{filter}").repeat(4));
    let nested = |open: &str, close: &str| format!("{}{{{{ token }}}}{}", open.repeat(8), close.repeat(8));
    vec![
        ("text", full(4, "x")),
        ("text in 32 keys", full(32, "x")),
        ("braces", full(4, "{ } ")),
        ("variables", full(32, "{{token_type}}")),
        ("variables between text", full(32, "{{name}}x")),
        ("joined variables", within(32, "{{name", "~name", "}}")),
        ("joined empty strings", within(32, "{{''", "~''", "}}")),
        ("escapes", within(4, "{{'", "\\u0001", "'}}")),
        ("escapes as JSON", within(32, "{{'", "\\u0001", "'|tojson|tojson}}")),
        ("JSON", full(32, "{{name|tojson}}")),
        ("base64", full(32, "{{name|b64encode}}")),
        ("tokens", keys(32, "{{ token }}")),
        ("tokens as JSON, four times", keys(32, &through("tojson", "token"))),
        ("tokens in base64, four times", keys(32, &through("b64encode", "token"))),
        ("quotes as JSON, four times", within(32, "{{ '", "\"", "'|tojson|tojson|tojson|tojson }}")),
        ("groups", full(32, "{{((((((((name))))))))}}")),
        ("ifs", keys(32, &nested("{% if token %}", "{% endif %}").repeat(8))),
        ("branches", within(32, "{% if token %}", "{% elif name %}", "{% endif %}")),
        ("comments", full(4, "{##}")),
        ("a long comment", within(4, "{#", "{% raw ", "#}")),
        ("raw", within(4, "{% raw %}", "{%   ", "{% endraw %}")),
        ("an open raw", within(4, "{% raw %}", "{%endraw", "")),
        ("white space", within(4, "{{-", " \n", "token -}}")),
        ("an open string", within(4, "{{ '", "x", "")),
        ("an open group", within(4, "{{ ", "(", "")),
    ]
}

fn held() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Nanoseconds that the thread has had a processor.
fn used() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "measures: `make figures`"]
fn what_the_worst_templates_cost() {
    // As long as a token can be, of what grows most.
    let token = "\\\"".repeat(8 * 1024);
    let mut table: Vec<(f64, f64, String)> = Vec::new();
    for (what, template) in worst() {
        for (kind, token) in [("a token of 1 KiB", &token[..1024]), ("a token of 16 KiB", &token[..])] {
            let (time, memory) = with_little_stack(|| {
                let (before, began) = (held(), used());
                let kept: Vec<_> = (0..TIMES)
                    .map(|_| {
                        let parsed = Template::parse(&template);
                        let data =
                            parsed.as_ref().map(|parsed| parsed.render(&Values { token, ..VALUES }).ok());
                        (data.ok(), parsed.as_ref().ok().cloned())
                    })
                    .collect();
                let (time, memory) = (used() - began, held().saturating_sub(before));
                drop(kept);
                (time as f64 / f64::from(TIMES) / 1e6, memory as f64 / f64::from(TIMES))
            });
            table.push((time, memory, format!("{time:>8.3} ms  {memory:>6.0} KiB  {what}, {kind}")));
        }
    }
    let mut worst = |name: &str, rank: fn(&(f64, f64, String)) -> f64| {
        table.sort_by(|one, other| rank(other).total_cmp(&rank(one)));
        let lines: Vec<&str> = table.iter().take(10).map(|(_, _, line)| line.as_str()).collect();
        eprintln!("\nby {name}, for one parse and one rendering and what both keep:\n{}", lines.join("\n"));
    };
    eprintln!("\nthe worst ten templates");
    worst("memory", |row| row.1);
    worst("time", |row| row.0);
    assert!(table[0].0 < 100.0, "far more than it should be");
}
