//! `larder-origin seed`.

use crate::support::Database;

const TABLES: [&str; 12] = [
    "users",
    "teams",
    "members",
    "resources",
    "resource_versions",
    "runs",
    "tags",
    "resource_tags",
    "chats",
    "chat_participants",
    "chat_messages",
    "sessions",
];
const SEED: [&str; 5] = ["seed", "--resources", "500", "--until", "2026-01-31"];

fn fingerprints(database: &Database) -> Vec<String> {
    let of = |table: &str| {
        let sql = format!(
            "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {table} t"
        );
        format!("{table} {}", database.value(&sql))
    };
    TABLES.iter().map(|table| of(table)).collect()
}

#[test]
fn the_same_size_gives_the_same_rows() {
    let seeded = || {
        let database = Database::empty();
        database.run(&["migrate"]).expect_code(0);
        database.run(&SEED).expect_code(0);
        database
    };
    let database = seeded();
    let expected = fingerprints(&database);
    assert_eq!(fingerprints(&seeded()), expected);

    // Twice is refused, or nothing, or from the start.
    let said = database.run(&["seed", "--resources", "500"]);
    assert!(
        said.expect_code(1)
            .err
            .contains("chats, chat_participants, chat_messages, sessions already have rows")
    );
    assert!(said.err.contains("--if-empty") && said.err.contains("--force"), "{said:?}");
    let said = database.run(&["seed", "--resources", "500", "--if-empty"]);
    assert!(said.expect_code(0).out.contains("nothing to do"), "{said:?}");
    assert_eq!(fingerprints(&database), expected);
    database.sql("DELETE FROM runs; UPDATE users SET name = 'someone else'");
    let indexes =
        "SELECT string_agg(indexdef, '|' ORDER BY indexdef) FROM pg_indexes WHERE schemaname = 'public'";
    let before = database.value(indexes);
    database.run(&[SEED.as_slice(), &["--force"]].concat()).expect_code(0);
    assert_eq!(fingerprints(&database), expected);
    assert_eq!(database.value(indexes), before, "indexes are taken away while rows are written");
}

#[test]
fn what_it_leaves_is_a_database_to_work_with() {
    let database = Database::seeded_copy();
    // It was written without looking references up.
    let orphans = "SELECT count(*) FROM members m LEFT JOIN users u ON u.id = user_id LEFT JOIN teams t ON t.id = team_id \
                   WHERE u.id IS NULL OR t.id IS NULL";
    assert_eq!(database.value(orphans), "0");
    let orphans = "SELECT count(*) FROM resources r WHERE \
                   NOT EXISTS (SELECT FROM users WHERE id = r.created_by_id) AND r.created_by_id IS NOT NULL \
                   OR NOT EXISTS (SELECT FROM teams WHERE id = r.team_id) AND r.team_id IS NOT NULL";
    assert_eq!(database.value(orphans), "0");
    let orphans = "SELECT count(*) FROM runs r WHERE \
                   NOT EXISTS (SELECT FROM users WHERE id = r.user_id) AND r.user_id IS NOT NULL \
                   OR NOT EXISTS (SELECT FROM resource_versions WHERE id = r.resource_version_id) \
                      AND r.resource_version_id IS NOT NULL";
    assert_eq!(database.value(orphans), "0");
    assert_eq!(database.value("SELECT count(*) FROM resource_versions v WHERE NOT EXISTS (SELECT FROM resources WHERE id = root_id)"), "0");

    // Nothing looks these up: they are checked by making them anew.
    let unchecked = "SELECT format('ALTER TABLE %s ADD FOREIGN KEY (%s) REFERENCES %s', conrelid::regclass, attname, confrelid::regclass) \
                     FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1] WHERE contype = 'f'";
    for row in database.sql(unchecked) {
        database.sql(row[0].as_deref().unwrap());
    }

    // It is as uneven as real data: what is recent is there, and some of everything is much.
    for expected in [
        "SELECT count(*) BETWEEN 10 AND 1000 FROM runs WHERE status IN ('Scheduled', 'InProgress')",
        "SELECT count(*) > 5 FROM runs WHERE status = 'Failed' AND created_at > now() - interval '7 days'",
        "SELECT count(*) > 50 FROM resources WHERE created_at > now() - interval '7 days' AND NOT is_private",
        "SELECT count(*) > 100 FROM sessions WHERE is_active AND expires_at > now()",
        "SELECT max(n) > 500 FROM (SELECT count(*) n FROM chat_messages GROUP BY chat_id) c",
        "SELECT max(n) > 100 FROM (SELECT count(*) n FROM members GROUP BY team_id) c",
        "SELECT max(n) > 50 FROM (SELECT count(*) n FROM members GROUP BY user_id) c",
        "SELECT max(created_at) <= now() FROM chat_messages",
    ] {
        assert_eq!(database.value(expected), "t", "{expected}");
    }

    // Ids go on where they ended, and statistics are there.
    for table in ["users", "teams"] {
        database.sql(&format!("INSERT INTO {table} (public_id, name) VALUES ('mine', 'mine')"));
    }
    assert_eq!(database.value("SELECT reltuples::bigint FROM pg_class WHERE relname = 'resources'"), "20000");
    let ties = "SELECT count(*) > 100 FROM (SELECT FROM resources GROUP BY created_at HAVING count(*) > 1) t";
    assert_eq!(database.value(ties), "t");
}

#[test]
fn without_tables_it_says_what_to_do() {
    let said = Database::empty().run(&["seed"]);
    assert!(
        said.expect_code(1).err.contains("there is no table `users`: run `larder-origin migrate` first"),
        "{said:?}"
    );
}
