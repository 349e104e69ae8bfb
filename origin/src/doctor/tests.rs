use super::rows::{Activity, Facts, Index, Slot};
use super::*;

fn server(name: &str, seen: Seen) -> Server {
    Server { name: name.into(), url: String::new(), seen: Ok(Seen { statements: Some(Vec::new()), ..seen }) }
}

fn healthy(is_replica: bool) -> Facts {
    Facts {
        is_replica,
        sees_all: true,
        counts_since: Some("2026-01-01T00:00:00Z".into()),
        counts_seconds: Some(8.0 * 86_400.0),
        connection_limit: 100,
        position: Some(1000),
        receivers: 1,
        freeze_max_age: 200_000_000,
        multixact_freeze_max_age: 400_000_000,
        ..Facts::default()
    }
}

fn index(name: &str, scans: i64) -> Index {
    Index {
        schema: "public".into(),
        table: "t".into(),
        name: name.into(),
        bytes: 2 << 20,
        scans,
        is_unique: false,
        has_equal_nulls: false,
        has_constraint: false,
        is_identity: false,
        is_valid: true,
        is_being_built: false,
        is_partition: false,
        has_expression: false,
        foreign_key: None,
        signature: name.into(),
    }
}

fn found(servers: &[Server]) -> Vec<(Severity, Kind)> {
    let thresholds = Thresholds::of(&Limits::default(), 7);
    let report = Report::of(servers, &thresholds);
    report.findings.iter().map(|finding| (finding.severity, finding.kind)).collect()
}

fn with_indexes(is_replica: bool, indexes: Vec<Index>) -> Seen {
    Seen { facts: healthy(is_replica), indexes: Some(indexes), ..Seen::default() }
}

#[test]
fn an_index_is_unused_when_no_server_uses_it() {
    let pair = |on_replica| {
        [
            server("primary", with_indexes(false, vec![index("a", 0)])),
            server("replica-1", with_indexes(true, vec![index("a", on_replica)])),
        ]
    };
    assert_eq!(found(&pair(0)), [(Severity::Warning, Kind::UnusedIndex)]);
    assert_eq!(found(&pair(1)), []);
    // What one of them cannot say is not taken for no.
    let [primary, _] = pair(0);
    let down = Server { name: "replica-1".into(), url: String::new(), seen: Err("down".into()) };
    let servers = [primary, down];
    assert_eq!(found(&servers), []);
    let report = Report::of(&servers, &Thresholds::of(&Limits::default(), 7));
    assert!(
        report.notes.iter().any(|note| note.contains("replica-1 was not examined")),
        "{:?}",
        report.notes
    );
    assert_eq!(report.exit(&servers).map_err(|exit| exit.code), Err(EXIT_NOT_EXAMINED));
    // Statistics of yesterday say nothing of the week.
    let mut young = with_indexes(false, vec![index("a", 0)]);
    young.facts.counts_seconds = Some(86_400.0);
    assert_eq!(found(&[server("primary", young)]), []);
}

#[test]
fn of_indexes_that_do_the_same_those_go_that_hold_nothing() {
    let same = |name: &str| Index { signature: "same".into(), ..index(name, 1) };
    let constraint = |name: &str| Index { has_constraint: true, is_unique: true, ..same(name) };
    let unique = |name: &str| Index { is_unique: true, ..same(name) };
    let gone = |indexes: Vec<Index>| {
        let report = Report::of(
            &[server("primary", with_indexes(false, indexes))],
            &Thresholds::of(&Limits::default(), 7),
        );
        let sql: Vec<String> = report.findings.into_iter().flat_map(|finding| finding.sql).collect();
        sql
    };
    assert_eq!(gone(vec![same("a"), constraint("b")]), ["DROP INDEX CONCURRENTLY \"public\".\"a\";"]);
    assert_eq!(gone(vec![unique("a"), constraint("b")]), ["DROP INDEX CONCURRENTLY \"public\".\"a\";"]);
    assert_eq!(gone(vec![same("a"), unique("b")]), ["DROP INDEX CONCURRENTLY \"public\".\"a\";"]);
    assert!(gone(vec![constraint("a"), constraint("b")]).is_empty());
    let other_nulls = Index { has_equal_nulls: true, ..unique("a") };
    assert!(gone(vec![other_nulls, constraint("b")]).is_empty());
    let identity = Index { is_identity: true, ..unique("a") };
    assert!(gone(vec![identity, constraint("b")]).is_empty());
}

#[test]
fn ten_thousand_are_one_problem() {
    let many = (0..10_000).map(|number| index(&format!("i{number}"), 0)).collect();
    let servers = [server("primary", with_indexes(false, many))];
    let report = Report::of(&servers, &Thresholds::of(&Limits::default(), 7));
    assert_eq!(report.findings.len(), MAX_OF_A_KIND);
    assert_eq!(report.left_out, [(Kind::UnusedIndex, 10_000 - MAX_OF_A_KIND)]);
    assert!(show::tables(&servers, &report).contains("and 9950 more of: unused index"));
    assert_eq!(report.exit(&servers).map_err(|exit| exit.code), Err(EXIT_FOUND));
}

#[test]
fn transaction_numbers_are_watched_before_they_run_out() {
    let aged = |transactions| {
        let facts = Facts { transactions, ..healthy(false) };
        found(&[server("primary", Seen { facts, indexes: Some(Vec::new()), ..Seen::default() })])
    };
    assert_eq!(aged(300_000_000), []);
    assert_eq!(aged(300_000_001), [(Severity::Warning, Kind::Wraparound)]);
    assert_eq!(aged(1_300_000_000), [(Severity::Critical, Kind::Wraparound)]);
}

#[test]
fn slots_and_connections_are_judged_by_what_can_happen() {
    let slot = |is_active, status: &str, is_unlimited| Slot {
        name: "s".into(),
        kind: "logical".into(),
        is_active,
        wal_status: Some(status.into()),
        kept_bytes: 1,
        is_unlimited,
    };
    let with = |slot| {
        let seen =
            Seen { facts: healthy(false), slots: vec![slot], indexes: Some(Vec::new()), ..Seen::default() };
        found(&[server("primary", seen)])
    };
    assert_eq!(with(slot(true, "reserved", true)), []);
    assert_eq!(with(slot(false, "reserved", false)), [(Severity::Warning, Kind::SlotRetention)]);
    assert_eq!(with(slot(false, "reserved", true)), [(Severity::Critical, Kind::SlotRetention)]);
    assert_eq!(with(slot(true, "unreserved", false)), [(Severity::Critical, Kind::SlotRetention)]);
    assert_eq!(with(slot(false, "lost", false)), [(Severity::Critical, Kind::SlotRetention)]);

    let used = |connections| {
        let activity = vec![Activity { state: "idle".into(), connections }];
        let seen = Seen { facts: healthy(false), activity, indexes: Some(Vec::new()), ..Seen::default() };
        found(&[server("primary", seen)])
    };
    assert_eq!(used(79), []);
    assert_eq!(used(80), [(Severity::Warning, Kind::Connections)]);
}
