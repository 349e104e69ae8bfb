//! Where a page ended: the values of its last row, as text that a client hands back.
//!
//! base64url over a format byte, a fingerprint of the endpoint, and each value with its length, in the binary form that Postgres
//! sent and gets back. It is opaque, not secret: a forged one reads no more than a page further on would. So what comes back is
//! checked for its form alone; whether the bytes are a value is for Postgres to say.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use tokio_postgres::types::Type;

const FORMAT: u8 = 1;
/// Of the text: timestamps and keys, not documents.
const MAX_TEXT_BYTES: usize = 1024;

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
pub(crate) fn encode(endpoint: &str, values: &[&[u8]]) -> Option<String> {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&fingerprint(endpoint).to_be_bytes());
    for value in values {
        bytes.extend_from_slice(&u16::try_from(value.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(value);
    }
    Some(URL_SAFE_NO_PAD.encode(bytes)).filter(|text| text.len() <= MAX_TEXT_BYTES)
}

/// `None` if the text is not a cursor of this endpoint with values of these types.
pub(crate) fn decode(endpoint: &str, types: &[Type], text: &str) -> Option<Vec<Bytes>> {
    if text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let bytes = Bytes::from(URL_SAFE_NO_PAD.decode(text).ok()?);
    if bytes.first() != Some(&FORMAT) || bytes.get(1..5) != Some(&fingerprint(endpoint).to_be_bytes()) {
        return None;
    }
    let mut values = Vec::with_capacity(types.len());
    let mut at = 5;
    for kind in types {
        let length = usize::from(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let value = bytes.get(at + 2..at + 2 + length)?;
        let has_its_length = value_length(kind)?.is_none_or(|expected| expected == length);
        let is_text = value_length(kind)?.is_some()
            || std::str::from_utf8(value).is_ok_and(|text| !text.contains('\0'));
        if !has_its_length || !is_text {
            return None;
        }
        values.push(bytes.slice(at + 2..at + 2 + length));
        at += 2 + length;
    }
    (at == bytes.len()).then_some(values)
}

/// FNV-1a. Only tells endpoints apart, so that a cursor pasted into another URL is a clear error.
fn fingerprint(endpoint: &str) -> u32 {
    endpoint.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: [Type; 2] = [Type::TIMESTAMPTZ, Type::INT8];

    #[test]
    fn what_was_encoded_is_decoded() {
        let values: [&[u8]; 2] = [&[0, 1, 2, 3, 4, 5, 6, 255], &7_i64.to_be_bytes()];
        let text = encode("page", &values).unwrap();
        assert_eq!(decode("page", &TYPES, &text).unwrap(), values);
        assert_eq!(decode("other_page", &TYPES, &text), None);
        assert_eq!(decode("page", &[Type::TIMESTAMPTZ], &text), None);
        assert_eq!(decode("page", &[Type::TIMESTAMPTZ, Type::INT4], &text), None);
        let texts: [&[u8]; 1] = ["é".as_bytes()];
        let text = encode("page", &texts).unwrap();
        assert_eq!(decode("page", &[Type::TEXT], &text).unwrap(), texts);
        assert_eq!(encode("page", &[&[b'x'; 2000]]), None);
    }

    #[test]
    fn rubbish_is_refused() {
        let good = encode("page", &[&[0; 8], &[0; 8]]).unwrap();
        // Cut anywhere, with any one byte changed to any other: no panic, and never values of another form.
        for cut in 0..good.len() {
            assert_eq!(decode("page", &TYPES, &good[..cut]), None, "{cut}");
        }
        let bytes = URL_SAFE_NO_PAD.decode(&good).unwrap();
        for index in 0..bytes.len() {
            for byte in 0..=255 {
                let mut forged = bytes.clone();
                forged[index] = byte;
                if let Some(values) = decode("page", &TYPES, &URL_SAFE_NO_PAD.encode(&forged)) {
                    assert_eq!(values.iter().map(Bytes::len).collect::<Vec<_>>(), [8, 8]);
                }
            }
        }
        for text in
            ["", "A", "!", "null", "AAAA", "2026-01-01T00:00:00Z", &"A".repeat(2000), &format!("{good}AAAA")]
        {
            assert_eq!(decode("page", &TYPES, text), None, "{text}");
        }
        let nul = encode("page", &[b"a\0"]).unwrap();
        assert_eq!(decode("page", &[Type::TEXT], &nul), None);
    }
}
