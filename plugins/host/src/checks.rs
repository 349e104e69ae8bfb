//! What a guest said, checked and turned into what the proxy works with. Anything may come out of a guest.
//!
//! Every function gives the reason of a refusal as text; `call.rs` and `load.rs` put the policy's name to it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::{
    bindings::{
        request_policy::{self, Answer, LookUp},
        response_policy, setup,
    },
    decision::{Inputs, RequestDecision, ResponseDecision, StoreDecision},
    limits::{
        BODY_BYTES_MAX, DURATION_MS_MAX, FIELD_VALUE_BYTES_MAX, FIELDS_MAX, INPUT_NAME_BYTES_MAX, INPUTS_MAX,
        KEY_PART_BYTES_MAX, KEY_PARTS_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX, SCHEMA_BYTES_MAX, TAG_BYTES_MAX,
        TAGS_MAX,
    },
};

type Checked<T> = Result<T, String>;

pub(crate) fn request_decision(said: request_policy::RequestDecision) -> Checked<RequestDecision> {
    Ok(match said {
        request_policy::RequestDecision::LookUp(LookUp { key_parts, tags }) => {
            RequestDecision::LookUp { key_parts: self::key_parts(key_parts)?, tags: self::tags(tags)? }
        }
        request_policy::RequestDecision::Pass(reason) => {
            RequestDecision::Pass { reason: self::reason(reason)? }
        }
        request_policy::RequestDecision::Answer(Answer { status, fields, body }) => {
            let status = answer_status(status)?;
            at_most(BODY_BYTES_MAX, body.len(), "bytes of body")?;
            if !body.is_empty() && matches!(status.as_u16(), 204 | 205 | 304) {
                return Err(format!("a body with status {}", status.as_u16()));
            }
            RequestDecision::Answer { status, fields: self::fields(fields)?, body: Bytes::from(body) }
        }
    })
}

pub(crate) fn response_decision(said: response_policy::ResponseDecision) -> Checked<ResponseDecision> {
    Ok(match said {
        response_policy::ResponseDecision::DoNotStore(reason) => {
            ResponseDecision::DoNotStore { reason: self::reason(reason)? }
        }
        response_policy::ResponseDecision::Store(store) => ResponseDecision::Store(StoreDecision {
            ttl: duration(store.ttl_ms, "ttl")?,
            stale_while_revalidate: duration(store.stale_while_revalidate_ms, "stale-while-revalidate")?,
            stale_if_error: duration(store.stale_if_error_ms, "stale-if-error")?,
            tags: tags(store.tags)?,
            set_fields: fields(store.set_fields)?,
            remove_fields: field_names(store.remove_fields)?,
        }),
    })
}

/// `name@version`: both go into metric labels and log lines.
pub(crate) fn description(said: &setup::Description) -> Checked<()> {
    let name_fits = said.name.starts_with(|first: char| first.is_ascii_lowercase())
        && said.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && said.name.len() <= NAME_BYTES_MAX;
    if !name_fits {
        return Err(format!(
            "name {:?}: not [a-z][a-z0-9-]* of at most {NAME_BYTES_MAX} bytes",
            clip(&said.name)
        ));
    }
    let version_fits = !said.version.is_empty()
        && said.version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-".contains(&byte))
        && said.version.len() <= NAME_BYTES_MAX;
    if !version_fits {
        let version = clip(&said.version);
        return Err(format!("version {version:?}: not [0-9A-Za-z.+-]+ of at most {NAME_BYTES_MAX} bytes"));
    }
    at_most(SCHEMA_BYTES_MAX, said.settings_schema.len(), "bytes of settings schema")
}

pub(crate) fn inputs(said: setup::Inputs) -> Checked<Inputs> {
    let count = said.request_fields.len()
        + said.query_parameters.len()
        + said.cookies.len()
        + said.captures.len()
        + said.response_fields.len();
    at_most(INPUTS_MAX, count, "inputs")?;
    Ok(Inputs {
        request_fields: said.request_fields.iter().map(|name| input_field(name)).collect::<Checked<_>>()?,
        query_parameters: input_names(said.query_parameters, "query parameter")?,
        cookies: input_names(said.cookies, "cookie")?,
        captures: input_names(said.captures, "capture")?,
        method: said.method,
        path: said.path,
        time: said.time,
        response_fields: said.response_fields.iter().map(|name| input_field(name)).collect::<Checked<_>>()?,
    })
}

