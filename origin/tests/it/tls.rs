//! TLS and passwords on the way to Postgres, each `sslmode` against a server that has a certificate and one that has none.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rig::postgres::{Cluster, query, value};

use crate::support::{Folder, Said, Serving, origin};

const ENCRYPTED: &str = "-- route: GET /encrypted\n-- rows: one\n\n\
                         SELECT to_json(ssl) AS body FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
const PASSWORD: &str = "correct-horse";

/// Signs what servers show.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn file(&self, folder: &Folder, name: &str) -> PathBuf {
        folder.write(name, &self.0.as_ref().pem())
    }

    /// A certificate for a host, and its key.
    fn sign(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// `localhost` or an address, and what is behind the `?`.
fn url(cluster: &Cluster, user: &str, host: &str, query: &str) -> String {
    let url = cluster.primary_url();
    format!("{}?{query}", url.replace("postgres@127.0.0.1", &format!("{user}@{host}")))
}

fn check(folder: &Folder, url: &str) -> Said {
    let config = folder.config("", &[("encrypted.sql", ENCRYPTED)]);
    Said::of(origin(&["check", "-c", config.to_str().unwrap()]).env("DATABASE_URL", url))
}

#[track_caller]
fn assert_encrypted(folder: &Folder, url: &str, expected: &str) {
    let config = folder.config("", &[("encrypted.sql", ENCRYPTED)]);
    let mut command = origin(&["serve", "--listen", "127.0.0.1:0", "-c", config.to_str().unwrap()]);
    let mut serving = Serving::start(command.env("DATABASE_URL", url));
    let answer = serving.get("/encrypted");
    assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{url}\n{}", serving.process.log());
}

#[track_caller]
fn assert_refused(folder: &Folder, url: &str, why: &[&str]) {
    let said = check(folder, url);
    said.expect_code(1);
    for words in why {
        assert!(said.err.contains(words), "{url}: no {words:?} in {}", said.err);
    }
    assert!(!said.err.contains("postgres://"), "{}", said.err);
}

#[test]
fn each_sslmode_trusts_whom_it_says() {
    let (cluster, folder) = (Cluster::start().unwrap(), Folder::new());
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (root, other_root) = (ours.file(&folder, "ours.pem"), theirs.file(&folder, "theirs.pem"));
    let (root, other_root) = (root.display(), other_root.display());
    let at = |host: &str, query: &str| url(&cluster, "postgres", host, query);

    // A server without a certificate.
    assert_encrypted(&folder, &at("127.0.0.1", "sslmode=disable"), "false");
    assert_encrypted(&folder, &at("127.0.0.1", "sslmode=prefer"), "false");
    assert_refused(
        &folder,
        &at("127.0.0.1", "sslmode=require"),
        &["primary (127.0.0.1:", "does not support TLS"],
    );

    let (certificate, key) = ours.sign("localhost");
    cluster.node(0).serve_tls(&certificate, &key).unwrap();
    for (host, query, expected) in [
        ("127.0.0.1", "sslmode=disable".to_owned(), "false"),
        ("127.0.0.1", String::new(), "true"),
        ("127.0.0.1", "sslmode=prefer".to_owned(), "true"),
        ("127.0.0.1", "sslmode=require".to_owned(), "true"),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={root}"), "true"),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={root}"), "true"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={root}"), "true"),
    ] {
        assert_encrypted(&folder, &at(host, &query), expected);
    }
    let not_signed = ["certificate was refused", "none of those in sslrootcert has signed it"];
    for mode in ["require", "verify-ca", "verify-full"] {
        let query = format!("sslmode={mode}&sslrootcert={other_root}");
        assert_refused(&folder, &at("localhost", &query), &not_signed);
    }
    let query = format!("sslmode=verify-full&sslrootcert={root}");
    let not_for_it = ["it is not made out for 127.0.0.1", "sslmode=verify-ca"];
    assert_refused(&folder, &at("127.0.0.1", &query), &not_for_it);

    // Someone in between who has a certificate, and not from our authority.
    let (certificate, key) = theirs.sign("localhost");
    cluster.node(0).serve_tls(&certificate, &key).unwrap();
    assert_refused(&folder, &at("localhost", &query), &not_signed);
}

