//! Clusters as their owners use them. Starting one takes a second or two, so what can be shown with one is.

use super::*;

#[test]
fn a_replica_follows_its_primary_through_deaths_and_nothing_is_left() {
    let cluster = Cluster::start().unwrap();
    let folder = cluster.dir().to_owned();
    query(&cluster.primary_url(), "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").unwrap();
    cluster.wait_for_replica().unwrap();
    assert_eq!(value(&cluster.replica_url(), "SELECT n FROM t").unwrap(), "1");
    let is_loaded = value(&cluster.replica_url(), "SHOW shared_preload_libraries").unwrap();
    if is_loaded == "pg_stat_statements" {
        let statements = "SELECT count(*) > 0 FROM pg_stat_statements";
        assert_eq!(value(&cluster.replica_url_of("template1"), statements).unwrap(), "t");
    }
    let refused = query(&cluster.replica_url(), "INSERT INTO t VALUES (2)").unwrap_err();
    assert!(matches!(&refused, PostgresError::Refused { code, .. } if code == "25006"), "{refused}");

    let replica_url = cluster.replica_url();
    cluster.kill_replica().unwrap();
    assert!(query(&replica_url, "SELECT 1").is_err());
    query(&cluster.primary_url(), "INSERT INTO t VALUES (2)").unwrap();
    cluster.start_replica().unwrap();
    assert_eq!(cluster.replica_url(), replica_url);
    cluster.wait_for_replica().unwrap();
    assert_eq!(value(&replica_url, "SELECT count(*) FROM t").unwrap(), "2");

    cluster.pause_replay().unwrap();
    query(&cluster.primary_url(), "INSERT INTO t VALUES (3)").unwrap();
    assert_eq!(value(&replica_url, "SELECT count(*) FROM t").unwrap(), "2");
    cluster.resume_replay().unwrap();
    cluster.wait_for_replica().unwrap();
    assert_eq!(value(&replica_url, "SELECT count(*) FROM t").unwrap(), "3");

    cluster.kill_primary().unwrap();
    assert_eq!(value(&replica_url, "SELECT count(*) FROM t").unwrap(), "3");
    cluster.start_primary().unwrap();
    cluster.stop_primary().unwrap();
    cluster.start_primary().unwrap();
    query(&cluster.primary_url(), "INSERT INTO t VALUES (4)").unwrap();
    cluster.wait_for_replica().unwrap();

    drop(cluster);
    assert!(!folder.exists(), "{}", folder.display());
    assert!(query(&replica_url, "SELECT 1").is_err());
}

#[test]
fn a_promoted_replica_is_followed_and_the_old_primary_can_come_back_as_either() {
    let cluster = Cluster::start_many(2, &[]).unwrap();
    let (old, new, other) = (cluster.node(0), cluster.node(1), cluster.node(2));
    query(&old.url(), "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").unwrap();
    cluster.wait_for_replica().unwrap();
    old.kill().unwrap();
    new.promote().unwrap();
    query(&new.url(), "INSERT INTO t VALUES (2)").unwrap();
    other.follow(new).unwrap();
    assert_eq!(value(&other.url(), "SELECT count(*) FROM t").unwrap(), "2");

    // It knows nothing of all that.
    old.start().unwrap();
    query(&old.url(), "INSERT INTO t VALUES (3)").unwrap();
    assert_eq!(value(&other.url(), "SELECT sum(n) FROM t").unwrap(), "3");
    old.become_replica_of(new).unwrap();
    assert_eq!(value(&old.url(), "SELECT sum(n) FROM t").unwrap(), "3");
    assert_eq!(value(&old.url(), "SELECT pg_is_in_recovery()").unwrap(), "t");
    assert_eq!(new.cut_sessions().unwrap(), 0);
}

#[test]
fn a_pooler_stands_in_front_of_a_server_and_ends_before_it() {
    let cluster = Cluster::start().unwrap();
    let pooler = match Pooler::start(cluster.node(0), &[]) {
        Ok(pooler) => pooler,
        Err(PostgresError::NoPooler { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    let url = pooler.url_of("postgres");
    assert_eq!(value(&url, "SELECT 1").unwrap(), "1");
    assert!(pooler.version().unwrap() >= (1, 12));
    assert!(query(&url, "BEGIN; SELECT 1; COMMIT").is_ok());
    drop(pooler);
    assert!(query(&url, "SELECT 1").is_err());
}

#[test]
fn who_may_connect_is_changed_while_a_server_runs() {
    let cluster = Cluster::start().unwrap();
    query(&cluster.primary_url(), "CREATE ROLE guest LOGIN").unwrap();
    let guest = cluster.primary_url().replace("postgres@", "guest@");
    assert_eq!(value(&guest, "SELECT 1").unwrap(), "1");
    cluster.node(0).allow("host all guest all reject").unwrap();
    let refused = query(&guest, "SELECT 1").unwrap_err();
    assert!(matches!(&refused, PostgresError::Refused { code, .. } if code == "28000"), "{refused}");
}
