//! Distinguishes web pages from responses of an issuer.

use zeroize::Zeroizing;

use super::encoding::decode;
use super::wire::BYTE_ORDER_MARK;

/// Whether a rejection is a web page or plain text: the issuer sends JSON or no body, so another server answered. The
/// beginning of the body decides, and the content type only if that is inconclusive.
#[must_use]
pub fn is_page(content_type: Option<&str>, content_encoding: Option<&str>, body: &[u8]) -> bool {
    let kind = content_type.unwrap_or_default().trim_start().to_ascii_lowercase();
    let is_html = || kind.starts_with("text/html") || kind.starts_with("application/xhtml");
    if body.is_empty() {
        return is_html();
    }
    match decode(Zeroizing::new(body.to_vec()), content_encoding) {
        Ok(text) => first_byte(&text).map_or_else(is_html, |first| !matches!(first, b'{' | b'[' | b'"')),
        Err(_) => !kind.contains("json"),
    }
}

/// The first byte of a text that is not white space.
pub(super) fn first_byte(text: &[u8]) -> Option<u8> {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim_ascii_start().first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type, what compresses it, the first bytes, and whether it is a page.
    type Case<'a> = (Option<&'a str>, Option<&'a str>, &'a [u8], bool);

    #[test]
    fn a_page_is_known_by_its_first_character_and_without_one_by_its_type() {
        let gzip = [&b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x02\0\xfd\xff{}"[..], &[0; 8]].concat();
        let html = Some("text/html; charset=utf-8");
        let (json, plain) = (Some("application/json"), Some("text/plain"));
        let cases: [Case<'_>; 17] = [
            (html, None, b"", true),
            (Some("application/xhtml+xml"), None, b" \r\n", true),
            (Some("Text/HTML"), None, b"denied", true),
            (html, None, b"\xef\xbb\xbf {\"message\": \"no\"}", false),
            (None, None, b"<!doctype html>", true),
            (plain, None, b"\xef\xbb\xbf\r\n <html>", true),
            (plain, None, b"RBAC: access denied", true),
            (plain, None, b"[\"no\"]", false),
            (plain, None, b"\"no\"", false),
            (json, None, b"{\"message\": \"<b>no</b>\"}", false),
            (json, None, b"<html>", true),
            (json, None, b"", false),
            (plain, None, b"\r\n", false),
            (None, None, b"", false),
            (plain, Some("gzip"), &gzip, false),
            (json, Some("br"), b"\x0b\x02\x80", false),
            (html, Some("br"), b"\x0b\x02\x80", true),
        ];
        for (content_type, content_encoding, body, expected) in cases {
            assert_eq!(is_page(content_type, content_encoding, body), expected, "{content_type:?} {body:?}");
        }
    }
}
