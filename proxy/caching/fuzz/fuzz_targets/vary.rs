//! Whatever a response varies on, the request that brought it selects it.
#![no_main]

use caching::vary::{SelectingFields, VaryMode, VaryRules, select};
use caching_fuzz::{fields, lines};
use http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, VARY};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // `Vary` up to the first zero, then one request, then another.
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let response = lines(&VARY, parts.next().unwrap_or_default());
    let [original, presented] = [(); 2].map(|()| fields(parts.next().unwrap_or_default()));
    let negotiating = [(ACCEPT_ENCODING, VaryMode::Negotiate), (ACCEPT_LANGUAGE, VaryMode::Negotiate)];
    let exact = [(ACCEPT_ENCODING, VaryMode::Exact), (ACCEPT, VaryMode::Normalize)];
    for rules in [VaryRules::default(), VaryRules::of(negotiating), VaryRules::of(exact)] {
        let Ok(selecting) = SelectingFields::of(&response, &original, &rules) else { return };
        assert!(selecting.matches(&original, &rules));
        let of_presented = SelectingFields::of(&response, &presented, &rules).expect("the same Vary");
        assert_eq!(selecting.matches(&presented, &rules), selecting == of_presented);
        let [mut one, mut other] = [Vec::new(), Vec::new()];
        selecting.append_values(&original, &rules, &mut one);
        selecting.append_values(&presented, &rules, &mut other);
        assert_eq!(one == other, selecting == of_presented);
        let variants = [(selecting, response.clone())];
        let _ = select(&variants, |variant| &variant.0, |variant| &variant.1, &presented, &rules);
    }
});
