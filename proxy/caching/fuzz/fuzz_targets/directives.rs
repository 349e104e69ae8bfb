//! `Cache-Control` of any bytes is read, and hides no directive of a line of its own.
#![no_main]

use std::time::Duration;

use caching::directives::{MaxStale, RequestDirectives, ResponseDirectives};
use caching_fuzz::lines;
use http::{HeaderValue, header::CACHE_CONTROL};
use libfuzzer_sys::fuzz_target;

const LONGEST: Duration = Duration::from_secs(1 << 31);

fuzz_target!(|bytes: &[u8]| {
    let mut fields = lines(&CACHE_CONTROL, bytes);
    let response = ResponseDirectives::of(&fields);
    let request = RequestDirectives::of(&fields);
    let numbers = [
        response.max_age,
        response.s_maxage,
        response.stale_while_revalidate,
        response.stale_if_error,
        request.max_age,
        request.min_fresh,
    ];
    assert!(numbers.into_iter().flatten().all(|number| number <= LONGEST));
    assert!(!matches!(request.max_stale, Some(MaxStale::Limit(limit)) if limit > LONGEST));

    fields.append(CACHE_CONTROL, HeaderValue::from_static("no-store, max-age=0"));
    let response_after = ResponseDirectives::of(&fields);
    assert!(response_after.no_store && response_after.max_age == Some(Duration::ZERO));
    assert_eq!(response_after.private, response.private);
    let request_after = RequestDirectives::of(&fields);
    assert!(request_after.no_store && request_after.max_age == Some(Duration::ZERO));
    assert_eq!(request_after.max_stale, request.max_stale);
});
