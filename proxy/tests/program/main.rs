//! The program itself, as a process: what only the whole of it can show.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends where it is")]

mod crowd;
mod docs;
mod explain;
mod hostile;
mod policies;
mod secrets;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

/// A configuration of its own in a folder that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn with_config(text: &str) -> (Folder, PathBuf) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("larder-program-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("larder.toml");
        std::fs::write(&file, text).unwrap();
        (Folder(folder), file)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left over in a temporary folder does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
