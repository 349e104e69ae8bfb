//! What is cut out lies within the body, in parts that do not overlap; parts that are put together fit.
#![no_main]

use caching::{
    partial::{ContentRange, part_length, union},
    range::{Multipart, Ranged, of_partial, ranged},
};
use caching_fuzz::fields;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &[u8])| {
    let (length, bytes) = input;
    // The request up to the first zero, then the stored response, then another part of it.
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let [request, stored, other] = [(); 3].map(|()| fields(parts.next().unwrap_or_default()));
    match ranged(&request, &stored, length) {
        Ranged::Whole | Ranged::Unsatisfiable => (),
        Ranged::Part(range) => assert!(range.first <= range.last && range.last < length),
        Ranged::Parts(ranges) => {
            assert!(ranges.len() > 1);
            for (at, range) in ranges.iter().enumerate() {
                assert!(range.first <= range.last && range.last < length);
                assert!(ranges[..at].iter().all(|known| known.last < range.first || range.last < known.first));
            }
            assert_eq!(Multipart::new(&ranges, length, None, "b").parts().count(), ranges.len());
        }
    }
    if let Some(range) = ContentRange::of(&stored) {
        assert!(range.first <= range.last && range.complete.is_none_or(|complete| range.last < complete));
    }
    let Some(old) = part_length(&stored, None) else { return };
    if let Some(range) = of_partial(&request, &stored, &old) {
        assert!(old.first <= range.first && range.first <= range.last && range.last <= old.last);
    }
    if let Some(union) = part_length(&other, None).and_then(|new| union(&old, &new)) {
        let whole = union.part;
        assert!(whole.first <= old.first && old.last <= whole.last);
        assert!(union.before.start <= union.before.end && union.after.start <= union.after.end);
    }
});
