//! The catalogue as an OpenAPI 3.1 document, and as a page to read: what can be asked, and what is answered.
//!
//! Made from query files alone, once for each catalogue: no server is asked. So of rows it says what the header says, and
//! not which columns the statement has.

use serde_json::{Map, Value, json};

use crate::catalogue::{
    Absent, Body, Catalogue, Endpoint, Idempotency, In, Lag, Param, Piece, Read, Rows, TagTemplate, Total,
};
use crate::params::{MAX_OFFSET, camel_case};
use crate::write::MAX_ROWS;

mod page;

pub(crate) use page::page;

/// The document, OpenAPI 3.1.
pub(crate) fn document(catalogue: &Catalogue) -> Value {
    let mut paths = Map::new();
    for endpoint in &catalogue.endpoints {
        let path = paths.entry(endpoint.route.path.clone()).or_insert_with(|| json!({}));
        path[endpoint.route.method.as_str().to_ascii_lowercase()] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "larder-origin",
            "summary": "Endpoints from SQL files, answered from Postgres",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": { "schemas": { "Problem": problem() } },
    })
}

/// RFC 9457.
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "A problem document (RFC 9457)",
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut operation = json!({
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": parameters(endpoint),
        "responses": responses(endpoint),
    });
    if let Some(body) = request_body(endpoint) {
        operation["requestBody"] = body;
    }
    if endpoint.is_read() {
        operation["x-larder-cache-control"] = json!(endpoint.cache.to_str().unwrap_or_default());
        operation["x-larder-read"] = json!(read(endpoint.read));
    }
    if !endpoint.tags.is_empty() {
        operation["x-larder-tags"] = endpoint.tags.iter().map(template).collect();
    }
    operation
}

fn read(read: Read) -> String {
    match read {
        Read::Primary => "primary".to_owned(),
        Read::Replica { max_lag: None } => "replica".to_owned(),
        Read::Replica { max_lag: Some(Lag::Time(lag)) } => format!("replica, at most {lag:?} behind"),
        Read::Replica { max_lag: Some(Lag::Bytes(lag)) } => format!("replica, at most {lag} bytes behind"),
    }
}

/// As its file has it.
fn template(template: &TagTemplate) -> String {
    template.pieces.iter().map(piece).collect()
}

fn piece(piece: &Piece) -> String {
    match piece {
        Piece::Literal(text) => text.clone(),
        Piece::Value(name) => format!("{{{name}}}"),
    }
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let mut parameters: Vec<Value> = endpoint.params.iter().filter_map(parameter).collect();
    let mut more = |place: &str, name: &str, is_required: bool, description: &str, schema: Value| {
        parameters.push(json!({
            "name": name,
            "in": place,
            "required": is_required,
            "description": description,
            "schema": schema,
        }));
    };
    let text = || json!({ "type": "string" });
    if let Rows::Cursor { both_ways, .. } = endpoint.rows {
        more("query", "cursor", false, "`nextCursor` of a page: the page after it", text());
        if both_ways {
            more("query", "before", false, "`previousCursor` of a page: the page before it", text());
        }
    }
    if endpoint.fields && endpoint.is_read() && endpoint.rows != Rows::Exec {
        more("query", "fields", false, "Which members of each row are wanted, separated by commas", text());
    }
    if !endpoint.is_read() {
        let key = json!({ "type": "string", "minLength": 1, "maxLength": 255 });
        let why = "The same key is carried out once: a repetition is answered as the first request was";
        match endpoint.idempotency {
            Idempotency::None => (),
            Idempotency::Optional => more("header", "Idempotency-Key", false, why, key),
            Idempotency::Required => more("header", "Idempotency-Key", true, why, key),
        }
        if endpoint.version.is_some() {
            let why = "`ETag` of the version that is to be changed";
            more("header", "If-Match", endpoint.requires_version, why, text());
        }
    }
    parameters
}

fn parameter(param: &Param) -> Option<Value> {
    let place = match param.from {
        In::Path => "path",
        In::Query => "query",
        In::Body | In::Rows => return None,
    };
    let mut parameter = json!({
        "name": param.name,
        "in": place,
        "required": param.from == In::Path || param.absent == Absent::Refused,
        "schema": schema(param),
    });
    if param.is_array {
        // Separated by commas, or given more than once.
        parameter["style"] = json!("form");
        parameter["explode"] = json!(false);
    }
    Some(parameter)
}

