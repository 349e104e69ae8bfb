//! Each read endpoint that ships, against what the tables say in other words than its own.

use serde_json::{Value, json};

use crate::support::{Database, Serving};

/// The rows of a statement as one JSON array, in its order.
fn told(database: &Database, sql: &str) -> Value {
    let text = database.value(&format!("SELECT coalesce(json_agg(t), '[]') FROM ({sql}) t"));
    serde_json::from_str(&text).unwrap()
}

/// Every row as an object of these members.
pub(crate) fn only(rows: &Value, members: &[&str]) -> Value {
    let pick = |row: &Value| members.iter().map(|name| ((*name).to_owned(), row[*name].clone())).collect();
    rows.as_array().unwrap().iter().map(pick).map(Value::Object).collect()
}

#[test]
fn a_user_is_what_the_tables_say() {
    let database = Database::seeded();
    let mut serving = database.serve();
    let users = told(
        &database,
        "SELECT public_id AS \"publicId\", name, handle, languages, is_bot AS \"isBot\", created_at AS \"createdAt\" \
         FROM users WHERE is_private = false AND id < 200",
    );
    assert!(users.as_array().unwrap().len() > 100);
    for user in users.as_array().unwrap() {
        let target = format!("/users/{}", user["publicId"].as_str().unwrap());
        assert_eq!(serving.json(&target), *user);
    }
    let response = serving.get("/users/usr-1");
    assert_eq!(response.field("cache-tag"), Some("user:1,user:usr-1,table:users"));
    assert!(response.field("cache-control").unwrap().contains("s-maxage=1800"));
    let private = database.value("SELECT public_id FROM users WHERE is_private LIMIT 1");
    for path in ["", "/teams"] {
        assert_eq!(serving.get(&format!("/users/{private}{path}")).status, 404);
    }
    // A list of nobody is empty, whether there is nobody or nobody may know.
    for user in [private.as_str(), "usr-none"] {
        assert_eq!(serving.json(&format!("/users/{user}/resources"))["items"], json!([]));
    }
}

#[test]
fn details_have_the_runs_only_if_they_are_asked_for() {
    let database = Database::seeded();
    let mut serving = database.serve();
    let resources = told(
        &database,
        "SELECT r.public_id AS id, v.id AS version, v.config, v.version_label AS label, u.public_id AS creator \
         FROM resources r JOIN resource_versions v ON v.root_id = r.id AND v.is_latest = true \
         LEFT JOIN users u ON u.id = r.created_by_id AND u.is_private = false \
         WHERE r.is_deleted = false AND r.is_private = false \
         AND (r.id < 40 OR (SELECT count(*) FROM runs WHERE resource_version_id = v.id) > 5) LIMIT 80",
    );
    let mut most = 0;
    for resource in resources.as_array().unwrap() {
        let target = format!("/resources/{}/details", resource["id"].as_str().unwrap());
        let plain = serving.json(&target);
        assert_eq!(plain["version"]["config"], resource["config"]);
        assert_eq!(plain["version"]["versionLabel"], resource["label"]);
        assert_eq!(plain["creator"]["publicId"], resource["creator"]);
        assert_eq!(plain.get("recentRuns"), None);
        let mut full = serving.json(&format!("{target}?include=steps"));
        let runs = full.as_object_mut().unwrap().remove("recentRuns").unwrap();
        assert_eq!(full, plain);
        let expected = told(
            &database,
            &format!(
                "SELECT public_id AS \"publicId\", name, status, started_at AS \"startedAt\", completed_at AS \"completedAt\" \
                 FROM runs WHERE resource_version_id = {} ORDER BY created_at DESC, id DESC LIMIT 5",
                resource["version"]
            ),
        );
        assert_eq!(runs, expected, "{target}");
        most = most.max(runs.as_array().unwrap().len());
    }
    assert!(most > 0);
    for (target, status) in [
        ("/resources/res-1/details?include=", 400),
        ("/resources/res-1/details?include=everything", 400),
        ("/resources/res-none/details", 404),
        ("/resources/res-none/details?include=steps", 404),
    ] {
        assert_eq!(serving.get(target).status, status, "{target}");
    }
}

