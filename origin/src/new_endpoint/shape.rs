//! What a route asks of its table: which columns its variables are values of, the row that they name, or the order of a page.
//!
//! Values in, values out: no server is asked here. Read next: `new_endpoint/draft.rs`.

use hyper::Method;

use super::table::{Column, ForeignKey, Index, Table};
use super::words::{normal, singular, slug};
use crate::Exit;
use crate::catalogue::{Route, Segment};
use crate::cursor;
use crate::faults::suggestion;

/// What rows are listed by, if an index has it: what `created_at` is called elsewhere.
const CREATED: [&str; 6] =
    ["created_at", "created", "created_on", "inserted_at", "creation_time", "createdat"];

/// A variable of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capture<'r> {
    pub(super) name: &'r str,
    /// The word that it follows, if not the one of the table itself.
    pub(super) of: Option<&'r str>,
}

/// The words of a route.
#[derive(Debug)]
pub(super) struct Words<'r> {
    /// What there are rows of.
    pub(super) table: Option<&'r str>,
    /// The word before it.
    pub(super) before: Option<&'r str>,
    pub(super) captures: Vec<Capture<'r>>,
    /// Whether a variable is the last of it.
    pub(super) ends_with_variable: bool,
}

impl<'r> Words<'r> {
    pub(super) fn of(route: &'r Route) -> Self {
        let segments = route.segments();
        let is_word = |segment: &Segment| matches!(segment, Segment::Literal(_));
        let last = segments.iter().rposition(is_word);
        let (mut word, mut before) = (None, None);
        let mut captures = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            match segment {
                Segment::Literal(literal) => {
                    before = word;
                    word = Some(literal.as_str());
                }
                Segment::Variable(name) => {
                    let of = word.filter(|_| last.is_some_and(|last| index < last));
                    captures.push(Capture { name, of });
                }
            }
        }
        let ends_with_variable = !segments.last().is_some_and(is_word);
        Self { table: word, before, captures, ends_with_variable }
    }
}

/// A column that has the value of a variable.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filter<'t> {
    pub(super) param: &'t str,
    pub(super) column: &'t Column,
    /// The variable is a value of another table, which the column refers to.
    pub(super) through: Option<Through<'t>>,
    /// The word in front of the variable.
    pub(super) of: Option<&'t str>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Through<'t> {
    pub(super) table: &'t Table,
    /// What the variable is a value of.
    pub(super) column: &'t Column,
    /// What the foreign key has.
    pub(super) key: &'t Column,
    pub(super) index: &'t Index,
}

/// The order of a page, which an index has.
#[derive(Debug)]
pub(super) struct Order<'t> {
    pub(super) index: &'t Index,
    pub(super) columns: Vec<&'t Column>,
    pub(super) is_descending: bool,
    /// One that is better, but for its predicate.
    pub(super) partial: Option<&'t Index>,
}

