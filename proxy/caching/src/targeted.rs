//! Targeted cache control (RFC 9213): response fields that speak to this cache alone, or to caches of its kind.
//!
//! The first of them that says anything decides alone. What it says has the meaning that it has in `Cache-Control`,
//! so it becomes the same [`ResponseDirectives`]. Must not know what these lead to. Next: `freshness.rs`.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry};

use crate::{
    directives::{LONGEST_S, ResponseDirectives},
    structured::parsed,
};

/// For all caches that work on behalf of the origin; goes on to those downstream.
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
/// For this cache alone; no client sees it.
pub const LARDER_CACHE_CONTROL: HeaderName = HeaderName::from_static("larder-cache-control");

/// The target list of a route that names no other, from most to least applicable.
pub fn default_targets() -> Vec<HeaderName> {
    vec![LARDER_CACHE_CONTROL, CDN_CACHE_CONTROL]
}

/// The directives that count: those of the first field of `targets` that can be read and is not empty, else those of
/// `Cache-Control`. Costs nothing but a look-up for each target that is not there.
pub fn directives(fields: &HeaderMap, targets: &[HeaderName]) -> ResponseDirectives {
    //= https://www.rfc-editor.org/rfc/rfc9213#section-2.2
    //# When a cache that implements this specification receives a response
    //# with one or more of the header field names on its target list, the
    //# cache MUST select the first (in target-list order) field with a
    //# valid, non-empty value and use its value to determine the caching
    //# policy for the response, and it MUST ignore the Cache-Control and
    //# Expires header fields in that response, unless no valid, non-empty
    //# value is available from the listed header fields.
    targets
        .iter()
        .find_map(|target| of_field(fields, target))
        .unwrap_or_else(|| ResponseDirectives::of(fields))
}

fn of_field(fields: &HeaderMap, target: &HeaderName) -> Option<ResponseDirectives> {
    //= https://www.rfc-editor.org/rfc/rfc9213#section-2.1
    //# If a targeted field in a given response is empty, or a parsing error
    //# is encountered, that field MUST be ignored by the cache (i.e., it
    //# behaves as if the field were not present, likely falling back to
    //# other cache-control mechanisms present).
    let members = parsed::<Dictionary>(fields, target).filter(|members| !members.is_empty())?;
    let mut directives = ResponseDirectives { is_targeted: true, ..ResponseDirectives::default() };
    for (name, value) in &members {
        take(&mut directives, name.as_str(), value);
    }
    Some(directives)
}

/// A member of the wrong type is not taken at its value: what would restrict, restricts; what would permit, does
/// not; a number that is none is zero, as in `Cache-Control`.
fn take(directives: &mut ResponseDirectives, name: &str, value: &ListEntry) {
    //= https://www.rfc-editor.org/rfc/rfc9213#section-2.1
    //# Parameters received on cache directives are to be ignored, unless
    //# other handling is explicitly specified.
    let value = match value {
        ListEntry::Item(item) => Some(&item.bare_item),
        ListEntry::InnerList(_) => None,
    };
    //= https://www.rfc-editor.org/rfc/rfc9213#section-2.1
    //# This means that cache directives that have no value will be mapped to
    //# a Boolean
    let is_true = value == Some(&BareItem::Boolean(true));
    // `no-store=?0` says in so many words that it is not meant. Nothing else takes a restriction back.
    let is_not_false = value != Some(&BareItem::Boolean(false));
    match name {
        "no-store" => directives.no_store = is_not_false,
        // These two may name fields; that is taken for the whole response, as in `Cache-Control`.
        "no-cache" => directives.no_cache = is_not_false,
        "private" => directives.private = is_not_false,
        "must-revalidate" => directives.must_revalidate = is_not_false,
        "proxy-revalidate" => directives.proxy_revalidate = is_not_false,
        "public" => directives.public = is_true,
        "must-understand" => directives.must_understand = is_true,
        "immutable" => directives.immutable = is_not_false,
        "max-age" => directives.max_age = Some(delta_seconds(value)),
        "s-maxage" => directives.s_maxage = Some(delta_seconds(value)),
        "stale-while-revalidate" => directives.stale_while_revalidate = Some(delta_seconds(value)),
        "stale-if-error" => directives.stale_if_error = Some(delta_seconds(value)),
        _ => (),
    }
}

fn delta_seconds(value: Option<&BareItem>) -> Duration {
    //= https://www.rfc-editor.org/rfc/rfc9213#section-2.1
    //# Implementations SHOULD NOT consume values that violate these inferred
    //# constraints.  For example, a consuming implementation that coerces a
    //# max-age with a decimal value into an integer would behave differently
    //# than other implementations, potentially causing interoperability
    //# issues.
    //
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.2.1
    //# Caches are encouraged to consider
    //# responses that have invalid freshness information (e.g., a max-age
    //# directive with non-integer content) to be stale.
    let seconds = value.and_then(BareItem::as_integer).and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(seconds.unwrap_or(0).min(LONGEST_S))
}
