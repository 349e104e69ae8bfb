//! What the worker says of its endpoints, held against query files and against what it answers.

use std::path::Path;

use serde_json::{Map, Value};

use crate::support::{Database, Said, Serving, origin};

const STATEMENT: &str = "-- rows: one\n\nSELECT '{}' AS body WHERE :id::int8 > 0\n";

fn document() -> Value {
    let said = Said::of(&mut origin(&["openapi"]));
    said.expect_code(0);
    serde_json::from_str(&said.out).unwrap()
}

/// As a server says of its rows, too.
fn with_columns(database: &Database) -> Value {
    let said = database.run(&["openapi", "--columns"]);
    said.expect_code(0);
    serde_json::from_str(&said.out).unwrap()
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value}"))
}

/// Every operation, with its method and path.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let of_path = |(path, operations): (&String, &Value)| {
        let path = path.clone();
        let operations = object(operations).clone();
        operations
            .into_iter()
            .map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    };
    object(&document["paths"]).iter().flat_map(of_path).collect()
}

#[test]
fn every_route_of_the_files_that_ship_is_described_and_nothing_else() {
    let mut routes = Vec::new();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("queries")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let route = text.lines().find_map(|line| line.strip_prefix("-- route: ")).unwrap();
        routes.push(route.trim().to_owned());
    }
    let mut described: Vec<String> =
        operations(&document()).iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    routes.sort();
    described.sort();
    assert_eq!(described, routes);
}

#[test]
fn every_operation_has_what_openapi_asks_of_it() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let is_there = |at: &str| document.pointer(at.strip_prefix('#').unwrap()).is_some();
    let mut names = Vec::new();
    for (method, path, operation) in operations(&document) {
        let what = format!("{method} {path}");
        names.push(operation["operationId"].as_str().unwrap().to_owned());
        let parameters = operation["parameters"].as_array().unwrap();
        // Each variable of the path is a parameter that has to be there, and no other one is of the path.
        let of_path: Vec<&str> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .inspect(|parameter| assert_eq!(parameter["required"], true, "{what}"))
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let variables: Vec<&str> = path
            .split(['{', '}'])
            .enumerate()
            .filter(|(index, _)| index % 2 == 1)
            .map(|(_, name)| name)
            .collect();
        assert_eq!(of_path, variables, "{what}");
        let mut places: Vec<String> =
            parameters.iter().map(|one| format!("{} {}", one["in"], one["name"])).collect();
        places.sort();
        let all = places.len();
        places.dedup();
        assert_eq!(places.len(), all, "{what}: a parameter twice");
        assert!(parameters.iter().all(|parameter| parameter["schema"].is_object()), "{what}");
        assert_eq!(operation.get("requestBody").is_some(), matches!(&*method, "POST" | "PATCH"), "{what}");
        for (status, response) in object(&operation["responses"]) {
            assert!(status.len() == 3 && status.parse::<u16>().is_ok(), "{what}: {status}");
            assert!(
                response["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{what}: {status}"
            );
            for (_, content) in response["content"].as_object().into_iter().flatten() {
                let reference = content["schema"]["$ref"].as_str();
                assert!(reference.is_none_or(is_there), "{what}: {status}: {reference:?}");
            }
            for (name, field) in object(&response["headers"]) {
                assert!(
                    field["$ref"].as_str().map_or(name == "Location", is_there),
                    "{what}: {name}: {field}"
                );
            }
        }
    }
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "operationId twice");
}

#[test]
fn the_worker_answers_as_it_says() {
    let database = Database::seeded();
    let mut serving = database.serve();
    serving.until("/-/readyz", |response| response.status == 200);
    let answer = serving.get("/openapi.json");
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")));
    let document: Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(document, with_columns(&database));
    assert_eq!(serving.get("/-/openapi.json").text(), answer.text());
    assert_eq!(serving.call("POST", "/openapi.json", &[]).status, 405);
    for (method, path, operation) in operations(&document) {
        if method == "GET" {
            asks(&mut serving, &path, &operation);
        }
    }
}

