//! Hostile login Secrets.

use idissuer::core::username_password::{LoginError, LoginPair};
use proptest::prelude::*;

use super::answers::Caller;

/// Bytes as a Secret may hold them: mostly nearly right.
fn halves() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        1 => Just(None),
        3 => any::<Vec<u8>>().prop_map(Some),
        4 => any::<String>().prop_map(|text| Some(text.into_bytes())),
        3 => "[\u{feff}\r\n \t\u{200b}]{0,1}[ -~]{0,20}[\r\n\u{85}\u{2028}\u{b}\u{c}\u{0}\u{feff} \t]{0,2}".prop_map(|text| Some(text.into_bytes())),
        // Text, cut anywhere: also within a character.
        2 => ("[ą-ż\u{10000}-\u{10010}]{1,8}", any::<prop::sample::Index>()).prop_map(|(text, cut)| {
            let mut bytes = text.into_bytes();
            bytes.truncate(cut.index(bytes.len() + 1));
            Some(bytes)
        }),
    ]
}

/// The rule, said once more: text without NUL, byte order mark, line breaks and control characters around it is sent, a
/// user name only without blanks around it and control characters in it.
fn defect(half: Option<&[u8]>, is_username: bool) -> Option<LoginError> {
    let Some(bytes) = half else { return Some(LoginError::Missing) };
    let Ok(text) = String::from_utf8(bytes.to_vec()) else { return Some(LoginError::NotUtf8) };
    let characters: Vec<char> = text.chars().collect();
    let (Some(first), Some(last)) = (characters.first(), characters.last()) else {
        return Some(LoginError::Empty);
    };
    let is_around = |is: &dyn Fn(char) -> bool| is(*first) || is(*last);
    let is_control = |character: char| character.is_control() && character != '\t';
    let is_format = |character: char| {
        "\u{ad}\u{feff}\u{180e}".contains(character)
            || matches!(u32::from(character), 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f)
    };
    let is_blank = |character: char| {
        !is_control(character) && (character == '\t' || character.is_whitespace() || is_format(character))
    };
    match () {
        () if characters.contains(&'\0') => Some(LoginError::Nul),
        () if *first == '\u{feff}' => Some(LoginError::ByteOrderMark),
        () if is_around(&|character| "\r\n".contains(character)) => Some(LoginError::LineBreak),
        () if is_username && is_around(&is_blank) => Some(LoginError::Blank),
        () if is_around(&is_control) => Some(LoginError::ControlCharacter),
        () if is_username && text.contains(char::is_control) => Some(LoginError::ControlCharacter),
        () => None,
    }
}

proptest! {
    #[test]
    fn a_login_is_refused_for_its_first_bad_half_and_otherwise_sent_as_it_stands(
        username in halves(), password in halves(),
    ) {
        let expected = [("user", &username), ("pass", &password)]
            .into_iter()
            .find_map(|(key, half)| defect(half.as_deref(), key == "user").map(|defect| (key, defect)));
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
