//! What a statement gives of its table, by which names, and for which rows.
//!
//! Names are such that the header can have them: tags, cursors and the like find columns by name, a parameter of that name first.

use tokio_postgres::types::Type;

use super::shape::{self, Filter, Through};
use super::table::{Column, Index, Table};
use super::words::slug;
use crate::answer;
use crate::catalogue::sql::is_name;
use crate::params::camel_case;

/// Of a name that `before_` can stand in front of.
const MAX_PLAIN_BYTES: usize = 55;

/// What a statement gives of its table, and what the names of that are.
pub(super) struct Selected<'t> {
    pub(super) table: &'t Table,
    pub(super) alias: String,
    /// With the column that it is, so far as it is one.
    members: Vec<(&'t Column, String, String)>,
    /// For tags, cursors and the like alone: expression and name.
    hidden: Vec<(&'t Column, String)>,
    pub(super) filters: &'t [Filter<'t>],
}

impl<'t> Selected<'t> {
    pub(super) fn new(table: &'t Table, filters: &'t [Filter<'t>], ordered: &[&Column]) -> Self {
        let alias = slug(&table.name).chars().next().unwrap_or('t').to_string();
        let mut selected = Self { table, alias, members: Vec::new(), hidden: Vec::new(), filters };
        for column in &table.columns {
            // Comparisons take it for a text, and so must the cursor.
            let is_cursor =
                ordered.iter().any(|own| own.name == column.name) && *column.kind() == Type::VARCHAR;
            let is_cast = is_cursor || !answer::can_write(column.kind());
            let sql = selected.sql(column);
            let sql = if is_cast { format!("{sql}::text") } else { sql };
            let plain = column.name.trim_start_matches('_').replace('.', "_");
            let is_taken = |name: &str| {
                selected.members.iter().any(|(_, _, known)| camel_case(known) == camel_case(name))
            };
            let name = another(if camel_case(&plain).is_empty() { "column" } else { &plain }, is_taken);
            selected.members.push((column, sql, name));
        }
        selected
    }

    pub(super) fn sql(&self, column: &Column) -> String {
        format!("{}.{}", self.alias, column.sql)
    }

    /// The name by which the header has a column. One of a parameter is a parameter there, so that it is not the column's.
    pub(super) fn name_of(&mut self, column: &'t Column) -> String {
        let is_other = |name: &str| {
            self.filters.iter().any(|filter| {
                filter.param == name && (filter.through.is_some() || filter.column.name != column.name)
            })
        };
        let member = self.members.iter().find(|(own, _, _)| own.name == column.name);
        let hidden = self.hidden.iter().find(|(own, _)| own.name == column.name);
        if let Some((_, name)) = hidden {
            return name.clone();
        }
        if let Some((_, _, name)) = member
            && is_name(name)
            && name.len() <= MAX_PLAIN_BYTES
            && !is_other(name)
        {
            return name.clone();
        }
        let is_taken = |name: &str| is_other(name) || self.members.iter().any(|(_, _, known)| known == name);
        let own = slug(&column.name);
        let long = format!("{}_{own}", shape::one(&self.table.name));
        let name = if is_taken(&own) && is_name(&long) { long } else { own };
        let name = another(&name, is_taken);
        self.hidden.push((column, name.clone()));
        name
    }

    pub(super) fn list(&self, indent: usize) -> String {
        let members = self.members.iter().map(|(column, sql, name)| {
            // Postgres would call it the same.
            let is_own = *name == column.name && !sql.ends_with("::text");
            if is_own { sql.clone() } else { format!("{sql} AS {}", label(name)) }
        });
        let hidden = self.hidden.iter().map(|(column, name)| format!("{} AS _{name}", self.sql(column)));
        let all: Vec<String> = members.chain(hidden).collect();
        all.join(&format!(",\n{:indent$}", ""))
    }

    /// Conditions that the variables of the route are.
    pub(super) fn conditions(&self) -> Vec<String> {
        let one = |filter: &Filter<'_>| match filter.through {
            None => format!("{} = :{}", self.sql(filter.column), filter.param),
            Some(Through { table, column, key, .. }) => {
                let alias = self.other_alias(table);
                format!(
                    "{} = (SELECT {alias}.{} FROM {} {alias} WHERE {alias}.{} = :{})",
                    self.sql(filter.column),
                    key.sql,
                    table.sql,
                    column.sql,
                    filter.param
                )
            }
        };
        self.filters.iter().map(one).collect()
    }

    pub(super) fn other_alias(&self, table: &Table) -> String {
        let alias = slug(&table.name).chars().next().unwrap_or('p').to_string();
        if alias == self.alias { "parent".to_owned() } else { alias }
    }

    pub(super) fn version(&self) -> Option<&'t Column> {
        let is_whole = |column: &&Column| matches!(*column.kind(), Type::INT2 | Type::INT4 | Type::INT8);
        self.table.column("version").filter(is_whole).filter(|column| column.is_not_null)
    }

    /// The `index` line: plans name the indexes of parts, and `check` knows those that are found without a schema.
    pub(super) fn indexes(&self, own: Option<&Index>) -> String {
        let is_known = |table: &Table, index: &Index| {
            table.is_visible
                && !table.has_parts
                && !index.name.is_empty()
                && !index.name.contains(char::is_whitespace)
        };
        let own = own.filter(|index| is_known(self.table, index));
        let others = self.filters.iter().filter_map(|filter| filter.through);
        let others =
            others.filter(|through| is_known(through.table, through.index)).map(|through| through.index);
        let names: Vec<&str> = others.chain(own).map(|index| index.name.as_str()).collect();
        names.join(" ")
    }
}

/// The name, or that with a number, so that it is not one that there is.
pub(super) fn another(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = |number: usize| if number == 1 { name.to_owned() } else { format!("{name}_{number}") };
    // There are not as many columns.
    (1..5000).map(numbered).find(|name| !is_taken(name)).unwrap_or_default()
}

fn label(name: &str) -> String {
    if is_name(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
