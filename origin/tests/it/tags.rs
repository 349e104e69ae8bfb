//! What answers carry for purges and for changes of rows: `Cache-Tag`.

use crate::support::{Database, Serving};

#[track_caller]
fn check(serving: &mut Serving, target: &str, expected: &str) {
    let response = serving.get(target);
    assert_eq!(response.status, 200, "{target}: {}", response.text());
    // What an aggregate gathers is in no order.
    let sorted = |tags: &str| {
        let mut tags: Vec<String> = tags.split(',').map(str::to_owned).collect();
        tags.sort_unstable();
        tags
    };
    assert_eq!(sorted(response.field("cache-tag").unwrap()), sorted(expected), "{target}");
}

#[test]
fn an_array_is_a_tag_for_each_element_and_each_table_that_is_not_ttl_is_one() {
    let head = |route: &str, rest: &str| {
        format!("-- route: GET /{route}\n-- rows: many\n-- cache: max-age=5\n{rest}\n")
    };
    let arrays = head(
        "arrays",
        "-- body: columns\n-- param names: query text[]\n-- tags: name:{names} number:{numbers}:x uuid:{uuids} is:{flags}\n\
         -- table users: number:{id}:x\n-- table teams: ttl\n-- table \u{fc}.n: name:{name}\n",
    ) + "SELECT 1 AS n, CASE WHEN n < 3 THEN ARRAY[n, NULL, 7] END AS _numbers, ARRAY[true, false] AS _flags,\n\
         '{{1b4e28ba-2fa1-11d2-883f-b9a761bde3fb}}'::uuid[] AS _uuids FROM generate_series(1, 3) n WHERE :names::text[] IS NOT NULL";
    let streamed =
        head("streamed", "-- lane: slow\n-- tags: all\n-- table public.users: all\n-- table teams: ttl\n")
            + "SELECT '1'::json AS body";
    let mut serving =
        Database::seeded().serve_with("", &[("arrays.sql", &arrays), ("streamed.sql", &streamed)]);
    check(
        &mut serving,
        "/arrays?names=a,b%2Cc,a,%22%C3%A9",
        "name:a,name:b%2Cc,name:\"%C3%A9,number:1:x,number:7:x,number:2:x,uuid:1b4e28ba-2fa1-11d2-883f-b9a761bde3fb,\
         is:true,is:false,table:users,table:%C3%BC.n",
    );
    assert_eq!(serving.get("/arrays").field("cache-tag"), Some("table:users,table:%C3%BC.n"));
    check(&mut serving, "/streamed", "all,table:users");
}

#[test]
fn what_is_hidden_now_has_its_tag_too() {
    let database = Database::seeded_copy();
    database.sql(
        "INSERT INTO users (id, public_id, name, is_private) VALUES (9000001, 'seen', 's', false), (9000002, 'hidden', 'h', true)",
    );
    database.sql(
        "INSERT INTO teams (id, public_id, name, is_private) VALUES (9000001, 'open', 'o', false), (9000002, 'closed', 'c', true)",
    );
    database.sql(
        "INSERT INTO members (team_id, user_id, is_admin) SELECT t, u, true FROM generate_series(9000001, 9000002) t, \
         generate_series(9000001, 9000002) u ORDER BY t, u",
    );
    crate::support::cluster().wait_for_replica().unwrap();
    let mut serving = database.serve();
    let admins = serving.json("/teams/open/admins");
    assert_eq!(admins["admins"].as_array().unwrap().len(), 1);
    check(
        &mut serving,
        "/teams/open/admins",
        "team:9000001,team:open,team:open:members,user:9000001,user:9000002,table:teams,table:members,table:users",
    );
    let teams = serving.json("/users/seen/teams");
    assert_eq!(teams["teams"].as_array().unwrap().len(), 1);
    check(
        &mut serving,
        "/users/seen/teams",
        "user:9000001,user:seen,user:seen:teams,team:9000001,team:9000002,team:9000001:members,team:9000002:members,\
         table:users,table:members,table:teams",
    );
    check(
        &mut serving,
        "/resources/batch?ids=nobody,nothing",
        "resource:nobody,resource:nothing,table:resources,table:users",
    );
}

#[test]
fn an_array_of_columns_with_another_value_beside_it_is_refused() {
    let file = "-- route: GET /x\n-- rows: many\n-- body: columns\n-- tags: x:{a}:{b}\n\nSELECT 1 AS n, ARRAY[1] AS _a, 2 AS _b";
    let folder = crate::support::Folder::new();
    let config = folder.config("", &[("x.sql", file)]);
    let said = Database::seeded().run(&["check", "-c", config.to_str().unwrap()]);
    assert!(
        said.expect_code(64)
            .err
            .contains("x.sql:4:10: `{a}` is an array, which is the only value of its tag"),
        "{said:?}"
    );
}
