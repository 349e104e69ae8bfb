//! Rows that the worker writes from columns, against what Postgres says of the same.

use serde_json::json;

use crate::reads::{only, refused};
use crate::support::Database;

#[test]
fn columns_with_a_point_are_members_of_an_object() {
    let file = "-- route: GET /objects\n-- rows: many\n-- body: columns\n-- tags: t:{x}\n\n\
                SELECT n AS id, n AS _x, CASE WHEN n = 1 THEN 'a' END AS \"made_by.first_name\", n > 1 AS last, \
                CASE WHEN n < 3 THEN n END AS \"made_by.nth\", NULL::text AS \"no.thing\" FROM generate_series(1, 3) n";
    let mut serving = Database::seeded().serve_with("", &[("objects.sql", file)]);
    let expected = json!([
        {"id": 1, "madeBy": {"firstName": "a", "nth": 1}, "last": false, "no": null},
        {"id": 2, "madeBy": {"firstName": null, "nth": 2}, "last": true, "no": null},
        {"id": 3, "madeBy": null, "last": true, "no": null},
    ]);
    assert_eq!(serving.json("/objects"), expected);
    assert_eq!(serving.json("/objects?fields=madeBy"), only(&expected, &["madeBy"]));
    assert_eq!(serving.get("/objects").field("cache-tag"), Some("t:1,t:2,t:3"));
    refused(&mut serving, "/objects?fields=nth", "fields", "known are id, madeBy, last, no");
}

#[test]
fn columns_are_written_as_postgres_would_write_them() {
    const VALUES: &str = "SELECT * FROM (VALUES \
        (true, 1::int2, -2147483648, 9223372036854775807, 1.5::float4, -0.1::float8, 0.00012300::numeric, 'a\"\\é\n\t'::text, \
         'd41d8cd9-8f00-b204-e980-0998ecf8427e'::uuid, '{\"a\" : [1]}'::json, '{\"b\": null}'::jsonb, '2026-02-28'::date, \
         '2026-11-26 15:00:00.120'::timestamp, '1999-12-31 23:59:59.999999+00'::timestamptz, '{a,NULL,\"b,c\"}'::text[], '{}'::int8[], \
         'x'::varchar, NULL::text), \
        (false, 0::int2, 0, 0, 0, 0, -12345678901234567890.000100::numeric, '', \
         '00000000-0000-0000-0000-000000000000', '1', '\"x\"', '0001-01-01', '2000-01-01', '0044-03-15 BC', '{}', '{1,-2}', 'y', 'z'), \
        (NULL, NULL, NULL, NULL, NULL, NULL, 10000, NULL, NULL, NULL, NULL, '1969-07-20', 'infinity', '-infinity', NULL, NULL, NULL, NULL), \
        (NULL, NULL, NULL, NULL, NULL, NULL, 123450000, NULL, NULL, NULL, NULL, '12345-06-07', '2024-02-29 00:00:01', NULL, NULL, NULL, NULL, NULL), \
        (NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
        (NULL, NULL, NULL, NULL, NULL, NULL, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)) \
        v (truth, small, middle, big, f4, f8, num, txt, uid, js, jsb, dat, ts, tz, texts, ints, vc, nothing)";
    let database = Database::seeded();
    let written = format!("-- route: GET /written\n-- rows: many\n-- body: columns\n\n{VALUES}");
    let built =
        format!("-- route: GET /built\n-- rows: many\n\nSELECT row_to_json(t) AS body FROM ({VALUES}) t");
    let mut serving = database.serve_with("", &[("written.sql", &written), ("built.sql", &built)]);
    let (written, built) = (serving.get("/written"), serving.get("/built"));
    assert_eq!((written.status, built.status), (200, 200), "{}", serving.process.log());
    // As text: a number that is read loses what makes it exact. Postgres keeps blanks of json, we do too.
    let parts = |text: String| text.split_inclusive([',', '{', '[']).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(parts(written.text()), parts(built.text()));
}
