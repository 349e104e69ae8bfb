//! What a guest said, checked and turned into what the proxy works with. Anything may come out of a guest.
//!
//! Every function gives the reason of a refusal as text; `call.rs` and `load.rs` put the policy's name to it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header::SET_COOKIE};

use crate::{
    bindings::v0_2::{self, request_policy, response_policy, setup},
    decision::{
        Answer, DoNotStore, FieldChanges, Forward, Inputs, LookUp, Pass, QueryChange, RequestDecision,
        ResponseDecision, StoreDecision,
    },
    limits::{
        BODY_BYTES_MAX, DURATION_MS_MAX, FIELD_VALUE_BYTES_MAX, FIELDS_MAX, INPUT_NAME_BYTES_MAX, INPUTS_MAX,
        KEY_PART_BYTES_MAX, KEY_PARTS_MAX, NAME_BYTES_MAX, PARAMETERS_MAX, REASON_BYTES_MAX,
        SCHEMA_BYTES_MAX, SELF_TEST_BYTES_MAX, SELF_TESTS_MAX, TAG_BYTES_MAX, TAGS_MAX,
    },
};

type Checked<T> = Result<T, String>;

pub(crate) fn request_decision(said: request_policy::RequestDecision) -> Checked<RequestDecision> {
    use request_policy::RequestDecision as Said;
    Ok(match said {
        Said::LookUp(said) => RequestDecision::LookUp(LookUp {
            key_parts: key_parts(said.key_parts)?,
            tags: tags(said.tags)?,
            forward: forward(said.forward)?,
        }),
        Said::Pass(said) => {
            RequestDecision::Pass(Pass { reason: reason(said.reason)?, forward: forward(said.forward)? })
        }
        Said::Answer(request_policy::Answer { status, fields, body }) => {
            let status = answer_status(status)?;
            at_most(BODY_BYTES_MAX, body.len(), "bytes of body")?;
            if !body.is_empty() && matches!(status.as_u16(), 204 | 205 | 304) {
                return Err(format!("a body with status {}", status.as_u16()));
            }
            RequestDecision::Answer(Answer { status, fields: self::fields(fields)?, body: Bytes::from(body) })
        }
    })
}

pub(crate) fn response_decision(said: response_policy::ResponseDecision) -> Checked<ResponseDecision> {
    use response_policy::ResponseDecision as Said;
    Ok(match said {
        Said::DoNotStore(said) => ResponseDecision::DoNotStore(DoNotStore {
            reason: reason(said.reason)?,
            hit_for_miss: duration(said.hit_for_miss_ms, "hit-for-miss")?,
            fields: field_changes(said.fields)?,
        }),
        Said::Store(said) => ResponseDecision::Store(StoreDecision {
            ttl: duration(said.ttl_ms, "ttl")?,
            stale_while_revalidate: duration(said.stale_while_revalidate_ms, "stale-while-revalidate")?,
            stale_if_error: duration(said.stale_if_error_ms, "stale-if-error")?,
            tags: tags(said.tags)?,
            fields: stored_fields(said.fields)?,
        }),
    })
}

fn forward(said: request_policy::Forward) -> Checked<Forward> {
    let fields = field_changes(said.fields)?;
    let names = fields.remove.iter().chain(fields.set.iter().map(|(name, _)| name));
    if let Some(refused) = names.into_iter().find(|name| !may_change_in_requests(name)) {
        return Err(format!("field {refused}: not a policy's to change in a request"));
    }
    Ok(Forward { upstream: said.upstream.map(upstream_name).transpose()?, query: query(said.query)?, fields })
}

/// Conditions and ranges are what the cache itself works with, content is the client's, and who forwarded is the proxy's to say.
fn may_change_in_requests(name: &HeaderName) -> bool {
    const OTHERS: [&str; 6] = ["cache-control", "expect", "forwarded", "pragma", "range", "via"];
    const FAMILIES: [&str; 3] = ["content-", "if-", "x-forwarded-"];
    let name = name.as_str();
    !OTHERS.contains(&name) && !FAMILIES.iter().any(|family| name.starts_with(family))
}

fn upstream_name(name: String) -> Checked<Box<str>> {
    at_most(NAME_BYTES_MAX, name.len(), "bytes in the name of an upstream")?;
    if name.is_empty() || name.contains(char::is_control) {
        return Err(format!("upstream {name:?}: not a name"));
    }
    Ok(name.into_boxed_str())
}

