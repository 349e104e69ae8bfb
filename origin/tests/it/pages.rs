//! Cursor pages: every row once, in order, whatever the page size and however many rows share their time.

use crate::support::{Database, Serving};

const VISIBLE: &str = "is_deleted = false AND is_private = false AND has_complete_version";

fn walk(serving: &mut Serving, query: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = serving.json(&format!("/resources?{query}{cursor}"));
        ids.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["publicId"].as_str().unwrap().to_owned()),
        );
        match page["nextCursor"].as_str() {
            Some(next) => {
                assert_eq!(page["hasNextPage"], true);
                cursor = format!("&cursor={next}");
            }
            None => {
                assert_eq!(page["hasNextPage"], false);
                return ids;
            }
        }
    }
}

fn in_order(database: &Database, condition: &str) -> Vec<String> {
    let sql = format!(
        "SELECT public_id FROM resources WHERE {VISIBLE} AND {condition} ORDER BY created_at DESC, id DESC"
    );
    database.sql(&sql).into_iter().map(|mut row| row.remove(0).unwrap()).collect()
}

#[test]
fn pages_visit_every_row_once_even_those_with_the_same_time() {
    let database = Database::seeded();
    let mut serving = database.serve();
    let expected = in_order(&database, "true");
    let ties = database.value(&format!(
        "SELECT max(count) FROM (SELECT count(*) FROM resources WHERE {VISIBLE} GROUP BY created_at) t"
    ));
    assert!(expected.len() > 10_000 && ties.parse::<usize>().unwrap() > 200, "{} {ties}", expected.len());
    for limit in ["limit=100", "limit=97"] {
        assert_eq!(walk(&mut serving, limit), expected, "{limit}");
    }
}

#[test]
fn filtered_pages_visit_every_row_once() {
    let database = Database::seeded();
    let mut serving = database.serve();
    for (query, condition) in [
        ("limit=50&type=Note", "resource_type = 'Note'"),
        ("limit=7&team=team-1", "team_id = 1"),
        ("limit=3&team=team-2&type=Code", "team_id = 2 AND resource_type = 'Code'"),
        ("type=Nothing", "false"),
        ("team=team-none", "false"),
    ] {
        assert_eq!(walk(&mut serving, query), in_order(&database, condition), "{query}");
    }
}

#[test]
fn a_page_of_exactly_what_is_left_is_the_last() {
    let database = Database::empty();
    database.run(&["migrate"]).expect_code(0);
    database.sql(
        "INSERT INTO resources (public_id, resource_type, has_complete_version, created_at) \
         SELECT 'r' || n, 'Note', true, '2026-01-01' FROM generate_series(1, 6) n",
    );
    crate::support::cluster().wait_for_replica().unwrap();
    let mut serving = database.serve();
    let page = serving.json("/resources?limit=6");
    assert_eq!((page["items"].as_array().unwrap().len(), page["hasNextPage"].as_bool()), (6, Some(false)));
    let page = serving.json("/resources?limit=5");
    assert_eq!((page["items"].as_array().unwrap().len(), page["hasNextPage"].as_bool()), (5, Some(true)));
    assert_eq!(walk(&mut serving, "limit=3"), ["r6", "r5", "r4", "r3", "r2", "r1"]);
}

#[test]
fn a_cursor_of_another_endpoint_is_refused() {
    let file = "-- route: GET /others\n-- param limit: query int8 1..100 = 20\n-- rows: cursor\n\n\
                SELECT '{}'::json AS body, created_at, id FROM resources\n\
                WHERE true AND (created_at, id) < (:after_created_at, :after_id) -- when cursor\n\
                ORDER BY created_at DESC, id DESC LIMIT :limit";
    let file = file.replace("WHERE true AND", "WHERE true\nAND");
    let database = Database::seeded();
    let cursor = database.serve().json("/resources?limit=1")["nextCursor"].as_str().unwrap().to_owned();
    let mut others = database.serve_with("", &[("others.sql", &file)]);
    let response = others.get(&format!("/others?cursor={cursor}"));
    assert_eq!(response.status, 400, "{}", response.text());
    assert!(response.text().contains("is not a cursor of this endpoint"), "{}", response.text());
}