/// With what is required and what is allowed at most, one parameter at a time: each is known, and its bounds hold.
fn asks(serving: &mut Serving, path: &str, operation: &Value) {
    let mut target = path.to_owned();
    let mut query = Vec::new();
    let parameters = operation["parameters"].as_array().unwrap();
    let run = serving.json("/runs/active?limit=1")["items"][0]["publicId"].as_str().unwrap().to_owned();
    let sample = |parameter: &Value| match parameter["name"].as_str().unwrap() {
        "public_id" if path.starts_with("/users") => "usr-1".to_owned(),
        "public_id" if path.starts_with("/teams") => "team-1".to_owned(),
        "public_id" if path.starts_with("/chats") => "chat-1".to_owned(),
        "public_id" if path.starts_with("/runs") => run.clone(),
        "ids" | "public_id" => "res-1".to_owned(),
        "config" => "%7B%22language%22:%22en%22%7D".to_owned(),
        "preferences" => "%7B%22theme%22:%22dark%22%7D".to_owned(),
        other => panic!("{path}: no sample of {other}"),
    };
    for parameter in parameters.iter().filter(|parameter| parameter["required"] == true) {
        let name = parameter["name"].as_str().unwrap();
        match parameter["in"].as_str().unwrap() {
            "path" => target = target.replace(&format!("{{{name}}}"), &sample(parameter)),
            _ => query.push(format!("{name}={}", sample(parameter))),
        }
    }
    let with = |more: &str| {
        let all: Vec<&str> =
            query.iter().map(String::as_str).chain((!more.is_empty()).then_some(more)).collect();
        format!("{target}?{}", all.join("&"))
    };
    let said = |serving: &mut Serving, target: &str| {
        let answer = serving.get(target);
        let response = &operation["responses"][answer.status.to_string()];
        assert!(response.is_object(), "{target}: {} is not described", answer.status);
        // Every field that is described is there, and every one of ours is described.
        let described = object(&response["headers"]);
        for name in described.keys() {
            let is_there = answer.field(&name.to_lowercase()).is_some();
            assert!(is_there, "{target}: {} without {name}", answer.status);
        }
        for name in
            ["etag", "cache-control", "cache-tag", "larder-version", "larder-served-by", "retry-after"]
        {
            let is_described = described.keys().any(|known| known.eq_ignore_ascii_case(name));
            assert_eq!(answer.field(name).is_some(), is_described, "{target}: {} {name}", answer.status);
        }
        if answer.status == 200 {
            let schema = &response["content"]["application/json"]["schema"];
            fits(&serde_json::from_str(&answer.text()).unwrap(), schema, target);
        }
        answer.status
    };
    assert_eq!(said(serving, &with("")), 200, "{target}");
    for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
        let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
        if let Some(high) = schema["maximum"].as_i64() {
            // How far one may skip depends on the limit, too.
            let at_most = said(serving, &with(&format!("{name}={high}")));
            assert!(at_most == 200 || name == "page", "{target}: {name}={high}");
            assert_eq!(said(serving, &with(&format!("{name}={}", high + 1))), 400, "{target}: {name}");
        }
        // What is not known is passed over; these are refused, so they are known.
        if matches!(name, "cursor" | "before" | "fields") {
            assert_eq!(said(serving, &with(&format!("{name}=nonsense"))), 400, "{target}: {name}");
        }
    }
}

/// As much of JSON Schema as the document uses for answers; unknown members are none.
#[track_caller]
fn fits(value: &Value, schema: &Value, what: &str) {
    let is_a = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{what}: type {other}"),
    };
    let kinds = schema["type"].as_array().map_or(std::slice::from_ref(&schema["type"]), Vec::as_slice);
    let is_one = schema["type"].is_null() || kinds.iter().any(is_a);
    assert!(is_one, "{what}: {value} is not {schema}");
    for (name, value) in value.as_object().into_iter().flatten().filter(|_| schema["properties"].is_object())
    {
        let member = &schema["properties"][name];
        assert!(!member.is_null(), "{what}: {name} is not described");
        fits(value, member, what);
    }
    for item in value.as_array().into_iter().flatten() {
        fits(item, &schema["items"], what);
    }
}

