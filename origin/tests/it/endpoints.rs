//! The endpoints that ship, and what every endpoint does, as clients see it.

use serde_json::{Value, json};

use crate::support::{Database, Serving};

/// The first value of each row, read as JSON.
fn rows(database: &Database, sql: &str) -> Vec<Value> {
    let rows = database.sql(sql);
    rows.iter().map(|row| serde_json::from_str(row[0].as_deref().unwrap()).unwrap()).collect()
}

#[test]
fn a_resource_is_what_the_tables_say() {
    let database = Database::seeded();
    let mut serving = database.serve();
    // Joined by hand: every column on its own, nothing in common with the endpoint's own SQL.
    let resources = database.sql(
        "SELECT r.public_id, r.resource_type, r.score, r.bookmarks, r.views, to_json(r.created_at), \
         (SELECT v.public_id FROM resource_versions v WHERE v.root_id = r.id ORDER BY v.version_index DESC LIMIT 1), \
         (SELECT v.name FROM resource_versions v WHERE v.root_id = r.id ORDER BY v.version_index DESC LIMIT 1), \
         (SELECT u.public_id FROM users u WHERE u.id = r.created_by_id AND is_private = false), \
         (SELECT u.handle FROM users u WHERE u.id = r.created_by_id AND is_private = false), r.id, r.created_by_id \
         FROM resources r WHERE is_deleted = false AND is_private = false AND (r.id < 200 OR r.created_by_id IS NULL AND r.id < 2000 \
         OR r.id < 5000 AND NOT EXISTS (SELECT FROM resource_versions v WHERE v.root_id = r.id))",
    );
    assert!(resources.len() > 200);
    for row in resources {
        let text = |index: usize| row[index].as_deref().unwrap();
        let number = |index: usize| text(index).parse::<i64>().unwrap();
        let target = format!("/resources/{}", text(0));
        let answer = serving.json(&target);
        let created_at: Value = serde_json::from_str(text(5)).unwrap();
        assert_eq!(answer["publicId"], text(0));
        assert_eq!(answer["resourceType"], text(1));
        assert_eq!(
            json!([answer["score"], answer["bookmarks"], answer["views"], answer["createdAt"]]),
            json!([number(2), number(3), number(4), created_at])
        );
        assert_eq!(answer["version"]["publicId"].as_str(), row[6].as_deref(), "{target}");
        assert_eq!(answer["version"]["name"].as_str(), row[7].as_deref(), "{target}");
        assert_eq!(answer["creator"]["publicId"].as_str(), row[8].as_deref(), "{target}");
        assert_eq!(answer["creator"]["handle"].as_str(), row[9].as_deref(), "{target}");
        let mut tags = format!("resource:{},resource:{}", text(10), text(0));
        if let Some(creator) = &row[11] {
            tags.push_str(&format!(",user:{creator}"));
        }
        tags.push_str(",table:resources,table:resource_versions,table:users");
        assert_eq!(serving.get(&target).field("cache-tag"), Some(tags.as_str()));
    }
}

#[test]
fn what_is_deleted_or_private_is_not_there() {
    let database = Database::seeded();
    let mut serving = database.serve();
    for condition in ["is_deleted", "is_private"] {
        let id = database.value(&format!("SELECT public_id FROM resources WHERE {condition} LIMIT 1"));
        let response = serving.get(&format!("/resources/{id}"));
        assert_eq!((response.status, response.field("cache-control")), (404, Some("no-store")), "{id}");
    }
    let id = database.value("SELECT public_id FROM users WHERE is_private LIMIT 1");
    assert_eq!(serving.get(&format!("/users/{id}/teams")).status, 404);
}

#[test]
fn the_teams_of_a_user_are_what_the_tables_say() {
    let database = Database::seeded();
    let mut serving = database.serve();
    let users = database.sql(
        "SELECT public_id, id FROM users WHERE is_private = false AND (id < 50 OR id < 300 AND id NOT IN (SELECT user_id FROM members))",
    );
    let mut without = 0;
    for user in users {
        let (public_id, id) = (user[0].as_deref().unwrap(), user[1].as_deref().unwrap());
        let answer = serving.json(&format!("/users/{public_id}/teams"));
        let expected = rows(
            &database,
            &format!(
                "SELECT json_build_array(t.public_id, m.is_admin, m.created_at, n.count) FROM members m \
                 JOIN teams t ON t.id = m.team_id JOIN (SELECT team_id, count(*) FROM members GROUP BY 1) n USING (team_id) \
                 WHERE user_id = {id} AND is_private = false ORDER BY m.created_at DESC, m.id DESC"
            ),
        );
        without += usize::from(expected.is_empty());
        let teams = answer["teams"].as_array().unwrap().iter();
        let teams: Vec<_> =
            teams.map(|t| json!([t["publicId"], t["isAdmin"], t["memberSince"], t["memberCount"]])).collect();
        assert_eq!(teams, expected, "{public_id}");
    }
    assert!(without > 0);
}

