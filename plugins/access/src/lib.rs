//! Only those with a signed URL or with a token get in, and all who get in share what is stored.
//!
//! A signed URL is for one thing and for a time: a download, a page of an invitation. A token (a JSON Web Token signed with HS256)
//! is for somebody, or for all of a tenant. Both are checked here, before anything is looked up, so that a stored response
//! costs the upstream nothing and is still for those alone who may have it. Who gets in and who does not is decided by
//! the clock, so that nothing is remembered: a request costs a call, see below.
//!
//! # Settings
//!
//! One of the two parts, or both; with both, either is enough. Where both are needed, the policy stands twice in the row.
//!
//! ```toml
//! [[route]]
//! name = "reports"
//! match = { path = "/reports/{*rest}" }
//! [route.policy]
//! component = "policies/access.wasm"
//! on_fault = "fail"   # needed: with anything else, whoever makes the policy fail gets in
//!
//! [route.policy.settings.url]
//! keys = { 2026-a = { hex = "<openssl rand -hex 32>" }, 2025-b = { base64 = "<openssl rand -base64 32>" } }
//! parameters = { expires = "expires", signature = "signature", key = "key" } # these are the defaults
//! sign_host = true                        # this is the default
//!
//! [route.policy.settings.token]
//! keys = { 2026-a = { hex = "<openssl rand -hex 32>" } } # by `kid`; a token without one is tried with each
//! cookie = "session"                      # where the token is; without it, in `Authorization`, behind `Bearer`
//! issuer = "https://login.example.com"    # what `iss` has to be; without it, it does not matter
//! audience = ["shop"]                     # one of these has to be in `aud`; without it, a token with `aud` is refused
//! leeway = "30s"                          # how far clocks may differ; 0 is the default
//! require_exp = true                      # this is the default
//! claims = [{ name = "tenant", tag = "tenant", field = "x-tenant" }]
//! forward = false                         # the default is true
//! realm = "larder"                        # this is the default
//! ```
//!
//! Keys have 32 to 256 bytes. Up to eight are good at one time: a new one is added, used, and the old one is removed when what
//! it has signed is over. They stand in the configuration and nowhere else, so that file is for the user alone that Larder runs as.
//!
//! # What is signed
//!
//! Three lines, with a line feed between them and none at the end: the method (`GET` for HEAD, too), the host (in lower case,
//! with a port that is not 80; empty with `sign_host = false`), and the target as it is requested, with its `key` and its `expires`
//! and without the `signature`. The signature is HMAC-SHA-256 of that in 64 hexadecimal digits, in lower case. So in a shell:
//!
//! ```sh
//! KEY=3031323334353637383961626364656630313233343536373839616263646566
//! url='/reports/7?page=2&key=2026-a&expires=1767229200'
//! signature=$(printf 'GET\nexample.com\n%s' "$url" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$KEY" | sed 's/.*= //')
//! echo "https://example.com$url&signature=$signature"
//! ```
//!
//! and in Python:
//!
//! ```python
//! import hashlib, hmac
//! key = bytes.fromhex("3031323334353637383961626364656630313233343536373839616263646566")
//! url = "/reports/7?page=2&key=2026-a&expires=1767229200"
//! signature = hmac.new(key, f"GET\nexample.com\n{url}".encode(), hashlib.sha256).hexdigest()
//! print(f"https://example.com{url}&signature={signature}")
//! ```
//!
//! which both say
//!
//! ```text
//! https://example.com/reports/7?page=2&key=2026-a&expires=1767229200&signature=38f79da9aad44c42a412108b95dce07e01034a5ad0ca3dbfc437b493599fe358
//! ```
//!
//! Nothing is decoded, and nothing put in order: another spelling of a path or a parameter is another URL, and not signed. Where the
//! route sorts or drops parameters (`key.query`), the target is signed as the route leaves it. The three parameters are taken away
//! before the look-up; what is left is what is keyed and what the upstream sees. The signature may stand anywhere in the query,
//! and each of the three is there once. `expires` is the first second, since 1970, in which the URL is no longer good.
//!
//! # Decisions
//!
//! | the request | decision |
//! |---|---|
//! | the URL above, before 01:00 UTC | looked up as `/reports/7?page=2`, like that of any other signature |
//! | the same at 01:00, or with `page=3`, or as POST, or signed twice | 403 |
//! | no `signature` | 403; where tokens are good, too, judged by its token |
//! | a good token, no `claims` | looked up: all with a good token share |
//! | a good token with `"tenant": "acme"`, claims as above | key part `tenant:acme`, tag `tenant:acme`, `x-tenant: acme` for the upstream |
//! | a good token without a `tenant`, or with one that is not 1 to 128 visible ASCII characters without a comma, nor a whole number | 401 |
//! | no token, or credentials of another kind | 401, `WWW-Authenticate: Bearer realm="larder"` |
//! | a token of another key or algorithm, too late, too early, for others, two of them | 401 with `error="invalid_token"` and a reason |
//!
//! What of a token goes on to the upstream:
//!
//! | `forward` | in `Authorization` | in a cookie |
//! |---|---|---|
//! | `true` | it goes on; stored is what the upstream allows for requests with credentials (`public`, `s-maxage`, `must-revalidate`: RFC 9111 section 3.5), for equal claims | it goes on, and the request goes past the cache: what an upstream makes of a cookie, no field says |
//! | `false` | `Authorization` is taken away | all of `Cookie` is taken away |
//!
//! With `forward = false` the upstream cannot answer by who it is, and stored is what it allows for everybody: right where a token says
//! only who gets in, or where the upstream asks no more than the claims, which it gets in fields that no client can set. Beside a signed URL
//! nobody has checked a token: it never goes on, nor do fields that are claims'.
//!
//! # What it does not do
//!
//! - It guards what its route takes. Paths are compared as they come, so an upstream that takes `/%72eports/7` for `/reports/7`
//!   gives it to whoever asks by another route; and a route for `GET` alone leaves HEAD to others. Where that matters, `[[policy]]`
//!   guards all routes. Browsers ask by OPTIONS, without credentials, before they send a token to another site: that wants a route of its own.
//! - A signed URL is for whoever has it, until it is over; there is no taking back but by removing its key.
//! - Caches before this one do as the upstream's `Cache-Control` tells them, and know of no end. `private` keeps shared ones out.
//!
//! # What it costs
//!
//! With `larder policy bench`, on a shared machine with 2 cores (trust the ratios): 4 us for a signed URL, 5 us for a token, 6 us with a
//! claim in the key, a tag and a field, 2.5 us for a request with neither. That is two to five times the call of a policy that computes
//! nothing, on every request, since the time is among what it reads. The component has 182 KiB.

