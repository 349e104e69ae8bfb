//! What operators see (`ui/bad_*.toml` beside what is said about each), and what good files become.

use super::*;
use crate::catalogue::LaneKind;

const ENVIRONMENT: Environment =
    Environment { database_url: None, replica_urls: None, cursor_key: None, alert_webhook: None };

fn environment(database: &str, replicas: &str) -> Environment {
    Environment {
        database_url: Some(database.to_owned()),
        replica_urls: Some(replicas.to_owned()),
        ..ENVIRONMENT
    }
}

#[track_caller]
fn good(text: &str, environment: &Environment) -> Config {
    match Config::parse(text, Path::new("etc/origin.toml"), environment) {
        Ok(config) => config,
        Err(faults) => panic!("{faults}"),
    }
}

/// `LARDER_BLESS=1` writes down what is said now; the difference is for a person to read.
#[test]
fn every_bad_file_is_refused_in_these_words() {
    crate::faults::ui::check(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/ui"),
        "toml",
        |name, text| Config::parse(text, Path::new(name), &ENVIRONMENT).map(drop),
    );
}

#[test]
fn the_environment_is_a_whole_configuration() {
    let config = good("", &environment("postgres://u@h/d", " postgres://u@h:5433/d ,,postgresql://u@i/d"));
    assert_eq!(config.to_string(), "primary h:5432/d, replica-1 h:5433/d, replica-2 i:5432/d");
    assert_eq!(config.listen, DEFAULT_LISTEN);
    assert_eq!((config.queries, config.schema), (None, None));
    assert_eq!(config.database.statement_timeout, database::DEFAULT_STATEMENT_TIMEOUT);
}

#[test]
fn the_whole_file_is_read_and_wins_over_the_environment() {
    let text = r#"
        listen = "0.0.0.0:9000"
        workers = 3
        [database]
        primary = "postgres://app:secret@10.0.0.1/app"
        replicas = []
        statement_timeout = "500ms"
        connect_timeout = "1m"
        max_lag = "3s"
        pooler = "transaction"
        [database.slow]
        connections = 6
        queue = 0
        max_wait = "1s"
        statement_timeout = "5m"
        [queries]
        directory = "queries"
        [schema]
        directory = "/srv/schema"
    "#;
    let config = good(text, &environment("postgres://u@h/d", "postgres://u@i/d"));
    assert_eq!(config.to_string(), "primary 10.0.0.1:5432/app");
    assert_eq!((config.listen.to_string().as_str(), config.workers.get()), ("0.0.0.0:9000", 3));
    assert_eq!(config.database.servers.len(), 1);
    assert!(config.database.is_pooled);
    assert_eq!(config.database.max_lag, Duration::from_secs(3));
    let slow = config.database.lane(LaneKind::Slow);
    assert_eq!((slow.connections, slow.of_worker(3), slow.of_worker(64), slow.queue), (6, 2, 1, 0));
    assert_eq!((slow.max_wait, slow.statement_timeout), (Duration::from_secs(1), Duration::from_secs(300)));
    let write = config.database.lane(LaneKind::Write);
    assert_eq!((write.connections, write.statement_timeout), (8, Duration::from_millis(500)));
    assert_eq!(config.database.statement_timeout, Duration::from_millis(500));
    assert_eq!(config.database.connect_timeout, Duration::from_secs(60));
    // Relative to the file, not to where the program was started.
    assert_eq!(config.queries.as_deref(), Some(Path::new("etc/queries")));
    assert_eq!(config.schema.as_deref(), Some(Path::new("/srv/schema")));
}

#[test]
fn servers_may_be_named_without_saying_what_they_are() {
    let text = "[database]\nservers = [\"postgres://u@h/d\", \"postgres://u@i/d\"]";
    let config = good(text, &ENVIRONMENT);
    assert_eq!(config.to_string(), "server-1 h:5432/d, server-2 i:5432/d");
}

#[test]
fn a_password_is_never_shown() {
    let config =
        good("", &environment("postgres://u:secret@h/d?application_name=x", "postgres://u:secret@i/d"));
    for shown in [config.to_string(), format!("{config:?}"), format!("{:?}", config.database)] {
        assert!(!shown.contains("secret"), "{shown}");
    }
    for url in [
        "postgres://u:secret@h:x/d",
        "mysql://u:secret@h/d",
        "postgres://u:secret@h/d?sslmode=verify-full",
        "postgres://u:secret@h/d?sslmode=secret",
        "postgres://u:secret@h/d?sslmode=verify-full&sslrootcert=/no/such/file",
        "secret",
    ] {
        let said = Config::parse("", Path::new("x"), &environment(url, url)).unwrap_err().to_string();
        assert!(
            said.contains("DATABASE_URL") && said.contains("REPLICA_URLS") && !said.contains("secret"),
            "{said}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_said_by_its_name() {
    let said = Config::load(Some(Path::new("no/such/origin.toml")), &ENVIRONMENT).unwrap_err().to_string();
    assert!(said.starts_with("no/such/origin.toml: cannot be read: "), "{said}");
}

#[test]
fn durations_have_a_unit() {
    assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
    assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
    for bad in ["", "5", "s", "-1s", "1.5s", "5 s", "99999999999999999999s", "18446744073709551615h"] {
        assert!(duration(bad).is_err(), "{bad}");
    }
}

#[test]
fn monitoring_has_the_numbers_of_the_guide_unless_told_otherwise() {
    let config = good("", &environment("postgres://u@h/d", ""));
    assert_eq!(config.monitoring, Monitoring::default());
    let text = r#"
        [monitoring]
        window = "10m"
        slow_request = "2s"
        slow_statement = "50ms"
        slow_query = "3s"
        proxy = "http://127.0.0.1:9090"
        [monitoring.alerts]
        average_query_time = "1s"
        p95_query_time = "off"
        slow_queries_per_hour = 5
        block_hit_rate = 99.5
        index_usage_rate = 90
        raise_after = "0s"
        webhook = "http://10.0.0.9:9000/alerts"
        webhook_timeout = "100ms"
    "#;
    let mut webhook = environment("postgres://u@h/d", "");
    webhook.alert_webhook = Some("http://other/s3cret".to_owned());
    let read = good(text, &webhook).monitoring;
    let expected = Monitoring {
        window: Duration::from_secs(600),
        slow_request: Duration::from_secs(2),
        slow_statement: Duration::from_millis(50),
        slow_query: Duration::from_secs(3),
        proxy: Some("http://127.0.0.1:9090".parse().unwrap()),
        limits: Limits {
            average_query_time: Some(1000.0),
            p95_query_time: None,
            slow_queries_per_hour: Some(5.0),
            block_hit_rate: Some(99.5),
            index_usage_rate: Some(90.0),
            ..Limits::default()
        },
        raise_after: Duration::ZERO,
        webhook: Some("http://10.0.0.9:9000/alerts".parse().unwrap()),
        webhook_timeout: Duration::from_millis(100),
        ..Monitoring::default()
    };
    assert_eq!(read, expected);
    let config = good("", &webhook);
    assert_eq!(config.monitoring.webhook, Some("http://other/s3cret".parse().unwrap()));
    assert!(!format!("{config:?}").contains("s3cret"));
}
