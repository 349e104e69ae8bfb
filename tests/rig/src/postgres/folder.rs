//! The folder that a cluster lives in, and the watchdog that removes it when its owner cannot: after a SIGKILL, or when
//! the owner is a `static` that is never dropped.
//!
//! The watchdog is a shell that reads its standard input, a pipe of which we alone hold the other end: it comes to its end
//! when we close it or end ourselves, in any way. It then ends the servers it finds and removes the folder.

use std::{
    fs, io,
    io::Write as _,
    os::unix::{
        fs::{DirBuilderExt as _, OpenOptionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use super::{
    PostgresError,
    account::{self, Account},
    file_error,
};

/// A socket's path has at most 107 bytes on Linux, 103 elsewhere; Postgres puts `/.s.PGSQL.65535.lock` behind it.
const MAX_PATH_BYTES: usize = 80;

/// Arguments: the folder. A server that ends as it should removes its `postmaster.pid`; one that was killed leaves a number
/// that may be another process by now, so the command line is looked at too.
const WATCHDOG: &str = r#"
cat >/dev/null
dir=$1
signal() {
    for data in "$dir"/primary "$dir"/replica*; do
        [ -d "$data" ] || continue
        pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) || continue
        { tr '\0' ' ' <"/proc/$pid/cmdline" || ps -p "$pid" -o args=; } 2>/dev/null | grep -qF -- "$data" || continue
        kill "-$1" "$pid" 2>/dev/null && running=1
    done
    for file in "$dir"/pooler-*.pid; do
        pid=$(head -n 1 "$file" 2>/dev/null) || continue
        { tr '\0' ' ' <"/proc/$pid/cmdline" || ps -p "$pid" -o args=; } 2>/dev/null | grep -qF -- "$dir/" || continue
        kill "-$1" "$pid" 2>/dev/null && running=1
    done
}
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    running=
    case $round in
        1) signal QUIT ;;
        20) signal KILL ;;
        *) signal 0 ;;
    esac
    [ -z "$running" ] && break
    sleep 0.25
done
# What was just starting may write for a moment longer.
for round in 1 2 3; do
    rm -rf -- "$dir"
    [ -e "$dir" ] || break
    sleep 1
done
"#;

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    account: Option<Account>,
    watchdog: Child,
}

impl Folder {
    pub(super) fn create() -> Result<Folder, PostgresError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let account = account::find()?;
        let parent = parent();
        let path = loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("larder-pg-{}-{count}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => break path,
                // Left behind by a process of that number, or someone else's: never ours to use.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
                Err(source) => return Err(PostgresError::File { what: "create", path, source }),
            }
        };
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "larder-pg-watchdog"])
            .arg(&path)
            .current_dir("/")
            // Ctrl-C in a terminal must not end it before its work is done.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let watchdog = match watchdog {
            Ok(watchdog) => watchdog,
            Err(source) => {
                // Empty still; the error to report is the other one.
                drop(fs::remove_dir(&path));
                return Err(PostgresError::Run { command: "sh".to_owned(), source });
            }
        };
        let folder = Folder { path, account, watchdog };
        if let Some(Account { user, group }) = account {
            chown(&folder.path, Some(user), Some(group)).map_err(file_error("give away", &folder.path))?;
        }
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file that belongs to whoever the programs run as, and that nobody else can read.
    pub(super) fn write(&self, path: &Path, text: &str) -> Result<(), PostgresError> {
        let mut file = fs::File::options()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .map_err(file_error("open", path))?;
        if let Some(Account { user, group }) = self.account {
            chown(path, Some(user), Some(group)).map_err(file_error("give away", path))?;
        }
        file.write_all(text.as_bytes()).map_err(file_error("write", path))
    }

    /// A program of Postgres, to be run by the right user and with nothing of our own environment that means something to it.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("PG") || name_text.starts_with("LC_") || name_text == "LANG" {
                command.env_remove(&name);
            }
        }
        command.env("LC_ALL", "C").current_dir(&self.path).process_group(0);
        if let Some(Account { user, group }) = self.account {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The servers have ended. What is left behind is for the watchdog, which says nothing.
        drop(fs::remove_dir_all(&self.path));
        drop(self.watchdog.stdin.take());
        drop(self.watchdog.wait());
    }
}

/// Temporary files, at a path that is short enough.
fn parent() -> PathBuf {
    let usual = std::env::temp_dir();
    if usual.as_os_str().len() <= MAX_PATH_BYTES - "/larder-pg-4294967295-99".len() {
        usual
    } else {
        PathBuf::from("/tmp")
    }
}
