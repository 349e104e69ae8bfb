//! Another component in the place of one that serves: `larder policy deploy`, and back with `larder policy rollback`.
//!
//! It is loaded with all settings that it will have before anything is written, then put into the place of the file
//! that the configuration names, and swapped in between two requests. What stood there is kept beside it. Whatever fails,
//! file and proxy are as they were. Next: `reload.rs`, `live/chain.rs`.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    config::{Config, PolicyUse},
    live::{Instead, Live, read_component},
    reload::{ReloadError, Reloaded, Reloader, Turn},
};

/// Which policy of a configuration is meant.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub route: &'a str,
    /// As it describes itself, or its file without `.wasm`. Needed where a route has several.
    pub name: Option<&'a str>,
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct Deployed {
    pub route: String,
    /// `name@version` of what serves now.
    pub policy: String,
    pub component: PathBuf,
    /// Where what served before is kept.
    pub previous: Option<PathBuf>,
    #[serde(flatten)]
    pub reloaded: Reloaded,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error("{0}")]
    Refused(#[from] ReloadError),
    #[error("there is no route \"{route}\"; there are {}", known.join(", "))]
    NoRoute { route: String, known: Vec<String> },
    #[error("route \"{route}\" has no policy; name a component in the configuration first")]
    NoPolicy { route: String },
    #[error("route \"{route}\" has several policies; say which one with --name: {}", known.join(", "))]
    Several { route: String, known: Vec<String> },
    #[error("route \"{route}\" has no policy \"{name}\"; it has {}", known.join(", "))]
    NoSuchPolicy { route: String, name: String, known: Vec<String> },
    #[error(
        "write {}: {source}; nothing was changed. Let the user that larder runs as write in {}, or put the component \
         there yourself and run `larder reload`", path.display(), folder.display()
    )]
    Write { path: PathBuf, folder: PathBuf, source: io::Error },
    #[error("{}: {source}; nothing was deployed over it yet, so there is nothing to go back to", path.display())]
    NoPrevious { path: PathBuf, source: io::Error },
    #[error("{}: is what serves already; there is nothing else to go back to", path.display())]
    SamePrevious { path: PathBuf },
}

/// Puts `wasm` into the place. Takes as long as compiling does: call it where blocking is allowed.
pub fn deploy(reloader: &Reloader, place: Place<'_>, wasm: &[u8]) -> Result<Deployed, DeployError> {
    replace(reloader, place, |_| Ok(wasm.into()))
}

/// Exchanges the component in the place with the one that stood there before it.
pub fn roll_back(reloader: &Reloader, place: Place<'_>) -> Result<Deployed, DeployError> {
    replace(reloader, place, |file| {
        let file = real(file);
        let path = previous_of(&file);
        match read_component(&path) {
            // A deploy that was cut off between its two steps leaves it so.
            Ok(previous) if read_component(&file).is_ok_and(|file| file == previous) => {
                Err(DeployError::SamePrevious { path })
            }
            Ok(previous) => Ok(Cow::Owned(previous)),
            Err(source) => Err(DeployError::NoPrevious { path, source }),
        }
    })
}

fn replace<'w>(
    reloader: &Reloader,
    place: Place<'_>,
    component: impl FnOnce(&Path) -> Result<Cow<'w, [u8]>, DeployError>,
) -> Result<Deployed, DeployError> {
    let turn = reloader.turn();
    let seen = reloader.seen();
    let replaced = replace_in_turn(reloader, &turn, place, component);
    if replaced.is_err() {
        // An edit of the file that was read on the way is still to come to serve.
        reloader.have_seen(&turn, seen);
    }
    replaced
}

fn replace_in_turn<'w>(
    reloader: &Reloader,
    turn: &Turn<'_>,
    place: Place<'_>,
    component: impl FnOnce(&Path) -> Result<Cow<'w, [u8]>, DeployError>,
) -> Result<Deployed, DeployError> {
    let config = reloader.read(turn)?;
    let (route_at, policy_at) = find(&config, &reloader.proxy().live(), place)?;
    let wanted = |config: &Config| -> Option<PathBuf> {
        let policy = config.policies_of(config.routes.get(route_at)?).nth(policy_at)?;
        Some(policy.component.clone())
    };
    let file = wanted(&config).unwrap_or_default();
    let wasm = component(&file)?;
    let names = same_file(&config, &file);
    let instead = Instead { files: &names, wasm: &wasm };
    let prepared = reloader.prepare(config, Some(instead))?;
    let previous = put(&real(&file), &wasm)?;
    // What was written is what is swapped in here.
    reloader.wrote(&names);
    let reloaded = reloader.swap_in(turn, prepared);
    reloaded.warn();
    let live = reloader.proxy().live();
    let policy = live.chains[route_at].links[policy_at].live.policy.label().to_string();
    tracing::info!(route.name = place.route, "policy {policy} deployed to {}", file.display());
    Ok(Deployed { route: place.route.to_owned(), policy, component: file, previous, reloaded })
}

