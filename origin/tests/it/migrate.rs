//! `larder-origin migrate`.

use std::{fs, path::Path};

use crate::support::{Database, Folder, Said, origin};

#[test]
fn twice_is_once() {
    let database = Database::empty();
    let planned = database.run(&["migrate", "--plan"]);
    assert!(
        planned
            .expect_code(0)
            .out
            .starts_with("would apply 0001_tables\nwould apply 0002_indexes\nwould apply 0003_writes\n"),
        "{planned:?}"
    );
    assert_eq!(database.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");

    let first = database.run(&["migrate"]);
    assert!(
        first
            .expect_code(0)
            .out
            .starts_with("applied 0001_tables\napplied 0002_indexes\napplied 0003_writes\n"),
        "{first:?}"
    );
    let applied = "SELECT name, checksum, applied_at FROM larder_migrations ORDER BY name";
    let after = database.sql(applied);
    assert_eq!(after.len(), 3);
    let second = database.run(&["migrate"]);
    assert!(
        second.expect_code(0).out.contains("nothing to do, 3 migrations were applied before"),
        "{second:?}"
    );
    assert_eq!(database.sql(applied), after);

    // Each migration has a test that raises if it did not do its work.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    for name in after.iter().map(|row| row[0].as_deref().unwrap()) {
        database.sql(&fs::read_to_string(folder.join(format!("tests/{name}.sql"))).unwrap());
    }
}

#[test]
fn runs_at_the_same_time_take_turns() {
    let database = Database::empty();
    let run = || database.run(&["migrate"]);
    let said = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    let applied: usize = said.iter().map(|said| said.expect_code(0).out.matches("applied 0").count()).sum();
    assert_eq!(applied, 3, "{said:?}");
}

#[test]
fn a_file_that_was_changed_after_it_was_applied_is_refused() {
    let (database, folder) = (Database::empty(), Folder::new());
    let config = folder.config("[schema]\ndirectory = \"schema\"", &[]);
    let migrate = ["migrate", "-c", config.to_str().unwrap()];
    folder.write("schema/0001_a.sql", "CREATE TABLE a (n int);");
    database.run(&migrate).expect_code(0);
    folder.write("schema/0001_a.sql", "CREATE TABLE a (n bigint);");
    folder.write("schema/0002_b.sql", "CREATE TABLE b (n int);");
    let said = database.run(&migrate);
    assert!(
        said.expect_code(64).err.contains("schema/0001_a.sql: was changed after it was applied"),
        "{said:?}"
    );
    assert_eq!(database.value("SELECT to_regclass('b') IS NULL"), "t");
}

#[test]
fn a_file_that_fails_leaves_nothing_and_says_where() {
    let (database, folder) = (Database::empty(), Folder::new());
    let config = folder.config("[schema]\ndirectory = \"schema\"", &[]);
    let migrate = ["migrate", "-c", config.to_str().unwrap()];
    folder.write("schema/0001_a.sql", "CREATE TABLE a (n int);\n");
    folder.write("schema/0002_b.sql", "CREATE TABLE b (n int);\n-- é\nALTER TABLE a ADD COLUMN m intt;\n");
    let said = database.run(&migrate);
    assert!(
        said.expect_code(1).err.contains("schema/0002_b.sql:3:28: type \"intt\" does not exist"),
        "{said:?}"
    );
    assert_eq!(database.value("SELECT to_regclass('b') IS NULL"), "t");
    // What came before it holds, and it can be mended.
    folder.write("schema/0002_b.sql", "CREATE TABLE b (n int);\n");
    let said = database.run(&migrate);
    assert!(said.expect_code(0).out.starts_with("applied 0002_b\n"), "{said:?}");
}

