//! The line of one table: `table members: team:{team_id}:members`.

use super::{Header, Reader, Words};
use crate::catalogue::tables::{RowTemplate, TableRule, is_table};

const TTL: &str = "ttl";

impl Reader<'_> {
    pub(super) fn table(&mut self, header: &mut Header, name: Words<'_>, value: Words<'_>) {
        if !is_table(name.text) {
            let message = match name.text {
                "" => "no table is named; write for example `-- table users: user:{id}`".to_owned(),
                other => {
                    format!("`{other}` is not the name of a table, `users` or `shop.users`, without quotes")
                }
            };
            return self.fault(name.offset, message);
        }
        let mut rule = TableRule::new(name.text, self.position(name.offset));
        if header.tables.iter().any(|known| known.name == rule.name) {
            return self.fault(name.offset, format!("table `{}` is given twice", name.text));
        }
        if value.text.is_empty() {
            let message = format!(
                "nothing is said of table `{}`; write tags that a changed row has, such as `user:{{id}}`, or `ttl`",
                name.text
            );
            return self.fault(name.offset, message);
        }
        for word in value.words() {
            if word.text == TTL && value.text == TTL {
                continue;
            }
            if word.text == TTL {
                self.fault(word.offset, "`ttl` stands alone: it leaves changes to the lifetime, tags do not");
                continue;
            }
            match RowTemplate::parse(word.text) {
                Ok(template) => rule.templates.push((template, self.position(word.offset))),
                Err((offset, why)) => self.fault(word.offset + offset, why),
            }
        }
        header.tables.push(rule);
    }
}