#[test]
fn rows_are_described_when_a_server_was_asked_and_writes_with_what_their_answers_say() {
    let database = Database::seeded();
    let plain = document();
    let row = "/paths/~1runs~1{public_id}/get/responses/200/content/application~1json/schema";
    assert_eq!(plain.pointer(row).unwrap(), &serde_json::json!({"type": "object"}));
    let described = with_columns(&database);
    let members = &described.pointer(row).unwrap()["properties"];
    assert_eq!(members["startedAt"], serde_json::json!({"type": ["string", "null"], "format": "date-time"}));
    assert!(members["id"].is_null(), "what is for tags alone is no member: {members}");
    let said = Said::of(&mut origin(&["openapi", "--columns"]));
    assert!(said.expect_code(1).err.contains("--columns asks a server"), "{said:?}");

    let fields = |path: &str, status: &str| {
        let response = plain.pointer(&format!("/paths/{path}/responses/{status}")).unwrap();
        object(&response["headers"]).keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        fields("~1runs/post", "201"),
        "Cache-Control ETag Idempotency-Replayed Larder-Commit Larder-Served-By Location"
    );
    assert_eq!(
        fields("~1teams~1{public_id}~1members~1{user}/delete", "204"),
        "Cache-Control Larder-Commit Larder-Served-By"
    );
    assert_eq!(fields("~1runs/post", "503"), "Cache-Control Retry-After");
    assert_eq!(fields("~1runs/post", "409"), "Cache-Control");
    for (name, field) in object(&plain["components"]["headers"]) {
        assert!(field["schema"].is_object() && field["description"].is_string(), "{name}");
    }
}

#[test]
fn what_is_said_of_the_endpoints_is_validated_and_not_sent_twice() {
    let mut serving = Database::seeded().serve();
    serving.until("/-/readyz", |response| response.status == 200);
    for page in ["/openapi.json", "/-/docs"] {
        let first = serving.get(page);
        let etag = first.field("etag").unwrap().to_owned();
        assert_eq!((first.status, first.field("cache-control")), (200, Some("no-cache")), "{page}");
        let again = serving.get_with(page, &[("if-none-match", &etag)]);
        assert_eq!((again.status, again.text().as_str()), (304, ""), "{page}");
        assert_eq!((again.field("etag"), again.field("content-type")), (Some(etag.as_str()), None), "{page}");
        assert_eq!(serving.get_with(page, &[("if-none-match", "\"other\"")]).status, 200, "{page}");
    }
    assert_eq!(serving.get("/-/status").field("cache-control"), Some("no-store"));
}

#[test]
fn the_page_has_every_endpoint_and_is_no_more_than_text() {
    let database = Database::seeded();
    let file = format!(
        "-- route: GET /odd/{{id}}\n-- param id: path int8\n-- summary: <script>alert(1)</script> & \"so\"\n{STATEMENT}"
    );
    let mut serving = database.serve_with("", &[("odd.sql", &file)]);
    let page = serving.get("/-/docs");
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.field("content-security-policy").unwrap().contains("default-src 'none'"));
    let text = page.text();
    assert!(!text.contains("<script"), "{text}");
    assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;so&quot;"), "{text}");
    assert!(text.contains("<code>/odd/{id}</code>"), "{text}");
}

#[test]
fn a_query_file_may_have_the_name_for_itself() {
    let database = Database::seeded();
    let file = format!("-- route: GET /openapi.json\n-- param id: query int8 = 1\n{STATEMENT}");
    let mut serving = database.serve_with("", &[("own.sql", &file)]);
    assert_eq!(serving.get("/openapi.json").text(), "{}");
    assert_eq!(serving.json("/-/openapi.json")["openapi"], "3.1.0");
}
