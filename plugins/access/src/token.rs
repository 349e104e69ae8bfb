//! Tokens of requests: where they stand, what of them tells responses apart, and what of them goes on to the upstream.
//! Whether one is good: `jwt.rs`.

use larder_policy::{Input, Inputs, Json, LookUp, Pass, Request, RequestDecision, Setting, Ttl};

use crate::{
    answers::Refusal,
    jwt::{Demands, signed_claims},
    keys::Keys,
};

/// "Usually no more than a few minutes", says RFC 7519 section 4.1.4.
const LEEWAY_S_MAX: u64 = 300;
const CLAIMS_MAX: usize = 8;
const CLAIM_BYTES_MAX: usize = 128;
const NAME_BYTES_MAX: usize = 128;

const CLAIM: Refusal = Refusal::Token("the token lacks a claim, or has one that cannot be used here");

#[derive(Setting)]
pub(crate) struct TokenSettings {
    /// By kid, each as { hex = "..." } or { base64 = "..." }, 32 to 256 bytes. Up to 8.
    keys: Json,
    /// The cookie that has the token. Without it, the token is in Authorization, behind Bearer.
    cookie: Option<String>,
    /// What iss has to be.
    issuer: Option<String>,
    /// One of these has to be in aud. Without them, a token with aud is for somebody else.
    #[setting(default = [])]
    audience: Vec<String>,
    /// How far clocks may differ, in seconds or as a time such as "30s"; at most 5 minutes.
    #[setting(default = 0)]
    leeway: Ttl,
    /// Whether a token without an end is refused.
    #[setting(default = true)]
    require_exp: bool,
    /// Claims that every token must have, and that tell responses apart. Up to 8.
    #[setting(default = [])]
    claims: Vec<Claim>,
    /// Whether the token goes on to the upstream.
    #[setting(default = true)]
    forward: bool,
    /// In WWW-Authenticate.
    #[setting(default = "larder")]
    realm: String,
}

/// A claim that tells responses apart.
#[derive(Setting)]
struct Claim {
    /// What it is called in the token.
    name: String,
    /// What is stored is tagged with this, a colon and the value.
    tag: Option<String>,
    /// The request field in which the upstream gets the value, x-...
    field: Option<String>,
}

pub(crate) struct Tokens {
    input: Input,
    is_cookie: bool,
    keys: Keys,
    demands: Demands,
    claims: Vec<Claim>,
    forward: bool,
    pub(crate) realm: String,
}

