//! Volatile functions in answers that are stored: each call gives something else, and a stored answer repeats one of them.
//!
//! The names are those of the plan's expressions: views are resolved there and functions in SQL inlined. What a function of
//! another language calls, and what stands in a VALUES list, is not seen.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio_postgres::Client;

use super::{Looked, mention, time};
use crate::catalogue::Endpoint;
use crate::faults::Faults;

pub(super) async fn judge(
    client: &Client,
    endpoint: &Endpoint,
    looked: &[Looked],
    faults: &mut Faults,
) -> Result<(), tokio_postgres::Error> {
    const SQL: &str = "SELECT DISTINCT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
                       WHERE p.provolatile = 'v' AND p.prokind IN ('f', 'w') AND (n.nspname || '.' || p.proname = ANY ($1) \
                       OR pg_function_is_visible(p.oid) AND p.proname = ANY ($1))";
    if !endpoint.is_stored() {
        return Ok(());
    }
    let names: BTreeSet<&String> = looked.iter().flat_map(|looked| &looked.called).collect();
    let names: Vec<&String> = names.into_iter().collect();
    for row in client.query(SQL, &[&names]).await? {
        let name: String = row.try_get(0)?;
        let message = format!(
            "`{name}` is volatile, and a stored answer repeats what it gave once; do without it, or without `cache`. A function \
             of yours that only reads is declared STABLE"
        );
        let position = mention(&endpoint.source, &name).unwrap_or(endpoint.route.position);
        faults.push(&endpoint.source.path, Some(position), message);
    }
    Ok(())
}

/// What is called in the expressions of a plan, as they are written: `name` or `schema.name`.
pub(super) fn called(plan: &Value, names: &mut BTreeSet<String>) {
    match plan {
        Value::String(text) => calls(text, names),
        Value::Array(values) => values.iter().for_each(|value| called(value, names)),
        Value::Object(members) => members.values().for_each(|value| called(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => (),
    }
}

/// What some functions are called without parentheses.
fn end(name: &mut String, names: &mut BTreeSet<String>) {
    let name = std::mem::take(name);
    if time::is_word(&name) {
        names.insert(name);
    }
}

fn calls(expression: &str, names: &mut BTreeSet<String>) {
    let mut name = String::new();
    let mut quote = None;
    for c in expression.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some('"'), _) => name.push(c),
            (Some(_), _) => (),
            (None, '\'') => {
                name.clear();
                quote = Some(c);
            }
            (None, '"') => quote = Some(c),
            (None, '(') => {
                names.insert(std::mem::take(&mut name));
            }
            (None, _) if c.is_alphanumeric() || c == '_' || c == '.' => name.push(c),
            (None, _) => end(&mut name, names),
        }
    }
    end(&mut name, names);
    names.remove("");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_from_texts_and_columns() {
        let mut names = BTreeSet::new();
        calls("((a.b > now()) AND (c = 'random() it''s'::text)) OR shop.\"Pick\"(lower(x), (1))", &mut names);
        assert_eq!(names.iter().collect::<Vec<_>>(), ["lower", "now", "shop.Pick"]);
        names.clear();
        calls("(a > CURRENT_DATE) OR (b = LOCALTIME(3)) OR c = CURRENT_TIMESTAMP", &mut names);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["CURRENT_DATE", "CURRENT_TIMESTAMP", "LOCALTIME"]);
    }
}