#[test]
fn what_cannot_be_trusted_is_said_before_anything_is_connected() {
    let folder = Folder::new();
    let nothing = folder.write("nothing.pem", "no certificate\n");
    for (query, why) in [
        ("sslmode=verify-full".to_owned(), "needs to know whom to trust"),
        ("sslmode=verify-full&sslrootcert=/nowhere.pem".to_owned(), "sslrootcert /nowhere.pem:"),
        (format!("sslmode=verify-ca&sslrootcert={}", nothing.display()), "no certificate (PEM) in it"),
        ("sslmode=allow".to_owned(), "sslmode is one of disable, prefer, require, verify-ca, verify-full"),
    ] {
        let said = check(&folder, &format!("postgres://app:{PASSWORD}@127.0.0.1:1/app?{query}"));
        said.expect_code(64);
        assert!(said.err.contains(why) && !said.err.contains(PASSWORD), "{query}: {}", said.err);
    }
}

#[test]
fn passwords_are_proven_by_scram_and_never_said() {
    let (cluster, folder) = (Cluster::start().unwrap(), Folder::new());
    let authority = Authority::new("ours");
    let (certificate, key) = authority.sign("localhost");
    let root = authority.file(&folder, "ours.pem");
    query(&cluster.primary_url(), &format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")).unwrap();
    let rules = "hostnossl all app 127.0.0.1/32 reject\nhostssl all app 127.0.0.1/32 scram-sha-256";
    let node = cluster.node(0);
    node.allow("host all app 127.0.0.1/32 scram-sha-256").unwrap();
    let user = |password: &str| format!("app:{password}");
    let full = format!("sslmode=verify-full&sslrootcert={}", root.display());

    assert_encrypted(&folder, &url(&cluster, &user(PASSWORD), "127.0.0.1", ""), "false");
    node.serve_tls(&certificate, &key).unwrap();
    node.allow(rules).unwrap();
    assert_encrypted(&folder, &url(&cluster, &user(PASSWORD), "localhost", &full), "true");
    // The server has a certificate, so that it offers a password bound to it, and takes no other when it is asked to.
    let bound = format!("{full}&channel_binding=require");
    assert_encrypted(&folder, &url(&cluster, &user(PASSWORD), "localhost", &bound), "true");

    // So does the connection that the change feed makes.
    let sql = "ALTER ROLE app REPLICATION; CREATE TABLE teams (id int PRIMARY KEY); \
               CREATE PUBLICATION larder FOR TABLE teams WITH (publish_via_partition_root = true)";
    query(&cluster.primary_url(), sql).unwrap();
    for bound in [&bound, &full] {
        let config =
            folder.config("[feed]\n[feed.tables]\nteams = [\"team:{id}\"]", &[("encrypted.sql", ENCRYPTED)]);
        let mut command = origin(&["serve", "--listen", "127.0.0.1:0", "-c", config.to_str().unwrap()]);
        let server = url(&cluster, &user(PASSWORD), "localhost", bound);
        let mut serving = Serving::start(command.env("DATABASE_URL", server));
        serving.process.wait_for_line("the feed begins").unwrap();
        let sql = "SELECT bool_and(ssl) FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) WHERE usename = 'app'";
        assert_eq!(value(&cluster.primary_url(), sql).unwrap(), "t");
    }

    let wrong = url(&cluster, &user("wrong-horse"), "localhost", &full);
    let said = check(&folder, &wrong);
    said.expect_code(1);
    assert!(said.err.contains("password authentication failed for user \"app\""), "{}", said.err);
    assert!(!said.err.contains("horse"), "{}", said.err);
    assert_refused(&folder, &url(&cluster, "app", "localhost", &full), &["password missing"]);
    let plain = url(&cluster, &user(PASSWORD), "127.0.0.1", "sslmode=disable");
    assert_refused(&folder, &plain, &["pg_hba.conf", "no encryption"]);

    // A worker that serves says it too, and goes on when the password is right.
    let config = folder.config("", &[("encrypted.sql", ENCRYPTED)]);
    let mut command = origin(&["serve", "--listen", "127.0.0.1:0", "-c", config.to_str().unwrap()]);
    let mut serving = Serving::start(command.env("DATABASE_URL", &wrong));
    let line = serving.process.wait_for_line("cannot connect to primary").unwrap();
    assert!(line.contains("password authentication failed"), "{line}");
    assert_eq!(serving.get("/encrypted").status, 503);
    query(&cluster.primary_url(), "ALTER ROLE app PASSWORD 'wrong-horse'").unwrap();
    serving.until("/encrypted", |answer| answer.status == 200);
    assert!(!serving.process.log().contains("horse"), "{}", serving.process.log());
}
