use super::*;

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

fn index(name: &str, is_primary: bool, columns: &[&str]) -> Index {
    Index { name: name.to_owned(), is_primary, columns: strings(columns) }
}

fn table(identity: Identity, indexes: Vec<Index>) -> Found {
    Found {
        index: 0,
        oid: 1,
        is_root: true,
        name: "public.teams".to_owned(),
        kind: "r".to_owned(),
        is_logged: true,
        is_partition: false,
        identity,
        columns: strings(&["id", "public_id", "owner_id", "note"]),
        indexes,
        parents: BTreeMap::new(),
    }
}

fn identity_of(table: &Found, needed: &[&str]) -> (Vec<String>, Option<Vec<String>>) {
    let (item, columns) = identity(table, &needed.iter().copied().collect());
    (item.sql, columns)
}

#[test]
fn the_least_identity_that_has_the_columns_is_taken() {
    let primary = || index("teams_pkey", true, &["id"]);
    let wide = || index("wide", false, &["public_id", "id", "owner_id"]);
    let narrow = || index("narrow", false, &["public_id", "id"]);
    let all = || vec![primary(), wide(), narrow()];
    let sql = |identity: &str| vec![format!("ALTER TABLE public.teams REPLICA IDENTITY {identity}")];
    let (d, nothing) = (|| Identity::Default, || Identity::Nothing);
    for (table, needed, expected, columns) in [
        (table(d(), all()), &["id"][..], vec![], Some(&["id"][..])),
        (table(d(), all()), &[], vec![], Some(&["id"])),
        (table(d(), all()), &["public_id"], sql("USING INDEX narrow"), Some(&["public_id", "id"])),
        (table(d(), all()), &["owner_id"], sql("USING INDEX wide"), Some(&["public_id", "id", "owner_id"])),
        (table(d(), all()), &["note"], sql("FULL"), None),
        (table(nothing(), all()), &["id"], sql("DEFAULT"), Some(&["id"])),
        // Without a key its UPDATE would fail, whatever is needed.
        (table(d(), vec![]), &[], sql("FULL"), None),
        (table(d(), vec![narrow()]), &[], sql("USING INDEX narrow"), Some(&["public_id", "id"])),
        // What is there and will do stays.
        (table(Identity::Full, all()), &["id"], vec![], None),
        (table(Identity::Index("narrow".to_owned()), all()), &["id"], vec![], Some(&["public_id", "id"])),
        // The index of an identity can be gone.
        (table(Identity::Index("gone".to_owned()), all()), &["id"], sql("DEFAULT"), Some(&["id"])),
    ] {
        assert_eq!(identity_of(&table, needed), (expected, columns.map(strings)), "{needed:?} of {table:?}");
    }
}

fn feed() -> FeedConfig {
    FeedConfig {
        source: FeedSource::Replication,
        publication: "larder".to_owned(),
        slot: None,
        token: None,
        max_rows: 1,
        ring_events: 1,
        ring_bytes: 1,
        tables: Mapping::new(),
    }
}

fn database(version: i32, table: Found, publication: Option<Published>) -> Database {
    let server = Server {
        version,
        wal_level: "logical".to_owned(),
        free_slots: 1,
        free_senders: 1,
        role: "app".to_owned(),
        may_replicate: true,
        max_slot_wal_keep_size: "-1".to_owned(),
    };
    Database { server, tables: vec![table], publication }
}

fn sql(database: &Database, template: &str) -> Vec<String> {
    let mapping = Mapping::from([("teams".to_owned(), vec![RowTemplate::parse(template).unwrap()])]);
    transaction(&items(database, &feed(), &mapping))
}

#[test]
fn a_column_list_has_the_identity_and_what_is_needed() {
    let all = || vec![index("teams_pkey", true, &["id"])];
    let create = |tables: &str| {
        format!(
            "CREATE PUBLICATION \"larder\" FOR TABLE {tables} WITH (publish = 'insert, update, delete, truncate', \
             publish_via_partition_root = true)"
        )
    };
    let keyed = table(Identity::Default, all());
    assert_eq!(sql(&database(150_000, keyed.clone(), None), "team:{id}"), [create("public.teams (\"id\")")]);
    assert_eq!(sql(&database(140_000, keyed.clone(), None), "team:{id}"), [create("public.teams")]);
    // With the whole row as identity no list has all of it.
    let full = sql(&database(150_000, keyed.clone(), None), "team:{note}");
    assert_eq!(full, ["ALTER TABLE public.teams REPLICA IDENTITY FULL".to_owned(), create("public.teams")]);

    let member = |columns: Option<&[&str]>| Member {
        oid: 1,
        name: "public.teams".to_owned(),
        columns: columns.map(|columns| strings(columns).into_iter().collect()),
        has_filter: false,
    };
    let published =
        |members| Some(Published { is_open: false, is_via_root: true, has_all_kinds: true, members });
    let done = database(150_000, keyed.clone(), published(vec![member(Some(&["id"]))]));
    assert_eq!(sql(&done, "team:{id}"), Vec::<String>::new());
    for members in [vec![], vec![member(None)], vec![Member { has_filter: true, ..member(Some(&["id"])) }]] {
        let sql = sql(&database(150_000, keyed.clone(), published(members)), "team:{id}");
        assert_eq!(sql[0], "ALTER PUBLICATION \"larder\" SET TABLE public.teams (\"id\")");
        assert_eq!(sql.len(), 2);
    }
    // One of all tables is not ours to change.
    let open = Some(Published { is_open: true, is_via_root: true, has_all_kinds: true, members: vec![] });
    assert_eq!(sql(&database(150_000, keyed, open), "team:{id}"), Vec::<String>::new());
}

#[test]
fn what_cannot_be_told_is_said_and_not_published() {
    let view = Found { kind: "v".to_owned(), ..table(Identity::Nothing, vec![]) };
    let unlogged = Found { is_logged: false, ..table(Identity::Default, vec![]) };
    for table in [view, unlogged] {
        let database = database(150_000, table, None);
        assert_eq!(sql(&database, "team:{id}"), Vec::<String>::new());
    }
    let mapping =
        Mapping::from([("teams".to_owned(), vec![RowTemplate::parse("a:{owner_id.name}").unwrap()])]);
    let of = |parents: &[&str]| {
        let known = [("owner_id".to_owned(), strings(parents).into_iter().collect())];
        let keyed = Found { parents: known.into(), ..table(Identity::Full, vec![]) };
        let items = items(&database(150_000, keyed, None), &feed(), &mapping);
        items.iter().filter(|item| item.state == State::Advice).count()
    };
    assert_eq!(of(&["id", "name"]), 0);
    assert_eq!(of(&["id"]), 1);
}
