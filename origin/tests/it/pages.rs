//! Pages: every row once, in order, whatever the page size and however many rows share their time, in both directions.

use serde_json::Value;

use crate::support::{Database, Serving};

const VISIBLE: &str = "is_deleted = false AND is_private = false AND has_complete_version";

fn ids(page: &Value) -> Vec<String> {
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["publicId"].as_str().unwrap().to_owned())
        .collect()
}

/// All pages from the first, and then back from the last: the same rows the other way.
#[track_caller]
fn walk(serving: &mut Serving, path: &str, query: &str) -> Vec<String> {
    let mut pages: Vec<Vec<String>> = Vec::new();
    let mut page = serving.json(&format!("{path}?{query}"));
    assert_eq!((page["hasPreviousPage"].as_bool(), page["previousCursor"].as_str()), (Some(false), None));
    loop {
        pages.push(ids(&page));
        assert_eq!(page["hasNextPage"].as_bool(), Some(page["nextCursor"].is_string()));
        let Some(next) = page["nextCursor"].as_str() else { break };
        page = serving.json(&format!("{path}?{query}&cursor={next}"));
        assert_eq!(page["hasPreviousPage"].as_bool(), Some(page["previousCursor"].is_string()));
    }
    let mut back = vec![ids(&page)];
    while let Some(previous) = page["previousCursor"].as_str() {
        page = serving.json(&format!("{path}?{query}&before={previous}"));
        assert!(page["hasNextPage"].as_bool().unwrap() && page["nextCursor"].is_string());
        back.push(ids(&page));
    }
    back.reverse();
    let all: Vec<String> = pages.into_iter().flatten().collect();
    assert_eq!(back.into_iter().flatten().collect::<Vec<_>>(), all);
    all
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
        assert_eq!(walk(&mut serving, "/resources", limit), expected, "{limit}");
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
        assert_eq!(walk(&mut serving, "/resources", query), in_order(&database, condition), "{query}");
    }
    let busiest = "(SELECT created_by_id FROM resources JOIN users u ON u.id = created_by_id AND u.is_private = false \
                   GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)";
    let user = database.value(&format!("SELECT public_id FROM users WHERE id = {busiest}"));
    let expected = in_order(&database, &format!("created_by_id = {busiest}"));
    assert!(expected.len() > 10);
    assert_eq!(walk(&mut serving, &format!("/users/{user}/resources"), "limit=4"), expected);
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
    assert_eq!(walk(&mut serving, "/resources", "limit=3"), ["r6", "r5", "r4", "r3", "r2", "r1"]);
    assert_eq!(walk(&mut serving, "/resources", "limit=1"), ["r6", "r5", "r4", "r3", "r2", "r1"]);
    assert_eq!(walk(&mut serving, "/resources", "limit=2&type=Note").len(), 6);

    let page = serving.json("/resources/pages?limit=3&page=2");
    assert_eq!(
        (ids(&page), page["hasNextPage"].as_bool()),
        (vec!["r3".into(), "r2".into(), "r1".into()], Some(false))
    );
    // What the statistics say of an index that was never looked at is nothing; the last page counts.
    let page = serving.json("/resources/pages/estimated?limit=4&page=2");
    assert_eq!((page["total"].as_i64(), page["totalIsExact"].as_bool()), (Some(6), Some(true)));
}

#[test]
fn a_row_that_comes_in_between_does_not_move_what_follows() {
    let database = Database::seeded_copy();
    let mut serving = database.serve();
    let first = serving.json("/resources?limit=10");
    let next = first["nextCursor"].as_str().unwrap();
    let before = serving.json(&format!("/resources?limit=10&cursor={next}"));
    database.sql(
        "INSERT INTO resources (public_id, resource_type, has_complete_version, created_at) VALUES ('newest', 'Note', true, '2999-01-01')",
    );
    crate::support::cluster().wait_for_replica().unwrap();
    assert_eq!(ids(&serving.json("/resources?limit=1")), ["newest"]);
    assert_eq!(serving.json(&format!("/resources?limit=10&cursor={next}")), before);
}

