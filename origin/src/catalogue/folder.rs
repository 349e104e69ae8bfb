//! The query files of a folder, as path and text. Whatever the folder holds, reading it ends, and takes a bounded amount of memory.
//!
//! Knows nothing of what is in the files.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use crate::faults::{Faults, Position};

/// No statement that a person writes comes near this.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// What could be read, and what is wrong with the rest.
///
/// # Errors
/// The folder cannot be read, or there is no query file in it.
pub(super) fn read(directory: &Path) -> Result<(Vec<(PathBuf, String)>, Faults), Faults> {
    let unreadable = |e: std::io::Error| {
        let why = if e.kind() == ErrorKind::NotFound {
            "there is no such folder of query files; `[queries] directory` says where they are, and without it \
             the catalogue that ships is served"
                .to_owned()
        } else if e.kind() == ErrorKind::NotADirectory {
            "is a file; `[queries] directory` is the folder it is in".to_owned()
        } else {
            format!("cannot read the folder of query files: {e}")
        };
        Faults::of_file(directory, why)
    };
    let mut faults = Faults::default();
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        match file(&path) {
            Ok(text) => files.push((path, text)),
            Err((position, message)) => faults.push(&path, position, message),
        }
    }
    if files.is_empty() && faults.is_empty() {
        return Err(Faults::of_file(
            directory,
            "has no query file: each endpoint is one file NAME.sql, directly in the folder",
        ));
    }
    Ok((files, faults))
}

type NotRead = (Option<Position>, String);

fn file(path: &Path) -> Result<String, NotRead> {
    let unreadable = |e: std::io::Error| (None, format!("cannot be read: {e}"));
    let about = fs::metadata(path).map_err(|e| {
        let is_link = fs::symlink_metadata(path).is_ok_and(|about| about.is_symlink());
        let why = match (is_link, e.kind() == ErrorKind::NotFound) {
            (true, true) => "is a link to a file that is not there".to_owned(),
            (true, false) => format!("is a link that leads to no file: {e}"),
            (false, _) => format!("cannot be read: {e}"),
        };
        (None, why)
    })?;
    if !about.is_file() {
        // A pipe would be waited for.
        return Err((None, "is not a file; query files are files NAME.sql".to_owned()));
    }
    let mut bytes = Vec::new();
    // One byte more than may be: it can grow while it is read.
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let message = format!(
            "has {} bytes; a query file has at most {MAX_FILE_BYTES}",
            about.len().max(MAX_FILE_BYTES + 1)
        );
        return Err((None, message));
    }
    String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(e.as_bytes().get(..valid).unwrap_or_default()).into_owned();
        let byte = e.as_bytes().get(valid).copied().unwrap_or_default();
        (Some(Position::of(&before, valid)), format!("is not UTF-8: byte 0x{byte:02x}; save it as UTF-8"))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::catalogue::Catalogue;

    /// A folder of this test alone, removed with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("larder-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        /// What is said of the folder, with names in the place of paths.
        fn said(&self) -> String {
            let said = Catalogue::load(&self.0).unwrap_err().to_string();
            said.replace(&format!("{}/", self.0.display()), "")
                .replace(&self.0.display().to_string(), "FOLDER")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_a_file_or_is_empty_is_refused() {
        let folder = Folder::new("empty");
        fs::write(folder.0.join("notes.txt"), "x").unwrap();
        fs::create_dir(folder.0.join("deeper")).unwrap();
        fs::write(folder.0.join("deeper/a.sql"), "x").unwrap();
        assert_eq!(
            folder.said(),
            "FOLDER: has no query file: each endpoint is one file NAME.sql, directly in the folder"
        );
        let missing = Catalogue::load(&folder.0.join("no")).unwrap_err().to_string();
        assert!(
            missing.contains("/no: there is no such folder of query files; `[queries] directory`"),
            "{missing}"
        );
        let file = Catalogue::load(&folder.0.join("notes.txt")).unwrap_err().to_string();
        assert!(file.contains("notes.txt: is a file; `[queries] directory` is the folder"), "{file}");
    }

    #[test]
    fn everything_that_cannot_be_read_is_named() {
        let folder = Folder::new("unreadable");
        let path = |name: &str| folder.0.join(name);
        symlink(path("loop.sql"), path("loop.sql")).unwrap();
        symlink(path("nowhere"), path("dangling.sql")).unwrap();
        fs::create_dir(path("folder.sql")).unwrap();
        fs::write(path("bytes.sql"), b"-- route: GET /a\n-- rows: \xe9ne\n").unwrap();
        fs::write(path("long.sql"), vec![b' '; 300_000]).unwrap();
        fs::write(path("twin.sql"), "-- route: GET /good\n-- rows: many\n\nSELECT '1'::json AS body\n")
            .unwrap();
        fs::write(path("good.sql"), "-- route: GET /good\n-- rows: many\n\nSELECT '1'::json AS body\n")
            .unwrap();
        let said = folder.said();
        let expected = "bytes.sql:2:10: is not UTF-8: byte 0xe9; save it as UTF-8\n\
                        dangling.sql: is a link to a file that is not there\n\
                        folder.sql: is not a file; query files are files NAME.sql\n\
                        long.sql: has 300000 bytes; a query file has at most 262144\n\
                        loop.sql: is a link that leads to no file: Too many levels of symbolic links (os error 40)\n\
                        twin.sql:1:11: answers the same requests as good.sql\n    -- route: GET /good\n              ^";
        assert_eq!(said, expected, "{said}");
    }
}
