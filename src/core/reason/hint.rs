//! Hints and cures shared by messages of operator and sidecar.

/// What a 403 may mean.
pub(in crate::core) const API_ACCESS: &str = ", and check that the user has the \"API Access\" authorization";
/// Does not say where the character is or what surrounds it.
const PASSWORD_HAS_BLANK: &str =
    "The password holds a blank or an invisible character: check that this is intended. ";

/// What is wrong with an answer, and the cure; some defects bring one of their own.
pub(in crate::core) fn with_cure(defect: &str, setting: &str) -> String {
    let cure = if defect.contains("; ") {
        String::new()
    } else {
        format!("; check that {setting} points to an ID Issuer API")
    };
    format!("{defect}{cure}")
}

/// The hint for a rejected password that holds a blank or an invisible character.
pub(in crate::core) fn hint_at(blank: bool) -> &'static str {
    if blank { PASSWORD_HAS_BLANK } else { "" }
}
