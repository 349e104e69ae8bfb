//! What a request says of the state that it wants to change: `If-Match` (RFC 9110, section 13.1.1).
//!
//! The entity tag of a row that has a version is `"VERSION.HASH"`: the version of the row, and a hash of the body as far as
//! other tables had a part in it. A write compares the versions: it changes the row, and nothing of the rest.
//! Knows nothing of servers.

use hyper::header::{HeaderMap, HeaderValue, IF_MATCH};

use crate::error::Error;

const MAX_TAGS: usize = 100;

/// What `If-Match` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// `*`: whatever is there.
    Any,
    /// One of these versions. May be empty: then nothing matches.
    Versions(Vec<String>),
}

/// `None` without the field.
///
/// # Errors
/// For a field that is malformed: a condition that is not understood must not be taken for none.
pub(crate) fn if_match(fields: &HeaderMap) -> Result<Option<IfMatch>, Error> {
    let values: Vec<&HeaderValue> = fields.get_all(IF_MATCH).iter().collect();
    if values.is_empty() {
        return Ok(None);
    }
    let malformed =
        Error::BadCondition("If-Match is neither `*` nor a list of entity tags such as `\"7.x\"`");
    let mut versions = Vec::new();
    let mut count = 0;
    for value in &values {
        let mut rest = value.as_bytes().trim_ascii();
        if rest == b"*" && values.len() == 1 {
            return Ok(Some(IfMatch::Any));
        }
        loop {
            // Empty elements of a list mean nothing.
            rest = skip(rest);
            if rest.is_empty() {
                break;
            }
            let Some((tag, behind)) = entity_tag(rest) else { return Err(malformed) };
            count += 1;
            if count > MAX_TAGS {
                return Err(Error::BadCondition("If-Match has more than 100 entity tags"));
            }
            // A weak tag never matches strongly, and one of another form is none of ours.
            versions.extend(tag.and_then(version));
            rest = behind.trim_ascii_start();
            if !rest.is_empty() && !rest.starts_with(b",") {
                return Err(malformed);
            }
        }
    }
    if count == 0 { Err(malformed) } else { Ok(Some(IfMatch::Versions(versions))) }
}

fn skip(mut rest: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b',', behind @ ..] = rest {
        rest = behind;
    }
    rest
}

/// The opaque part of the first tag, `None` for a weak one, and what follows.
fn entity_tag(text: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (is_weak, text) = text.strip_prefix(b"W/").map_or((false, text), |strong| (true, strong));
    let inner = text.strip_prefix(b"\"")?;
    let end = inner.iter().position(|byte| *byte == b'"')?;
    let (opaque, behind) = (inner.get(..end)?, inner.get(end + 1..)?);
    let is_etagc = |byte: &u8| *byte == 0x21 || (0x23..=0x7e).contains(byte) || *byte >= 0x80;
    opaque.iter().all(is_etagc).then_some((if is_weak { None } else { Some(opaque) }, behind))
}

/// The version in one of our tags: a whole number in front of the first dot.
fn version(opaque: &[u8]) -> Option<String> {
    let (version, _) = std::str::from_utf8(opaque).ok()?.split_once('.')?;
    // As it was written out, so that `+7` and `07` are not taken for 7.
    version.parse::<i64>().ok().map(|number| number.to_string()).filter(|text| text == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Result<Option<IfMatch>, Error> {
        if_match(&values.iter().map(|value| (IF_MATCH, HeaderValue::from_static(value))).collect())
    }

    #[track_caller]
    fn gives(values: &[&'static str], versions: &[&str]) {
        let versions = versions.iter().map(|version| (*version).to_owned()).collect();
        assert_eq!(read(values).unwrap(), Some(IfMatch::Versions(versions)), "{values:?}");
    }

    #[test]
    fn tags_are_compared_strongly() {
        gives(&["\"7.abc\""], &["7"]);
        gives(&["\"7.abc\" , \"8.x\""], &["7", "8"]);
        gives(&["\"7.abc\"", "\"8.x\""], &["7", "8"]);
        gives(&[",, \"7.a,b\",\t\"9.\" ,"], &["7", "9"]);
        gives(&["W/\"7.abc\""], &[]);
        gives(&["W/\"7.abc\", \"-8.abc\""], &["-8"]);
        // Of others: a tag with no version, one too large, ones that are written otherwise.
        gives(&["\"abc\", \"\", \"99999999999999999999.x\", \"+7.x\", \"07.x\", \".x\""], &[]);
        assert_eq!(read(&["*"]).unwrap(), Some(IfMatch::Any));
        assert_eq!(read(&[" * "]).unwrap(), Some(IfMatch::Any));
        assert_eq!(read(&[]).unwrap(), None);
    }

    #[test]
    fn a_version_is_found_again_in_the_etag_made_of_it() {
        for (version, expected) in [(Some("7"), &["7"][..]), (None, &[])] {
            let etag = HeaderValue::from_str(&crate::answer::etag(version, b"{}")).unwrap();
            let expected = expected.iter().map(|version| (*version).to_owned()).collect();
            assert_eq!(
                if_match(&[(IF_MATCH, etag)].into_iter().collect()).unwrap(),
                Some(IfMatch::Versions(expected))
            );
        }
    }

    #[test]
    fn a_condition_that_is_not_understood_is_refused() {
        for values in [
            &["7"][..],
            &[""],
            &[","],
            &["\"7.x"],
            &["\"7.x\" \"8.x\""],
            &["*, \"7.x\""],
            &["\"7.x\"", "*"],
            &["w/\"7.x\""],
            &["\"7. x\""],
        ] {
            assert!(matches!(read(values), Err(Error::BadCondition(_))), "{values:?}");
        }
        let many = HeaderValue::from_str(&"\"1.x\",".repeat(MAX_TAGS + 1)).unwrap();
        assert!(if_match(&[(IF_MATCH, many)].into_iter().collect()).is_err());
        let bytes = HeaderValue::from_bytes(b"\"\xff\"").unwrap();
        assert_eq!(
            if_match(&[(IF_MATCH, bytes)].into_iter().collect()).unwrap(),
            Some(IfMatch::Versions(Vec::new()))
        );
    }
}