mod url;
mod token;
mod jwt;
mod keys;
mod answers;

use larder_policy::{Input, Inputs, LookUp, Policy, Request, RequestDecision, RequestPolicy, Setting};

use crate::{
    answers::Refusal,
    token::{TokenSettings, Tokens},
    url::{SignedUrl, UrlSettings},
};

/// Without tokens nobody reads it.
const NO_REALM: &str = "";

pub struct Access {
    time: Input,
    url: Option<SignedUrl>,
    tokens: Option<Tokens>,
}

#[derive(Setting)]
pub struct Settings {
    /// Lets in who has a signed URL.
    url: Option<UrlSettings>,
    /// Lets in who has a JSON Web Token, signed with HS256.
    token: Option<TokenSettings>,
}

impl Policy for Access {
    const NAME: &'static str = "access";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SELF_TEST: &'static [&'static str] =
        &[include_str!("../cases/url.json"), include_str!("../cases/token.json")];
    type Settings = Settings;

    fn configure(Settings { url, token }: Settings, inputs: &mut Inputs) -> Result<Self, String> {
        if url.is_none() && token.is_none() {
            return Err("neither url nor token: then nobody would get in".to_owned());
        }
        let within = |part: &'static str| move |why: String| [part, ".", &why].concat();
        Ok(Self {
            time: inputs.time(),
            url: url.map(|url| SignedUrl::configure(url, inputs)).transpose().map_err(within("url"))?,
            tokens: token
                .map(|token| Tokens::configure(token, inputs))
                .transpose()
                .map_err(within("token"))?,
        })
    }
}

impl RequestPolicy for Access {
    fn on_request(&self, request: &Request<'_>) -> RequestDecision {
        // Without a time nothing is good any more.
        let now_s = request.get(self.time).and_then(|time| time.parse().ok()).unwrap_or(u64::MAX);
        self.judge(request, now_s).unwrap_or_else(|refusal| {
            let realm = self.tokens.as_ref().map_or(NO_REALM, |tokens| &tokens.realm);
            refusal.answer(realm).into()
        })
    }
}

impl Access {
    fn judge(&self, request: &Request<'_>, now_s: u64) -> Result<RequestDecision, Refusal> {
        // In one form for all who are let in, so that they share.
        let look_up = match &self.url {
            Some(url) => LookUp::new().without_parameters(url.parameters()),
            None => LookUp::new(),
        };
        if let Some(signed) = self.url.as_ref().and_then(|url| url.judge(request, now_s)) {
            signed?;
            return Ok(match &self.tokens {
                Some(tokens) => tokens.strip(look_up),
                None => look_up,
            }
            .into());
        }
        match &self.tokens {
            Some(tokens) => tokens.judge(request, now_s, look_up),
            None => Err(Refusal::Url("a signed URL is needed")),
        }
    }
}

larder_policy::export!(Access: request);

#[cfg(test)]
mod tests;
