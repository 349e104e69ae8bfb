//! Where a page ended: the values of its last row, as text that a client hands back.
//!
//! base64url over a format byte, a signature, and each value with its length, in the binary form that Postgres sent and gets back.
//! The signature (HMAC-SHA-256, cut to 128 bits) covers the values, the endpoint and all parameters but the page's size: a
//! cursor is one of ours, and goes on where it was made. It is opaque, not secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio_postgres::types::Type;

use crate::catalogue::{Endpoint, In};
use crate::params::Given;

const FORMAT: u8 = 2;
const SIGNATURE_BYTES: usize = 16;
/// Of the text: timestamps and keys, not documents.
const MAX_TEXT_BYTES: usize = 1024;

/// What cursors are signed with. All processes that answer for one another need the same.
#[derive(Clone)]
pub(crate) struct Key(Hmac<Sha256>);

impl Key {
    pub(crate) fn new(secret: &[u8]) -> Self {
        // HMAC takes a key of any length.
        Self(Hmac::new_from_slice(secret).unwrap_or_else(|_| unreachable!()))
    }

    /// For this process alone.
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        Ok(Self::new(&secret))
    }

    /// Every part with its length in front: no two lists of parts look the same.
    fn signature(&self, endpoint: &Endpoint, given: &Given, values: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        let mut part = |bytes: Option<&[u8]>| {
            let length = bytes.map_or(u64::MAX, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            mac.update(&length.to_be_bytes());
            mac.update(bytes.unwrap_or_default());
        };
        part(Some(&[FORMAT]));
        part(Some(endpoint.name.as_bytes()));
        for (param, value) in endpoint.params.iter().zip(&given.values) {
            if matches!(param.from, In::Path | In::Query) && param.name != "limit" {
                part(Some(param.name.as_bytes()));
                part(value.as_ref().map(String::as_bytes));
            }
        }
        part(Some(values));
        mac
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// Types that a cursor can be made of, with the length of their values if all have the same.
pub(crate) fn value_length(kind: &Type) -> Option<Option<usize>> {
    match *kind {
        Type::INT2 => Some(Some(2)),
        Type::INT4 | Type::DATE => Some(Some(4)),
        Type::INT8 | Type::TIMESTAMPTZ | Type::TIMESTAMP => Some(Some(8)),
        Type::UUID => Some(Some(16)),
        Type::TEXT | Type::VARCHAR => Some(None),
        _ => None,
    }
}

/// `None` if the values are too long to come back.
pub(crate) fn encode(key: &Key, endpoint: &Endpoint, given: &Given, values: &[&[u8]]) -> Option<String> {
    let mut all = Vec::new();
    for value in values {
        all.extend_from_slice(&u16::try_from(value.len()).ok()?.to_be_bytes());
        all.extend_from_slice(value);
    }
    let mut bytes = vec![FORMAT];
    let signature = key.signature(endpoint, given, &all).finalize().into_bytes();
    bytes.extend_from_slice(signature.get(..SIGNATURE_BYTES)?);
    bytes.extend_from_slice(&all);
    Some(URL_SAFE_NO_PAD.encode(bytes)).filter(|text| text.len() <= MAX_TEXT_BYTES)
}

/// `None` if the text is not a cursor that was made here for this endpoint and these parameters.
pub(crate) fn decode(key: &Key, endpoint: &Endpoint, given: &Given, text: &str) -> Option<Vec<Bytes>> {
    if text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let bytes = Bytes::from(URL_SAFE_NO_PAD.decode(text).ok()?);
    if bytes.first() != Some(&FORMAT) {
        return None;
    }
    let start = 1 + SIGNATURE_BYTES;
    let mac = key.signature(endpoint, given, bytes.get(start..)?);
    mac.verify_truncated_left(bytes.get(1..start)?).ok()?;
    let mut values = Vec::new();
    let mut at = start;
    while at < bytes.len() {
        let length = usize::from(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        bytes.get(at + 2..at + 2 + length)?;
        values.push(bytes.slice(at + 2..at + 2 + length));
        at += 2 + length;
    }
    Some(values)
}

/// Whether values are of these types: they were when the cursor was made.
pub(crate) fn fits(values: &[Bytes], types: &[Type]) -> bool {
    values.len() == types.len()
        && values.iter().zip(types).all(|(value, kind)| match value_length(kind) {
            Some(Some(length)) => value.len() == length,
            Some(None) => std::str::from_utf8(value).is_ok_and(|text| !text.contains('\0')),
            None => false,
        })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::catalogue::Catalogue;

    const PAGE: &str = "-- route: GET /NAME
-- param limit: query int8 1..50 = 20
-- param kind: query text
-- rows: cursor

SELECT body, created_at, id FROM things WHERE kind = :kind
AND (created_at, id) < (:after_created_at, :after_id) -- when cursor
ORDER BY created_at DESC, id DESC LIMIT :limit
";

    fn page(name: &str) -> Arc<Endpoint> {
        let files = vec![(PathBuf::from(format!("{name}.sql")), PAGE.replace("NAME", name))];
        Catalogue::parse(files).unwrap().endpoints[0].clone()
    }

    fn given(limit: &str, kind: Option<&str>) -> Given {
        Given { values: vec![Some(limit.to_owned()), kind.map(str::to_owned)], ..Given::default() }
    }

    #[test]
    fn a_cursor_goes_on_where_it_was_made_and_nowhere_else() {
        let (key, page, other) = (Key::new(b"key"), page("page"), page("other"));
        let note = given("20", Some("note"));
        let values: [&[u8]; 2] = [&[0, 1, 2, 3, 4, 5, 6, 255], &7_i64.to_be_bytes()];
        let text = encode(&key, &page, &note, &values).unwrap();
        assert_eq!(decode(&key, &page, &note, &text).unwrap(), values);
        // The size of a page may change on the way.
        assert_eq!(decode(&key, &page, &given("7", Some("note")), &text).unwrap(), values);
        assert_eq!(decode(&key, &page, &given("20", Some("other")), &text), None);
        assert_eq!(decode(&key, &page, &given("20", Some("")), &text), None);
        assert_eq!(decode(&key, &page, &given("20", None), &text), None);
        assert_eq!(decode(&key, &other, &note, &text), None);
        assert_eq!(decode(&Key::new(b"another"), &page, &note, &text), None);
        assert_eq!(encode(&key, &page, &note, &[&[b'x'; 2000]]), None);
    }

    #[test]
    fn rubbish_and_forgeries_are_refused() {
        let (key, page, given) = (Key::random().unwrap(), page("page"), given("20", None));
        let good = encode(&key, &page, &given, &[&[0; 8], &[0; 8]]).unwrap();
        for cut in 0..good.len() {
            assert_eq!(decode(&key, &page, &given, &good[..cut]), None, "{cut}");
        }
        let bytes = URL_SAFE_NO_PAD.decode(&good).unwrap();
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut forged = bytes.clone();
                forged[index] ^= 1 << bit;
                assert_eq!(decode(&key, &page, &given, &URL_SAFE_NO_PAD.encode(&forged)), None);
            }
        }
        for text in
            ["", "A", "!", "null", "AAAA", "2026-01-01T00:00:00Z", &"A".repeat(2000), &format!("{good}AAAA")]
        {
            assert_eq!(decode(&key, &page, &given, text), None, "{text}");
        }
    }

    #[test]
    fn values_fit_the_types_that_they_were_made_for() {
        let values = [Bytes::from_static(&[0; 8]), Bytes::from_static("é".as_bytes())];
        assert!(fits(&values, &[Type::TIMESTAMPTZ, Type::TEXT]));
        assert!(!fits(&values, &[Type::TIMESTAMPTZ]));
        assert!(!fits(&values, &[Type::INT4, Type::TEXT]));
        assert!(!fits(&[Bytes::from_static(b"a\0")], &[Type::TEXT]));
        assert!(!fits(&[Bytes::from_static(&[0xff])], &[Type::TEXT]));
    }
}
