//! The catalogue as an OpenAPI 3.1 document, and as a page to read: what can be asked, and what is answered.
//!
//! Made from query files, so that it is there before any server is; which columns the rows of `body: columns` have, a server
//! says that has prepared the statements, and then it is made again with them.
//! Read next: `openapi/responses.rs`, `openapi/schema.rs`, and `openapi/page.rs` for the page.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::Exit;
use crate::catalogue::prepare::{self, BodyColumns, Member, NotPrepared};
use crate::catalogue::{
    Absent, Body, Catalogue, Endpoint, EndpointId, Idempotency, In, Lag, Param, Piece, Read, Rows,
    TagTemplate,
};
use crate::config::Config;
use crate::database::Target;
use crate::faults::Faults;
use crate::params::camel_case;
use crate::write::MAX_ROWS;

mod responses;
mod schema;
mod page;

pub(crate) use page::page;

/// What rows are made of, of endpoints whose server said so.
pub(crate) type Described = HashMap<EndpointId, Arc<[Member]>>;

/// Asked of the first server that answers.
pub(crate) async fn describe(config: &Config, catalogue: &Catalogue) -> Result<Described, Exit> {
    let client = Target::first(&config.database).await.map_err(|why| Exit::failed(why.join("\n")))?;
    let mut described = Described::new();
    let mut faults = Faults::default();
    for endpoint in catalogue.endpoints.iter().filter(|endpoint| endpoint.body == Body::Columns) {
        // All variants have the same columns.
        match prepare::variant(&client, endpoint, 0, false).await.map(|prepared| prepared.layout.body) {
            Ok(BodyColumns::Columns(members)) => drop(described.insert(endpoint.id, members)),
            Ok(BodyColumns::Json(_) | BodyColumns::Nothing) | Err(NotPrepared::NoSuch) => (),
            Err(NotPrepared::Faults(others)) => faults.extend(others),
            Err(NotPrepared::Connection(e)) => return Err(Exit::of(&e)),
        }
    }
    Ok(faults.or(described)?)
}

/// The document, OpenAPI 3.1.
pub(crate) fn document(catalogue: &Catalogue, described: &Described) -> Value {
    let mut paths = Map::new();
    for endpoint in &catalogue.endpoints {
        let path = paths.entry(endpoint.route.path.clone()).or_insert_with(|| json!({}));
        let members = described.get(&endpoint.id).map(|members| &**members);
        path[endpoint.route.method.as_str().to_ascii_lowercase()] = operation(endpoint, members);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "larder-origin",
            "summary": "Endpoints from SQL files, answered from Postgres",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": { "schemas": { "Problem": problem() }, "headers": responses::fields() },
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

fn operation(endpoint: &Endpoint, members: Option<&[Member]>) -> Value {
    let mut operation = json!({
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": parameters(endpoint),
        "responses": responses::of(endpoint, members),
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
        "schema": schema::of_param(param),
    });
    if param.is_array {
        // Separated by commas, or given more than once.
        parameter["style"] = json!("form");
        parameter["explode"] = json!(false);
    }
    Some(parameter)
}

fn object<'p>(members: impl Iterator<Item = &'p Param>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for param in members {
        let name = camel_case(&param.name);
        if param.absent == Absent::Refused {
            required.push(name.clone());
        }
        properties.insert(name, schema::of_param(param));
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