/// The index of the route, and that of the policy in its row.
fn find(config: &Config, live: &Live, place: Place<'_>) -> Result<(usize, usize), DeployError> {
    let route = place.route.to_owned();
    let Some(at) = config.routes.iter().position(|known| known.name.as_str() == place.route) else {
        let known = config.routes.iter().map(|route| route.name.to_string()).collect();
        return Err(DeployError::NoRoute { route, known });
    };
    let uses: Vec<&PolicyUse> = config.policies_of(&config.routes[at]).collect();
    let serving = live.config.routes.iter().position(|known| known.name.as_str() == place.route);
    let serving = serving.map(|at| &*live.chains[at].links).unwrap_or_default();
    let stem = |wanted: &PolicyUse| {
        wanted.component.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let name = |at: usize| match serving.get(at) {
        Some(link) if link.component == uses[at].component => link.live.policy.name().to_owned(),
        Some(_) | None => stem(uses[at]),
    };
    let known = || (0..uses.len()).map(name).collect::<Vec<_>>();
    let is_it = |index: &usize| {
        place.name.is_none_or(|wanted| name(*index) == wanted || stem(uses[*index]) == wanted)
    };
    let found: Vec<usize> = (0..uses.len()).filter(is_it).collect();
    match (&*found, place.name) {
        ([one], _) => Ok((at, *one)),
        ([], _) if uses.is_empty() => Err(DeployError::NoPolicy { route }),
        ([], Some(name)) => Err(DeployError::NoSuchPolicy { route, name: name.to_owned(), known: known() }),
        (_, _) => Err(DeployError::Several { route, known: known() }),
    }
}

/// The file under all names that the configuration has for it.
fn same_file(config: &Config, file: &Path) -> Vec<PathBuf> {
    let uses = config.policies.iter().chain(config.routes.iter().flat_map(|route| &route.policies));
    let target = real(file);
    uses.map(|policy| &policy.component).filter(|component| real(component) == target).cloned().collect()
}

/// Where a file really is: a link is not replaced, but what it leads to.
fn real(file: &Path) -> PathBuf {
    fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}

fn previous_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".previous");
    name.into()
}

/// Writes a file in one step, with what was there before kept beside it. Gives where that is.
fn put(file: &Path, wasm: &[u8]) -> Result<Option<PathBuf>, DeployError> {
    let previous = previous_of(file);
    let before = match fs::read(file) {
        // It would be kept in the place of what was really there before.
        Ok(before) if before == wasm => return Ok(previous.is_file().then_some(previous)),
        Ok(before) => Some(before),
        Err(_) => None,
    };
    let failed = |source| {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        DeployError::Write { path: file.to_owned(), folder, source }
    };
    let new = Beside::write(file, "new", file, wasm).map_err(failed)?;
    if let Some(before) = &before {
        Beside::write(file, "old", &previous, before).and_then(Beside::rename).map_err(failed)?;
    }
    new.rename().map_err(failed)?;
    Ok(before.map(|_| previous))
}

/// A file that is whole on the disk and has another name still.
struct Beside {
    path: PathBuf,
    to: PathBuf,
}

impl Beside {
    fn write(like: &Path, kind: &str, to: &Path, bytes: &[u8]) -> io::Result<Beside> {
        let folder = to.parent().unwrap_or(Path::new(""));
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let beside =
            Beside { path: folder.join(format!(".{name}.{}.{kind}", std::process::id())), to: to.to_owned() };
        let mut file = File::create(&beside.path)?;
        file.write_all(bytes)?;
        if let Ok(metadata) = fs::metadata(like) {
            file.set_permissions(metadata.permissions())?;
        }
        file.sync_all()?;
        Ok(beside)
    }

    fn rename(self) -> io::Result<()> {
        fs::rename(&self.path, &self.to)?;
        // So that the new name, too, outlives a crash. What is there is whole in any case.
        if let Some(folder) = self.to.parent().and_then(|folder| File::open(folder).ok()) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Gone already where it was renamed.
        let _ = fs::remove_file(&self.path);
    }
}