#[test]
fn a_batch_is_in_the_order_of_its_ids_and_leaves_out_what_is_not_to_be_seen() {
    let database = Database::seeded();
    let mut serving = database.serve();
    let ids = database.value(
        "SELECT string_agg(public_id, ',' ORDER BY md5(public_id)) FROM \
         (SELECT public_id FROM resources WHERE id <= 450 UNION ALL SELECT 'none-' || n FROM generate_series(1, 50) n) t",
    );
    assert_eq!(ids.split(',').count(), 500);
    let before = serving.metric("larder_origin_statements_total{endpoint=\"resources_batch\"}");
    let answer = serving.json(&format!("/resources/batch?ids={ids}"));
    assert_eq!(serving.metric("larder_origin_statements_total{endpoint=\"resources_batch\"}"), before + 1);
    let expected = told(
        &database,
        "SELECT r.public_id AS \"publicId\", r.resource_type AS \"resourceType\", r.score, r.created_at AS \"createdAt\", \
         (SELECT json_build_object('publicId', u.public_id, 'name', u.name, 'handle', u.handle) FROM users u \
          WHERE u.id = r.created_by_id AND u.is_private = false) AS creator \
         FROM resources r WHERE id <= 450 AND is_deleted = false AND is_private = false ORDER BY md5(public_id)",
    );
    assert_eq!(answer, expected);
    assert!(answer.as_array().unwrap().len() < 450);
    let repeated = ids.replace(',', "&ids=");
    assert_eq!(serving.json(&format!("/resources/batch?ids={repeated}")), answer);
    assert_eq!(serving.json("/resources/batch?ids=res-1,res-1,res%2D1").as_array().unwrap().len(), 1);

    for (query, why) in [
        (format!("ids={ids},res-1"), "has 501 elements; it takes 1 to 500"),
        (String::new(), "is missing"),
        ("ids=".to_owned(), "has 0 elements; it takes 1 to 500"),
        ("ids=,,".to_owned(), "has 0 elements; it takes 1 to 500"),
        ("ids=%ff".to_owned(), "is not UTF-8, percent-encoded"),
        ("ids=a%00".to_owned(), "has an element that has a zero byte, which no text in Postgres can have"),
        (format!("ids={}", "x".repeat(3000)), "has an element that has 3000 bytes, more than 2048"),
    ] {
        refused(&mut serving, &format!("/resources/batch?{query}"), "ids", why);
    }
    // Whatever an element says, it stays one.
    for element in ["%22%7D,%7B%22", "%5C", "NULL", "%7B%7D", "a%2Cb", "'%20OR%20true--"] {
        assert_eq!(serving.json(&format!("/resources/batch?ids={element}")), json!([]), "{element}");
    }
}

#[track_caller]
pub(crate) fn refused(serving: &mut Serving, target: &str, parameter: &str, why: &str) {
    let response = serving.get(target);
    assert_eq!((response.status, response.field("cache-control")), (400, Some("no-store")), "{target}");
    assert_eq!(response.field("content-type"), Some("application/problem+json"));
    let problem: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(problem["parameter"], parameter, "{target}: {problem}");
    assert!(problem["detail"].as_str().unwrap().contains(why), "{target}: {problem}");
}

#[test]
fn trending_and_failed_are_of_the_last_week_and_counts_are_right() {
    let database = Database::seeded_copy();
    // Some of the generated data is older than a week by now, some is not: this is not.
    database.sql(
        "INSERT INTO resources (public_id, resource_type, has_complete_version, is_private, is_deleted, score, created_at) \
         SELECT 'week-' || n, 'Note', n % 7 <> 0, n % 5 = 0, n % 11 = 0, 1000000 + n % 40, now() - n * interval '1 hour' \
         FROM generate_series(1, 300) n",
    );
    database.sql(
        "INSERT INTO runs (public_id, name, status, user_id, resource_version_id, created_at) \
         SELECT 'failed-' || n, 'n', CASE WHEN n % 3 = 0 THEN 'Completed' ELSE 'Failed' END, \
         (SELECT id FROM users WHERE is_private = (n % 2 = 0) AND n > 0 LIMIT 1), NULL, now() - n * interval '3 hours' \
         FROM generate_series(1, 90) n",
    );
    crate::support::cluster().wait_for_replica().unwrap();
    let mut serving = database.serve();
    let expected = told(
        &database,
        "SELECT public_id AS \"publicId\", resource_type AS \"resourceType\", score, created_at AS \"createdAt\" FROM resources \
         WHERE created_at >= now() - interval '168 hours' AND is_private = false AND is_deleted = false AND has_complete_version = true \
         ORDER BY score DESC, id DESC LIMIT 50",
    );
    assert_eq!(expected.as_array().unwrap().len(), 50);
    assert_eq!(serving.json("/trending"), expected);
    assert!(serving.get("/trending").field("cache-control").unwrap().contains("s-maxage=3600"));

    let expected = told(
        &database,
        "SELECT public_id AS \"publicId\" FROM runs n WHERE status = 'Failed' AND created_at > now() - interval '168 hours' \
         AND NOT EXISTS (SELECT FROM users WHERE id = n.user_id AND is_private = true) \
         AND NOT EXISTS (SELECT FROM resource_versions v JOIN resources r ON r.id = v.root_id \
                         WHERE v.id = n.resource_version_id AND (is_private = true OR is_deleted = true)) \
         ORDER BY created_at DESC, id DESC LIMIT 100",
    );
    assert!(expected.as_array().unwrap().len() > 15);
    let page = serving.json("/runs/failed?limit=100");
    assert_eq!(only(&page["items"], &["publicId"]), expected);
    let page = serving.json("/runs/failed?limit=3");
    assert_eq!((page["items"].as_array().unwrap().len(), &page["hasNextPage"]), (3, &json!(true)));

    let counts = serving.json("/counts");
    for (member, sql) in [
        ("users", "SELECT count(*) FROM users WHERE is_bot = false"),
        ("teams", "SELECT count(*) FROM teams WHERE is_private = false"),
        ("completedRuns", "SELECT count(*) FROM runs WHERE status = 'Completed'"),
        (
            "resources",
            "SELECT count(*) FROM resources WHERE is_private = false AND is_deleted = false AND has_complete_version = true",
        ),
    ] {
        assert_eq!(counts[member].to_string(), database.value(sql), "{member}");
    }
    assert!(serving.get("/counts").field("cache-control").unwrap().contains("s-maxage=7200"));
}

