//! Compiled components on disk, so that a restart need not compile again what takes an interpreter's component seconds.
//!
//! What is loaded from here runs as native code of this process. So the folder and all in it belong to the user of the
//! service and nobody else may write there, and each file is signed with a key that is kept there too: what is damaged,
//! cut off, from another wasmtime, for another processor or not ours at all is compiled anew, never loaded.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

/// What a file begins with; the number is that of its form.
const MAGIC: &[u8; 8] = b"LARDERC1";
const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;
const SUFFIX: &str = "cwasm";
/// Compiled code of a large interpreter takes some 40 MiB.
const FILE_BYTES_MAX: u64 = 256 << 20;
const FOLDER_BYTES_MAX: u64 = 512 << 20;
const FILES_MAX: usize = 64;

/// A folder of compiled components.
pub(crate) struct CodeCache {
    folder: PathBuf,
    key: [u8; KEY_BYTES],
}

/// Why a folder is not used for compiled components.
#[derive(Debug, thiserror::Error)]
pub enum CodeCacheError {
    #[error("code cache {}: {source}", folder.display())]
    Io { folder: PathBuf, source: io::Error },
    #[error(
        "code cache {}: others than its owner may read or write there (mode {mode:03o}); run chmod 700 on it, or name \
         another folder", folder.display()
    )]
    Open { folder: PathBuf, mode: u32 },
    #[error(
        "code cache {}: belongs to user {owner}, and this program runs as {user}: what is there could be anybody's code; \
         give it to {user}, or name another folder", folder.display()
    )]
    Foreign { folder: PathBuf, owner: u32, user: u32 },
    #[error("code cache {}: its key is not of {KEY_BYTES} bytes; remove the file {KEY_FILE:?} in it", folder.display())]
    Key { folder: PathBuf },
}

impl CodeCache {
    /// Makes the folder and its key where they are missing.
    pub(crate) fn open(folder: &Path) -> Result<CodeCache, CodeCacheError> {
        let failed = |source| CodeCacheError::Io { folder: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        // From here on the place itself, wherever links lead to it.
        let folder = folder.canonicalize().map_err(failed)?;
        let metadata = fs::metadata(&folder).map_err(failed)?;
        let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != user {
            return Err(CodeCacheError::Foreign { folder, owner, user });
        }
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(CodeCacheError::Open { folder, mode });
        }
        let key = key(&folder).map_err(failed)?;
        let key = key.try_into().map_err(|_| CodeCacheError::Key { folder: folder.clone() })?;
        Ok(CodeCache { folder, key })
    }

    /// The compiled component, if it is there and was put there by us for just this engine.
    pub(crate) fn load(&self, engine: &wasmtime::Engine, wasm: &[u8]) -> Option<Component> {
        let name = Name::of(engine, wasm);
        let mut bytes = Vec::new();
        let file = self.open_file(&name.file()).ok()?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
        let signed = bytes.strip_prefix(MAGIC)?;
        let (mac, code) = signed.split_at_checked(MAC_BYTES)?;
        // In constant time.
        self.mac(&name, code).verify_slice(mac).ok()?;
        deserialize(engine, code)
    }

    /// Keeps a compiled component. What goes wrong costs the next start its time, and nothing else.
    pub(crate) fn store(
        &self,
        engine: &wasmtime::Engine,
        wasm: &[u8],
        component: &Component,
    ) -> Result<(), String> {
        let name = Name::of(engine, wasm);
        let code = component.serialize().map_err(|error| format!("{error:#}"))?;
        let mac = self.mac(&name, &code).finalize().into_bytes();
        self.write(&name.file(), &[MAGIC, &mac, &code]).map_err(|error| error.to_string())?;
        self.make_room(&name.file()).map_err(|error| error.to_string())
    }

    fn mac(&self, name: &Name, code: &[u8]) -> Hmac<Sha256> {
        // A key of any length will do for HMAC, so this one does.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).unwrap_or_else(|_| unreachable!());
        mac.update(MAGIC);
        mac.update(&name.wasm);
        mac.update(&name.engine.to_le_bytes());
        mac.update(code);
        mac
    }

    fn open_file(&self, name: &str) -> io::Result<File> {
        open(&self.folder.join(name))
    }

