//! What the answer to an unsafe request makes invalid (RFC 9111 section 4.4).

use http::{Method, StatusCode};

/// Whether the stored responses of the target must not be used after this exchange.
pub fn invalidates_target(method: &Method, status: StatusCode) -> bool {
    //= https://www.rfc-editor.org/rfc/rfc9111#section-4.4
    //# A cache MUST invalidate the target URI (Section 7.1 of [HTTP]) when it
    //# receives a non-error status code in response to an unsafe request
    //# method (including methods whose safety is unknown).
    !method.is_safe() && (status.is_success() || status.is_redirection())
}