/// What a variable of the route is a value of. `parent` is the table that the word in front of it means, if that is another one.
pub(super) fn filter<'t>(
    table: &'t Table,
    capture: Capture<'t>,
    parent: Option<&'t Table>,
    is_only_one: bool,
) -> Result<Filter<'t>, Exit> {
    let name = capture.name;
    let own = |column| Filter { param: name, column, through: None, of: capture.of };
    let Some(word) = capture.of else {
        if let Some(column) = column_of(table, name) {
            return Ok(own(column));
        }
        if let Some([key]) = table.primary_key().as_deref()
            && is_only_one
        {
            return Ok(own(key));
        }
        let known = table.columns.iter().map(|column| column.name.as_str());
        let message = format!(
            "`{{{name}}}` is no column of `{}`{}; its keys are {}",
            table.name,
            suggestion(name, known),
            keys(table)
        );
        return Err(Exit::failed(message));
    };
    let refers = |key: &&ForeignKey| normal(&key.column) == normal(name);
    if let Some(key) = table.foreign_keys.iter().find(refers)
        && let Some(column) = table.column(&key.column)
    {
        return Ok(own(column));
    }
    if let Some(parent) = parent {
        let to_parent: Vec<&ForeignKey> =
            table.foreign_keys.iter().filter(|key| key.table == parent.oid).collect();
        let is_named = |key: &&&ForeignKey| slug(&key.column).starts_with(&singular(&slug(word)));
        let key = match to_parent.as_slice() {
            [only] => Some(*only),
            several => several.iter().find(is_named).copied(),
        };
        if let Some(key) = key
            && let Some(column) = table.column(&key.column)
        {
            let Some(value) = column_of(parent, name).or_else(|| only_key(parent)) else {
                let message =
                    format!("`{{{name}}}` is no column of `{}`; its keys are {}", parent.name, keys(parent));
                return Err(Exit::failed(message));
            };
            if value.name == key.other {
                return Ok(own(column));
            }
            let is_it = |columns: &[&Column]| matches!(columns, [only] if only.name == value.name);
            let by_value = parent.keys().find(|(_, columns)| is_it(columns));
            if let Some((index, _)) = by_value
                && let Some(other) = parent.column(&key.other)
            {
                let through = Through { table: parent, column: value, key: other, index };
                return Ok(Filter { through: Some(through), ..own(column) });
            }
            let message =
                format!("`{}` of `{}` is no key: several rows can have it", value.name, parent.name);
            return Err(Exit::failed(message));
        }
        if let [first, second, ..] = to_parent.as_slice() {
            let message = format!(
                "`{}` refers to `{}` with `{}` and `{}`; call the variable as the column that is meant",
                table.name, parent.name, first.column, second.column
            );
            return Err(Exit::failed(message));
        }
    }
    if let Some(column) = table.column_called(name) {
        return Ok(own(column));
    }
    let columns: Vec<String> = table.foreign_keys.iter().map(|key| format!("`{}`", key.column)).collect();
    let which = match columns.as_slice() {
        [] => "it has no foreign key of one column".to_owned(),
        columns => format!("its foreign keys are {}", columns.join(", ")),
    };
    Err(Exit::failed(format!("`{{{name}}}` is no column of `{}`; {which}", table.name)))
}

/// `{thing_id}` can be `id` of things.
fn column_of<'t>(table: &'t Table, name: &str) -> Option<&'t Column> {
    let prefix = format!("{}_", singular(&slug(&table.name)));
    table.column_called(name).or_else(|| table.column_called(name.strip_prefix(&prefix)?))
}

fn only_key(table: &Table) -> Option<&Column> {
    match table.primary_key()?.as_slice() {
        [key] => Some(key),
        _ => None,
    }
}

/// For messages.
fn keys(table: &Table) -> String {
    let keys: Vec<String> = table.keys().map(|(_, columns)| format!("({})", names(&columns))).collect();
    if keys.is_empty() { "none".to_owned() } else { keys.join(", ") }
}

