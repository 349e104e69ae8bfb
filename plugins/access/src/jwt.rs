//! JSON Web Tokens (RFC 7519), signed with HS256 and nothing else: whether one is ours, and good for now and for us.
//!
//! How a token is signed is not the token's to say: one that names another algorithm is refused before anything is computed.
//! No key is ever taken from a token, or fetched from where it points.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use larder_policy::Json;

use crate::{answers::Refusal, keys::Keys};

/// What fits into the field section that servers take.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// It is read before anybody knows who wrote it; an algorithm and the name of a key are short.
const HEADER_BYTES_MAX: usize = 1 << 10;

const MALFORMED: Refusal = Refusal::Token("the token is not a JSON Web Token in its compact form");
const ALGORITHM: Refusal = Refusal::Token("the token is not signed as it has to be");
const WRONG: Refusal = Refusal::Token("the signature of the token does not fit");
const NO_END: Refusal = Refusal::Token("the token does not say until when it is good");
const EXPIRED: Refusal = Refusal::Token("the token has expired");
const TOO_EARLY: Refusal = Refusal::Token("the token is not good yet");
const ISSUER: Refusal = Refusal::Token("the token is of another issuer");
const AUDIENCE: Refusal = Refusal::Token("the token is for another audience");

/// What is asked of a token that is ours.
pub(crate) struct Demands {
    pub(crate) issuer: Option<String>,
    /// One of them has to be named. None: a token that names any is for somebody else.
    pub(crate) audience: Vec<String>,
    pub(crate) leeway_s: i64,
    pub(crate) require_exp: bool,
}

/// The claims of a token that one of the keys has signed: an object.
pub(crate) fn signed_claims(token: &str, keys: &Keys) -> Result<Json, Refusal> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(MALFORMED);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(MALFORMED);
    };
    let signature = bytes(signature)?;
    if header.len() > HEADER_BYTES_MAX {
        return Err(MALFORMED);
    }
    let said = object(header)?;
    //= https://www.rfc-editor.org/rfc/rfc8725#section-3.1
    //# Libraries MUST enable the caller to specify a
    //# supported set of algorithms and MUST NOT use any other algorithms
    //# when performing cryptographic operations.
    let is_hs256 = matches!(said.get("alg"), Some(Json::Text(alg)) if alg == "HS256");
    //= https://www.rfc-editor.org/rfc/rfc7515#section-4.1.11
    //# If any of the listed extension Header
    //# Parameters are not understood and supported by the recipient, then
    //# the JWS is invalid.
    if !is_hs256 || said.get("crit").is_some() {
        return Err(ALGORITHM);
    }
    let pieces = [header, ".", claims];
    let is_ours = match said.get("kid") {
        Some(Json::Text(id)) => keys.verify(id, &pieces, &signature),
        None => keys.verify_by_any(&pieces, &signature),
        Some(_) => false,
    };
    if is_ours { object(claims) } else { Err(WRONG) }
}

impl Demands {
    /// Whether a token with these claims is good at this moment, and for us.
    pub(crate) fn check(&self, claims: &Json, now_s: i64) -> Result<(), Refusal> {
        //= https://www.rfc-editor.org/rfc/rfc7519#section-4.1.4
        //# The "exp" (expiration time) claim identifies the expiration time on
        //# or after which the JWT MUST NOT be accepted for processing.
        match claims.get("exp").map(whole_seconds) {
            None if self.require_exp => return Err(NO_END),
            None => (),
            Some(None) => return Err(NO_END),
            Some(Some(exp)) if now_s >= exp.saturating_add(self.leeway_s) => return Err(EXPIRED),
            Some(Some(_)) => (),
        }
        //= https://www.rfc-editor.org/rfc/rfc7519#section-4.1.5
        //# The "nbf" (not before) claim identifies the time before which the JWT
        //# MUST NOT be accepted for processing.
        if let Some(nbf) = claims.get("nbf")
            && whole_seconds(nbf).is_none_or(|nbf| now_s.saturating_add(self.leeway_s) < nbf)
        {
            return Err(TOO_EARLY);
        }
        if let Some(issuer) = &self.issuer
            && !matches!(claims.get("iss"), Some(Json::Text(found)) if found == issuer)
        {
            return Err(ISSUER);
        }
        let is_us =
            |name: &Json| matches!(name, Json::Text(name) if self.audience.iter().any(|known| known == name));
        //= https://www.rfc-editor.org/rfc/rfc7519#section-4.1.3
        //# If the principal
        //# processing the claim does not identify itself with a value in the
        //# "aud" claim when this claim is present, then the JWT MUST be
        //# rejected.
        let is_for_us = match claims.get("aud") {
            None => self.audience.is_empty(),
            Some(Json::List(names)) => names.iter().any(is_us),
            Some(name) => is_us(name),
        };
        if is_for_us { Ok(()) } else { Err(AUDIENCE) }
    }
}

/// A time as the first whole second that is not before it: for whole seconds, before the one is before the other. Without an
/// exponent, in which nobody writes a time.
fn whole_seconds(value: &Json) -> Option<i64> {
    let Json::Number(written) = value else { return None };
    let (whole, fraction) = written.split_once('.').unwrap_or((written, ""));
    if fraction.bytes().any(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let is_after = !whole.starts_with('-') && fraction.bytes().any(|byte| byte != b'0');
    Some(seconds.saturating_add(i64::from(is_after)))
}

/// Base64url without padding, in its one spelling: no bits left over.
fn bytes(part: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED)
}

/// No name is there twice, however it is spelled, nor in what is inside: nobody else can read another thing from it.
fn object(part: &str) -> Result<Json, Refusal> {
    let text = String::from_utf8(bytes(part)?).map_err(|_| MALFORMED)?;
    Json::read(&text).ok().filter(|value| matches!(value, Json::Object(_))).ok_or(MALFORMED)
}
