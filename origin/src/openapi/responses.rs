//! What an endpoint answers: statuses, bodies, and the fields of the head that programs go by.
//!
//! Read next: `answer.rs`, `write/answer.rs` and `error.rs`, which do what is said here.

use serde_json::{Map, Value, json};

use super::{schema, template};
use crate::catalogue::prepare::Member;
use crate::catalogue::{Body, Endpoint, Idempotency, Rows, Total};
use crate::params::MAX_OFFSET;

/// Fields of answers, by name; each operation refers to those that it has.
pub(super) fn fields() -> Value {
    let text = json!({ "type": "string" });
    let field = |description: &str, schema: &Value| json!({ "description": description, "schema": schema });
    json!({
        "ETag": field("The version of what is answered, for `If-None-Match`, and for `If-Match` where that is taken", &text),
        "Cache-Control": field("For how long caches may use it", &text),
        "Cache-Tag": field("What it is made of, separated by commas: what purges, and changes of the database, find it by", &text),
        "Larder-Version": field("Which state of the database it was made from: `snapshot=...` or `lsn=...`, and the timeline", &text),
        "Larder-Commit": field("Where the log of the primary is behind the change: who has replayed that far shows it", &text),
        "Larder-Served-By": field("The server that answered, as it is called in the configuration", &text),
        "Idempotency-Replayed": field("The answer is that of an earlier request with the same key", &json!({ "type": "string", "const": "true" })),
        "Retry-After": field("After how many seconds it is worth to ask again", &json!({ "type": "integer", "minimum": 0 })),
    })
}

/// By name, for a response.
fn refer(names: &[&str]) -> Map<String, Value> {
    let one = |name: &&str| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    names.iter().map(one).collect()
}

pub(super) fn of(endpoint: &Endpoint, members: Option<&[Member]>) -> Value {
    let mut responses = if endpoint.is_read() { reads(endpoint, members) } else { writes(endpoint, members) };
    let mut problem = |status: &str, why: &str| {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        let content = json!({ "application/problem+json": { "schema": schema } });
        let fields =
            if status == "503" { vec!["Cache-Control", "Retry-After"] } else { vec!["Cache-Control"] };
        let response = json!({ "description": why, "headers": refer(&fields), "content": content });
        responses.insert(status.to_owned(), response);
    };
    problem("400", "A parameter is missing, malformed or out of range; the document names it");
    if endpoint.rows == Rows::One || endpoint.rows == Rows::Exec {
        problem("404", "There is no such row");
    }
    if !endpoint.is_read() {
        problem("409", "It is there already, or a request with the same key is under way");
        problem("413", "The body is too large");
        problem("415", "The body is not JSON");
        problem("422", "A member of the body is malformed, or the database refuses it");
        if endpoint.version.is_some() {
            problem("412", "It is not the version that `If-Match` names");
        }
        if endpoint.requires_version {
            problem("428", "`If-Match` is missing");
        }
    }
    problem("503", "No server can answer now");
    problem("504", "The statement took too long");
    Value::Object(responses)
}

fn reads(endpoint: &Endpoint, members: Option<&[Member]>) -> Map<String, Value> {
    let mut names = vec!["Cache-Control", "Larder-Version", "Larder-Served-By"];
    if !endpoint.is_streamed() {
        names.push("ETag");
    }
    if !endpoint.tags.is_empty() || endpoint.tables.iter().any(|table| !table.is_ttl()) {
        names.push("Cache-Tag");
    }
    let mut responses = Map::new();
    let mut whole = json_answer("The answer", &answer(endpoint, members));
    whole["headers"] = refer(&names).into();
    responses.insert("200".to_owned(), whole);
    if !endpoint.is_streamed() {
        let why = "What the client has is still so (`If-None-Match`)";
        responses.insert("304".to_owned(), json!({ "description": why, "headers": refer(&names) }));
    }
    responses
}

fn writes(endpoint: &Endpoint, members: Option<&[Member]>) -> Map<String, Value> {
    let mut names = vec!["Cache-Control", "Larder-Commit", "Larder-Served-By"];
    if endpoint.version.is_some() && endpoint.rows == Rows::One {
        names.push("ETag");
    }
    if endpoint.idempotency != Idempotency::None {
        names.push("Idempotency-Replayed");
    }
    let mut fields = refer(&names);
    let (status, mut response) = match (endpoint.rows, &endpoint.location) {
        (Rows::Exec, _) => ("204", json!({ "description": "Done" })),
        (_, Some(location)) => {
            let what = format!("`{}`", template(location));
            fields.insert(
                "Location".to_owned(),
                json!({ "description": what, "schema": { "type": "string" } }),
            );
            ("201", json_answer("Made", &answer(endpoint, members)))
        }
        (_, None) => ("200", json_answer("The answer", &answer(endpoint, members))),
    };
    response["headers"] = fields.into();
    [(status.to_owned(), response)].into_iter().collect()
}

fn json_answer(description: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

/// Without a word of a server nobody knows what the statement makes of it, but for one of columns: those are an object.
fn row(endpoint: &Endpoint, members: Option<&[Member]>) -> Value {
    match (endpoint.body, members) {
        (Body::Columns, Some(members)) => schema::of_members(members),
        (Body::Columns, None) => json!({ "type": "object" }),
        (Body::Json, _) => json!({}),
    }
}

fn answer(endpoint: &Endpoint, members: Option<&[Member]>) -> Value {
    let items = || json!({ "type": "array", "items": row(endpoint, members) });
    let of = |properties: Value| {
        let required: Vec<&String> =
            properties.as_object().map(|all| all.keys().collect()).unwrap_or_default();
        let required = json!(required);
        json!({ "type": "object", "properties": properties, "required": required })
    };
    let (text, truth) = (json!({ "type": ["string", "null"] }), json!({ "type": "boolean" }));
    let number = json!({ "type": "integer" });
    match endpoint.rows {
        Rows::One | Rows::Exec => row(endpoint, members),
        Rows::Many => items(),
        Rows::Cursor { both_ways: false, .. } => {
            of(json!({ "items": items(), "nextCursor": text, "hasNextPage": truth }))
        }
        Rows::Cursor { both_ways: true, .. } => of(json!({
            "items": items(),
            "nextCursor": text,
            "previousCursor": text,
            "hasNextPage": truth,
            "hasPreviousPage": truth,
        })),
        Rows::Page { total, .. } => {
            let what = match total {
                Total::Exact(max) => format!("Counted no further than {max}; see `totalIsExact`"),
                Total::Estimate => "An estimate".to_owned(),
            };
            of(json!({
                "items": items(),
                "page": { "type": "integer", "description": format!("At most {MAX_OFFSET} rows are skipped") },
                "limit": number,
                "total": { "type": "integer", "description": what },
                "totalIsExact": truth,
                "totalPages": number,
                "hasNextPage": truth,
            }))
        }
    }
}
