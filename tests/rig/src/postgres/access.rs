//! Who may connect to a server, and how: rules of `pg_hba.conf` and a certificate, given to it while it runs.

use std::fs;

use super::{Node, PostgresError, file_error, query, server, value};

impl Node<'_> {
    /// Puts lines in front of those of `pg_hba.conf`: the first one that fits a connection decides. `postgres` must still get
    /// in from 127.0.0.1 without a password, as the rig does.
    pub fn allow(self, rules: &str) -> Result<(), PostgresError> {
        let path = self.lock().data().join("pg_hba.conf");
        let known = fs::read_to_string(&path).map_err(file_error("read", &path))?;
        self.folder().write(&path, &format!("{rules}\n{known}"))?;
        self.reload()
    }

    /// Serves TLS from now on; both are PEM.
    pub fn serve_tls(self, certificate: &str, key: &str) -> Result<(), PostgresError> {
        let data = self.lock().data().to_owned();
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            self.folder().write(&data.join(name), text)?;
        }
        query(&self.url(), "ALTER SYSTEM SET ssl = on")?;
        self.reload()
    }

    /// Returns when new connections meet what its files say now.
    pub fn reload(self) -> Result<(), PostgresError> {
        let url = self.url();
        let before = value(&url, "SELECT pg_conf_load_time()")?;
        query(&url, "SELECT pg_reload_conf()")?;
        let deadline = server::deadline();
        // A connection is told by the process that made it, which reads all of its files at once.
        while value(&url, "SELECT pg_conf_load_time()")? == before {
            if !server::pause(deadline) {
                let server = self.lock().name();
                return Err(PostgresError::Behind { server, what: "its new settings".to_owned() });
            }
        }
        Ok(())
    }
}
