//! Every parameter of every read that ships, wrong in each way that its type allows.

use serde_json::{Value, json};

use crate::reads::refused;
use crate::support::Database;

#[test]
fn every_parameter_that_is_wrong_is_named() {
    let mut serving = Database::seeded().serve();
    // With a limit: too small, too large, no number, too long for one, two at once, empty.
    for target in [
        "/resources",
        "/resources/pages",
        "/resources/pages/estimated",
        "/users/usr-1/resources",
        "/runs/active",
        "/runs/failed",
        "/chats/chat-1/messages",
        "/resources/search?config=1",
        "/users/search?preferences=1",
    ] {
        let with = if target.contains('?') { '&' } else { '?' };
        for value in ["0", "-1", "101", "1.5", "one", "99999999999999999999", "", "%ff", "1%00", "1&limit=1"]
        {
            let response = serving.get(&format!("{target}{with}limit={value}"));
            let problem: Value = serde_json::from_slice(&response.body).unwrap();
            assert_eq!(
                (response.status, &problem["parameter"]),
                (400, &json!("limit")),
                "{target} {value}: {problem}"
            );
        }
    }
    // What is in the path: bytes that are no text, and more of them than a key has.
    let long = "x".repeat(3000);
    for path in [
        "/resources/*",
        "/resources/*/details",
        "/users/*",
        "/users/*/teams",
        "/users/*/resources",
        "/users/*/unread",
    ]
    .into_iter()
    .chain(["/runs/*", "/chats/*/messages", "/teams/*/admins", "/teams/*/export"])
    {
        for (value, why) in [
            ("%ff", "is not UTF-8"),
            ("%", "is not UTF-8"),
            ("a%00", "has a zero byte"),
            (long.as_str(), "has 3000 bytes"),
        ] {
            refused(&mut serving, &path.replace('*', value), "public_id", why);
        }
        // A key that nobody has is not found, or an empty list.
        let response = serving.get(&path.replace('*', "nobody"));
        let is_empty = matches!(&serde_json::from_slice(&response.body).unwrap(), Value::Array(rows) if rows.is_empty())
            || response.text().starts_with("{\"items\":[],");
        assert!(
            response.status == 404 || (response.status == 200 && is_empty),
            "{path}: {}",
            response.text()
        );
    }
    for (target, parameter) in [
        ("/resources?type=%ff", "type"),
        ("/resources?team=a%00", "team"),
        ("/resources?type=a&type=b", "type"),
        ("/runs/active?status=", "status"),
        ("/runs/active?status=scheduled", "status"),
        ("/runs/active?status=Scheduled&status=InProgress", "status"),
    ] {
        let response = serving.get(target);
        let problem: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!((response.status, &problem["parameter"]), (400, &json!(parameter)), "{target}: {problem}");
    }
    let many: String = (0..1100).map(|n| format!("&a{n}=")).collect();
    refused(&mut serving, &format!("/trending?{many}"), "query", "has more than 1024 parameters");
    assert_eq!(serving.get("/trending").status, 200);
}
