//! The line of one parameter: `param limit: query int8 1..100 = 20`.

use hyper::Method;

use super::{Header, Reader, Words};
use crate::catalogue::{Absent, In, Param, sql};
use crate::faults::suggestion;
use crate::params;

/// Where a value comes from, in the words of the header.
const SOURCES: [(&str, In); 3] = [("path", In::Path), ("query", In::Query), ("body", In::Body)];
/// Of `body rows` without a range; also the most.
const ROWS: (i64, i64) = (1, 5000);
/// Of an array without a range; also the most.
const ELEMENTS: (i64, i64) = (0, 5000);
/// What has a meaning of its own.
const RESERVED: [&str; 8] =
    ["cursor", "before", "fields", "offset", "max_limit", "max_total", "if_match", "unless"];

impl Reader<'_> {
    pub(super) fn param(&mut self, header: &mut Header, name: Words<'_>, value: Words<'_>) {
        if !sql::is_name(name.text) {
            let message =
                format!("`{}` is not a name for a parameter: lower-case letters, digits and _", name.text);
            return self.fault(name.offset, message);
        }
        if header.params.iter().any(|param| param.name == name.text) {
            return self.fault(name.offset, format!("param `{}` is declared twice", name.text));
        }
        let is_taken = |prefix| name.text.starts_with(prefix);
        if RESERVED.contains(&name.text) || is_taken("after_") || is_taken("before_") {
            let message = format!("`{}` has a meaning of its own and is not declared", name.text);
            return self.fault(name.offset, message);
        }
        let (declared, default) =
            value.split_once('=').map_or((value, None), |(value, default)| (value, Some(default)));
        let mut words = declared.words();
        let from = match words.next() {
            Some(word) => match SOURCES.iter().find(|(known, _)| *known == word.text) {
                Some((_, from)) => *from,
                None => {
                    let suggestion = suggestion(word.text, SOURCES.iter().map(|(known, _)| *known));
                    let message = format!(
                        "param `{}` comes from `{}`, not path, query or body{suggestion}",
                        name.text, word.text
                    );
                    return self.fault(word.offset, message);
                }
            },
            None => return self.fault(name.offset, "nothing is said of it; write for example `path text`"),
        };
        let Some(type_word) = words.next() else {
            return self.fault(value.offset, "has no type; write for example `query int8`");
        };
        let param = self.declaration(name, from, type_word, words, default);
        header.params.push(param);
    }

    /// `row score: int4 0..100`: a member of each row of the body.
    pub(super) fn row(&mut self, header: &mut Header, name: Words<'_>, value: Words<'_>) {
        if !sql::is_name(name.text) || header.row_members.iter().any(|param| param.name == name.text) {
            let message = format!("`{}` is no name for a member, or was declared before", name.text);
            return self.fault(name.offset, message);
        }
        let mut words = value.words();
        let Some(type_word) = words.next() else {
            return self.fault(name.offset, "has no type; write for example `text required`");
        };
        if type_word.text == "rows" {
            return self.fault(type_word.offset, "a member of a row is no body of rows");
        }
        let param = self.declaration(name, In::Body, type_word, words, None);
        header.row_members.push(param);
    }

    fn declaration<'w>(
        &mut self,
        name: Words<'_>,
        from: In,
        type_word: Words<'_>,
        words: impl Iterator<Item = Words<'w>>,
        default: Option<Words<'_>>,
    ) -> Param {
        let from = if from == In::Body && type_word.text == "rows" { In::Rows } else { from };
        let element = type_word.text.strip_suffix("[]");
        let mut param = Param {
            name: name.text.to_owned(),
            from,
            type_name: params::type_name(element.unwrap_or(type_word.text)).to_owned(),
            is_array: element.is_some(),
            range: None,
            values: Vec::new(),
            absent: if matches!(from, In::Path | In::Rows) { Absent::Refused } else { Absent::Null },
            position: self.position(name.offset),
        };
        if from == In::Path && param.is_array {
            self.fault(type_word.offset, "a path parameter is one value, not an array");
        }
        for word in words {
            let range =
                word.text.split_once("..").map(|(low, high)| (low.parse::<i64>(), high.parse::<i64>()));
            match (range, word.text) {
                (Some((Ok(low), Ok(high))), _) if low <= high => param.range = Some((low, high)),
                (None, "required") if matches!(from, In::Query | In::Body) && default.is_none() => {
                    param.absent = Absent::Refused;
                }
                (None, text) if text.starts_with('{') && text.ends_with('}') => {
                    let values = text.trim_start_matches('{').trim_end_matches('}').split(',');
                    param.values = values.filter(|value| !value.is_empty()).map(str::to_owned).collect();
                    if param.values.is_empty() {
                        self.fault(word.offset, "names no value; write for example `{new,old}`");
                    }
                }
                (Some(_), _) => {
                    self.fault(word.offset, format!("`{}` is not a range such as 1..100", word.text));
                }
                (None, other) => self.fault(word.offset, format!("`{other}` is not understood here")),
            }
        }
        self.range(&mut param, type_word);
        if let Some(default) = default {
            if matches!(from, In::Path | In::Rows) {
                let what = if from == In::Path { "a path parameter" } else { "the body" };
                self.fault(default.offset, format!("{what} is always there and has no default"));
            } else if param.is_array {
                self.fault(default.offset, "an array has no default");
            } else if let Err(why) = params::check(&param, default.text) {
                self.fault(default.offset, format!("the default of `{}` {why}", param.name));
            } else {
                param.absent = Absent::Default(default.text.to_owned());
            }
        }
        param
    }

    fn range(&mut self, param: &mut Param, type_word: Words<'_>) {
        let most = match (param.from, param.is_array) {
            (In::Rows, _) => ROWS,
            (_, true) => ELEMENTS,
            (_, false) => {
                if param.range.is_some() && !params::has_range(&param.type_name) {
                    let message = format!(
                        "a range is for whole numbers, texts and arrays, not for {}",
                        param.type_name
                    );
                    self.fault(type_word.offset, message);
                }
                return;
            }
        };
        match param.range {
            None => param.range = Some(most),
            Some((low, high)) if low < most.0 || high > most.1 => {
                let message = format!("the range of `{}` is not within {}..{}", param.name, most.0, most.1);
                self.fault(type_word.offset, message);
            }
            Some(_) => (),
        }
    }

    /// What the method allows, once the whole header is read.
    pub(in crate::catalogue) fn sources(&mut self, header: &Header) {
        let is_read = header.route.as_ref().is_some_and(|route| route.method == Method::GET);
        let from_body = |param: &&Param| matches!(param.from, In::Body | In::Rows);
        let mut several = false;
        let mut rows = false;
        for param in header.params.iter().filter(from_body) {
            if is_read {
                let message = format!("param `{}`: GET has no body", param.name);
                self.faults.push(&self.source.path, Some(param.position), message);
            }
            if rows || (param.from == In::Rows && several) {
                let message = "`body rows` is the whole body; there is nothing else in it";
                self.faults.push(&self.source.path, Some(param.position), message);
            }
            several = true;
            rows |= param.from == In::Rows;
        }
        if let Some(member) = header.row_members.first().filter(|_| !rows) {
            let message = "`row` lines need a `param NAME: body rows`";
            self.faults.push(&self.source.path, Some(member.position), message);
        }
    }
}
