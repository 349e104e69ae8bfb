//! A date of any bytes is read or is none, in any case of its letters, and comes back as it was written.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use caching::time::Timestamp;
use caching_fuzz::value;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let written = value(bytes);
    let date = Timestamp::from_http_date(&written);
    let [upper, lower] = [bytes.to_ascii_uppercase(), bytes.to_ascii_lowercase()];
    assert_eq!(Timestamp::from_http_date(&value(&upper)), date);
    assert_eq!(Timestamp::from_http_date(&value(&lower)), date);
    if let Some(date) = date {
        let usual = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(date.as_s()));
        assert_eq!(Timestamp::from_http_date(&value(usual.as_bytes())), Some(date));
    }
});