const SEEN_RUNS: &str = "NOT EXISTS (SELECT FROM users WHERE id = n.user_id AND is_private = true) \
     AND NOT EXISTS (SELECT FROM resource_versions v JOIN resources r ON r.id = v.root_id \
                     WHERE v.id = n.resource_version_id AND (is_private = true OR is_deleted = true))";

#[test]
fn active_runs_are_those_that_everyone_may_see() {
    let database = Database::seeded();
    let mut serving = database.serve();
    for (query, statuses) in [
        ("", "Scheduled,InProgress"),
        ("&status=Scheduled", "Scheduled"),
        ("&status=InProgress", "InProgress"),
    ] {
        let expected = told(
            &database,
            &format!(
                "SELECT n.public_id AS \"publicId\", n.status, n.started_at AS \"startedAt\" FROM runs n \
                 WHERE status = ANY ('{{{statuses}}}') AND {SEEN_RUNS} ORDER BY created_at DESC, id DESC LIMIT 100"
            ),
        );
        assert!(!expected.as_array().unwrap().is_empty());
        let page = serving.json(&format!("/runs/active?limit=100{query}"));
        assert_eq!(only(&page["items"], &["publicId", "status", "startedAt"]), expected, "{query}");
    }
    refused(&mut serving, "/runs/active?status=Completed", "status", "is not Scheduled or InProgress");

    let run = told(
        &database,
        &format!("SELECT public_id AS id, name, version FROM runs n WHERE {SEEN_RUNS} LIMIT 1"),
    );
    let target = format!("/runs/{}", run[0]["id"].as_str().unwrap());
    assert_eq!(serving.json(&target)["name"], run[0]["name"]);
    let etag = serving.get(&target).field("etag").unwrap().to_owned();
    assert!(etag.starts_with(&format!("\"{}.", run[0]["version"])), "{etag}");
    if let [row] =
        database.sql(&format!("SELECT public_id FROM runs n WHERE NOT ({SEEN_RUNS}) LIMIT 1")).as_slice()
    {
        assert_eq!(serving.get(&format!("/runs/{}", row[0].as_deref().unwrap())).status, 404);
    }
}

