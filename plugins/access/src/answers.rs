//! Who is not let in, and what they are told: no more than they need to do better.

use larder_policy::Answer;

/// Why a request is not let in. The texts reach the client, in a quoted string too: no quotes, and nothing of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 403
    Url(&'static str),
    /// 401, as RFC 6750 section 3 has it: without an error for who has not tried.
    NoToken,
    /// 401
    Token(&'static str),
}

impl Refusal {
    pub(crate) fn answer(self, realm: &str) -> Answer {
        let (status, title, detail) = match self {
            Self::Url(why) => (403, "Forbidden", why),
            Self::NoToken => (401, "Unauthorized", "a token is needed"),
            Self::Token(why) => (401, "Unauthorized", why),
        };
        let body = format!(r#"{{"title":"{title}","status":{status},"detail":"{detail}"}}"#);
        // Whoever asks again a moment later may be let in.
        let answer = Answer::new(status)
            .field("content-type", "application/problem+json")
            .field("cache-control", "no-store")
            .body(body);
        match self {
            Self::Url(_) => answer,
            Self::NoToken => answer.field("www-authenticate", format!("Bearer realm=\"{realm}\"")),
            Self::Token(why) => answer.field(
                "www-authenticate",
                format!("Bearer realm=\"{realm}\", error=\"invalid_token\", error_description=\"{why}\""),
            ),
        }
    }
}
