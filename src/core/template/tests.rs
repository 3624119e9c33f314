use super::*;
use proptest::prelude::*;

const VALUES: Values<'static> = Values {
    token: "abc.def",
    expires_at: Some("2026-01-01T01:00:00Z"),
    issued_at: Some("2026-01-01T00:00:00Z"),
    expires_in: Some(3600),
    credential: Some(CredentialName { namespace: "shop", name: "billing" }),
};

/// Makes a text that has so many of something.
type Make<'a> = &'a dyn Fn(usize) -> String;

fn parse(text: &str) -> Result<Template, Reason> {
    Template::parse([("k.json", text)])
}

fn render(text: &str) -> Result<String, Reason> {
    let data = parse(text)?.render(&VALUES)?;
    Ok(String::from_utf8(data["k.json"].to_vec()).unwrap())
}

/// Line and kind of what is wrong.
fn fault(text: &str) -> (usize, String) {
    match parse(text) {
        Err(Reason::TemplateError { key, line, kind }) if key == "k.json" => (line, kind),
        other => panic!("{text:.100}: {other:?}"),
    }
}

#[test]
fn values_and_filters_render_without_escaping() {
    let cases = [
        ("", ""),
        ("{{ token }}", "abc.def"),
        ("{{token}}", "abc.def"),
        ("{{ token_type }} {{ token }}", "Bearer abc.def"),
        (r#"{"t": {{ token|tojson }}, "n": {{ expires_in }}}"#, r#"{"t": "abc.def", "n": 3600}"#),
        ("{{ token|b64encode }}", "YWJjLmRlZg=="),
        ("<{{ namespace }}/{{ name }}>", "<shop/billing>"),
        ("{{ issued_at }} {{ expires_at }}", "2026-01-01T00:00:00Z 2026-01-01T01:00:00Z"),
        ("no newline is eaten\n", "no newline is eaten\n"),
        ("nor one\r\n of Windows\r", "nor one\r\n of Windows\r"),
        ("{ } }} %} #} {a} {", "{ } }} %} #} {a} {"),
    ];
    for (text, expected) in cases {
        assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn texts_are_joined_grouped_and_filtered_in_the_order_in_which_they_stand() {
    let cases = [
        (r#"{{ "user:" ~ name }}"#, "user:billing"),
        (r#"{{ ("user:" ~ name) | b64encode }}"#, "dXNlcjpiaWxsaW5n"),
        (r#"{{ "user:" ~ name | b64encode }}"#, "user:YmlsbGluZw=="),
        ("{{ name|tojson|b64encode }}", "ImJpbGxpbmci"),
        ("{{ name|b64encode|tojson }}", "\"YmlsbGluZw==\""),
        ("{{ name|tojson|tojson }}", r#""\"billing\"""#),
        ("{{ expires_in|tojson }} {{ (expires_in)|tojson }}", "3600 3600"),
        (r#"{{ (expires_in ~ "")|tojson }} {{ expires_in|tojson|tojson }}"#, r#""3600" "3600""#),
        (r"{{ 'it\'s' }} {{ '\x' ~ '' }}", ""),
        (r#"{{ "a\"\\\/\n\t\u0105\ud83d\ude00\d" }}"#, "a\"\\/\n\t\u{105}\u{1f600}\\d"),
        (r#"{{ "\u0001\u001f\b\f\r\n\t" | tojson }}"#, r#""\u0001\u001f\b\f\r\n\t""#),
        (r#"{{ "" | tojson }}{{ "" | b64encode }}"#, "\"\""),
        (r#"{{ "a" ~ ("b" ~ ("c" | b64encode)) ~ 'd' }}"#, "abYw==d"),
    ];
    for (text, expected) in cases {
        if text.contains(r"'\x'") {
            assert_eq!(fault(text).1, "invalid escape in a string");
        } else {
            assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
        }
    }
    let escapes = r"\u0001".repeat(100);
    assert_eq!(render(&format!("{{{{ \"{escapes}\" | tojson }}}}")), Ok(format!("\"{escapes}\"")));
}

#[test]
fn braces_can_be_written_and_white_space_taken_away() {
    let cases = [
        (r#"{{ "{{" }} {{ '}}' }} {{ "{%" }}"#, "{{ }} {%"),
        ("{% raw %}{{ as it is }}{% if %}{% endraw %}!", "{{ as it is }}{% if %}!"),
        ("a {%- raw -%} {{ b }} {%- endraw -%} c", "a{{ b }}c"),
        ("a  {{- name -}}  b", "abillingb"),
        ("a  {{+ name +}}  b", "a  billing  b"),
        ("a {# no {{ word #} b {#- of it -#} c", "a  bc"),
        ("{% if name -%} yes {%- endif %} ", "yes "),
    ];
    for (text, expected) in cases {
        assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn an_if_asks_whether_a_variable_has_a_value() {
    let text = "{% if expires_at %}at {{ expires_at }}{% elif issued_at %}since{% elif token %}{% if expires_in \
                %}in{% else %}open{% endif %}{% else %}never{% endif %}.";
    let template = parse(text).unwrap();
    let rendered = |values: Values<'_>| {
        let data = template.render(&values).unwrap();
        String::from_utf8(data["k.json"].to_vec()).unwrap()
    };
    assert_eq!(rendered(VALUES), "at 2026-01-01T01:00:00Z.");
    let without_expiry = Values { expires_at: None, ..VALUES };
    assert_eq!(rendered(without_expiry), "since.");
    let without_times = Values { issued_at: Some(""), ..without_expiry };
    assert_eq!(rendered(without_times), "in.");
    assert_eq!(rendered(Values { expires_in: Some(0), ..without_times }), "open.");
    assert_eq!(rendered(Values { token: "", ..without_times }), "never.");
}

#[test]
fn a_template_error_names_key_line_and_kind_and_no_value() {
    let unexpected = "expected a variable, string, filter or `~`";
    let unclosed = "unclosed tag, string or parenthesis";
    let (stray, tag) = ("elif, else or endif without if", "unknown tag, only if and raw exist");
    let condition = "an if on something other than a variable";
    let cases = [
        ("a\n{{ password }}", 2, "unknown variable password"),
        ("{{ refresh_token }}", 1, "unknown variable refresh_token"),
        ("{{ a234567890123456789012345678901234567890 }}", 1, "unknown variable"),
        ("{{\n\ntoken\n| nothing }}", 4, "unknown filter nothing"),
        ("{{ token.x.y }}", 1, unexpected),
        ("{{ token + 1 }}", 1, unexpected),
        ("{{ 1 }}", 1, unexpected),
        ("{{ }}", 1, unexpected),
        ("{{ token| }}", 1, unexpected),
        ("{{ token ~ }}", 1, unexpected),
        ("{{ token token }}", 1, unexpected),
        ("{{ token|tojson(2) }}", 1, unexpected),
        ("{{ (token)) }}", 1, unexpected),
        ("{{ [token] }}", 1, unexpected),
        ("{{ token", 1, unclosed),
        ("\n{{ 'token }}", 2, unclosed),
        ("{{ (token", 1, unclosed),
        ("{% if token", 1, unclosed),
        ("{%", 1, unclosed),
        ("\n\n{% raw %} {% endra %}", 3, unclosed),
        ("{# ", 1, unclosed),
        (r"{{ '\ud83d' }}", 1, "invalid escape in a string"),
        (r"{{ '\u00+1' }}", 1, "invalid escape in a string"),
        ("{% if %}", 1, condition),
        ("{% if name == 'billing' %}x{% endif %}", 1, condition),
        ("{% if not name %}x{% endif %}", 1, "unknown variable not"),
        ("{% if name %}\n{% elif 1 %}{% endif %}", 2, condition),
        ("\n{% if name %}\n\n", 2, "if without endif"),
        ("{% endif %}", 1, stray),
        ("{% if name %}{% else %}{% else %}{% endif %}", 1, stray),
        ("{% if name %}{% else %}\n{% elif name %}{% endif %}", 2, stray),
        ("a\n{% set a = [1] %}", 2, tag),
        ("{%- for a in [[1]] -%}{% endfor %}", 1, tag),
        ("{%+ with a = 1 %}{% endwith %}", 1, tag),
        ("{% macro a() %}{% endmacro %}", 1, tag),
        ("{%set a=1%}", 1, tag),
        ("{% endraw %}", 1, tag),
        ("{% ä %}", 1, tag),
    ];
    for (text, line, kind) in cases {
        assert_eq!(fault(text), (line, kind.to_owned()), "{text}");
    }
}

#[test]
fn every_count_has_a_limit_and_what_is_within_it_renders() {
    let nested = |open: &str, close: &str, times: usize| {
        let within = if open == "(" { "token" } else { "x" };
        let text = format!("{}{within}{}", open.repeat(times), close.repeat(times));
        if open == "(" { format!("{{{{ {text} }}}}") } else { text }
    };
    let filters = |times: usize| format!("{{{{ ('a' ~ token|tojson){} }}}}", "|b64encode".repeat(times));
    let cases: [(Make<'_>, usize, &str); 5] = [
        (&|times| nested("(", ")", times), 8, "more than 8 levels of if or parentheses"),
        (
            &|times| nested("{% if token %}", "{% endif %}", times),
            8,
            "more than 8 levels of if or parentheses",
        ),
        (&filters, 3, "more than 4 filters on one value"),
        (&|times| "{{ name }}".repeat(times), 1024, "more than 1024 parts"),
        (&|times| format!("{{{{ ''{} }}}}", "~''".repeat(times - 1)), 1024, "more than 1024 parts"),
    ];
    for (text, most, kind) in cases {
        assert!(render(&text(most)).is_ok(), "{kind}");
        assert_eq!(fault(&text(most + 1)), (1, kind.to_owned()));
        assert_eq!(fault(&text((most * 100).min(5000))), (1, kind.to_owned()));
    }
}

#[test]
fn sizes_are_bounded_before_anything_is_built() {
    let large = "x".repeat(VALUE_LIMIT);
    assert!(render(&large).is_ok());
    let too_large = Err(Reason::TemplateTooLarge { key: "k.json".into() });
    assert_eq!(render(&format!("{large}x")), too_large);
    assert_eq!(render(&format!("{large}{{{{ token }}}}")), too_large);
    assert_eq!(render(&format!("{{{{ '{}'|b64encode }}}}", &large[..=VALUE_LIMIT / 4 * 3])), too_large);
    let keys = |count: usize, length: usize| (0..count).map(move |n| (format!("k{n}"), "x".repeat(length)));
    assert!(Template::parse(keys(4, TEXT_LIMIT / 4)).is_ok());
    assert_eq!(Template::parse(keys(4, TEXT_LIMIT / 4 + 1)), Err(Reason::TemplateTooLong));
    assert!(Template::parse_for_sidecar(keys(16, VALUE_LIMIT)).is_ok());
    assert_eq!(Template::parse_for_sidecar(keys(17, VALUE_LIMIT)), Err(Reason::TemplateTooLong));

    let long = "t".repeat(3 * 1024);
    let many = Template::parse((0..32).map(|n| (format!("{n}"), "{{ token }}".repeat(10)))).unwrap();
    let result = many.render(&Values { token: &long, ..VALUES });
    assert!(matches!(result, Err(Reason::TemplateTooLarge { .. })));
}

#[test]
fn without_a_template_there_are_the_bare_token_and_its_expiry() {
    let data = Template::default().render(&VALUES).unwrap();
    let data: Vec<(&str, &[u8])> = data.iter().map(|(key, value)| (key.as_str(), &value[..])).collect();
    assert_eq!(data, [("expires_at", &b"2026-01-01T01:00:00Z"[..]), ("token", b"abc.def")]);
    assert!(Template::default().keys().eq(["expires_at", "token"]));
    assert_eq!(
        Template::parse([("token", "{{ token }}"), ("expires_at", "{{ expires_at }}")]),
        Ok(Template::default())
    );
}

#[test]
fn a_value_is_literal_if_no_variable_is_written_into_it() {
    for text in
        ["", "x", "{{ 'x' }}", "{% if token %}x{% endif %}", "{% if name %}x{% else %}{{ name }}{% endif %}"]
    {
        assert_eq!(parse(text).unwrap().literal_key(), Some("k.json"), "{text}");
    }
    for text in ["{{ token }}", "x{{ expires_in|tojson }}", "{% if token %}{{ name }}{% endif %}"] {
        assert_eq!(parse(text).unwrap().literal_key(), None, "{text}");
    }
}

#[test]
fn a_template_of_a_sidecar_knows_no_credential_and_has_to_do_without_times() {
    let parse = |text: &str| Template::parse_for_sidecar([("k", text)]);
    for text in ["{{ name }}", "{{ namespace }}", "{{ expires_in + 1 }}", "{% if name %}{% endif %}"] {
        assert!(matches!(parse(text), Err(Reason::TemplateError { .. })), "{text}");
    }
    let template = parse("{{ expires_at|tojson }} {{ expires_in|tojson }} {{ issued_at }}").unwrap();
    let unknown = Values { expires_at: None, issued_at: None, expires_in: None, ..SAMPLE };
    assert_eq!(template.render(&unknown).unwrap()["k"].as_slice(), b"null null none");
    for time in ["expires_at", "issued_at", "expires_in"] {
        let template = parse(&format!("{{% if {time} %}}{{{{ token }}}}{{% endif %}}")).unwrap();
        assert_eq!(template.literal_key(), Some("k"), "nothing is left of it without {time}");
    }
}

proptest! {
    #[test]
    fn filters_that_pass_on_piece_by_piece_make_what_they_make_of_the_whole(
        texts in prop::collection::vec("[ -~\n\u{1}\u{105}]{0,9}", 1..6),
        filters in prop::collection::vec(any::<bool>(), 0..4),
    ) {
        let mut expected = texts.concat();
        let mut template = texts
            .iter()
            .map(|text| serde_json::to_string(text).unwrap())
            .collect::<Vec<_>>()
            .join(" ~ ");
        template = format!("({template})");
        for is_json in filters {
            use base64::Engine as _;
            expected = if is_json {
                serde_json::to_string(&expected).unwrap()
            } else {
                base64::engine::general_purpose::STANDARD.encode(&expected)
            };
            template.push_str(if is_json { "|tojson" } else { "|b64encode" });
        }
        prop_assert_eq!(render(&format!("{{{{ {template} }}}}")), Ok(expected));
    }

    #[test]
    fn no_text_makes_the_renderer_panic_or_show_the_token_in_an_error(text in "[{}%#|a-z_. \n\"'\\\\()+*~\\[\\]0-9-]{0,80}") {
        if let Err(reason) = render(&text) {
            prop_assert!(!reason.message().contains("abc.def"));
        }
    }
}
