//! Who Postgres runs as: it refuses to be root, so root runs it as someone else.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
};

use super::PostgresError;

/// In order: the one that packages of Postgres make, and the one that every system has.
const NAMES: [&str; 2] = ["postgres", "nobody"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: u32,
    pub(super) group: u32,
}

/// `None`: whoever we are will do.
pub(super) fn find() -> Result<Option<Account>, PostgresError> {
    if !is_root() {
        return Ok(None);
    }
    let known = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = NAMES.iter().find_map(|name| in_passwd(&known, name).or_else(|| by_id(name)));
    // initdb looks the user up by its number, so it has to be a real one.
    found.map(Some).ok_or(PostgresError::NoAccount)
}

pub(super) fn is_root() -> bool {
    // A file of our own making would say so everywhere; this one is there already where root is common.
    match fs::metadata("/proc/self") {
        Ok(own) => own.uid() == 0,
        Err(_) => id(&["-u"]) == Some(0),
    }
}

fn in_passwd(text: &str, name: &str) -> Option<Account> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let mut numbers = fields.skip(1).take(2).map(str::parse);
        Some(Account { user: numbers.next()?.ok()?, group: numbers.next()?.ok()? })
    })
}

/// For users that are not in the file: of a directory service.
fn by_id(name: &str) -> Option<Account> {
    Some(Account { user: id(&["-u", name])?, group: id(&["-g", name])? })
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let text = "root:x:0:0::/root:/bin/sh\npostgres-old:x:5:6::/:\npostgres:x:101:102:PostgreSQL:/:/bin/bash\nbad:x\n";
        assert_eq!(in_passwd(text, "postgres"), Some(Account { user: 101, group: 102 }));
        assert_eq!(in_passwd(text, "bad"), None);
        assert_eq!(in_passwd(text, "nobody"), None);
    }
}