    /// In whole or not at all, whenever the machine stops.
    fn write(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let mut suffix = [0; 8];
        random(&mut suffix)?;
        let temporary = self.folder.join(format!("{name}.{:016x}.new", u64::from_le_bytes(suffix)));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            parts.iter().try_for_each(|part| file.write_all(part))?;
            file.sync_all()?;
            fs::rename(&temporary, self.folder.join(name))
        })();
        if written.is_err() {
            // The disk may be full, and this is no use to anybody.
            drop(fs::remove_file(&temporary));
        }
        written
    }

    /// Removes the oldest files until few are left, and never the newest.
    fn make_room(&self, newest: &str) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            let is_ours = path.extension().is_some_and(|suffix| suffix == SUFFIX || suffix == "new");
            if is_ours && entry.file_name() != newest {
                let metadata = entry.metadata()?;
                files.push((metadata.modified()?, metadata.len(), path));
            }
        }
        files.sort_by_key(|(modified, _, _)| std::cmp::Reverse(*modified));
        let mut bytes = 0;
        for (number, (_, file_bytes, path)) in files.into_iter().enumerate() {
            bytes += file_bytes;
            if number + 1 >= FILES_MAX || bytes > FOLDER_BYTES_MAX {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// What a file is for: this component, under this engine. wasmtime's number holds its version, the processor and the
/// settings.
struct Name {
    wasm: [u8; 32],
    engine: u64,
}

impl Name {
    fn of(engine: &wasmtime::Engine, wasm: &[u8]) -> Name {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Name { wasm: Sha256::digest(wasm).into(), engine: hasher.finish() }
    }

    fn file(&self) -> String {
        let wasm: String = self.wasm.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{wasm}-{:016x}.{SUFFIX}", self.engine)
    }
}

#[expect(unsafe_code, reason = "compiled code can be loaded in no other way")]
fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> Option<Component> {
    // SAFETY: wasmtime asks that the bytes are what its `serialize` gave. They carry a digest under a key that nobody but this
    // user can read, made over bytes that came from there, and they were compared in memory of our own, so that nobody
    // can change them afterwards. That they fit this version and these settings, wasmtime checks by itself.
    unsafe { Component::deserialize(engine, code) }.ok()
}

/// Reads the key of a folder, or makes it.
fn key(folder: &Path) -> io::Result<Vec<u8>> {
    let path = folder.join(KEY_FILE);
    match read_key(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_key(folder, &path)?;
            read_key(&path)
        }
        read => read,
    }
}

fn read_key(path: &Path) -> io::Result<Vec<u8>> {
    let mut key = Vec::new();
    open(path)?.take(KEY_BYTES as u64 + 1).read_to_end(&mut key)?;
    Ok(key)
}

/// Puts a key in its place whole: another process that starts now, or a machine that stops now, must not leave or see half
/// of one. Whoever comes first has made it.
fn make_key(folder: &Path, path: &Path) -> io::Result<()> {
    let (mut fresh, mut suffix) = ([0; KEY_BYTES], [0; 8]);
    random(&mut fresh)?;
    random(&mut suffix)?;
    let temporary = folder.join(format!("{KEY_FILE}.{:016x}.new", u64::from_le_bytes(suffix)));
    let made = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&fresh)?;
        file.sync_all()?;
        // Other than a rename, a link does not replace what is there.
        fs::hard_link(&temporary, path)
    })();
    drop(fs::remove_file(&temporary));
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// A file of our own: not a link to another one, and not somebody else's.
fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file()
        || metadata.uid() != rustix::process::geteuid().as_raw()
        || metadata.mode() & 0o022 != 0
    {
        return Err(io::Error::other("not a file that only this user can write"));
    }
    Ok(file)
}

fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::{PermissionsExt as _, symlink},
        sync::atomic::{AtomicU32, Ordering},
    };

    use wasmtime::Config;

    use super::*;

    /// The smallest component.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("larder-code-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            Folder(std::env::temp_dir().join(name))
        }

        fn cache(&self) -> CodeCache {
            CodeCache::open(&self.0).unwrap()
        }

        /// The one compiled component in it.
        fn file(&self) -> PathBuf {
            let mut files = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
            files.find(|path| path.extension().is_some_and(|suffix| suffix == SUFFIX)).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn kept(folder: &Folder) -> (wasmtime::Engine, CodeCache) {
        let (engine, cache) = (wasmtime::Engine::default(), folder.cache());
        let component = Component::from_binary(&engine, EMPTY).unwrap();
        cache.store(&engine, EMPTY, &component).unwrap();
        (engine, cache)
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart_and_for_this_component_alone() {
        let folder = Folder::new();
        assert!(folder.cache().load(&wasmtime::Engine::default(), EMPTY).is_none());
        let (engine, cache) = kept(&folder);
        assert!(cache.load(&engine, EMPTY).is_some());
        assert!(folder.cache().load(&wasmtime::Engine::default(), EMPTY).is_some());
        assert!(cache.load(&engine, b"another").is_none());
    }

    #[test]
    fn a_file_with_any_byte_changed_or_missing_is_not_loaded() {
        let folder = Folder::new();
        let (engine, cache) = kept(&folder);
        let path = folder.file();
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 40).chain([0, 8, 39, 40, whole.len() - 1]) {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            assert!(cache.load(&engine, EMPTY).is_none(), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(cache.load(&engine, EMPTY).is_none(), "{at} bytes");
        }
        fs::write(&path, &whole).unwrap();
        assert!(cache.load(&engine, EMPTY).is_some());
    }

    #[test]
    fn what_is_signed_for_another_place_is_not_loaded() {
        let (folder, other) = (Folder::new(), Folder::new());
        let (engine, cache) = kept(&folder);
        drop(kept(&other));
        // Under another key.
        fs::copy(other.file(), folder.file()).unwrap();
        assert!(cache.load(&engine, EMPTY).is_none());
        // For other settings of the engine, in the place of this one's.
        let settings = wasmtime::Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let component = Component::from_binary(&settings, EMPTY).unwrap();
        let path = folder.file();
        fs::remove_file(&path).unwrap();
        cache.store(&settings, EMPTY, &component).unwrap();
        fs::rename(folder.file(), &path).unwrap();
        assert!(cache.load(&engine, EMPTY).is_none());
    }

    #[test]
    fn a_link_or_a_file_that_others_can_write_is_not_loaded() {
        let folder = Folder::new();
        let (engine, cache) = kept(&folder);
        let (path, elsewhere) = (folder.file(), folder.0.join("elsewhere"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(cache.load(&engine, EMPTY).is_none());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(cache.load(&engine, EMPTY).is_none());
    }

    #[test]
    fn a_folder_that_others_can_read_is_refused_with_what_to_do() {
        let folder = Folder::new();
        drop(folder.cache());
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
        let Err(error) = CodeCache::open(&folder.0) else { panic!("taken") };
        assert!(error.to_string().contains("(mode 755); run chmod 700 on it"), "{error}");
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(folder.0.join(KEY_FILE), b"short").unwrap();
        let Err(error) = CodeCache::open(&folder.0) else { panic!("taken") };
        assert!(error.to_string().contains("its key is not of 32 bytes; remove the file"), "{error}");
    }

    #[test]
    fn processes_that_start_at_once_have_one_key() {
        let folder = Folder::new();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let opened: Vec<_> = (0..8).map(|_| scope.spawn(|| folder.cache().key)).collect();
            opened.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0] && *key != [0; KEY_BYTES]));
        // And nothing else is left behind.
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_is_a_link_is_not_taken() {
        let (folder, other) = (Folder::new(), Folder::new());
        drop((folder.cache(), other.cache()));
        let path = folder.0.join(KEY_FILE);
        fs::remove_file(&path).unwrap();
        symlink(other.0.join(KEY_FILE), &path).unwrap();
        assert!(matches!(CodeCache::open(&folder.0), Err(CodeCacheError::Io { .. })));
    }

    #[test]
    fn the_oldest_make_room() {
        let folder = Folder::new();
        let (_, cache) = kept(&folder);
        for number in 0..FILES_MAX + 5 {
            fs::write(folder.0.join(format!("{number:03}.{SUFFIX}")), b"old").unwrap();
        }
        drop(kept(&folder));
        let files = fs::read_dir(&folder.0).unwrap();
        let count = files.filter(|entry| entry.as_ref().unwrap().path().extension().is_some()).count();
        assert_eq!(count, FILES_MAX);
        assert!(cache.load(&wasmtime::Engine::default(), EMPTY).is_some());
    }
}
