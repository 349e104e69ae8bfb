//! Signed URLs: whether this one was signed, for this request, and for now.
//!
//! What is signed is what is looked up and forwarded, byte for byte: nothing is decoded, sorted or left out but the signature
//! itself, so that there is no second spelling of what was signed.

use larder_policy::{Input, Inputs, Json, Request, Setting};

use crate::{
    answers::Refusal,
    keys::{Keys, hex},
};

/// Far above what browsers and servers take, and little to hash.
const TARGET_BYTES_MAX: usize = 16 << 10;
/// HMAC-SHA-256 in hexadecimal digits.
const SIGNATURE_DIGITS: usize = 64;
/// Until the year 33658.
const EXPIRES_DIGITS_MAX: usize = 12;
const NAME_BYTES_MAX: usize = 64;

const INCOMPLETE: Refusal = Refusal::Url("the URL is not signed as it has to be");
const WRONG: Refusal = Refusal::Url("the signature does not fit");
const EXPIRED: Refusal = Refusal::Url("the URL has expired");

#[derive(Setting)]
pub(crate) struct UrlSettings {
    /// By id, of A-Z a-z 0-9 . _ ~ -, each as { hex = "..." } or { base64 = "..." }, 32 to 256 bytes. Up to 8.
    keys: Json,
    /// What the parameters are called.
    #[setting(default = {})]
    parameters: Parameters,
    /// Whether the host is signed, too.
    #[setting(default = true)]
    sign_host: bool,
}

#[derive(Setting)]
struct Parameters {
    /// The end, in seconds since 1970.
    #[setting(default = "expires")]
    expires: String,
    /// The signature, in hexadecimal digits.
    #[setting(default = "signature")]
    signature: String,
    /// The id of the key.
    #[setting(default = "key")]
    key: String,
}

pub(crate) struct SignedUrl {
    method: Input,
    host: Option<Input>,
    path: Input,
    query: Input,
    keys: Keys,
    parameters: Parameters,
}

impl SignedUrl {
    pub(crate) fn configure(settings: UrlSettings, inputs: &mut Inputs) -> Result<Self, String> {
        let UrlSettings { keys, parameters, sign_host } = settings;
        let Parameters { expires, signature, key } = &parameters;
        if let Some(odd) = [expires, signature, key].into_iter().find(|name| !is_plain(name)) {
            return Err(format!("parameters: {odd:?} is not 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ ~ -"));
        }
        if expires == signature || expires == key || signature == key {
            return Err("parameters: two of them have one name".to_owned());
        }
        Ok(Self {
            method: inputs.method(),
            host: sign_host.then(|| inputs.host()),
            path: inputs.path(),
            query: inputs.query(),
            keys: Keys::read(&keys, is_plain)?,
            parameters,
        })
    }

    /// The parameters that are no part of what is asked for.
    pub(crate) fn parameters(&self) -> [&str; 3] {
        let Parameters { expires, signature, key } = &self.parameters;
        [expires, signature, key]
    }

    /// `None`: nobody has signed it.
    pub(crate) fn judge(&self, request: &Request<'_>, now_s: u64) -> Option<Result<(), Refusal>> {
        let query = request.get(self.query)?;
        let is_signed = query.split('&').any(|part| name_and_value(part).0 == self.parameters.signature);
        is_signed.then(|| self.check(request, query, now_s))
    }

    fn check(&self, request: &Request<'_>, query: &str, now_s: u64) -> Result<(), Refusal> {
        let method = match request.get(self.method).unwrap_or_default() {
            // What may be read may be asked about.
            "HEAD" => "GET",
            method => method,
        };
        let host = self.host.and_then(|host| request.get(host)).unwrap_or_default();
        let path = request.get(self.path).unwrap_or_default();
        if path.len() + query.len() > TARGET_BYTES_MAX {
            return Err(INCOMPLETE);
        }
        let mut found = Found::default();
        let mut pieces = vec![method, "\n", host, "\n", path];
        for part in query.split('&') {
            let (name, value) = name_and_value(part);
            if name == self.parameters.signature {
                found.signature.see(value);
                continue;
            }
            if name == self.parameters.expires {
                found.expires.see(value);
            } else if name == self.parameters.key {
                found.key.see(value);
            }
            pieces.extend([if pieces.len() == 5 { "?" } else { "&" }, part]);
        }
        let (Some(signature), Some(expires), Some(key)) = (
            found.signature.only().and_then(signature),
            found.expires.only().and_then(seconds),
            found.key.only(),
        ) else {
            return Err(INCOMPLETE);
        };
        // Only who has signed it is told what is wrong with the rest.
        if !self.keys.verify(key, &pieces, &signature) {
            return Err(WRONG);
        }
        if now_s >= expires { Err(EXPIRED) } else { Ok(()) }
    }
}

/// The values of the parameters that are the policy's own.
#[derive(Default)]
struct Found<'q> {
    signature: Once<'q>,
    expires: Once<'q>,
    key: Once<'q>,
}

/// What is there twice is not there: of two, somebody else may read the other.
#[derive(Default)]
struct Once<'q> {
    value: Option<&'q str>,
    is_repeated: bool,
}

impl<'q> Once<'q> {
    fn see(&mut self, value: &'q str) {
        self.is_repeated |= self.value.replace(value).is_some();
    }

    fn only(&self) -> Option<&'q str> {
        self.value.filter(|_| !self.is_repeated)
    }
}

fn name_and_value(part: &str) -> (&str, &str) {
    part.split_once('=').unwrap_or((part, ""))
}

/// In one spelling alone.
fn signature(text: &str) -> Option<Vec<u8>> {
    let is_written_so = text.len() == SIGNATURE_DIGITS && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if is_written_so { hex(text) } else { None }
}

/// Decimal, without sign and without zeros in front.
fn seconds(text: &str) -> Option<u64> {
    let is_written_so = (1..=EXPIRES_DIGITS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0');
    if is_written_so { text.parse().ok() } else { None }
}

/// What is written in a query as it is, and stands for nothing but itself.
fn is_plain(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte))
}
