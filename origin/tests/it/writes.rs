//! What changes something, as clients see it: the endpoints that ship, and what every write does.

use std::thread;

use rig::http::{Client, Response};
use serde_json::{Value, json};

use crate::support::{Database, Serving, Session};

/// On a connection of its own.
fn send(serving: &Serving, method: &str, target: &str, fields: &[(&str, &str)], body: &Value) -> Response {
    send_text(
        serving,
        method,
        target,
        &[&[("Content-Type", "application/json")], fields].concat(),
        &body.to_string(),
    )
}

fn send_text(serving: &Serving, method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Response {
    let mut client = Client::connect(serving.address).unwrap();
    client.call(method, target, fields, body.as_bytes()).unwrap()
}

fn call(serving: &Serving, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
    send_text(serving, method, target, fields, "")
}

#[track_caller]
fn answer(response: &Response, status: u16) -> Value {
    assert_eq!(response.status, status, "{response:?}: {}", response.text());
    serde_json::from_slice(&response.body).unwrap()
}

/// What a refused request was told; a problem document is never stored.
#[track_caller]
fn problem(response: &Response, status: u16) -> Value {
    let problem = answer(response, status);
    assert_eq!(response.field("content-type"), Some("application/problem+json"));
    assert_eq!(response.field("cache-control"), Some("no-store"));
    assert_eq!(problem["status"], status);
    problem
}

fn count(database: &Database, table: &str) -> i64 {
    database.value(&format!("SELECT count(*) FROM {table}")).parse().unwrap()
}

/// A resource that was made now: its id and its ETag.
fn new_resource(serving: &Serving) -> (String, String) {
    let body = json!({"resourceType": "Note", "name": "new", "isComplete": true});
    let response = send(serving, "POST", "/resources", &[], &body);
    let id = answer(&response, 201)["publicId"].as_str().unwrap().to_owned();
    (id, response.field("etag").unwrap().to_owned())
}

#[test]
fn a_resource_is_made_changed_and_deleted() {
    let database = Database::seeded_copy();
    let mut serving = database.serve();
    let user = database.value("SELECT public_id FROM users WHERE NOT is_private LIMIT 1");
    let body = json!({"resourceType": "Code", "name": "Größe \"1\"", "createdBy": user, "config": {"a": [1.5, null]}, "isComplete": true});
    let made = send(&serving, "POST", "/resources", &[], &body);
    let resource = answer(&made, 201);
    let id = resource["publicId"].as_str().unwrap();
    assert_eq!(made.field("location"), Some(format!("/resources/{id}").as_str()));
    assert_eq!(made.field("larder-served-by"), Some("primary"));
    assert_eq!(made.field("cache-control"), Some("no-store"));
    assert_eq!(resource["version"]["name"], "Größe \"1\"");
    let row = database.sql(&format!(
        "SELECT r.resource_type, u.public_id, v.name, r.config, v.is_latest, r.version FROM resources r \
         JOIN users u ON u.id = r.created_by_id JOIN resource_versions v ON v.root_id = r.id WHERE r.public_id = '{id}'"
    ));
    let row: Vec<&str> = row[0].iter().map(|value| value.as_deref().unwrap()).collect();
    assert_eq!(row, ["Code", &user, "Größe \"1\"", "{\"a\": [1.5, null]}", "t", "1"]);

    let target = format!("/resources/{id}");
    let changed = send(&serving, "PATCH", &target, &[], &json!({"score": 7}));
    assert_eq!(answer(&changed, 200)["score"], 7);
    assert_ne!(changed.field("etag"), made.field("etag"));
    // What the body does not have stays.
    assert_eq!(answer(&changed, 200)["resourceType"], "Code");
    serving.until(&target, |response| response.text().contains("\"score\" : 7"));

    let deleted = call(&serving, "DELETE", &target, &[]);
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    assert!(deleted.field("larder-commit").is_some());
    problem(&call(&serving, "DELETE", &target, &[]), 404);
    problem(&send(&serving, "PATCH", &target, &[], &json!({"score": 8})), 404);
    serving.until(&target, |response| response.status == 404);
    assert_eq!(database.value(&format!("SELECT is_deleted FROM resources WHERE public_id = '{id}'")), "t");
}

#[test]
fn a_run_is_made_and_changes_its_state() {
    let database = Database::seeded_copy();
    let serving = database.serve();
    let version = database.value("SELECT public_id FROM resource_versions LIMIT 1");
    let made = send(&serving, "POST", "/runs", &[], &json!({"resourceVersion": version, "name": "nightly"}));
    let run = answer(&made, 201);
    assert_eq!((&run["status"], &run["startedAt"]), (&json!("Scheduled"), &Value::Null));
    let target = made.field("location").unwrap().to_owned();
    let run = answer(&send(&serving, "PATCH", &target, &[], &json!({"status": "InProgress"})), 200);
    assert!(run["startedAt"].is_string() && run["completedAt"].is_null(), "{run}");
    let run = answer(&send(&serving, "PATCH", &target, &[], &json!({"status": "Failed"})), 200);
    assert!(run["completedAt"].is_string(), "{run}");
    let refused = problem(&send(&serving, "PATCH", &target, &[], &json!({"status": "Paused"})), 422);
    assert_eq!((&refused["sqlstate"], &refused["constraint"]), (&json!("23514"), &json!("run_status_known")));
    assert!(!refused.to_string().contains("Paused"), "{refused}");
}

#[test]
fn a_message_of_a_participant_is_unread_for_the_others() {
    let database = Database::seeded_copy();
    let serving = database.serve();
    let chat = database.sql(
        "SELECT c.id, c.public_id, min(u.public_id) FROM chats c JOIN chat_participants p ON p.chat_id = c.id \
         JOIN users u ON u.id = p.user_id GROUP BY c.id HAVING count(*) > 2 ORDER BY c.id LIMIT 1",
    );
    let chat: Vec<&str> = chat[0].iter().map(|value| value.as_deref().unwrap()).collect();
    let [id, public_id, user] = chat[..] else { panic!("{chat:?}") };
    database.sql(&format!("UPDATE chat_participants SET has_unread = false WHERE chat_id = {id}"));
    let unread = || {
        database.sql(&format!(
            "SELECT count(*) FILTER (WHERE has_unread = (u.public_id = '{user}')) FROM chat_participants p \
             JOIN users u ON u.id = p.user_id WHERE chat_id = {id}"
        ))
    };
    let target = format!("/chats/{public_id}/messages");
    let post = |body: Value| send(&serving, "POST", &target, &[], &body);
    let first = answer(&post(json!({"user": user, "text": "eins"})), 200);
    let reply = answer(&post(json!({"user": user, "text": "zwei", "parent": first["publicId"]})), 200);
    assert_eq!(reply["parent"], first["publicId"]);
    // All but the one who wrote it.
    assert_eq!(unread()[0][0].as_deref(), Some("0"));
    let parent = problem(&post(json!({"user": user, "text": "x", "parent": "none"})), 422);
    assert_eq!(parent["constraint"], "chat_messages_parent_id_fkey");
    problem(&post(json!({"user": user, "text": ""})), 422);
    let stranger = format!(
        "SELECT public_id FROM users u WHERE NOT EXISTS (SELECT FROM chat_participants WHERE chat_id = {id} AND user_id = u.id) LIMIT 1"
    );
    problem(&post(json!({"user": database.value(&stranger), "text": "x"})), 404);
    let messages =
        format!("SELECT count(*) FROM chat_messages WHERE chat_id = {id} AND text IN ('eins', 'zwei', 'x')");
    assert_eq!(database.value(&messages), "2");

    // Many at once: none of them waits for another one that waits for it.
    let users = database.sql(&format!(
        "SELECT u.public_id FROM chat_participants p JOIN users u ON u.id = p.user_id WHERE chat_id = {id} LIMIT 4"
    ));
    thread::scope(|scope| {
        for user in &users {
            let (serving, target, user) = (&serving, &target, user[0].as_deref().unwrap());
            scope.spawn(move || {
                for _ in 0..10 {
                    let said = send(serving, "POST", target, &[], &json!({"user": user, "text": "all"}));
                    assert_eq!(said.status, 200, "{}", said.text());
                }
            });
        }
    });
}

/// A file that insists on what others leave to the client.
const STRICT: &str = "-- route: PATCH /runs/{public_id}/name
-- param public_id: path text
-- param name: body text 1..200 required
-- rows: exec
-- if_match: version required
-- idempotency: required

UPDATE runs SET name = :name, version = version + 1
WHERE public_id = :public_id
  AND version = :if_match -- when if_match
";

#[test]
fn a_file_can_insist_on_a_version_and_a_key() {
    let database = Database::seeded_copy();
    let serving = database.serve_with("", &[("strict.sql", STRICT)]);
    let (version, key) = (("If-Match", "\"1.x\""), ("Idempotency-Key", "a"));
    let patch =
        |fields: &[(&str, &str)]| send(&serving, "PATCH", "/runs/run-1/name", fields, &json!({"name": "n"}));
    problem(&patch(&[key]), 428);
    problem(&patch(&[version]), 400);
    problem(&patch(&[key, ("If-Match", "\"9.x\"")]), 412);
    assert_eq!(patch(&[key, version]).status, 204);
    let again = patch(&[key, version]);
    assert_eq!((again.status, again.field("idempotency-replayed")), (204, Some("true")));
    problem(&patch(&[("Idempotency-Key", "b"), version]), 412);
    assert_eq!(patch(&[("Idempotency-Key", "c"), ("If-Match", "*")]).status, 204);
    assert_eq!(database.value("SELECT version FROM runs WHERE public_id = 'run-1'"), "3");
}

#[test]
fn a_member_is_taken_in_once_and_out_again() {
    let database = Database::seeded_copy();
    let serving = database.serve();
    let team = database.value("SELECT public_id FROM teams WHERE id = 1");
    let user = database.value("SELECT public_id FROM users u WHERE NOT EXISTS (SELECT FROM members m WHERE m.team_id = 1 AND m.user_id = u.id) LIMIT 1");
    let target = format!("/teams/{team}/members");
    let body = json!({"user": user, "isAdmin": true});
    assert_eq!(answer(&send(&serving, "POST", &target, &[], &body), 200)["isAdmin"], true);
    let again = problem(&send(&serving, "POST", &target, &[], &body), 409);
    assert_eq!((&again["sqlstate"], &again["constraint"]), (&json!("23505"), &json!("member_team_user_key")));
    let nobody = problem(&send(&serving, "POST", &target, &[], &json!({"user": "nobody"})), 422);
    assert_eq!(nobody["sqlstate"], "23503");
    problem(&send(&serving, "POST", "/teams/none/members", &[], &body), 404);
    assert_eq!(call(&serving, "DELETE", &format!("{target}/{user}"), &[]).status, 204);
    problem(&call(&serving, "DELETE", &format!("{target}/{user}"), &[]), 404);
}

#[test]
fn who_has_replayed_a_commit_position_sees_the_change() {
    let database = Database::seeded_copy();
    let serving = database.serve();
    for fields in [&[][..], &[("Idempotency-Key", "position")]] {
        let made =
            send(&serving, "POST", "/resources", fields, &json!({"resourceType": "Note", "name": "x"}));
        let id = answer(&made, 201)["publicId"].as_str().unwrap().to_owned();
        let stamp = made.field("larder-commit").unwrap().strip_prefix("lsn=").unwrap();
        let lsn = stamp.strip_suffix("; timeline=1").unwrap().to_owned();
        let seen = format!(
            "SELECT pg_last_wal_replay_lsn() >= '{lsn}', EXISTS (SELECT FROM resources WHERE public_id = '{id}')"
        );
        // Asked in this order, since the snapshot is older than what the first column says.
        database.until(&database.replica, &seen, |row| row[0] == "t" && row[1] == "t" || row[0] == "f");
        database.until(&database.replica, &seen, |row| row[0] == "t");
        assert_eq!(rig::postgres::query(&database.replica, &seen).unwrap()[0][1].as_deref(), Some("t"));
    }
}

#[test]
fn a_change_of_what_was_changed_meanwhile_is_refused() {
    let database = Database::seeded_copy();
    let mut serving = database.serve();
    let (id, first) = new_resource(&serving);
    let target = format!("/resources/{id}");
    let patch = |etag: &str, score: i32| {
        send(&serving, "PATCH", &target, &[("If-Match", etag)], &json!({"score": score}))
    };

    let changed = patch(&first, 1);
    assert_eq!(changed.status, 200, "{}", changed.text());
    let second = changed.field("etag").unwrap().to_owned();
    problem(&patch(&first, 2), 412);
    problem(&patch(&format!("W/{second}"), 2), 412);
    problem(&patch("\"other\"", 2), 412);
    problem(&patch("7", 2), 400);
    assert_eq!(patch(&format!("{first}, {second}"), 2).status, 200);
    assert_eq!(patch("*", 3).status, 200);
    problem(&send(&serving, "PATCH", "/resources/none", &[("If-Match", &second)], &json!({})), 404);
    problem(&send(&serving, "PATCH", "/resources/none", &[("If-Match", "*")], &json!({})), 404);
    problem(&send(&serving, "PATCH", &target, &[("If-None-Match", "*")], &json!({})), 400);
    problem(&call(&serving, "DELETE", &target, &[("If-Match", &second)]), 412);
    assert_eq!(database.value(&format!("SELECT score FROM resources WHERE public_id = '{id}'")), "3");

    // What a reader was told is as good.
    let read = serving.until(&target, |response| response.text().contains("\"score\" : 3"));
    let etag = read.field("etag").unwrap().to_owned();
    assert_eq!(serving.get_with(&target, &[("If-None-Match", &etag)]).status, 304);
    assert_eq!(call(&serving, "DELETE", &target, &[("If-Match", &etag)]).status, 204);
}

#[test]
fn of_two_changes_of_the_same_version_one_wins() {
    let database = Database::seeded_copy();
    let serving = database.serve();
    let (id, etag) = new_resource(&serving);
    let mut lock = Session::new(&database.primary);
    lock.run(&format!("BEGIN; SELECT FROM resources WHERE public_id = '{id}' FOR UPDATE"));
    let statuses = thread::scope(|scope| {
        let patches: Vec<_> = (1..=2)
            .map(|score| {
                let (serving, id, etag) = (&serving, &id, &etag);
                scope.spawn(move || {
                    let fields = [("If-Match", etag.as_str())];
                    send(serving, "PATCH", &format!("/resources/{id}"), &fields, &json!({"score": score}))
                        .status
                })
            })
            .collect();
        database.until_waiting("Lock", 2);
        lock.run("COMMIT");
        patches.into_iter().map(|patch| patch.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 1, "{statuses:?}");
    assert_eq!(database.value(&format!("SELECT version FROM resources WHERE public_id = '{id}'")), "2");
}

#[test]
fn the_same_key_does_it_once() {
    let database = Database::seeded_copy();
    let serving = database.serve();
    let before = count(&database, "resources");
    let body = json!({"resourceType": "Note", "name": "once"});
    let post =
        |key: &str, body: &Value| send(&serving, "POST", "/resources", &[("Idempotency-Key", key)], body);
    let first = post("k-1", &body);
    let again = post("k-1", &body);
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.body, again.body);
    for field in ["location", "etag", "content-type"] {
        assert_eq!(first.field(field), again.field(field), "{field}");
    }
    assert_eq!(
        (first.field("idempotency-replayed"), again.field("idempotency-replayed")),
        (None, Some("true"))
    );
    assert!(again.field("larder-commit").is_some());
    problem(&post("k-1", &json!({"resourceType": "Note", "name": "other"})), 422);
    problem(&post("k 1", &body), 400);
    assert_eq!(count(&database, "resources"), before + 1);

    // What failed has changed nothing and may be tried again under its key.
    problem(&post("k-2", &json!({"resourceType": "No", "name": "x"})), 422);
    assert_eq!(post("k-2", &body).status, 201);

    // At the same time.
    let made: Vec<Response> = thread::scope(|scope| {
        let posts: Vec<_> = (0..8).map(|_| scope.spawn(|| post("k-3", &body))).collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    });
    for response in &made {
        assert_eq!((response.status, &response.body), (201, &made[0].body));
    }
    assert_eq!(made.iter().filter(|response| response.field("idempotency-replayed").is_none()).count(), 1);
    assert_eq!(count(&database, "resources"), before + 3);

    // Of another client it is another key.
    let fields = [("Idempotency-Key", "k-1"), ("Authorization", "Bearer other")];
    let other = send(&serving, "POST", "/resources", &fields, &body);
    assert_eq!((other.status, other.field("idempotency-replayed")), (201, None));
    problem(
        &send(&serving, "POST", "/teams/none/members", &[("Idempotency-Key", "k-4")], &json!({"user": "x"})),
        404,
    );
    assert_eq!(count(&database, "larder_idempotency"), 4);
}

#[test]
fn keys_are_removed_after_a_day() {
    let database = Database::seeded_copy();
    database.sql(
        "INSERT INTO larder_idempotency (key, endpoint, request, created_at) \
         SELECT decode(md5(n::text), 'hex'), 'x', 'x', now() - n * interval '1 minute' FROM generate_series(1, 5000) n",
    );
    let _serving = database.serve();
    let old = "SELECT count(*) FROM larder_idempotency WHERE created_at < now() - interval '24 hours'";
    database.until(&database.primary, old, |row| row[0] == "0");
    assert!(count(&database, "larder_idempotency") > 1400);
}

#[test]
fn many_rows_are_made_together_or_not_at_all() {
    let database = Database::seeded_copy();
    let serving = database.serve();
    let (resources, versions) = (count(&database, "resources"), count(&database, "resource_versions"));
    let row = |n: usize| json!({"resourceType": "Note", "name": format!("bulk {n}"), "isPrivate": n.is_multiple_of(2)});
    let mut rows: Vec<Value> = (0..5000).map(row).collect();
    let post = |rows: &[Value]| send(&serving, "POST", "/bulk/resources", &[], &json!(rows));

    rows[4999]["resourceType"] = json!("Nothing");
    let refused = problem(&post(&rows), 422);
    assert_eq!(refused["constraint"], "resource_type_known");
    rows[4999]["resourceType"] = json!(5);
    rows[17]["nam"] = json!("typo");
    let refused = problem(&post(&rows), 422);
    assert_eq!(refused["errors"][0]["pointer"], "#/17/nam");
    assert_eq!(refused["errors"][1]["pointer"], "#/4999/resourceType");
    rows[17] = row(17);
    rows[4999] = row(4999);
    rows[20]["team"] = json!("nobody");
    assert_eq!(problem(&post(&rows), 422)["sqlstate"], "23503");
    rows[20] = row(20);
    rows.push(row(5000));
    problem(&post(&rows), 422);
    problem(&post(&[]), 422);
    assert_eq!((count(&database, "resources"), count(&database, "resource_versions")), (resources, versions));

    rows.pop();
    let made = answer(&post(&rows), 200);
    assert_eq!(made["created"], 5000);
    let ids = made["publicIds"].as_array().unwrap();
    assert_eq!(
        (count(&database, "resources"), count(&database, "resource_versions")),
        (resources + 5000, versions + 5000)
    );
    // In the order of the rows.
    let name = database.value(&format!(
        "SELECT v.name FROM resources r JOIN resource_versions v ON v.root_id = r.id WHERE r.public_id = '{}'",
        ids[4321].as_str().unwrap()
    ));
    assert_eq!(name, "bulk 4321");

    let mut changes: Vec<Value> = ids.iter().map(|id| json!({"publicId": id, "score": 77})).collect();
    let patch = |rows: &[Value]| send(&serving, "PATCH", "/bulk/resources", &[], &json!(rows));
    changes[3]["publicId"] = json!("none");
    problem(&patch(&changes), 404);
    changes[3]["publicId"] = changes[4]["publicId"].clone();
    problem(&patch(&changes), 404);
    let changed = "SELECT count(*) FROM resources WHERE score = 77 AND version = 2";
    assert_eq!(database.value(changed), "0");
    changes[3]["publicId"] = ids[3].clone();
    assert_eq!(answer(&patch(&changes), 200)["updated"], 5000);
    assert_eq!(database.value(changed), "5000");
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let database = Database::seeded_copy();
    let serving = database.serve();
    let before = count(&database, "resources");
    let json_type = ("Content-Type", "application/json");
    let post = |fields: &[(&str, &str)], body: &str| send_text(&serving, "POST", "/resources", fields, body);
    let good = r#"{"resourceType":"Note","name":"x"}"#;

    for fields in [&[][..], &[("Content-Type", "text/plain")], &[json_type, ("Content-Encoding", "gzip")]] {
        let refused = post(fields, good);
        problem(&refused, 415);
        assert_eq!(refused.field("accept"), Some("application/json"));
    }
    problem(&post(&[json_type], &format!("{{\"name\":\"{}\"}}", "x".repeat(1024 * 1024))), 413);
    for body in ["{", "{\"a\":1,\"a\":2}", "{\"name\":\"\\u0000\"}", "{} {}", "\u{feff}{}"] {
        problem(&post(&[json_type], body), 400);
    }
    let refused = problem(&post(&[json_type], r#"{"nam":"x","isPrivate":1}"#), 422);
    let pointers: Vec<&str> = refused["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["#/nam", "#/isPrivate", "#/resourceType", "#/name"]);
    problem(&post(&[json_type], &format!(r#"{{"resourceType":"Note","name":"{}"}}"#, "x".repeat(201))), 422);
    // Only Postgres knows these.
    let refused =
        problem(&post(&[json_type], r#"{"resourceType":"Note","name":"x","createdBy":"nobody"}"#), 422);
    assert_eq!(refused["sqlstate"], "23503");

    let refused = call(&serving, "PUT", "/resources", &[]);
    problem(&refused, 405);
    assert_eq!(refused.field("allow"), Some("GET, HEAD, POST"));
    problem(&send(&serving, "DELETE", "/resources/res-1", &[], &json!({"a": 1})), 400);
    problem(&call(&serving, "POST", "/nothing", &[]), 404);
    assert_eq!(count(&database, "resources"), before);

    // In chunks, and with a client that waits to be asked for its body.
    let mut client = Client::connect(serving.address).unwrap();
    let head = "POST /resources HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    client.send(head.as_bytes()).unwrap();
    assert_eq!(client.head().unwrap().status, 100);
    let chunks: String = good
        .as_bytes()
        .chunks(5)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()))
        .collect();
    client.send(format!("{chunks}0\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(client.response("POST").unwrap().status, 201);
    // Cut off, nothing is done.
    client.send(format!("{head}5\r\n{{\"nam").as_bytes()).unwrap();
    client.finish().unwrap();
    drop(client.rest());
    assert_eq!(count(&database, "resources"), before + 1);
}