pub(super) fn names(columns: &[&Column]) -> String {
    columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The key whose values the variables of the route give, so that it is of one row.
pub(super) fn key<'t>(table: &'t Table, filters: &[Filter<'t>]) -> Option<(&'t Index, Vec<&'t Column>)> {
    table.keys().find(|(_, columns)| columns.iter().all(|column| is_fixed(column, filters)))
}

fn is_fixed(column: &Column, filters: &[Filter<'_>]) -> bool {
    filters.iter().any(|filter| filter.column.name == column.name)
}

/// Why the variables name no row.
pub(super) fn no_key(table: &Table, filters: &[Filter<'_>], route: &Route) -> Exit {
    let columns: Vec<&Column> = filters.iter().map(|filter| filter.column).collect();
    let Some(primary) = table.primary_key() else {
        let keys = keys(table);
        return Exit::failed(match keys.as_str() {
            "none" => no_keys(table),
            keys => format!(
                "`{}` has more than one row for ({}); its keys are {keys}",
                table.name,
                names(&columns)
            ),
        });
    };
    let path = route.path.rsplit_once('/').map_or("", |(before, _)| before);
    let variables: Vec<String> = primary.iter().map(|column| format!("{{{}}}", slug(&column.name))).collect();
    Exit::failed(format!(
        "`{}` has more than one row for ({}); its keys are {}: write for example `{} {path}/{}`",
        table.name,
        names(&columns),
        keys(table),
        route.method,
        variables.join("/")
    ))
}

fn no_keys(table: &Table) -> String {
    let what = if table.is_table { "no primary key" } else { "no key: it is not a table of its own" };
    format!(
        "`{}` has {what}, so that its rows can neither be told from each other nor be put in an order that a page can go on from; \
         write its statement by hand",
        table.name
    )
}

/// The order of the pages of those rows that the variables leave.
pub(super) fn order<'t>(table: &'t Table, filters: &[Filter<'t>]) -> Result<Order<'t>, Exit> {
    let of_index = |index: &'t Index| Some((order_of(table, index, filters)?, index));
    let mut found: Vec<(Vec<&Column>, &Index)> = table.indexes.iter().filter_map(of_index).collect();
    found.sort_by_key(|(columns, index)| {
        (rank(table, columns), columns.len(), !index.is_primary, &index.name)
    });
    let (partial, whole): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(_, index)| index.predicate.is_some());
    let partial = partial.into_iter().next();
    let Some((columns, index)) = whole.into_iter().next() else { return Err(no_order(table, filters)) };
    let is_better = |(other, _): &(Vec<&Column>, _)| rank(table, other) < rank(table, &columns);
    Ok(Order {
        index,
        is_descending: is_created(&columns),
        partial: partial.filter(is_better).map(|(_, index)| index),
        columns,
    })
}

/// Newest first, else the primary key, else what there is.
fn rank(table: &Table, columns: &[&Column]) -> u8 {
    let is_primary = table
        .primary_key()
        .is_some_and(|key| columns.iter().all(|column| key.iter().any(|own| own.name == column.name)));
    match (is_created(columns), is_primary) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    }
}

fn is_created(columns: &[&Column]) -> bool {
    columns.first().is_some_and(|column| CREATED.iter().any(|name| normal(name) == normal(&column.name)))
}

/// What of an index comes after the filters, up to where no two rows are equal. `None` if it does not serve.
fn order_of<'t>(table: &'t Table, index: &'t Index, filters: &[Filter<'_>]) -> Option<Vec<&'t Column>> {
    let mut fixed: Vec<&str> = filters.iter().map(|filter| filter.column.name.as_str()).collect();
    fixed.sort_unstable();
    fixed.dedup();
    let names: Vec<&str> = index.columns.iter().map_while(|column| column.name.as_deref()).collect();
    let mut first = names.get(..fixed.len())?.to_vec();
    first.sort_unstable();
    if first != fixed {
        return None;
    }
    let rest = index.columns.get(fixed.len()..)?;
    let is_descending = rest.first()?.is_descending;
    let mut columns: Vec<&Column> = Vec::new();
    for part in rest {
        let column = table.column(part.name.as_deref()?)?;
        let serves = part.is_plain && part.is_descending == is_descending && can_order(column);
        if !serves {
            return None;
        }
        columns.push(column);
        let is_whole = table.keys().any(|(_, key)| {
            let is_there = |own: &&Column| {
                fixed.contains(&own.name.as_str()) || columns.iter().any(|column| column.name == own.name)
            };
            key.iter().all(|own| own.is_not_null && is_there(own))
        });
        if is_whole {
            return Some(columns);
        }
    }
    None
}

/// Rows with NULL are in no order that a comparison can go on from.
fn can_order(column: &Column) -> bool {
    column.is_not_null && cursor::value_length(column.kind()).is_some()
}

fn no_order(table: &Table, filters: &[Filter<'_>]) -> Exit {
    let Some((_, key)) = table.keys().find(|(_, key)| key.iter().all(|column| column.is_not_null)) else {
        return Exit::failed(no_keys(table));
    };
    if let Some(column) = key.iter().find(|column| !can_order(column)) {
        return Exit::failed(format!(
            "`{}` of `{}` is {}, which a cursor cannot hold; write the statement by hand",
            column.name,
            table.name,
            column.kind()
        ));
    }
    let created = table.columns.iter().find(|column| is_created(&[*column]) && can_order(column));
    let down = if created.is_some() { " DESC" } else { "" };
    let parts = filters.iter().map(|filter| filter.column.sql.clone());
    let rest = created.into_iter().chain(key.iter().copied().filter(|column| !is_fixed(column, filters)));
    let parts: Vec<String> = parts.chain(rest.map(|column| format!("{}{down}", column.sql))).collect();
    let columns: Vec<&Column> = filters.iter().map(|filter| filter.column).collect();
    let begins = match columns.as_slice() {
        [] => "has the order of a page".to_owned(),
        columns => format!("begins with ({}) and goes on in an order for pages", names(columns)),
    };
    Exit::failed(format!(
        "no index of `{}` {begins}; this one would:\n  CREATE INDEX ON {} ({})",
        table.name,
        table.sql,
        parts.join(", ")
    ))
}

/// Whether the method is one that files are begun for.
pub(super) fn is_begun(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::POST | Method::PATCH | Method::DELETE)
}

/// Such as `team`, for a word or a table.
pub(super) fn one(word: &str) -> String {
    singular(&slug(word))
}
