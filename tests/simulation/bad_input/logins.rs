//! The login Secret.

use idissuer::core::login::{LoginDefect, LoginPair};
use proptest::prelude::*;

use super::answers::Caller;

/// Bytes as a Secret may hold them: mostly nearly right.
fn halves() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        1 => Just(None),
        3 => any::<Vec<u8>>().prop_map(Some),
        4 => any::<String>().prop_map(|text| Some(text.into_bytes())),
        2 => "[ -~]{0,20}[\r\n\u{85}\u{2028}\u{b}\u{c}\u{0}\u{feff} \t]{0,2}".prop_map(|text| Some(text.into_bytes())),
        // Text, cut anywhere: also within a character.
        2 => ("[ą-ż\u{10000}-\u{10010}]{1,8}", any::<prop::sample::Index>()).prop_map(|(text, cut)| {
            let mut bytes = text.into_bytes();
            bytes.truncate(cut.index(bytes.len() + 1));
            Some(bytes)
        }),
    ]
}

/// The rule, said once more: what can be sent is text that does not end in a line break.
fn defect(half: Option<&[u8]>) -> Option<LoginDefect> {
    let Some(bytes) = half else { return Some(LoginDefect::Missing) };
    if String::from_utf8(bytes.to_vec()).is_err() {
        return Some(LoginDefect::NotUtf8);
    }
    match bytes {
        [] => Some(LoginDefect::Empty),
        [.., b'\n' | b'\r'] => Some(LoginDefect::LineBreak),
        _ => None,
    }
}

proptest! {
    #[test]
    fn a_login_is_refused_for_its_first_bad_half_and_otherwise_sent_as_it_stands(
        username in halves(), password in halves(),
    ) {
        let expected = [("user", &username), ("pass", &password)]
            .into_iter()
            .find_map(|(key, half)| defect(half.as_deref()).map(|defect| (key, defect)));
        let parsed = LoginPair::parse(("user", username.as_deref()), ("pass", password.as_deref()));
        prop_assert_eq!(parsed.as_ref().err().copied(), expected);
        if let Ok(pair) = parsed {
            let body = Caller::new(200, None, None, Vec::new()).log_in(&pair).request;
            let sent: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let object = sent.as_object().unwrap();
            prop_assert_eq!(object.len(), 2);
            prop_assert_eq!(object["username"].as_str().map(str::as_bytes), username.as_deref());
            prop_assert_eq!(object["password"].as_str().map(str::as_bytes), password.as_deref());
        }
    }

    #[test]
    fn debug_output_of_a_login_is_the_same_for_all(username in "[!-~]{12,40}", password in "\\PC{12,40}") {
        let shown = |username: &str, password: &str| {
            let pair = LoginPair::parse(("u", Some(username.as_bytes())), ("p", Some(password.as_bytes())));
            format!("{:?}", pair.unwrap())
        };
        prop_assert_eq!(shown(&username, &password), shown("another", "login"));
    }
}
