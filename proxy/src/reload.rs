//! Reading the configuration again: by SIGHUP, by a change of the file, by a call of the admin listener.
//!
//! All three end in [`Reloader::reload`]: parse, check, compile, swap. A file with a fault changes nothing.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, SystemTime},
};

use crate::{
    config::{Config, ConfigFaults},
    live::{Instead, Live, PrepareError, Prepared, Proxy},
};

/// How often the files are looked at. Their names and dates are compared, nothing is read; this also sees what
/// change notification misses: network file systems, and links that are turned to another folder.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Knows where the configuration came from, and reads it again.
pub struct Reloader {
    proxy: Arc<Proxy>,
    file: Option<PathBuf>,
    /// Held while reloading, so that reloads happen one after the other. Compiling takes long: nobody else waits for it.
    reloading: Mutex<()>,
    /// Held while a component is received and put to use, whether its client stays or not: they are large, and one at a time
    /// is enough.
    pub deploying: Arc<tokio::sync::Mutex<()>>,
    /// Held for moments only.
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    failure: Option<String>,
    /// The file and the components that it named when it was last read, whether it was accepted or not.
    watched: Vec<PathBuf>,
    /// As they were before they were read: an edit made meanwhile is seen as one.
    seen: Vec<Option<Print>>,
}

/// What of a file changes when somebody changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Print {
    modified: Option<SystemTime>,
    size_bytes: u64,
    inode: u64,
}

/// What files were looked at, and how they were.
pub(crate) struct Seen {
    watched: Vec<PathBuf>,
    prints: Vec<Option<Print>>,
}

/// The right to replace what serves.
pub(crate) struct Turn<'r> {
    _held: MutexGuard<'r, ()>,
}

/// What a reload did.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Reloaded {
    pub generation: u64,
    pub changes: Vec<String>,
    /// Changes in the file that hold only after a restart.
    pub needs_restart: Vec<String>,
    pub warnings: Vec<String>,
}

/// Why nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error("{0}")]
    Config(#[from] ConfigFaults),
    #[error("{}", lines(.0))]
    Prepare(Vec<PrepareError>),
    #[error("there is no configuration file to read again: the proxy was started with --listen and --to")]
    NoFile,
}

impl Reloaded {
    /// What an operator has to know besides.
    pub(crate) fn warn(&self) {
        for text in self.needs_restart.iter().chain(&self.warnings) {
            tracing::warn!("{text}");
        }
    }
}

/// Each on a line of its own.
pub fn lines<T: ToString>(faults: &[T]) -> String {
    faults.iter().map(T::to_string).collect::<Vec<_>>().join("\n")
}

