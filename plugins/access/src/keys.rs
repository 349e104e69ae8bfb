//! Secret keys by id, and whether a MAC is one of theirs. Nothing here tells a key, also not in an error.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use larder_policy::Json;
use sha2::Sha256;

/// As long as the hash is: a shorter key is the easier thing to guess (RFC 7518 section 3.2 forbids it).
pub(crate) const KEY_BYTES_MIN: usize = 32;
const KEY_BYTES_MAX: usize = 256;
/// A key, its successor, and some. A token that names none may be tried with each.
const KEYS_MAX: usize = 8;

/// What is wanted in the place of what is there, which may be a key and is not shown.
const WANTED: &str = "wanted { hex = \"...\" } or { base64 = \"...\" }";

/// Each as the state of a MAC that has read its key: who verifies copies it.
pub(crate) struct Keys(Vec<(String, Hmac<Sha256>)>);

impl Keys {
    /// By id, each as `{ hex = "..." }` or `{ base64 = "..." }`. `is_id`: which names can stand where they are looked for.
    pub(crate) fn read(written: &Json, is_id: impl Fn(&str) -> bool) -> Result<Self, String> {
        let Json::Object(written) = written else {
            return Err(["keys: wanted a name for each key, and for each name ", WANTED].concat());
        };
        if !(1..=KEYS_MAX).contains(&written.len()) {
            return Err(format!("keys: {} of them; wanted are 1 to {KEYS_MAX}", written.len()));
        }
        let keys = written.iter().map(|(id, key)| {
            if !is_id(id) {
                return Err(format!("keys: {id:?} cannot be the name of a key"));
            }
            let mac = mac(key).map_err(|why| format!("keys.{id}: {why}"))?;
            Ok((id.clone(), mac))
        });
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// Whether the key of this id made `tag` of these pieces. No: also where there is no such key.
    pub(crate) fn verify(&self, id: &str, pieces: &[&str], tag: &[u8]) -> bool {
        self.0.iter().any(|(known, mac)| known == id && is_made_by(mac, pieces, tag))
    }

    /// Whether any of the keys did.
    pub(crate) fn verify_by_any(&self, pieces: &[&str], tag: &[u8]) -> bool {
        self.0.iter().any(|(_, mac)| is_made_by(mac, pieces, tag))
    }
}

fn is_made_by(mac: &Hmac<Sha256>, pieces: &[&str], tag: &[u8]) -> bool {
    let mut mac = mac.clone();
    pieces.iter().for_each(|piece| mac.update(piece.as_bytes()));
    // Of the whole length, and in the same time wherever the first difference is.
    mac.verify_slice(tag).is_ok()
}

fn mac(written: &Json) -> Result<Hmac<Sha256>, String> {
    let Json::Object(members) = written else { return Err(WANTED.to_owned()) };
    let [(coding, Json::Text(text))] = members.as_slice() else { return Err(WANTED.to_owned()) };
    let bytes = match coding.as_str() {
        "hex" => hex(text).ok_or("not an even number of hexadecimal digits")?,
        "base64" => base64(text).ok_or("not base64")?,
        _ => return Err(WANTED.to_owned()),
    };
    if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&bytes.len()) {
        return Err(format!(
            "{} bytes; wanted are {KEY_BYTES_MIN} to {KEY_BYTES_MAX}, as from `openssl rand -hex {KEY_BYTES_MIN}`",
            bytes.len()
        ));
    }
    Hmac::new_from_slice(&bytes).map_err(|_| "not of a length that keys have".to_owned())
}

/// Digits in either case, two for each byte.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// In both alphabets, with and without padding: keys come from many tools.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    STANDARD_NO_PAD.decode(text).ok()
}
