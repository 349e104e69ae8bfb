//! Names: those of routes, of tables and of files, and whether they mean the same.
//!
//! English as far as tables go: what is not known is left as it is, and `--table` says what was meant.

use crate::catalogue::sql::is_name;

/// The longest name that Postgres has, and that a parameter can have.
const MAX_NAME_BYTES: usize = 63;

/// `order-lines`, `OrderLines` and `Order Lines` are the same.
pub(super) fn normal(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// As parameters and files are called: `order_lines`.
pub(super) fn slug(name: &str) -> String {
    let mut slug = String::new();
    let mut was_lower = false;
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            if c.is_ascii_uppercase() && was_lower {
                slug.push('_');
            }
            was_lower = !c.is_ascii_uppercase();
            slug.push(c.to_ascii_lowercase());
        } else {
            was_lower = false;
            if !slug.is_empty() && !slug.ends_with('_') {
                slug.push('_');
            }
        }
        if slug.len() >= MAX_NAME_BYTES - 8 {
            // Room for what makes it another one.
            break;
        }
    }
    let slug = slug.trim_end_matches('_').to_owned();
    if is_name(&slug) { slug } else { format!("n{slug}") }
}

/// One of what a word says there are many of.
pub(super) fn singular(word: &str) -> String {
    let is_one = ["ss", "us", "is", "news", "series", "species"].iter().any(|end| word.ends_with(end));
    let cut = |count: usize| word.get(..word.len().saturating_sub(count)).unwrap_or(word).to_owned();
    let has = |ends: &[&str]| ends.iter().any(|end| word.ends_with(end));
    if is_one || !word.is_ascii() {
        word.to_owned()
    } else if word.ends_with("ies") && word.len() > 4 {
        format!("{}y", cut(3))
    } else if has(&["sses", "xes", "ches", "shes", "buses", "tuses", "ruses"]) {
        cut(2)
    } else if word.ends_with('s') && word.len() > 1 {
        cut(1)
    } else {
        word.to_owned()
    }
}

/// Whether a word of a route means a table, or the other way round: in either number.
pub(super) fn is_same(word: &str, name: &str) -> bool {
    let (word, name) = (normal(word), normal(name));
    !word.is_empty() && (word == name || singular(&word) == singular(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_is_found_in_both_numbers() {
        for (many, one) in [
            ("things", "thing"),
            ("categories", "category"),
            ("addresses", "address"),
            ("boxes", "box"),
            ("statuses", "status"),
            ("status", "status"),
            ("order_lines", "order_line"),
            ("news", "news"),
            ("ties", "tie"),
            ("houses", "house"),
            ("s", "s"),
            ("größes", "größes"),
        ] {
            assert_eq!(singular(many), one);
            assert!(is_same(many, one) && is_same(one, many), "{many}");
        }
        assert!(is_same("order-lines", "Order Lines") && is_same("orderLines", "order_line"));
        assert!(!is_same("orders", "order_lines") && !is_same("-", ""));
    }

    #[test]
    fn every_name_becomes_one_of_a_parameter() {
        for (name, expected) in [
            ("created_at", "created_at"),
            ("Order Lines", "order_lines"),
            ("orderNo", "order_no"),
            ("UUID", "uuid"),
            ("2nd", "n2nd"),
            ("_hidden", "hidden"),
            ("a--b", "a_b"),
            ("größe", "gr_e"),
            ("", "n"),
            ("\"; drop", "drop"),
        ] {
            assert_eq!(slug(name), expected);
            assert!(is_name(&slug(name)));
        }
        assert!(slug(&"x".repeat(200)).len() < MAX_NAME_BYTES);
    }
}