impl Reloader {
    pub fn new(proxy: Arc<Proxy>, file: Option<PathBuf>) -> Reloader {
        let mut last = Last::default();
        if let Some(file) = &file {
            last.watched = watched(file, &proxy.live().config);
            last.seen = prints(&last.watched);
        }
        Reloader {
            proxy,
            file,
            reloading: Mutex::default(),
            deploying: Default::default(),
            last: Mutex::new(last),
        }
    }

    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What was wrong with the file when it was last read; `None` if it serves.
    pub fn last_failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// Takes as long as compiling the policies does: call it where blocking is allowed.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        let turn = self.turn();
        let result = self.replace(&turn);
        self.note(&result);
        result
    }

    /// Held by whoever replaces what serves.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn { _held: self.reloading.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// For the log, and for who asks later.
    fn note(&self, result: &Result<Reloaded, ReloadError>) {
        match result {
            Ok(reloaded) => {
                tracing::info!(generation = reloaded.generation, changes = ?reloaded.changes, "configuration reloaded");
                reloaded.warn();
            }
            Err(error) => {
                self.proxy.reload_failures.fetch_add(1, Ordering::Relaxed);
                self.lock().failure = Some(error.to_string());
                tracing::error!("the configuration was refused, the old one goes on serving:\n{error}");
            }
        }
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    fn replace(&self, turn: &Turn<'_>) -> Result<Reloaded, ReloadError> {
        let config = self.read(turn)?;
        let prepared = self.prepare(config, None)?;
        Ok(self.swap_in(turn, prepared))
    }

    /// The configuration as its file has it now.
    pub(crate) fn read(&self, _turn: &Turn<'_>) -> Result<Config, ReloadError> {
        let file = self.file.as_deref().ok_or(ReloadError::NoFile)?;
        self.look_at_what_is_watched();
        let config = Config::load(file)?;
        {
            // Components are read after this look, so one that is replaced meanwhile is read once more.
            let mut last = self.lock();
            let file_as_read = last.seen.first().cloned().flatten();
            last.watched = watched(file, &config);
            last.seen = prints(&last.watched);
            if let Some(first) = last.seen.first_mut() {
                *first = file_as_read;
            }
        }
        Ok(config)
    }

    pub(crate) fn prepare(
        &self,
        config: Config,
        instead: Option<Instead<'_>>,
    ) -> Result<Prepared, ReloadError> {
        let file = self.file.as_deref().ok_or(ReloadError::NoFile)?;
        self.proxy.prepare(config, file, instead).map_err(ReloadError::Prepare)
    }

    pub(crate) fn swap_in(&self, _turn: &Turn<'_>, prepared: Prepared) -> Reloaded {
        let old = self.proxy.live();
        let mut changes = old.config.describe_changes(&prepared.config);
        let needs_restart = old.config.needs_restart(&prepared.config);
        let warnings = prepared.config.warnings.clone();
        let new = self.proxy.swap_in(prepared);
        changes.extend(new_components(&old, &new));
        // What the file says now serves, whatever it said before.
        self.lock().failure = None;
        Reloaded { generation: new.generation, changes, needs_restart, warnings }
    }

    /// From here on only what changes later is a change.
    fn look_at_what_is_watched(&self) {
        let mut last = self.lock();
        last.seen = prints(&last.watched);
    }

    /// The same for files that were written here. Of the others, what was changed meanwhile is a change still.
    pub(crate) fn wrote(&self, files: &[PathBuf]) {
        let mut last = self.lock();
        let Last { watched, seen, .. } = &mut *last;
        for (file, seen) in watched.iter().zip(seen).filter(|(file, _)| files.contains(file)) {
            *seen = print(file);
        }
    }

    /// What has been seen of the files so far, for [`Self::have_seen`].
    pub(crate) fn seen(&self) -> Seen {
        let last = self.lock();
        Seen { watched: last.watched.clone(), prints: last.seen.clone() }
    }

    /// Goes back to that: what was read since did not come to serve, and whoever edited it waits for it.
    pub(crate) fn have_seen(&self, _turn: &Turn<'_>, seen: Seen) {
        let mut last = self.lock();
        (last.watched, last.seen) = (seen.watched, seen.prints);
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches the configuration and the components it names; reloads when they changed and have been still for
    /// one look, so that a file is not read while it is being written.
    pub async fn watch(self: Arc<Self>) {
        if self.file.is_none() {
            return;
        }
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut before = self.lock().seen.clone();
        let mut reloading: Option<tokio::task::JoinHandle<bool>> = None;
        loop {
            looks.tick().await;
            if reloading.as_ref().is_some_and(|reload| !reload.is_finished()) {
                continue;
            }
            let watched = self.lock().watched.clone();
            let now = prints(&watched);
            let is_still = now == before;
            before = now;
            if is_still && before != self.lock().seen {
                let reloader = Arc::clone(&self);
                // Its result is logged, and kept for the status.
                reloading = Some(tokio::task::spawn_blocking(move || reloader.reload().is_ok()));
            }
        }
    }
}

/// Routes whose component is another one, although the configuration names the same file.
fn new_components(old: &Live, new: &Live) -> Vec<String> {
    let mut changed = Vec::new();
    for (route, chain) in new.config.routes.iter().zip(&new.chains) {
        let Some(at) = old.config.routes.iter().position(|other| other.name == route.name) else { continue };
        let uses = old.config.policies_of(&old.config.routes[at]).zip(new.config.policies_of(route));
        for ((was, wanted), (before, now)) in uses.zip(old.chains[at].links.iter().zip(&chain.links)) {
            let is_same_text = was.component == wanted.component && was.settings == wanted.settings;
            if is_same_text && before.live.generation != now.live.generation {
                let label = now.live.policy.label();
                changed.push(format!("route \"{}\": new component {label}", route.name.as_str()));
            }
        }
    }
    changed
}

/// The file, then the components that it names.
fn watched(file: &Path, config: &Config) -> Vec<PathBuf> {
    let uses = config.policies.iter().chain(config.routes.iter().flat_map(|route| &route.policies));
    std::iter::once(file.to_owned()).chain(uses.map(|policy| policy.component.clone())).collect()
}

fn prints(files: &[PathBuf]) -> Vec<Option<Print>> {
    files.iter().map(|file| print(file)).collect()
}

fn print(file: &Path) -> Option<Print> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(file).ok()?;
    Some(Print { modified: metadata.modified().ok(), size_bytes: metadata.len(), inode: metadata.ino() })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::AtomicUsize;

    use plugin_host::{Engine, Limits};

    use super::*;
    use crate::clock::Clock;

    const TEXT: &str = "listen = [\"127.0.0.1:0\"]\n[[upstream]]\nservers = [\"http://127.0.0.1:1\"]\n";

    /// With a configuration in it; gone with its owner.
    pub(crate) struct Folder(PathBuf);

    impl Folder {
        pub(crate) fn new() -> Folder {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let folder = std::env::temp_dir().join(format!("larder-reload-{}-{number}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("larder.toml"), TEXT).unwrap();
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Of a proxy that serves nobody.
    pub(crate) fn reloader(folder: &Folder) -> Reloader {
        let file = folder.0.join("larder.toml");
        let engine = Engine::new(Limits { instances: 2, ..Limits::default() }).unwrap();
        let proxy = Proxy::new(Config::load(&file).unwrap(), &file, Clock::System, engine).unwrap();
        Reloader::new(Arc::new(proxy), Some(file))
    }

    #[test]
    fn what_is_edited_while_a_component_is_put_to_use_is_a_change_still() {
        let folder = Folder::new();
        let (file, component) = (folder.0.join("larder.toml"), folder.0.join("policy.wasm"));
        let reloader = reloader(&folder);
        std::fs::write(&component, "one").unwrap();
        let turn = reloader.turn();
        let before = reloader.seen();
        drop(reloader.read(&turn).unwrap());
        reloader.lock().watched.push(component.clone());
        reloader.look_at_what_is_watched();
        let is_changed = || {
            let last = reloader.lock();
            prints(&last.watched) != last.seen
        };
        std::fs::write(&component, "another").unwrap();
        assert!(is_changed());
        reloader.wrote(std::slice::from_ref(&component));
        assert!(!is_changed());
        std::fs::write(&file, format!("{TEXT}# edited")).unwrap();
        std::fs::write(&component, "the third").unwrap();
        reloader.wrote(&[component]);
        assert!(is_changed());
        // Read, but not put to use.
        drop(reloader.read(&turn).unwrap());
        assert!(!is_changed());
        reloader.have_seen(&turn, before);
        assert!(is_changed());
    }
}