impl Tokens {
    pub(crate) fn configure(settings: TokenSettings, inputs: &mut Inputs) -> Result<Self, String> {
        let TokenSettings { keys, cookie, issuer, audience, leeway, require_exp, claims, forward, realm } =
            settings;
        let leeway_s = leeway.0.as_secs();
        if leeway_s > LEEWAY_S_MAX {
            return Err(format!("leeway: {leeway_s} s; for clocks that differ, at most {LEEWAY_S_MAX}"));
        }
        if let Some(odd) = cookie.iter().find(|name| !is_token(name)) {
            return Err(format!("cookie: {odd:?} is not the name of a cookie"));
        }
        if !realm.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
            return Err(format!("realm: {realm:?} is not plain ASCII without quotes and backslashes"));
        }
        check_claims(&claims)?;
        let is_id = |id: &str| (1..=NAME_BYTES_MAX).contains(&id.len());
        Ok(Self {
            input: match &cookie {
                Some(name) => inputs.cookie(name),
                None => inputs.field("authorization"),
            },
            is_cookie: cookie.is_some(),
            keys: Keys::read(&keys, is_id)?,
            demands: Demands {
                issuer,
                audience,
                leeway_s: i64::try_from(leeway_s).unwrap_or_default(),
                require_exp,
            },
            claims,
            forward,
            realm,
        })
    }

    /// `look_up` is what becomes of those who are let in, as far as it is decided.
    pub(crate) fn judge(
        &self,
        request: &Request<'_>,
        now_s: u64,
        mut look_up: LookUp,
    ) -> Result<RequestDecision, Refusal> {
        let value = request.get(self.input).unwrap_or_default();
        let token = if self.is_cookie { value } else { bearer(value) };
        if token.is_empty() {
            return Err(Refusal::NoToken);
        }
        let claims = signed_claims(token, &self.keys)?;
        self.demands.check(&claims, i64::try_from(now_s).unwrap_or(i64::MAX))?;
        for Claim { name, tag, field } in &self.claims {
            let value = claims.get(name).and_then(plain).ok_or(CLAIM)?;
            look_up = look_up.key_part([name, ":", value].concat());
            if let Some(tag) = tag {
                look_up = look_up.tag([tag, ":", value].concat());
            }
            if let Some(field) = field {
                look_up = look_up.set_field(field, value);
            }
        }
        if !self.forward {
            return Ok(look_up.remove_field(self.carrier()).into());
        }
        if self.is_cookie {
            // For `Authorization` the core knows what may be shared (RFC 9111 section 3.5); of a cookie it cannot.
            let LookUp { forward, .. } = look_up;
            return Ok(Pass { forward, ..Pass::because("its token goes on in a cookie") }.into());
        }
        Ok(look_up.into())
    }

    /// For those who are let in without one: what an upstream takes for checked must not be of their own making.
    pub(crate) fn strip(&self, look_up: LookUp) -> LookUp {
        let fields = self.claims.iter().filter_map(|claim| claim.field.as_deref());
        fields.chain([self.carrier()]).fold(look_up, |look_up, field| look_up.remove_field(field))
    }

    fn carrier(&self) -> &'static str {
        if self.is_cookie { "cookie" } else { "authorization" }
    }
}

/// What stands behind `Bearer`; nothing where another scheme does. Two fields come as one with a comma between, which
/// no token has.
fn bearer(authorization: &str) -> &str {
    match authorization.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_matches(' '),
        _ => "",
    }
}

/// A claim as it can stand in a key, a tag and a field: a plain text, or a whole number as it is written.
fn plain(value: &Json) -> Option<&str> {
    match value {
        Json::Text(text) if is_plain(text) && text.len() <= CLAIM_BYTES_MAX => Some(text),
        Json::Number(written) if written.len() <= CLAIM_BYTES_MAX && !written.contains(['.', 'e', 'E']) => {
            Some(written)
        }
        Json::Text(_) | Json::Number(_) | Json::Null | Json::Bool(_) | Json::List(_) | Json::Object(_) => {
            None
        }
    }
}

fn check_claims(claims: &[Claim]) -> Result<(), String> {
    if claims.len() > CLAIMS_MAX {
        return Err(format!("claims: {} of them; at most {CLAIMS_MAX}", claims.len()));
    }
    for (number, Claim { name, tag, field }) in claims.iter().enumerate() {
        let says = |what: String| Err(format!("claims[{number}]: {what}"));
        let is_known = |other: &Claim| other.name == *name || (field.is_some() && other.field == *field);
        if claims[..number].iter().any(is_known) {
            return says("its name or its field is that of another".to_owned());
        }
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return says(format!("name: not of 1 to {NAME_BYTES_MAX} bytes"));
        }
        if let Some(odd) = tag.iter().find(|tag| !is_plain(tag) || tag.len() > CLAIM_BYTES_MAX - 1) {
            return says(format!("tag: {odd:?} cannot be the beginning of a tag"));
        }
        // Only names that nobody else has a claim to: not those of HTTP, nor those by which proxies say who forwarded.
        let is_own =
            |field: &str| is_token(field) && field.starts_with("x-") && !field.starts_with("x-forwarded-");
        if let Some(odd) = field.iter().find(|field| !is_own(&field.to_ascii_lowercase())) {
            return says(format!(
                "field: {odd:?} is not a field that begins with x-, or one of x-forwarded-"
            ));
        }
    }
    Ok(())
}

/// Visible ASCII without the comma that separates tags.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// As names of fields and cookies are (RFC 9110 section 5.6.2).
fn is_token(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
