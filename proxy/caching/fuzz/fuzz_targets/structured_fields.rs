//! Structured fields of any bytes are read or ignored whole.
#![no_main]

use caching::{
    directives::ResponseDirectives,
    groups::{CACHE_GROUPS, MAX_GROUP_BYTES, MAX_GROUPS, groups},
    no_vary_search::{NO_VARY_SEARCH, NoVarySearch},
    targeted::{CDN_CACHE_CONTROL, directives},
};
use caching_fuzz::lines;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The field up to the first zero, then a query, then another.
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let written = parts.next().unwrap_or_default();
    let [one, other] = [(); 2].map(|()| String::from_utf8_lossy(parts.next().unwrap_or_default()));

    let read = directives(&lines(&CDN_CACHE_CONTROL, written), &[CDN_CACHE_CONTROL]);
    assert!(read.is_targeted || read == ResponseDirectives::default());

    let mut count = 0;
    let all = groups(&lines(&CACHE_GROUPS, written), |group| {
        count += 1;
        assert!(group.len() <= MAX_GROUP_BYTES && group.is_ascii());
    });
    assert!(count <= MAX_GROUPS && (all.is_ok() || count == 0));

    if let Some(rule) = NoVarySearch::of(&lines(&NO_VARY_SEARCH, written)) {
        let canonical = |query: &str| {
            let mut buffer = Vec::new();
            rule.append_canonical(Some(query), &mut buffer);
            buffer
        };
        // What is left out makes no difference, where it stands alone or behind the rest.
        assert_eq!(canonical(&format!("&{one}&&")), canonical(&one));
        let both = canonical(&format!("{one}&{other}"));
        if canonical(&other) == canonical("") {
            assert_eq!(both, canonical(&one));
        }
    }
});