fn query(said: request_policy::QueryChange) -> Checked<QueryChange> {
    let names = |names: Vec<String>| {
        at_most(PARAMETERS_MAX, names.len(), "query parameters")?;
        for name in &names {
            at_most(INPUT_NAME_BYTES_MAX, name.len(), "bytes in the name of a query parameter")?;
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && !b"&=#".contains(&byte))
            {
                return Err(format!("query parameter {:?}: not as it could stand in a query", clip(name)));
            }
        }
        Ok(boxed(names))
    };
    Ok(match said {
        request_policy::QueryChange::Unchanged => QueryChange::Unchanged,
        request_policy::QueryChange::Only(said) => QueryChange::Only(names(said)?),
        request_policy::QueryChange::Without(said) => QueryChange::Without(names(said)?),
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
    at_most(SCHEMA_BYTES_MAX, said.settings_schema.len(), "bytes of settings schema")?;
    at_most(SELF_TESTS_MAX, said.self_test.len(), "cases of self-test")?;
    at_most(SELF_TEST_BYTES_MAX, said.self_test.iter().map(String::len).sum(), "bytes of self-test")
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
        host: said.host,
        path: said.path,
        query: said.query,
        time: said.time,
        decided: said.decided,
        response_fields: said.response_fields.iter().map(|name| input_field(name)).collect::<Checked<_>>()?,
        ttl: said.ttl,
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
        if tag.is_empty() || !tag.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') {
            return Err(format!("tag {tag:?}: not of visible ASCII without a comma"));
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

/// What is stored is for every client, and a cookie for one.
fn stored_fields(said: v0_2::FieldChanges) -> Checked<FieldChanges> {
    let checked = field_changes(said)?;
    if checked.set.iter().any(|(name, _)| name == SET_COOKIE) {
        return Err(format!("field {SET_COOKIE}: not on a stored response"));
    }
    Ok(checked)
}

fn field_changes(said: v0_2::FieldChanges) -> Checked<FieldChanges> {
    Ok(FieldChanges { remove: field_names(said.remove)?, set: fields(said.set)? })
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
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    /// What the proxy and the origin worker say to each other.
    const LARDERS_OWN: &str = "larder-";
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("field {:?}: not a field name", clip(name)))?;
    if PROXY_OWNS.contains(&parsed.as_str()) || parsed.as_str().starts_with(LARDERS_OWN) {
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

#[cfg(test)]
mod tests {
    use super::{
        DURATION_MS_MAX, description, inputs, request_decision,
        request_policy::{self, RequestDecision},
        response_decision,
        response_policy::{DoNotStore, ResponseDecision, Store},
        setup,
        v0_2::FieldChanges,
    };

    #[track_caller]
    fn check_description(name: &str, version: &str, schema_bytes: usize, expected: Result<(), &str>) {
        let said = setup::Description {
            name: name.to_owned(),
            version: version.to_owned(),
            settings_schema: " ".repeat(schema_bytes),
            self_test: Vec::new(),
        };
        match (description(&said), expected) {
            (Ok(()), Ok(())) => (),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
            (found, _) => panic!("{name:?} {version:?}: {found:?}"),
        }
    }

    #[track_caller]
    fn refuse_store(store: Store, expected: &str) {
        let error = response_decision(ResponseDecision::Store(store)).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }

    fn nothing() -> Store {
        Store {
            ttl_ms: None,
            stale_while_revalidate_ms: None,
            stale_if_error_ms: None,
            tags: Vec::new(),
            fields: no_changes(),
        }
    }

    fn no_changes() -> FieldChanges {
        FieldChanges { remove: Vec::new(), set: Vec::new() }
    }

    fn set(name: &str, value: &str) -> FieldChanges {
        FieldChanges { set: vec![(name.to_owned(), value.to_owned())], ..no_changes() }
    }

    fn removed(name: &str) -> FieldChanges {
        FieldChanges { remove: vec![name.to_owned()], ..no_changes() }
    }

    fn no_inputs() -> setup::Inputs {
        setup::Inputs {
            request_fields: Vec::new(),
            query_parameters: Vec::new(),
            cookies: Vec::new(),
            captures: Vec::new(),
            method: false,
            host: false,
            path: false,
            query: false,
            time: false,
            decided: false,
            response_fields: Vec::new(),
            ttl: false,
        }
    }

    #[test]
    fn a_description_is_fit_for_labels() {
        check_description("tenant-key2", "1.0.0-rc.1+x", 64 << 10, Ok(()));
        for name in ["", "2a", "-a", "Tenant", "a b", "a\n", "\u{e4}", &"a".repeat(65)] {
            check_description(name, "1", 0, Err("not [a-z]"));
        }
        for version in ["", "1 0", "1/0", "1\n", &"1".repeat(65)] {
            check_description("a", version, 0, Err("not [0-9A-Za-z.+-]"));
        }
        check_description("a", "1", (64 << 10) + 1, Err("bytes of settings schema"));
    }

    #[test]
    fn inputs_are_few_and_have_names() {
        let refuse = |said: setup::Inputs, expected: &str| {
            let error = inputs(said).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        };
        let names = |count: usize, name: &str| vec![name.to_owned(); count];
        refuse(setup::Inputs { cookies: names(65, "a"), ..no_inputs() }, "65 inputs: at most 64");
        refuse(setup::Inputs { request_fields: names(1, "a b"), ..no_inputs() }, "not a field name");
        refuse(setup::Inputs { response_fields: names(1, ""), ..no_inputs() }, "not a field name");
        refuse(setup::Inputs { query_parameters: names(1, ""), ..no_inputs() }, "not the name of a query");
        refuse(setup::Inputs { captures: names(1, "a\n"), ..no_inputs() }, "not the name of a capture");
        refuse(setup::Inputs { cookies: names(1, &"a".repeat(257)), ..no_inputs() }, "257 bytes in the name");
        let taken = inputs(setup::Inputs { request_fields: names(1, "X-Tenant"), path: true, ..no_inputs() });
        assert_eq!(taken.map(|inputs| (inputs.request_values(), inputs.path)), Ok((2, true)));
    }

    #[test]
    fn a_stored_response_stays_within_bounds() {
        assert!(response_decision(ResponseDecision::Store(nothing())).is_ok());
        let longest = Store { ttl_ms: Some(DURATION_MS_MAX), ..nothing() };
        assert!(response_decision(ResponseDecision::Store(longest)).is_ok());
        let over = Some(DURATION_MS_MAX + 1);
        refuse_store(Store { ttl_ms: over, ..nothing() }, "ttl of");
        refuse_store(Store { stale_while_revalidate_ms: over, ..nothing() }, "stale-while-revalidate of");
        refuse_store(Store { stale_if_error_ms: Some(u64::MAX), ..nothing() }, "stale-if-error of");
        refuse_store(Store { tags: vec!["\u{e4}".to_owned()], ..nothing() }, "not of visible ASCII");
        refuse_store(Store { fields: set("Set-Cookie", "a=b"), ..nothing() }, "not on a stored response");
        refuse_store(Store { fields: set("larder-version", "lsn=0"), ..nothing() }, "not a policy's");
        refuse_store(Store { fields: set("x", "a\rb"), ..nothing() }, "control character");
        refuse_store(Store { fields: removed("Transfer-Encoding"), ..nothing() }, "not a policy's");
        let reason = |reason: &str, hit_for_miss_ms| DoNotStore {
            reason: reason.to_owned(),
            hit_for_miss_ms,
            fields: set("Set-Cookie", "a=b"),
        };
        assert!(response_decision(ResponseDecision::DoNotStore(reason("a", Some(0)))).is_ok());
        assert!(response_decision(ResponseDecision::DoNotStore(reason("a\nb", None))).is_err());
        assert!(response_decision(ResponseDecision::DoNotStore(reason("a", over))).is_err());
    }

    #[test]
    fn a_request_goes_on_within_bounds() {
        let unchanged = || request_policy::Forward {
            upstream: None,
            query: request_policy::QueryChange::Unchanged,
            fields: no_changes(),
        };
        let decide = |forward| {
            request_decision(RequestDecision::Pass(request_policy::Pass { reason: "a".to_owned(), forward }))
        };
        assert!(decide(unchanged()).is_ok());
        assert!(decide(request_policy::Forward { fields: removed("Cookie"), ..unchanged() }).is_ok());
        assert!(decide(request_policy::Forward { fields: set("x-bucket", "b"), ..unchanged() }).is_ok());
        for name in [
            "Range",
            "If-None-Match",
            "If-Range",
            "Content-Type",
            "Cache-Control",
            "X-Forwarded-For",
            "Via",
            "Host",
            "Content-Length",
            "Larder-Min-Version",
        ] {
            let refuse = |fields| {
                let error = decide(request_policy::Forward { fields, ..unchanged() }).expect_err(name);
                assert!(error.contains("not a policy's"), "{error}");
            };
            refuse(set(name, "1"));
            refuse(removed(name));
        }
        let query = |names: &[&str]| {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            let query = request_policy::QueryChange::Only(names);
            decide(request_policy::Forward { query, ..unchanged() })
        };
        assert!(query(&[]).is_ok() && query(&["page", "utm_*", "a%20b"]).is_ok());
        for names in
            [[""].as_slice(), &["a b"], &["a&b"], &["a=b"], &["a\n"], &["a"; 65], &[&"a".repeat(257)]]
        {
            assert!(query(names).is_err(), "{names:?}");
        }
        let upstream =
            |name: &str| decide(request_policy::Forward { upstream: Some(name.to_owned()), ..unchanged() });
        assert!(upstream("canary").is_ok() && upstream(&"a".repeat(64)).is_ok());
        for name in ["", "a\nb", &"a".repeat(65)] {
            assert!(upstream(name).is_err(), "{name:?}");
        }
    }
}
