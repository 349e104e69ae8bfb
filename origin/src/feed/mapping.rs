//! Which tags a changed row has, of all that say so: query files (`catalogue/tables.rs`) and `[feed.tables]`.

use crate::catalogue::Mapping;

/// A table's schema and its own name.
pub(crate) fn qualified(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or(("public", name))
}

/// All that both say.
pub(crate) fn union(one: &Mapping, other: &Mapping) -> Mapping {
    let mut all = Mapping::new();
    for (name, templates) in one.iter().chain(other) {
        let name = name.strip_prefix("public.").unwrap_or(name);
        let of_table = all.entry(name.to_owned()).or_default();
        for template in templates {
            if !of_table.contains(template) {
                of_table.push(template.clone());
            }
        }
    }
    all
}

/// Whether one says all that the other does.
pub(crate) fn contains(one: &Mapping, other: &Mapping) -> bool {
    other.iter().all(|(name, templates)| {
        let own = one.get(name.strip_prefix("public.").unwrap_or(name));
        own.is_some_and(|own| templates.iter().all(|template| own.contains(template)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::RowTemplate;

    #[test]
    fn tables_of_two_mappings_are_one_with_and_without_public() {
        let mapping = |name: &str, template: &str| {
            Mapping::from([(name.to_owned(), vec![RowTemplate::parse(template).unwrap()])])
        };
        let both = union(&mapping("public.teams", "team:{id}"), &mapping("teams", "team:{public_id}"));
        let both = union(&both, &mapping("teams", "team:{id}"));
        assert_eq!(both.len(), 1);
        assert_eq!(both["teams"].len(), 2);
        for one in [mapping("public.teams", "team:{id}"), mapping("teams", "team:{public_id}")] {
            assert!(contains(&both, &one) && !contains(&one, &both));
        }
        assert!(contains(&both, &both) && !contains(&both, &mapping("users", "user:{id}")));
        assert_eq!(qualified("teams"), ("public", "teams"));
        assert_eq!(qualified("audit.log"), ("audit", "log"));
    }
}
