//! `Accept-Language` down to the one language that a response will be in.
//!
//! Only the primary subtag counts (`de` of `de-AT`): a key for each region would split the cache for nothing.

/// The offered language that the client likes best; the first one named wins among equals.
pub(crate) fn preferred<'a>(accept_language: &str, offered: &'a [String]) -> Option<&'a str> {
    let mut best: Option<(u16, &str)> = None;
    for range in accept_language.split(',') {
        let (tag, weight) = weighed(range);
        if weight == 0 || best.is_some_and(|(known, _)| known >= weight) {
            continue;
        }
        let primary = tag.split('-').next().unwrap_or(tag);
        let found = match primary {
            "*" => offered.iter().find(|language| !is_named(language, accept_language)),
            _ => offered.iter().find(|language| language.eq_ignore_ascii_case(primary)),
        };
        if let Some(found) = found {
            best = Some((weight, found));
        }
    }
    best.map(|(_, language)| language)
}

/// What is named has its own weight, so that `*` is not about it.
fn is_named(language: &str, accept_language: &str) -> bool {
    accept_language.split(',').any(|range| {
        let (tag, _) = weighed(range);
        tag.split('-').next().is_some_and(|primary| primary.eq_ignore_ascii_case(language))
    })
}

pub(crate) fn is_primary_subtag(text: &str) -> bool {
    (2..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// The language range and its weight in thousandths; an unreadable weight is none at all.
//= https://www.rfc-editor.org/rfc/rfc9110#section-12.4.2
//# The weight is normalized to a real number in the range 0 through 1,
//# where 0.001 is the least preferred and 1 is the most preferred; a
//# value of 0 means "not acceptable".
fn weighed(range: &str) -> (&str, u16) {
    let mut parts = range.split(';');
    let tag = parts.next().unwrap_or_default().trim_ascii();
    let quality =
        parts.find_map(|part| part.trim_ascii().strip_prefix(['q', 'Q'])?.trim_ascii().strip_prefix('='));
    match quality {
        None => (tag, 1_000),
        Some(quality) => (tag, thousandths(quality.trim_ascii()).unwrap_or(0)),
    }
}

/// `0.8` is 800. Digits behind the third say nothing.
fn thousandths(quality: &str) -> Option<u16> {
    let (whole, fraction) = quality.split_once('.').unwrap_or((quality, ""));
    let fraction = fraction.as_bytes();
    let whole = match whole {
        "0" => 0,
        "1" => 1_000,
        _ => return None,
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = [100, 10, 1].into_iter().zip(fraction);
    let weight = whole + digits.map(|(worth, digit)| worth * u16::from(digit - b'0')).sum::<u16>();
    (weight <= 1_000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::preferred;

    #[track_caller]
    fn check(accept_language: &str, expected: Option<&str>) {
        let offered = ["en", "de", "fr"].map(str::to_owned);
        assert_eq!(preferred(accept_language, &offered), expected, "{accept_language}");
    }

    #[test]
    fn the_best_offered_language_wins() {
        check("de", Some("de"));
        check("DE-at", Some("de"));
        check("it, fr;q=0.4, de;q=0.8", Some("de"));
        check("fr;q=0.5, en;q=0.5", Some("fr"));
        check("de;q=0, en;q=0.1", Some("en"));
        check("it, *;q=0.1", Some("en"));
        check("en;q=0, *;q=0.1", Some("de"));
        check("*, en-GB;q=0.5", Some("de"));
        check("de;q=0.05, en;q=0.1", Some("en"));
        check("de;q=0.12345, en;q=0.124", Some("en"));
        check("de;Q = 1.000, en", Some("de"));
    }

    #[test]
    fn what_is_not_offered_or_not_readable_is_nothing() {
        check("", None);
        check("it", None);
        check("de;q=0", None);
        check("de;q=2", None);
        check("de;q=1.001", None);
        check("de;q=0.8x", None);
        check("de;q=-0.8", None);
        check("de;q=NaN", None);
        check("de;q=", None);
        check(";;;,,-,q=1", None);
    }
}