#[test]
fn a_cursor_that_was_not_made_for_this_list_is_refused() {
    let file = "-- route: GET /others\n-- param limit: query int8 1..100 = 20\n-- rows: cursor\n\n\
                SELECT '{}'::json AS body, created_at, id FROM resources\nWHERE true\n\
                AND (created_at, id) < (:after_created_at, :after_id) -- when cursor\n\
                ORDER BY created_at DESC, id DESC LIMIT :limit";
    let page = include_str!("../../queries/resources_page.sql");
    let key = "[cursors]\nkey = \"0123456789abcdef0123456789abcdef\"";
    let database = Database::seeded();
    let mut serving = database.serve_with(key, &[("others.sql", file), ("resources_page.sql", page)]);
    let cursor = serving.json("/resources?limit=1")["nextCursor"].as_str().unwrap().to_owned();
    let mut forged = cursor.clone().into_bytes();
    forged[40] = if forged[40] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    for target in [
        format!("/others?cursor={cursor}"),
        format!("/resources?type=Note&cursor={cursor}"),
        format!("/resources?team=team-1&before={cursor}"),
        format!("/resources?cursor={forged}"),
        format!("/resources?before={forged}"),
        format!("/resources?cursor={}", &cursor[..cursor.len() - 1]),
        "/resources?cursor=".to_owned(),
        "/resources?before=2026-01-01T00:00:00Z".to_owned(),
    ] {
        let response = serving.get(&target);
        assert_eq!(response.status, 400, "{target}: {}", response.text());
        assert!(
            response.text().contains("is not a cursor of this endpoint"),
            "{target}: {}",
            response.text()
        );
    }
    let both = serving.get(&format!("/resources?cursor={cursor}&before={cursor}"));
    assert_eq!(both.status, 400);
    assert!(both.text().contains("a page comes after one or before one"), "{}", both.text());
    // The size of a page may change on the way, and other parameters that are none of ours.
    assert_eq!(serving.get(&format!("/resources?limit=3&cursor={cursor}&utm_source=x")).status, 200);
    // It holds for other processes with the same key, and for none with another.
    let mut twin = database.serve_with(key, &[("resources_page.sql", page)]);
    assert_eq!(twin.get(&format!("/resources?cursor={cursor}")).status, 200);
    assert_eq!(database.serve().get(&format!("/resources?cursor={cursor}")).status, 400);
}

#[test]
fn offset_pages_have_every_row_once_and_a_total() {
    let database = Database::empty();
    database.run(&["migrate"]).expect_code(0);
    database.sql(
        "INSERT INTO resources (public_id, resource_type, is_private, is_deleted, created_at) \
         SELECT 'r' || n, 'Note', n % 7 = 0, n % 5 = 0, '2026-01-01'::timestamptz + n / 50 * interval '1 hour' FROM generate_series(1, 700) n",
    );
    crate::support::cluster().wait_for_replica().unwrap();
    let expected = database.sql(
        "SELECT public_id FROM resources WHERE is_private = false AND is_deleted = false ORDER BY created_at DESC, id DESC",
    );
    let expected: Vec<String> = expected.into_iter().map(|mut row| row.remove(0).unwrap()).collect();
    let total = expected.len() as u64;
    let mut serving = database.serve();
    let mut seen = Vec::new();
    for number in 1.. {
        let page = serving.json(&format!("/resources/pages?limit=100&page={number}"));
        assert_eq!((page["page"].as_u64(), page["limit"].as_u64()), (Some(number), Some(100)));
        assert_eq!((page["total"].as_u64(), page["totalIsExact"].as_bool()), (Some(total), Some(true)));
        assert_eq!(page["totalPages"].as_u64(), Some(total.div_ceil(100)));
        seen.extend(ids(&page));
        if !page["hasNextPage"].as_bool().unwrap() {
            break;
        }
    }
    assert_eq!(seen, expected);
    // Behind the end there is nothing, and still a total.
    let page = serving.json("/resources/pages?limit=100&page=90");
    assert_eq!((ids(&page).len(), page["total"].as_u64()), (0, Some(total)));
    assert_eq!(page["hasNextPage"].as_bool(), Some(false));
}

