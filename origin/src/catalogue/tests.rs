//! What writers of query files see (`ui/bad_*.sql` beside what is said about each), and what good files become.

use super::*;

fn parse(files: &[(&str, &str)]) -> Result<Catalogue, Faults> {
    Catalogue::parse(files.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())).collect())
}

const PAGE: &str = "-- route: GET /things
-- param limit: query int8 1..50 = 20
-- param kind: query text
-- rows: cursor
-- tags: things

SELECT body, created_at, id FROM (
    SELECT * FROM things WHERE true
    AND kind = :kind                                      -- when kind
    AND (created_at, id) < (:after_created_at, :after_id) -- when cursor
    ORDER BY created_at DESC, id DESC LIMIT :max_limit) t
ORDER BY created_at DESC, id DESC LIMIT :limit;
";

/// `LARDER_BLESS=1` writes down what is said now; the difference is for a person to read.
#[test]
fn every_bad_file_is_refused_in_these_words() {
    crate::faults::ui::check(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/catalogue/ui"),
        "sql",
        |name, text| parse(&[(name, text)]).map(drop),
    );
}

#[test]
fn all_files_that_ship_are_in_the_program_and_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    let from_folder = Catalogue::load(&folder).unwrap();
    let shipped = Catalogue::shipped().unwrap();
    let texts = |catalogue: &Catalogue| {
        let of = |endpoint: &Arc<Endpoint>| (endpoint.name.clone(), endpoint.source.text.clone());
        catalogue.endpoints.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(texts(&from_folder), texts(&shipped));
}

#[test]
fn each_combination_of_optional_lines_is_a_statement() {
    let catalogue = parse(&[("page.sql", PAGE)]).unwrap();
    let page = &catalogue.endpoints[0];
    assert_eq!(page.conditions, [Condition::Given(1), Condition::Cursor]);
    assert_eq!(page.cursor_columns, ["created_at", "id"]);
    assert_eq!(page.variants.len(), 4);
    let all = page.mask(|_| true);
    let [first, last] = [&page.variants[0], &page.variants[all]];
    assert_eq!(first.binds, [Bind::Param(0)]);
    assert!(first.sql.contains("LIMIT 51) t\nORDER BY created_at DESC, id DESC LIMIT $1"), "{}", first.sql);
    assert!(!first.sql.contains("kind") && !first.sql.ends_with(';'), "{}", first.sql);
    assert_eq!(last.binds, [Bind::Param(1), Bind::After(0), Bind::After(1), Bind::Param(0)]);
    assert!(
        last.sql.contains("kind = $1") && last.sql.contains("< ($2, $3)") && last.sql.ends_with("LIMIT $4")
    );
    assert_eq!(page.describe_mask(all), " with kind, cursor");
    assert_eq!(page.cache, "no-store");
    assert_eq!((page.lane, page.body, page.fields), (LaneKind::Fast, Body::Json, true));
}

#[test]
fn two_files_for_the_same_requests_are_refused() {
    let one = "-- route: GET /things/{id}\n-- param id: path text\n-- rows: one\nSELECT :id AS body";
    let said = parse(&[("a.sql", one), ("b.sql", &one.replace("id", "key"))]).unwrap_err().to_string();
    assert_eq!(
        said,
        "b.sql:1:11: answers the same requests as a.sql\n    -- route: GET /things/{key}\n              ^"
    );
}

const DOC: &str = include_str!("../../../docs/queries.md");

#[test]
fn each_key_is_described_and_what_is_described_is_a_key() {
    let headings = DOC.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    let mut described: Vec<&str> = headings.collect();
    described.sort_unstable();
    let mut known = header::KEYS.to_vec();
    known.sort_unstable();
    assert_eq!(described, known);
}

#[test]
fn the_files_of_the_description_are_good() {
    let mut files = Vec::new();
    for block in DOC.split("```sql queries/").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        files.push((name, rest.split_once("\n```").unwrap().0));
    }
    assert_eq!(parse(&files).unwrap().endpoints.len(), 6);
    let all: String = files.iter().map(|(_, text)| *text).collect();
    for key in
        ["param", "row", "rows", "total", "if_match", "idempotency", "location", "tags", "table", "index"]
    {
        assert!(all.contains(&format!("-- {key}")), "no example of {key}");
    }
}

#[test]
fn what_is_read_again_is_the_same_endpoint_only_if_its_file_is_as_it_was() {
    let file = |name: &str, value: &str| {
        let text = format!("-- route: GET /{name}\n-- rows: one\n\nSELECT '{value}'::json AS body");
        (PathBuf::from(format!("{name}.sql")), text)
    };
    let read = |files: Vec<_>| Catalogue::parse(files).unwrap();
    let old = read(vec![file("a", "1"), file("b", "1"), file("d", "1")]);
    let new = read(vec![file("a", "1"), file("b", "2"), file("c", "1")]).keeping(&old);
    let ids =
        |catalogue: &Catalogue| catalogue.endpoints.iter().map(|endpoint| endpoint.id).collect::<Vec<_>>();
    let (before, after) = (ids(&old), ids(&new));
    assert!(Arc::ptr_eq(&old.endpoints[0], &new.endpoints[0]));
    assert!(after[1..].iter().all(|id| !before.contains(id)));
    assert_eq!(new.changes_since(&old), ["changed `b`", "added `c`", "removed `d`"]);
    assert_eq!(new.endpoints[1].source.text.lines().last(), Some("SELECT '2'::json AS body"));
    // A text that was there before is another endpoint now.
    let back = read(vec![file("b", "1")]).keeping(&new);
    assert!(!before.contains(&ids(&back)[0]));
    assert!(read(vec![file("b", "1")]).keeping(&back).changes_since(&back).is_empty());
}

#[test]
fn what_a_changed_row_makes_invalid_is_what_all_files_say_together() {
    let file = |route: &str, tags: &str, tables: &str| {
        format!(
            "-- route: GET /{route}\n-- rows: many\n-- tags: {tags}\n{tables}-- cache: max-age=5\n\nSELECT 1 AS body"
        )
    };
    let one = file("one", "a:{id} a:{id}:b", "-- table public.a: a:{id} a:{id}:b\n-- table b: ttl\n");
    let two = file("two", "a:{id} a all", "-- table a: a a:{id}\n-- table shop.c: all\n");
    let catalogue = parse(&[("one.sql", &one), ("two.sql", &two)]).unwrap();
    let texts =
        |templates: &Vec<RowTemplate>| templates.iter().map(RowTemplate::shape).collect::<Vec<_>>().join(" ");
    let mapping: Vec<(String, String)> =
        catalogue.mapping().iter().map(|(table, templates)| (table.clone(), texts(templates))).collect();
    let expected = [("a", "a:{} a:{}:b a"), ("shop.c", "all")];
    assert_eq!(mapping, expected.map(|(table, tags)| (table.to_owned(), tags.to_owned())));
    let tables: Vec<_> =
        catalogue.endpoints[0].tables.iter().map(|table| (&*table.tag, table.is_ttl())).collect();
    assert_eq!(tables, [("table:a", false), ("table:b", true)]);
}
