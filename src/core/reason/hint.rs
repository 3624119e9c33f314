//! Hints and cures that several messages share, those of operator and sidecar.

/// What a 403 may mean.
pub(in crate::core) const API_ACCESS: &str =
    ", and see to it that the user has the \"API Access\" authorization";
/// Nothing more: neither where it stands, nor what stands around it.
const PASSWORD_HAS_BLANK: &str =
    "The password holds a blank or an invisible character: see that it is meant. ";

/// What is wrong with an answer, and the cure; some defects bring one of their own.
pub(in crate::core) fn with_cure(defect: &str, setting: &str) -> String {
    let cure = if defect.contains("; ") {
        String::new()
    } else {
        format!("; see that {setting} points to an ID Issuer API")
    };
    format!("{defect}{cure}")
}

/// What is said of a refused password that holds a blank or an invisible character.
pub(in crate::core) fn hint_at(blank: bool) -> &'static str {
    if blank { PASSWORD_HAS_BLANK } else { "" }
}
