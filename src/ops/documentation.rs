//! Where the documentation is published, and the addresses of its pages.

/// The address of the documentation: that of the package, unless a build for another place sets `IDISSUER_DOCUMENTATION`.
const ADDRESS: &str = match option_env!("IDISSUER_DOCUMENTATION") {
    Some(address) if !address.is_empty() => address,
    _ => env!("CARGO_PKG_HOMEPAGE"),
};

/// The address of a page, by its file below `docs/src`.
#[must_use]
pub fn page(file: &str) -> String {
    let page = file.strip_suffix(".md").unwrap_or(file);
    format!("{}/{page}.html", ADDRESS.trim_end_matches('/'))
}

/// The address of the page of a reason or an alert.
#[must_use]
pub fn runbook(name: &str) -> String {
    page(&format!("runbooks/{name}.md"))
}

/// What follows a message about this reason. No message ends with a full stop, and neither does this, so that the address
/// can be copied.
#[must_use]
pub fn see(reason: &str) -> String {
    format!(". See {}", runbook(reason))
}

/// A message about this reason without the address that follows it.
#[must_use]
pub fn without_address<'a>(message: &'a str, reason: &str) -> &'a str {
    message.strip_suffix(&see(reason)).unwrap_or(message)
}

#[cfg(test)]
mod reasons_page;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_as_the_book_publishes_it() {
        assert_eq!(page("tasks/pods.md"), format!("{}/tasks/pods.html", env!("CARGO_PKG_HOMEPAGE")));
        assert!(runbook("LoginRejected").ends_with("/runbooks/LoginRejected.html"));
    }

    #[test]
    fn only_the_address_of_the_reason_is_taken_from_a_message() {
        let message = format!("Correct it{}", see("LoginRejected"));
        assert_eq!(without_address(&message, "LoginRejected"), "Correct it");
        assert_eq!(without_address(&message, "Expired"), message);
        assert_eq!(without_address("Correct it", "LoginRejected"), "Correct it");
    }
}
