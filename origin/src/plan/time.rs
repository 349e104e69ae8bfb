//! The time in answers that are stored: each repeats the moment at which it was made.

use super::{Judged, Looked, mention};
use crate::catalogue::Endpoint;

/// Who looks at a clock to the minute is not misled by less.
const LONG_SECONDS: u64 = 60;
/// What plans call them; those in capitals without parentheses.
const FUNCTIONS: [&str; 3] = ["now", "transaction_timestamp", "statement_timestamp"];
const WORDS: [&str; 5] = ["CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME", "LOCALTIMESTAMP", "LOCALTIME"];

pub(super) fn judge(endpoint: &Endpoint, looked: &[Looked], judged: &mut Judged) {
    let cache = endpoint.cache.to_str().unwrap_or_default();
    let lifetime = lifetime(cache);
    if !endpoint.is_stored() || lifetime <= LONG_SECONDS {
        return;
    }
    for name in FUNCTIONS.iter().chain(&WORDS) {
        if looked.iter().any(|looked| looked.called.contains(*name)) {
            let message = format!(
                "`{name}` is the moment at which the answer was made, and one that is stored repeats it for up to {lifetime} s"
            );
            let lower = name.to_ascii_lowercase();
            let place = mention(&endpoint.source, name).or_else(|| mention(&endpoint.source, &lower));
            judged.notes.push(&endpoint.source.path, Some(place.unwrap_or(endpoint.route.position)), message);
        }
    }
}

pub(super) fn is_word(text: &str) -> bool {
    WORDS.contains(&text)
}

/// The longest one that is named.
fn lifetime(cache: &str) -> u64 {
    let seconds = |directive: &str| {
        let (name, value) = directive.trim().split_once('=')?;
        let is_it = name.eq_ignore_ascii_case("max-age") || name.eq_ignore_ascii_case("s-maxage");
        value.trim_matches('"').parse().ok().filter(|_| is_it)
    };
    cache.split(',').filter_map(seconds).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_lifetime_counts() {
        for (cache, expected) in [
            ("max-age=5, s-maxage=300, stale-while-revalidate=900", 300),
            ("Max-Age=\"90\"", 90),
            ("public", 0),
            ("max-age=x", 0),
        ] {
            assert_eq!(lifetime(cache), expected, "{cache}");
        }
    }
}