/// Of a value, by the name of its type in Postgres.
fn schema(param: &Param) -> Value {
    let mut element = match param.type_name.as_str() {
        "int2" | "int4" => json!({ "type": "integer", "format": "int32" }),
        "int8" => json!({ "type": "integer", "format": "int64" }),
        "float4" | "float8" | "numeric" => json!({ "type": "number" }),
        "bool" => json!({ "type": "boolean" }),
        "timestamptz" | "timestamp" => json!({ "type": "string", "format": "date-time" }),
        "date" => json!({ "type": "string", "format": "date" }),
        "uuid" => json!({ "type": "string", "format": "uuid" }),
        // In a query it is JSON as text; in a body any JSON.
        "json" | "jsonb" if param.from == In::Query => {
            json!({ "type": "string", "contentMediaType": "application/json" })
        }
        "json" | "jsonb" => json!({}),
        other => json!({ "type": "string", "x-larder-type": other }),
    };
    if !param.values.is_empty() {
        element["enum"] = json!(param.values);
    }
    let is_number = matches!(param.type_name.as_str(), "int2" | "int4" | "int8");
    let (low, high) = match (param.is_array, is_number) {
        (true, _) => ("minItems", "maxItems"),
        (false, true) => ("minimum", "maximum"),
        (false, false) => ("minLength", "maxLength"),
    };
    let mut schema = if param.is_array { json!({ "type": "array", "items": element }) } else { element };
    if let Some((from, to)) = param.range {
        schema[low] = json!(from);
        schema[high] = json!(to);
    }
    if let Absent::Default(value) = &param.absent {
        let parsed = serde_json::from_str(value).ok().filter(|_| is_number || param.type_name == "bool");
        schema["default"] = parsed.unwrap_or_else(|| json!(value));
    }
    schema
}

fn object<'p>(members: impl Iterator<Item = &'p Param>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for param in members {
        let name = camel_case(&param.name);
        if param.absent == Absent::Refused {
            required.push(name.clone());
        }
        properties.insert(name, schema(param));
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

fn request_body(endpoint: &Endpoint) -> Option<Value> {
    let of = |place| endpoint.params.iter().filter(move |param| param.from == place);
    let schema = if of(In::Rows).next().is_some() {
        let rows = object(endpoint.row_members.iter());
        json!({ "type": "array", "minItems": 1, "maxItems": MAX_ROWS, "items": rows })
    } else if of(In::Body).next().is_some() {
        object(of(In::Body))
    } else {
        return None;
    };
    Some(json!({ "required": true, "content": { "application/json": { "schema": schema } } }))
}

fn responses(endpoint: &Endpoint) -> Value {
    let mut responses = Map::new();
    let mut add = |status: &str, response: Value| {
        responses.insert(status.to_owned(), response);
    };
    match (endpoint.rows, &endpoint.location) {
        (Rows::Exec, _) => add("204", json!({ "description": "Done" })),
        (_, Some(location)) => {
            let mut made = json_answer("Made", row(endpoint));
            let what = format!("`{}`", template(location));
            made["headers"] = json!({ "Location": { "description": what, "schema": { "type": "string" } } });
            add("201", made);
        }
        (rows, None) => add("200", json_answer("The answer", answer(endpoint, rows))),
    }
    if endpoint.is_read() {
        add("304", json!({ "description": "What the client has is still so (`If-None-Match`)" }));
    }
    let mut problem = |status: &str, why: &str| {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        let content = json!({ "application/problem+json": { "schema": schema } });
        add(status, json!({ "description": why, "content": content }));
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
    problem("503", "No server can answer now; see `Retry-After`");
    problem("504", "The statement took too long");
    Value::Object(responses)
}

fn json_answer(description: &str, schema: Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

/// What the statement makes of it, no header says, but for one of columns: those are an object.
fn row(endpoint: &Endpoint) -> Value {
    match endpoint.body {
        Body::Columns => json!({ "type": "object" }),
        Body::Json => json!({}),
    }
}

fn answer(endpoint: &Endpoint, rows: Rows) -> Value {
    let items = json!({ "type": "array", "items": row(endpoint) });
    let of = |properties: Value| {
        let required: Vec<&String> =
            properties.as_object().map(|all| all.keys().collect()).unwrap_or_default();
        let required = json!(required);
        json!({ "type": "object", "properties": properties, "required": required })
    };
    let (text, truth) = (json!({ "type": ["string", "null"] }), json!({ "type": "boolean" }));
    let number = json!({ "type": "integer" });
    match rows {
        Rows::One | Rows::Exec => row(endpoint),
        Rows::Many => items,
        Rows::Cursor { both_ways: false, .. } => {
            of(json!({ "items": items, "nextCursor": text, "hasNextPage": truth }))
        }
        Rows::Cursor { both_ways: true, .. } => of(json!({
            "items": items,
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
                "items": items,
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