#[test]
fn a_chat_is_read_in_pages_and_what_is_unread_is_found() {
    let database = Database::seeded_copy();
    database.sql(
        "INSERT INTO users (id, public_id, name, is_private) VALUES (9000001, 'talker', 't', false), (9000002, 'hidden', 'h', true)",
    );
    database.sql(
        "INSERT INTO chats (id, public_id, name, is_private) VALUES (9000001, 'talk', 't', false), (9000002, 'secret', 's', true)",
    );
    database.sql(
        "INSERT INTO chat_messages (id, public_id, chat_id, user_id, parent_id, text, created_at) \
         SELECT 9000000 + n, 'said-' || n, 9000001 + n % 2, 9000001 + n / 10 % 2, CASE WHEN n > 4 THEN 9000000 + n - 4 END, \
         'text \"' || n || '\"', '2026-01-01'::timestamptz + n / 20 * interval '1 minute' FROM generate_series(1, 90) n",
    );
    database.sql(
        "INSERT INTO chat_participants (chat_id, user_id, has_unread) VALUES (9000001, 9000001, true), (9000002, 9000001, true), \
         (9000001, 9000002, true)",
    );
    crate::support::cluster().wait_for_replica().unwrap();
    let mut serving = database.serve();
    let expected = told(
        &database,
        "SELECT m.public_id AS \"publicId\", m.text, m.created_at AS \"createdAt\", 'said-' || nullif(m.parent_id - 9000000, 0) AS \"answerTo\" \
         FROM chat_messages m WHERE chat_id = 9000001 ORDER BY created_at DESC, id DESC",
    );
    let members = ["publicId", "text", "createdAt", "answerTo"];
    let mut seen = Vec::new();
    let mut target = "/chats/talk/messages?limit=7".to_owned();
    loop {
        let page = serving.json(&target);
        for message in page["items"].as_array().unwrap() {
            let number: u32 = message["publicId"].as_str().unwrap()[5..].parse().unwrap();
            let author = if (number / 10).is_multiple_of(2) { json!("talker") } else { Value::Null };
            assert_eq!(message["author"]["publicId"], author, "{message}");
        }
        seen.extend(only(&page["items"], &members).as_array().unwrap().clone());
        let Some(next) = page["nextCursor"].as_str() else { break };
        target = format!("/chats/talk/messages?limit=7&cursor={next}");
    }
    assert_eq!(Value::from(seen), expected);
    assert_eq!(serving.json("/chats/secret/messages")["items"], json!([]));

    assert_eq!(only(&serving.json("/users/talker/unread"), &["publicId"]), json!([{"publicId": "talk"}]));
    assert_eq!(serving.json("/users/hidden/unread"), json!([]));
    assert_eq!(
        serving.get("/users/talker/unread").field("cache-tag"),
        Some("user:talker,user:talker:unread,chat:9000001,table:chat_participants,table:chats,table:users")
    );
    // Whose name is not shown can come to be shown.
    assert_eq!(
        serving.get("/chats/talk/messages").field("cache-tag"),
        Some(
            "chat:talk,chat:talk:messages,user:9000002,user:9000001,table:chat_messages,table:chats,table:users"
        )
    );
}

#[test]
fn the_admins_of_a_team_are_what_the_tables_say() {
    let database = Database::seeded();
    let mut serving = database.serve();
    let teams = told(
        &database,
        "SELECT t.public_id AS id, (SELECT json_agg(u.public_id ORDER BY m.created_at, m.id) FROM members m \
         JOIN users u ON u.id = m.user_id WHERE m.team_id = t.id AND is_admin = true AND u.is_private = false) AS admins \
         FROM teams t WHERE is_private = false AND id < 60",
    );
    let mut most = 0;
    for team in teams.as_array().unwrap() {
        let answer = serving.json(&format!("/teams/{}/admins", team["id"].as_str().unwrap()));
        let admins: Vec<&Value> =
            answer["admins"].as_array().unwrap().iter().map(|a| &a["publicId"]).collect();
        let expected: Vec<&Value> = team["admins"].as_array().into_iter().flatten().collect();
        assert_eq!(admins, expected, "{team}");
        most = most.max(admins.len());
    }
    assert!(most > 0);
    if let [row] = database.sql("SELECT public_id FROM teams WHERE is_private LIMIT 1").as_slice() {
        assert_eq!(serving.get(&format!("/teams/{}/admins", row[0].as_deref().unwrap())).status, 404);
    }
}

