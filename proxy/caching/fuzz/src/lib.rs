//! Bytes of a fuzzer as header fields. What each field then does is in `fuzz_targets/`.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Bytes as a field value, without those that no value can have.
pub fn value(bytes: &[u8]) -> HeaderValue {
    let allowed: Vec<u8> =
        bytes.iter().copied().filter(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f)).collect();
    HeaderValue::from_bytes(&allowed).expect("control characters are filtered out above")
}

/// One line of a field for each line of bytes.
pub fn lines(name: &HeaderName, bytes: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        fields.append(name, value(line));
    }
    fields
}

/// Whole fields: `name: value` in each line of bytes; other lines are left out.
pub fn fields(bytes: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        if let Ok(name) = HeaderName::from_bytes(&line[..at]) {
            fields.append(name, value(&line[at + 1..]));
        }
    }
    fields
}