#[test]
fn what_cannot_be_in_a_transaction_runs_outside_of_one() {
    let (database, folder) = (Database::empty(), Folder::new());
    let config = folder.config("[schema]\ndirectory = \"schema\"", &[]);
    let migrate = ["migrate", "-c", config.to_str().unwrap()];
    folder.write("schema/0001_a.sql", "CREATE TABLE a (n int, note text DEFAULT ';');");
    let text = "-- For big tables.\n-- transaction: none\n\nDROP INDEX CONCURRENTLY IF EXISTS a_n;\n\
                CREATE INDEX CONCURRENTLY a_n ON a (n);\n";
    folder.write("schema/0002_index.sql", text);
    let said = std::thread::scope(|scope| {
        // One that waits must not be what the other one waits for.
        let other = scope.spawn(|| database.run(&migrate));
        [database.run(&migrate), other.join().unwrap()]
    });
    for said in &said {
        said.expect_code(0);
    }
    assert_eq!(database.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_n'::regclass"), "t");

    folder.write(
        "schema/0003_more.sql",
        "-- transaction: none\nCREATE TABLE c ();\nCREATE TABLE d (n intt);\n",
    );
    let said = database.run(&migrate);
    let expected = "schema/0003_more.sql:3:19: type \"intt\" does not exist [SQLSTATE 42704]; what stands before it in this \
                    file was done";
    assert!(said.expect_code(1).err.contains(expected), "{said:?}");
    assert_eq!(database.value("SELECT to_regclass('c') IS NOT NULL"), "t");
}

#[test]
fn an_index_that_a_failed_build_left_invalid_is_made_again() {
    let (database, folder) = (Database::empty(), Folder::new());
    let config = folder.config("[schema]\ndirectory = \"schema\"", &[]);
    let migrate = ["migrate", "-c", config.to_str().unwrap()];
    let is_valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_n'::regclass";
    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    folder.write("schema/0001_a.sql", "CREATE TABLE a (n int);\nINSERT INTO a VALUES (1), (1);");
    // The trap: it is there after the failure, so a second run would take it for done.
    folder.write(
        "schema/0002_b.sql",
        "-- transaction: none\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS a_n ON a (n);\n",
    );
    let said = database.run(&migrate);
    assert!(said.expect_code(1).err.contains("could not create unique index \"a_n\""), "{said:?}");
    assert_eq!(database.value(is_valid), "f");

    let planned = database.run(&["migrate", "--plan", "-c", config.to_str().unwrap()]);
    let expected =
        "would drop the index a_n on a, which a build left invalid\nwould apply 0002_b (statement by";
    assert!(planned.expect_code(0).out.starts_with(expected), "{planned:?}");
    assert_eq!(database.value(is_valid), "f");

    database.sql("DELETE FROM a; INSERT INTO a VALUES (1)");
    let said = database.run(&migrate);
    let expected = "dropped the index a_n on a, which a build left invalid\napplied 0002_b\n";
    assert!(said.expect_code(0).out.starts_with(expected), "{said:?}");
    assert_eq!(database.value(is_valid), "t");

    // The same after the file was applied: somebody made the index anew, and failed.
    database.sql("DROP INDEX a_n");
    database.sql("INSERT INTO a VALUES (1)");
    for name in ["a_n", "of_someone_else"] {
        let sql = format!("CREATE UNIQUE INDEX CONCURRENTLY {name} ON a (n)");
        assert!(rig::postgres::query(&database.primary, &sql).is_err());
    }
    let said = database.run(&migrate);
    let expected =
        "cannot rebuild the index a_n on a, which a build left invalid: could not create unique index";
    assert!(said.expect_code(1).err.contains(expected), "{said:?}");
    assert_eq!(database.value(invalid), "2", "a failed attempt leaves nothing more behind");

    database.sql("DELETE FROM a");
    let said = database.run(&migrate);
    let expected = "rebuilt the index a_n on a, which a build left invalid\n";
    assert!(said.expect_code(0).out.starts_with(expected), "{said:?}");
    assert!(said.err.contains("the index of_someone_else on a is not valid"), "{said:?}");
    assert_eq!(database.value(is_valid), "t");
    assert_eq!(database.value(invalid), "1");
    let said = database.run(&migrate);
    assert!(said.expect_code(0).out.contains("nothing to do, 2 migrations"), "{said:?}");
}

#[test]
fn a_replica_is_refused() {
    let database = Database::empty();
    for command in ["migrate", "seed"] {
        let said = Said::of(origin(&[command]).env("DATABASE_URL", &database.replica));
        assert!(said.expect_code(1).err.contains("is a replica, which takes no writes"), "{said:?}");
    }
}

#[test]
fn the_primary_is_found_among_the_servers() {
    let database = Database::empty();
    // Named as they were before a failover.
    let servers = [("DATABASE_URL", &database.replica), ("REPLICA_URLS", &database.primary)];
    Said::of(origin(&["migrate"]).envs(servers)).expect_code(0);
    Said::of(origin(&["seed", "--resources", "10"]).envs(servers)).expect_code(0);
    assert_eq!(database.value("SELECT count(*) FROM resources"), "10");
}