#[test]
fn searches_find_what_contains_the_json_and_may_be_seen() {
    let database = Database::seeded_copy();
    database.sql(
        "INSERT INTO resources (public_id, resource_type, has_complete_version, is_private, is_deleted, score, config) \
         SELECT 'found-' || n, 'Note', n <> 4, n = 2, n = 3, n, \
         CASE n WHEN 6 THEN '{\"rare\": {\"a\": 2}}' ELSE '{\"rare\": {\"a\": 1, \"b\": [1, 2]}, \"x\": 0}' END::jsonb \
         FROM generate_series(1, 8) n",
    );
    database.sql(
        "INSERT INTO users (public_id, name, is_private, preferences) \
         SELECT 'seeker-' || n, 'n', n = 2, '{\"rare\": {\"theme\": \"sepia\"}}' FROM generate_series(1, 3) n",
    );
    crate::support::cluster().wait_for_replica().unwrap();
    let mut serving = database.serve();
    let mut ids = |target: &str| {
        let answer = serving.json(target);
        answer
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["publicId"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let search = |json: &str| format!("/resources/search?config={}", escaped(json));
    assert_eq!(ids(&search("{\"rare\": {\"a\": 1}}")), ["found-8", "found-7", "found-5", "found-1"]);
    assert_eq!(ids(&search("{\"rare\": {\"b\": [2]}}")), ["found-8", "found-7", "found-5", "found-1"]);
    assert_eq!(ids(&format!("{}&limit=1", search("{\"rare\": {\"a\": 1}}"))), ["found-8"]);
    assert_eq!(ids(&search("{\"rare\": {\"a\": 3}}")), [""; 0]);
    // Without a value in it nothing is found, and nothing is read.
    for json in ["{}", "[]", "{\"rare\": {}}", "[[]]"] {
        assert_eq!(ids(&search(json)), [""; 0], "{json}");
    }
    let users = format!("/users/search?preferences={}", escaped("{\"rare\": {\"theme\": \"sepia\"}}"));
    assert_eq!(ids(&users), ["seeker-1", "seeker-3"]);
    assert!(!serving.get(&users).text().contains("sepia"));

    for (target, parameter, why) in [
        ("/resources/search", "config", "is missing"),
        ("/resources/search?config=", "config", "is not JSON"),
        ("/resources/search?config=%7Brare%7D", "config", "is not JSON"),
        ("/resources/search?config=%7B%22a%22:%22%ff%22%7D", "config", "is not UTF-8, percent-encoded"),
        ("/users/search?preferences=%7B", "preferences", "is not JSON"),
        ("/users/search?preferences=1&limit=101", "limit", "is not a whole number from 1 to 100"),
    ] {
        refused(&mut serving, target, parameter, why);
    }
    // Well-formed, and nothing that Postgres can hold.
    assert_eq!(serving.get("/resources/search?config=%22%5Cu0000%22").status, 400);
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn fields_select_members_whoever_wrote_the_row() {
    let database = Database::seeded();
    let mut serving = database.serve();
    for (target, fields) in [
        ("/resources/res-1", vec!["score", "creator", "publicId"]),
        ("/users/usr-1", vec!["languages", "publicId"]),
        ("/users/usr-1/teams", vec!["teams"]),
        ("/trending", vec!["publicId"]),
        ("/resources/batch?ids=res-1,res-2,res-3", vec!["publicId", "creator"]),
    ] {
        let all = serving.get(target);
        let whole: Value = serde_json::from_slice(&all.body).unwrap();
        let separator = if target.contains('?') { '&' } else { '?' };
        let chosen = serving.get(&format!("{target}{separator}fields={}", fields.join(",")));
        let answer: Value = serde_json::from_slice(&chosen.body).unwrap();
        let expected =
            if whole.is_array() { only(&whole, &fields) } else { only(&json!([whole]), &fields)[0].clone() };
        assert_eq!(answer, expected, "{target}");
        assert_eq!(chosen.field("cache-tag"), all.field("cache-tag"), "{target}");
    }
    let page = serving.json("/resources?limit=5&fields=publicId");
    assert_eq!(only(&page["items"], &["publicId"]), page["items"]);
    assert!(page["nextCursor"].is_string());

    for (target, why) in [
        (
            "/resources/res-1?fields=publicId,scor",
            "names `scor`, which rows here do not have; known are publicId, ",
        ),
        (
            "/users/usr-1?fields=email",
            "names `email`, which rows here do not have; known are publicId, name, handle",
        ),
        ("/resources?fields=_id", "names `_id`"),
        ("/resources/res-1?fields=", "names no member"),
        ("/resources/res-1?fields=,", "names no member"),
        ("/resources/res-1?fields=a&fields=b", "is given twice"),
        ("/resources/res-1?fields=%ff", "is not UTF-8"),
    ] {
        refused(&mut serving, target, "fields", why);
    }
}

#[test]
fn the_rows_of_a_team_are_exported_in_order() {
    let database = Database::seeded();
    let mut serving = database.serve();
    let expected = told(
        &database,
        "SELECT public_id AS \"publicId\", score, views FROM resources WHERE team_id = 1 AND is_private = false \
         AND is_deleted = false AND has_complete_version = true ORDER BY created_at DESC, id DESC",
    );
    assert!(!expected.as_array().unwrap().is_empty());
    let answer = serving.get("/teams/team-1/export");
    let rows: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(only(&rows, &["publicId", "score", "views"]), expected);
    assert_eq!((answer.field("etag"), answer.field("cache-control")), (None, Some("no-store")));
    assert_eq!(serving.json("/teams/team-none/export"), json!([]));
}