#[test]
fn a_total_is_counted_no_further_than_its_bound_or_estimated() {
    let database = Database::seeded();
    let mut serving = database.serve();
    let all = database.sql(
        "SELECT public_id FROM resources WHERE is_private = false AND is_deleted = false ORDER BY created_at DESC, id DESC",
    );
    let all: Vec<String> = all.into_iter().map(|mut row| row.remove(0).unwrap()).collect();
    assert!(all.len() > 10_000);
    let page = serving.json("/resources/pages?limit=50&page=3");
    assert_eq!(ids(&page), all[100..150]);
    assert_eq!((page["total"].as_u64(), page["totalIsExact"].as_bool()), (Some(10_000), Some(false)));
    let page = serving.json("/resources/pages/estimated?limit=50&page=3");
    assert_eq!((ids(&page), page["totalIsExact"].as_bool()), (all[100..150].to_vec(), Some(false)));
    let (estimate, exact) = (page["total"].as_i64().unwrap(), i64::try_from(all.len()).unwrap());
    assert!((estimate - exact).abs() < exact / 10, "{estimate} {exact}");

    for (query, parameter) in [
        ("page=0", "page"),
        ("page=10002", "page"),
        ("page=-1", "page"),
        ("page=1e3", "page"),
        ("page=502&limit=20", "page"),
        ("page=102&limit=100", "page"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
    ] {
        let response = serving.get(&format!("/resources/pages?{query}"));
        let problem: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(
            (response.status, problem["parameter"].as_str()),
            (400, Some(parameter)),
            "{query}: {problem}"
        );
    }
    assert_eq!(serving.get("/resources/pages?page=501&limit=20").status, 200);
}

/// The plan with what it touched, of a page of `resources_page.sql` after a row.
fn explained(database: &Database, after: Option<(&str, &str)>) -> Value {
    let file = include_str!("../../queries/resources_page.sql");
    let is_kept = |line: &&str| match line.split_once("-- when ") {
        Some((_, "cursor")) => after.is_some(),
        Some(_) => false,
        None => !line.starts_with("--"),
    };
    let sql: String = file.lines().filter(is_kept).map(|line| format!("{line}\n")).collect();
    let (created_at, id) = after.unwrap_or_default();
    let sql = sql
        .replace(":after_created_at", &format!("'{created_at}'::timestamptz"))
        .replace(":after_id", &format!("'{id}'::bigint"))
        .replace(":max_limit", "101")
        .replace(":limit", "21");
    let text = database.value(&format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}"));
    serde_json::from_str::<Value>(&text).unwrap()[0]["Plan"].clone()
}

fn nodes(plan: &Value) -> Vec<String> {
    let mut found = vec![format!("{} {}", plan["Node Type"], plan["Index Name"])];
    found.extend(plan["Plans"].as_array().into_iter().flatten().flat_map(nodes));
    found
}

#[test]
fn the_last_page_costs_what_the_first_one_does() {
    let database = Database::seeded();
    let rows = database.sql(&format!(
        "SELECT created_at, id FROM resources WHERE {VISIBLE} ORDER BY created_at DESC, id DESC OFFSET 10000 LIMIT 1"
    ));
    let [row] = rows.as_slice() else { panic!("no such row") };
    let [first, deep] = [None, Some((row[0].as_deref().unwrap(), row[1].as_deref().unwrap()))].map(|after| {
        // Once before, so that nothing is read for the first time.
        explained(&database, after);
        explained(&database, after)
    });
    assert_eq!(nodes(&first), nodes(&deep));
    assert!(nodes(&deep).iter().any(|node| node.contains("resource_page")), "{deep}");
    let touched = |plan: &Value| {
        plan["Shared Hit Blocks"].as_i64().unwrap() + plan["Shared Read Blocks"].as_i64().unwrap()
    };
    // The same rows' worth, give or take where they lie.
    assert!(touched(&deep) <= touched(&first) + 100, "{} {}", touched(&deep), touched(&first));
}
