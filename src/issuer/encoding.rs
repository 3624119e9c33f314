//! Responses that are compressed although this was not requested, for example by a misconfigured cache.
//!
//! They are decoded from memory that is wiped straight into memory that is wiped, and never beyond the limit.

use miniz_oxide::inflate::{TINFLStatus, decompress_slice_iter_to_slice};
use zeroize::Zeroizing;

use super::defect::AnswerError;
use super::transport::ANSWER_LIMIT;

/// The magic number of gzip, and its only method (RFC 1952 §2.3). JSON never begins so.
pub(super) const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// The decompressed body. Gzip is detected by its content, whatever the header says: some servers omit it, and some
/// proxies keep it after decompressing.
pub(super) fn decode(
    body: Zeroizing<Vec<u8>>,
    encoding: Option<&str>,
) -> Result<Zeroizing<Vec<u8>>, AnswerError> {
    if body.starts_with(&GZIP) {
        let deflated = skip_gzip_header(&body).ok_or(AnswerError::BadCompression)?;
        return inflate(deflated, Wrapping::None);
    }
    match encoding.map(str::trim).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "identity" | "gzip" | "x-gzip" => Ok(body),
        // Two things go by this name (RFC 9110 §8.4.1.2); and once more a proxy may have decoded it.
        "deflate" => inflate(&body, Wrapping::Zlib)
            .or_else(|error| if is_limit(error) { Err(error) } else { inflate(&body, Wrapping::None) })
            .or_else(|error| if is_json_object(&body) { Ok(body) } else { Err(error) }),
        "br" => Err(AnswerError::Brotli),
        "zstd" => Err(AnswerError::Zstandard),
        _ => Err(AnswerError::UnknownEncoding),
    }
}

/// The wrapper of a deflated body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrapping {
    None,
    Zlib,
}

fn inflate(deflated: &[u8], wrapping: Wrapping) -> Result<Zeroizing<Vec<u8>>, AnswerError> {
    let mut body = Zeroizing::new(vec![0; ANSWER_LIMIT]);
    let is_zlib = wrapping == Wrapping::Zlib;
    match decompress_slice_iter_to_slice(&mut body, std::iter::once(deflated), is_zlib, false) {
        Ok(length) => {
            body.truncate(length);
            Ok(body)
        }
        Err(TINFLStatus::HasMoreOutput) => Err(AnswerError::TooLarge),
        Err(_) => Err(AnswerError::BadCompression),
    }
}

fn is_limit(defect: AnswerError) -> bool {
    defect == AnswerError::TooLarge
}

fn is_json_object(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{")
}

/// The body after the gzip header (RFC 1952 §2.3). The trailing checksum adds nothing to JSON and TLS.
fn skip_gzip_header(body: &[u8]) -> Option<&[u8]> {
    const CHECKSUM: u8 = 1 << 1;
    const EXTRA: u8 = 1 << 2;
    const NAME: u8 = 1 << 3;
    const COMMENT: u8 = 1 << 4;
    let flags = *body.get(3)?;
    let mut rest = body.get(10..)?;
    if flags & EXTRA != 0 {
        let (length, beyond) = rest.split_first_chunk()?;
        rest = beyond.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|byte| *byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & CHECKSUM != 0 { rest.get(2..) } else { Some(rest) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;

    use super::*;

    fn decoded(body: &[u8], encoding: Option<&str>) -> Result<Vec<u8>, AnswerError> {
        decode(body.to_vec().into(), encoding).map(|body| body.to_vec())
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(text: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    const TEXT: &[u8] = br#"{"access_token":{"token":"abc"}}"#;

    #[test]
    fn compressed_answers_are_read_even_under_a_wrong_header() {
        let adorned = {
            let builder = GzBuilder::new().filename("a").comment("b").extra(vec![1, 2, 3]);
            let mut encoder = builder.write(Vec::new(), Compression::fast());
            encoder.write_all(TEXT).unwrap();
            encoder.finish().unwrap()
        };
        let cases = [
            ("plain", TEXT.to_vec(), None),
            ("plain, called identity", TEXT.to_vec(), Some("identity")),
            ("plain, called gzip", TEXT.to_vec(), Some("gzip")),
            ("plain, called deflate", TEXT.to_vec(), Some("deflate")),
            ("gzip", gzip(TEXT), Some("gzip")),
            ("gzip by its old name", gzip(TEXT), Some(" X-GZIP ")),
            ("gzip that is not called so", gzip(TEXT), None),
            ("gzip with all that its header may hold", adorned, Some("gzip")),
            ("zlib", zlib(TEXT), Some("deflate")),
            ("bare deflate", deflate(TEXT), Some("deflate")),
        ];
        for (name, body, encoding) in cases {
            assert_eq!(decoded(&body, encoding).as_deref(), Ok(TEXT), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_names_why() {
        let half = |mut body: Vec<u8>| {
            body.truncate(body.len() / 2);
            body
        };
        let cases = [
            (TEXT.to_vec(), "br", AnswerError::Brotli),
            (TEXT.to_vec(), "zstd", AnswerError::Zstandard),
            (TEXT.to_vec(), "gzip, gzip", AnswerError::UnknownEncoding),
            (half(gzip(TEXT)), "gzip", AnswerError::BadCompression),
            (GZIP.to_vec(), "gzip", AnswerError::BadCompression),
            (half(zlib(TEXT)), "deflate", AnswerError::BadCompression),
            (gzip(&vec![b' '; 10_000_000]), "gzip", AnswerError::TooLarge),
            (zlib(&vec![b' '; ANSWER_LIMIT + 1]), "deflate", AnswerError::TooLarge),
        ];
        for (body, encoding, expected) in cases {
            assert_eq!(decoded(&body, Some(encoding)), Err(expected), "{encoding}");
        }
        assert_eq!(decoded(&gzip(&vec![b' '; ANSWER_LIMIT]), None).map(|body| body.len()), Ok(ANSWER_LIMIT));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic_or_grow(
            body in prop_oneof![
                any::<Vec<u8>>(),
                any::<Vec<u8>>().prop_map(|rest| [&GZIP[..], &rest].concat()),
                any::<Vec<u8>>().prop_map(|text| gzip(&text)),
            ],
            encoding in prop_oneof![Just(None), Just(Some("gzip")), Just(Some("deflate"))],
        ) {
            if let Ok(body) = decoded(&body, encoding) {
                prop_assert!(body.len() <= ANSWER_LIMIT);
            }
        }
    }
}