fn input_field(name: &str) -> Checked<HeaderName> {
    at_most(INPUT_NAME_BYTES_MAX, name.len(), "bytes in the name of an input")?;
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("input {:?}: not a field name", clip(name)))
}

fn input_names(names: Vec<String>, what: &str) -> Checked<Vec<String>> {
    for name in &names {
        at_most(INPUT_NAME_BYTES_MAX, name.len(), "bytes in the name of an input")?;
        if name.is_empty() || name.contains(char::is_control) {
            return Err(format!("input {:?}: not the name of a {what}", clip(name)));
        }
    }
    Ok(names)
}

fn key_parts(parts: Vec<String>) -> Checked<Vec<Box<str>>> {
    at_most(KEY_PARTS_MAX, parts.len(), "key parts")?;
    for part in &parts {
        at_most(KEY_PART_BYTES_MAX, part.len(), "bytes in a key part")?;
    }
    Ok(boxed(parts))
}

/// Tags travel in header fields, separated by commas or blanks: one that holds either could not be purged.
fn tags(tags: Vec<String>) -> Checked<Vec<Box<str>>> {
    at_most(TAGS_MAX, tags.len(), "tags")?;
    for tag in &tags {
        at_most(TAG_BYTES_MAX, tag.len(), "bytes in a tag")?;
        if tag.is_empty() || tag.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control()) {
            return Err(format!("tag {tag:?}: empty, or with a comma, blank or control character"));
        }
    }
    Ok(boxed(tags))
}

fn fields(fields: Vec<(String, String)>) -> Checked<Vec<(HeaderName, HeaderValue)>> {
    at_most(FIELDS_MAX, fields.len(), "fields")?;
    let check = |(name, value): (String, String)| {
        let name = field_name(&name)?;
        at_most(FIELD_VALUE_BYTES_MAX, value.len(), "bytes in a field value")?;
        // Refuses CR, LF, NUL and the other control characters.
        let value = HeaderValue::from_maybe_shared(Bytes::from(value))
            .map_err(|_| format!("value of field {name}: holds a control character"))?;
        Ok((name, value))
    };
    fields.into_iter().map(check).collect()
}

fn field_names(names: Vec<String>) -> Checked<Vec<HeaderName>> {
    at_most(FIELDS_MAX, names.len(), "fields")?;
    names.iter().map(|name| field_name(name)).collect()
}

/// Framing and connection management are the proxy's; a policy that touched them could smuggle.
fn field_name(name: &str) -> Checked<HeaderName> {
    const PROXY_OWNS: [&str; 9] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "larder-version",
    ];
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("field {:?}: not a field name", clip(name)))?;
    if PROXY_OWNS.contains(&parsed.as_str()) {
        return Err(format!("field {parsed}: not a policy's to set or remove"));
    }
    Ok(parsed)
}

/// 1xx is not an answer, and 101 would end HTTP on the connection.
fn answer_status(status: u16) -> Checked<StatusCode> {
    if !(200..=599).contains(&status) {
        return Err(format!("status {status}: not from 200 to 599"));
    }
    StatusCode::from_u16(status).map_err(|_| format!("status {status}: not a status"))
}

fn reason(reason: String) -> Checked<Box<str>> {
    at_most(REASON_BYTES_MAX, reason.len(), "bytes of reason")?;
    if reason.contains(char::is_control) {
        return Err(format!("reason {reason:?}: holds a control character"));
    }
    Ok(reason.into_boxed_str())
}

fn duration(milliseconds: Option<u64>, what: &str) -> Checked<Option<Duration>> {
    match milliseconds {
        Some(milliseconds) if milliseconds > DURATION_MS_MAX => {
            Err(format!("{what} of {milliseconds} ms: more than {DURATION_MS_MAX}"))
        }
        Some(_) | None => Ok(milliseconds.map(Duration::from_millis)),
    }
}

fn at_most(bound: usize, count: usize, what: &str) -> Checked<()> {
    if count > bound { Err(format!("{count} {what}: at most {bound} are taken")) } else { Ok(()) }
}

fn boxed(texts: Vec<String>) -> Vec<Box<str>> {
    texts.into_iter().map(String::into_boxed_str).collect()
}

/// Enough of a guest's text to recognise it in a message.
fn clip(text: &str) -> &str {
    let end = text.char_indices().nth(40).map_or(text.len(), |(at, _)| at);
    &text[..end]
}
