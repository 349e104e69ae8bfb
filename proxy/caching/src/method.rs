//! What a cache has to know of request methods: which of them change nothing (RFC 9110 section 9.2.1).
//!
//! Must not know what is done with that: an unsafe request is sent on and invalidates (`invalidation.rs`), a safe one
//! can be sent again. Next: `query.rs`.

use http::Method;

/// Whether a method is known to be safe. One that is not known is not.
pub fn is_safe(method: &Method) -> bool {
    //= https://www.rfc-editor.org/rfc/rfc9110#section-9.2.1
    //# Of the request methods defined by this specification, the GET, HEAD,
    //# OPTIONS, and TRACE methods are defined to be safe.
    //
    // Of the others that are registered as safe, those that a server behind a proxy can meet: QUERY (RFC 10008), and
    // PROPFIND, REPORT and SEARCH of WebDAV (RFC 4918, 3253, 5323). As text, since names are case-sensitive, and not
    // by `Method::is_safe`, whose list grows with the version of `http`.
    matches!(
        method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY" | "PROPFIND" | "REPORT" | "SEARCH"
    )
}
