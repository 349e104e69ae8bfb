//! What Postgres says about an endpoint's statements, held against its header.
//!
//! Done on each new connection: a server whose tables differ says so when it connects, not when a request comes.
//! Read next: `database/lane.rs`, which calls this; `plan.rs` for how the statements will run.

use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Statement};

use super::{Bind, Endpoint, Rows, Variant};
use crate::cursor;
use crate::error::is_fault_of_statement;
use crate::faults::{Faults, suggestion};

/// One variant on one connection.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) statement: Statement,
    pub(crate) layout: Layout,
}

/// Which column is what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) body: usize,
    pub(crate) cursor: Vec<usize>,
    pub(crate) cursor_types: Vec<Type>,
}

/// Why an endpoint is not prepared.
#[derive(Debug)]
pub(crate) enum NotPrepared {
    /// The file is wrong, or the server's tables are not those it was written for.
    Faults(Faults),
    Connection(tokio_postgres::Error),
}

/// All variants of an endpoint: `result[mask]`.
pub(crate) async fn prepare(client: &Client, endpoint: &Endpoint) -> Result<Vec<Prepared>, NotPrepared> {
    let mut faults = Faults::default();
    let mut prepared = Vec::with_capacity(endpoint.variants.len());
    for (mask, variant) in endpoint.variants.iter().enumerate() {
        match client.prepare(&variant.sql).await {
            Ok(statement) => match layout(endpoint, mask, variant, &statement) {
                Ok(layout) => prepared.push(Prepared { statement, layout }),
                Err(others) => faults.extend(others),
            },
            Err(e) => match refused(endpoint, variant, &e) {
                Some(others) => faults.extend(others),
                None => return Err(NotPrepared::Connection(e)),
            },
        }
    }
    faults.or(prepared).map_err(NotPrepared::Faults)
}

/// The server's own words, at the place in the file that it means. `None` if it is not about the statement.
fn refused(endpoint: &Endpoint, variant: &Variant, error: &tokio_postgres::Error) -> Option<Faults> {
    let refusal = error.as_db_error().filter(|refusal| is_fault_of_statement(refusal.code()))?;
    let position = match refusal.position() {
        Some(ErrorPosition::Original(nth)) => Some(variant.position(&endpoint.source.text, *nth)),
        Some(ErrorPosition::Internal { .. }) | None => None,
    };
    let hint = refusal.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let advice = match *refusal.code() {
        SqlState::UNDEFINED_TABLE => "; `larder-origin migrate` makes the tables of the catalogue that ships",
        _ => "",
    };
    let message = format!("{}{hint} [SQLSTATE {}]{advice}", refusal.message(), refusal.code().code());
    let mut faults = Faults::default();
    faults.push(&endpoint.source.path, position, message);
    Some(faults)
}

fn layout(
    endpoint: &Endpoint,
    mask: usize,
    variant: &Variant,
    statement: &Statement,
) -> Result<Layout, Faults> {
    let mut faults = Faults::default();
    let path = &endpoint.source.path;
    let route = Some(endpoint.route.position);
    let find = |name: &str| statement.columns().iter().position(|column| column.name() == name);
    let type_at =
        |index: usize| statement.columns().get(index).map_or(&Type::UNKNOWN, |column| column.type_());

    let body = find("body");
    match body.map(type_at) {
        Some(&(Type::JSON | Type::TEXT | Type::VARCHAR)) => (),
        Some(other) => {
            faults.push(
                path,
                route,
                format!("column `body` is {other}; make it json, for example with `::json`"),
            );
        }
        None => faults.push(path, route, "the statement has no column `body`, the JSON of a row"),
    }

    for tag in &endpoint.tags {
        for name in tag.values().filter(|name| !endpoint.params.iter().any(|param| param.name == **name)) {
            match find(name).map(type_at) {
                Some(kind) if is_tag_type(kind) => (),
                Some(other) => {
                    let message = format!(
                        "`{{{name}}}` is {other}; a tag is made of text, whole numbers, UUIDs or booleans"
                    );
                    faults.push(path, Some(tag.position), message);
                }
                None => {
                    let names = statement.columns().iter().map(tokio_postgres::Column::name);
                    let suggestion = suggestion(
                        name,
                        names.chain(endpoint.params.iter().map(|param| param.name.as_str())),
                    );
                    let message = format!("`{{{name}}}` is neither a parameter nor a column{suggestion}");
                    faults.push(path, Some(tag.position), message);
                }
            }
        }
    }

    let mut cursor = Vec::new();
    for name in &endpoint.cursor_columns {
        match find(name) {
            Some(index) if cursor::value_length(type_at(index)).is_some() => cursor.push(index),
            Some(index) => {
                faults.push(
                    path,
                    route,
                    format!("cursor column `{name}` is {}, which a cursor cannot hold", type_at(index)),
                );
            }
            None => {
                faults.push(path, route, format!("`:after_{name}` needs a column `{name}` in the result"))
            }
        }
    }
    let cursor_types: Vec<Type> = cursor.iter().map(|index| type_at(*index).clone()).collect();

    for column in statement.columns() {
        let is_used = column.name() == "body"
            || endpoint.cursor_columns.iter().any(|name| name == column.name())
            || endpoint.tags.iter().any(|tag| tag.values().any(|name| name == column.name()));
        if !is_used {
            let message =
                format!("column `{}` is neither `body` nor the value of a tag or the cursor", column.name());
            faults.push(path, route, message);
        }
    }

    for (bind, inferred) in variant.binds.iter().zip(statement.params()) {
        match bind {
            Bind::Param(index) => {
                let Some(param) = endpoint.params.get(*index) else { continue };
                if param.type_name != inferred.name() {
                    let message = format!(
                        "param `{}` is declared {}, but Postgres takes it for {}{}",
                        param.name,
                        param.type_name,
                        inferred.name(),
                        endpoint.describe_mask(mask)
                    );
                    faults.push(path, Some(param.position), message);
                }
            }
            Bind::After(index) => {
                let (name, column) = (endpoint.cursor_columns.get(*index), cursor_types.get(*index));
                if let (Some(name), Some(column)) = (name, column)
                    && column != inferred
                {
                    let message = format!(
                        "column `{name}` is {column}, but Postgres takes `:after_{name}` for {inferred}"
                    );
                    faults.push(path, route, message);
                }
            }
        }
    }
    if matches!(endpoint.rows, Rows::Cursor { .. }) && endpoint.cursor_columns.is_empty() {
        faults.push(path, route, "`rows: cursor` needs `:after_COLUMN` for each column of its order");
    }
    match body {
        Some(body) => faults.or(Layout { body, cursor, cursor_types }),
        None => Err(faults),
    }
}

fn is_tag_type(kind: &Type) -> bool {
    matches!(
        *kind,
        Type::TEXT | Type::VARCHAR | Type::INT2 | Type::INT4 | Type::INT8 | Type::UUID | Type::BOOL
    )
}