#[test]
fn an_answer_carries_what_caches_need() {
    let mut serving = Database::seeded().serve();
    let response = serving.get("/resources/res-1");
    assert_eq!(response.field("cache-control"), Some("max-age=30, s-maxage=1800, stale-while-revalidate=60"));
    assert_eq!(response.field("content-type"), Some("application/json"));
    assert_eq!(response.field("larder-served-by"), Some("replica-1"));
    assert!(response.field("larder-version").unwrap().starts_with("lsn="), "{response:?}");
    let etag = response.field("etag").unwrap().to_owned();

    let head = serving.call("HEAD", "/resources/res-1", &[]);
    assert_eq!(head.status, 200);
    for field in ["etag", "cache-tag", "cache-control", "content-length", "content-type"] {
        assert_eq!(head.field(field), response.field(field), "{field}");
    }
    for tags in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
        let unchanged = serving.get_with("/resources/res-1", &[("If-None-Match", &tags)]);
        assert_eq!(unchanged.status, 304, "{tags}");
        assert!(unchanged.body.is_empty());
        for field in ["etag", "cache-tag", "cache-control", "larder-version"] {
            assert!(unchanged.field(field).is_some(), "{field}");
        }
    }
    assert_eq!(serving.get_with("/resources/res-1", &[("If-None-Match", "\"other\"")]).status, 200);
}

#[test]
fn a_stamp_on_the_primary_is_a_snapshot_and_on_a_replica_a_position() {
    let database = Database::seeded_copy();
    let file = |read: &str| {
        format!(
            "-- route: GET /{read}\n-- rows: one\n-- read: {read}\n\nSELECT name AS body FROM users WHERE id = 1"
        )
    };
    let mut serving = database.serve_with("", &[("p.sql", &file("primary")), ("r.sql", &file("replica"))]);
    // Nothing was promoted.
    let version = |answer: &rig::http::Response, kind: &str| {
        let stamp = answer.field("larder-version").unwrap().strip_prefix(kind).unwrap();
        stamp.strip_suffix("; timeline=1").unwrap().to_owned()
    };
    let xid = database.value("UPDATE users SET name = '\"new\"' WHERE id = 1 RETURNING pg_current_xact_id()");
    let answer = serving.get("/primary");
    assert_eq!((answer.text().as_str(), answer.field("larder-served-by")), ("\"new\"", Some("primary")));
    let snapshot = version(&answer, "snapshot=");
    assert_eq!(database.value(&format!("SELECT pg_visible_in_snapshot('{xid}', '{snapshot}')")), "t");

    let written = database.value("SELECT pg_current_wal_lsn()");
    crate::support::cluster().wait_for_replica().unwrap();
    let answer = serving.get("/replica");
    assert_eq!((answer.text().as_str(), answer.field("larder-served-by")), ("\"new\"", Some("replica-1")));
    let lsn = version(&answer, "lsn=");
    assert_eq!(database.value(&format!("SELECT '{lsn}'::pg_lsn >= '{written}'::pg_lsn")), "t");
}

#[test]
fn texts_that_look_like_sql_are_texts() {
    let database = Database::seeded();
    let mut serving = database.serve();
    let before = database.value("SELECT count(*) FROM resources");
    for text in [
        "'%20OR%201=1--",
        "';DROP%20TABLE%20users;--",
        "res-1'--",
        "$1",
        ":public_id",
        "%27%3B",
        "res-1%00",
        "%c3%28",
        "\\",
    ] {
        let status = serving.get(&format!("/resources/{text}")).status;
        assert!(matches!(status, 404 | 400), "{text}: {status}");
        let page = serving.get(&format!("/resources?type={text}&team={text}"));
        match page.status {
            200 => assert!(page.text().starts_with("{\"items\":[],"), "{text}: {}", page.text()),
            status => assert_eq!(status, 400, "{text}"),
        }
    }
    // Decoded once, and found.
    assert_eq!(serving.get("/resources/%72es-1").status, 200);
    assert_eq!(database.value("SELECT count(*) FROM resources"), before);
}

#[test]
fn what_a_request_gets_wrong_is_named() {
    let mut serving = Database::seeded().serve();
    for (target, parameter) in [
        ("/resources?limit=0", "limit"),
        ("/resources?limit=101", "limit"),
        ("/resources?limit=", "limit"),
        ("/resources?limit=1;2", "limit"),
        ("/resources?limit=99999999999999999999", "limit"),
        ("/resources?limit=1&limit=2", "limit"),
        ("/resources?type=%", "type"),
        ("/resources?cursor=", "cursor"),
        ("/resources?cursor=AAAA", "cursor"),
        ("/resources?cursor=2026-01-01", "cursor"),
    ] {
        let response = serving.get(target);
        assert_eq!((response.status, response.field("cache-control")), (400, Some("no-store")), "{target}");
        assert_eq!(response.field("content-type"), Some("application/problem+json"));
        let problem: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!((&problem["parameter"], &problem["status"]), (&json!(parameter), &json!(400)), "{target}");
    }
    // Parameters of others are none of ours.
    assert_eq!(serving.get("/resources?utm_source=x").status, 200);
    for target in
        ["/", "/resource", "/resources/", "/resources/a/b", "/user/usr-1", "/-/nothing", "/../etc/passwd"]
    {
        assert_eq!(serving.get(target).status, 404, "{target}");
    }
    for method in ["POST", "DELETE", "PATCH", "OPTIONS"] {
        let response = serving.call(method, "/trending", &[]);
        assert_eq!((response.status, response.field("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn every_statement_is_counted_where_it_ran() {
    let mut serving = Database::seeded().serve();
    for target in ["/resources/res-1", "/resources/res-2", "/resources", "/resources?limit=x"] {
        serving.get(target);
    }
    assert_eq!(serving.metric("larder_origin_statements_total{endpoint=\"resource_summary\"}"), 2);
    assert_eq!(serving.metric("larder_origin_statements_total{endpoint=\"resources_page\"}"), 1);
    assert_eq!(serving.metric("larder_origin_statements_by_server_total{server=\"replica-1\"}"), 3);
    assert_eq!(serving.metric("larder_origin_statements_by_server_total{server=\"primary\"}"), 0);
    assert_eq!(serving.metric("larder_origin_requests_total{endpoint=\"resources_page\",status=\"4xx\"}"), 1);
    assert_eq!(serving.metric("larder_origin_statement_seconds_count{endpoint=\"resource_summary\"}"), 2);
}

#[test]
fn a_statement_that_runs_too_long_is_ended() {
    let file = "-- route: GET /slow\n-- rows: one\n\nSELECT '1'::json AS body FROM (SELECT pg_sleep(600)) s";
    let mut serving =
        Database::seeded().serve_with("[database]\nstatement_timeout = \"200ms\"", &[("slow.sql", file)]);
    assert_eq!(serving.get("/slow").status, 504);
    assert_eq!(serving.get("/-/readyz").status, 200);
}

#[test]
fn an_endpoint_cannot_write_and_its_failure_is_not_shown() {
    let file = "-- route: GET /write\n-- rows: one\n-- read: primary\n\nSELECT nextval('users_id_seq')::text AS body";
    let mut serving = Database::seeded().serve_with("", &[("write.sql", file)]);
    let response = serving.get("/write");
    assert_eq!(response.status, 500);
    assert!(
        !response.text().contains("nextval") && !response.text().contains("transaction"),
        "{}",
        response.text()
    );
    serving.process.wait_for_line("cannot execute nextval() in a read-only transaction").unwrap();
}

#[test]
fn a_table_that_changes_under_its_statements_is_read_as_it_is_now() {
    let database = Database::seeded_copy();
    let file = "-- route: GET /name\n-- rows: one\n-- tags: name:{tag}\n\n\
                SELECT to_json(name) AS body, name AS tag FROM users WHERE id = 1";
    let mut serving = database.serve_with("", &[("name.sql", file)]);
    let before = serving.get("/name");
    // The same text of another type: what was prepared no longer holds, on either server.
    database.sql("ALTER TABLE users ALTER COLUMN name TYPE varchar(200)");
    crate::support::cluster().wait_for_replica().unwrap();
    for _ in 0..8 {
        let after = serving.get("/name");
        assert_eq!((after.status, &after.body), (200, &before.body), "{}", serving.process.log());
    }
}

#[test]
fn requests_at_the_same_time_share_connections_and_all_get_their_own_answer() {
    let serving = Database::seeded().serve();
    let ask = |worker: u32| {
        let mut client = rig::http::Client::connect(serving.address).unwrap();
        for round in 0..50 {
            let id = format!("usr-{}", 1 + (worker * 50 + round) % 2000);
            let response = client.get(&format!("/users/{id}/teams"), &[]).unwrap();
            match response.status {
                200 => {
                    let answer: Value = serde_json::from_slice(&response.body).unwrap();
                    assert_eq!(answer["publicId"], id);
                }
                // Private ones.
                status => assert_eq!(status, 404),
            }
        }
    };
    std::thread::scope(|scope| (0..32).for_each(|worker| drop(scope.spawn(move || ask(worker)))));
    let Serving { process, .. } = serving;
    drop(process);
}
