//! Objects as files below a directory: local disk or NFS.
//!
//! The only library file that touches a disk.
//!
//! # How an object is written
//! 1. All parts go to a new file in `.staging/`, a name no [`Key`] can have.
//! 2. The file is fsynced, so that the name of step 3 never stands for missing bytes.
//! 3. `link(2)` gives it its name. Unlike `rename`, it fails when the name is taken, on NFS too.
//! 4. The staging name is removed and the directory is fsynced.
//!
//! A crash before step 3 leaves only a staging file, which [`FsStore::clean_staging`] removes later;
//! a crash after it leaves the object.

use crate::{Entry, Error, ErrorKind, Key, Store};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Directory of unfinished files below the root. No key starts with a dot.
const STAGING: &str = ".staging";

/// Entries handed over at once by a listing.
const LIST_BATCH_LEN: usize = 512;

/// Directories remembered as durable; forgotten all at once beyond this.
const DURABLE_LEN_MAX: usize = 8192;

/// Bytes compared at once when a name turns out to be taken.
const COMPARE_BYTES: usize = 1 << 20;

/// A directory tree of immutable files, private to its owner (0700, 0600).
///
/// The file system must have hard links, or `renameat2` with `RENAME_NOREPLACE`.
pub struct FsStore {
    disk: Arc<Disk>,
}

/// The blocking half: every method may wait for a disk.
struct Disk {
    root: PathBuf,
    /// Directories whose own entry in their parent is known to be on disk.
    durable: Mutex<HashSet<PathBuf>>,
}

impl FsStore {
    /// Opens the tree below `root`, which must be an existing directory: making it here would
    /// quietly fill the mount point of a file system that is not mounted.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it is absent or no directory, [`ErrorKind::Denied`] when it may not
    /// be entered.
    pub fn open(root: impl Into<PathBuf>) -> Result<FsStore, Error> {
        let root = root.into();
        let shown = root.display();
        match std::fs::metadata(&root) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(Error::new(ErrorKind::Config, "open", shown, "it is not a directory")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let why = "the directory does not exist; mount it, or create it";
                return Err(Error::new(ErrorKind::Config, "open", shown, why));
            }
            Err(e) => return Err(io_error("open", shown, &e)),
        }
        Ok(FsStore { disk: Arc::new(Disk { root, durable: Mutex::default() }) })
    }

    /// Makes the directory `root` and those above it, durably, and opens it. An existing one is fine.
    ///
    /// # Errors
    /// As the file system says.
    pub fn create(root: impl Into<PathBuf>) -> Result<FsStore, Error> {
        let root = root.into();
        make_dirs(&root).map_err(|e| io_error("create", root.display(), &e))?;
        FsStore::open(root)
    }

    /// Removes files that a crashed writer left in the staging directory, if they were last written
    /// to more than `older_than` ago by the file system's own clock. Returns how many.
    ///
    /// A live writer whose file is taken away fails with [`ErrorKind::Unavailable`] and starts its
    /// write again: nothing is lost but time.
    pub async fn clean_staging(&self, older_than: Duration) -> Result<u64, Error> {
        self.run(move |disk| disk.clean_staging(older_than)).await
    }

    /// How many staging files there are, those of live writers included.
    pub async fn staging_len(&self) -> Result<u64, Error> {
        self.run(|disk| Ok(disk.staged()?.len() as u64)).await
    }

    /// Runs blocking work where it holds up no other task.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let disk = Arc::clone(&self.disk);
        match tokio::task::spawn_blocking(move || work(&disk)).await {
            Ok(done) => done,
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => {
                let why = "the program is shutting down";
                Err(Error::new(ErrorKind::Other, "use", self.disk.root.display(), why))
            }
        }
    }
}

#[async_trait]
impl Store for FsStore {
    async fn put_new(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        let key = key.clone();
        self.run(move |disk| disk.put_new(&key, &parts)).await
    }

    async fn get(&self, key: &Key, size_max: u64) -> Result<Bytes, Error> {
        let key = key.clone();
        self.run(move |disk| disk.get(&key, size_max)).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        let key = key.clone();
        self.run(move |disk| disk.get_range(&key, range)).await
    }

    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        let key = key.clone();
        self.run(move |disk| disk.head(&key)).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, Error>> {
        let (disk, prefix) = (Arc::clone(&self.disk), prefix.to_owned());
        let (send, receive) = mpsc::channel(4);
        // The walk ends early when the receiver is dropped: then `send` fails.
        tokio::task::spawn_blocking(move || Walk::new(&disk, prefix, send).run());
        stream::unfold(receive, |mut receive| async { Some((receive.recv().await?, receive)) })
            .flat_map(stream::iter)
            .boxed()
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let key = key.clone();
        self.run(move |disk| disk.delete(&key)).await
    }

    fn location(&self) -> String {
        self.disk.root.display().to_string()
    }
}

impl Disk {
    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn put_new(&self, key: &Key, parts: &[Bytes]) -> Result<(), Error> {
        let path = self.path(key);
        let failed = |e: io::Error| io_error("write", path.display(), &e);
        let parent = path.parent().expect("a key's path has the root above it");
        self.make_durable(parent).map_err(failed)?;
        let staged = Staged::write(&self.root.join(STAGING), parts).map_err(failed)?;
        let named = match staged.name(&path) {
            // Somebody removed the directory, or our staging file, since.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.forget_durable();
                self.make_durable(parent).map_err(failed)?;
                staged.name(&path)
            }
            named => named,
        };
        match named {
            Ok(()) => {}
            // A lost reply makes NFS say EEXIST of our own link; a twin with the same bytes is as good.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if !staged.is_same(&path, parts).map_err(failed)? {
                    let why = "another object has this name";
                    return Err(Error::new(ErrorKind::Exists, "write", path.display(), why));
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let why = "the staging file was removed before it got its name";
                return Err(Error::new(ErrorKind::Unavailable, "write", path.display(), why));
            }
            Err(e) => return Err(failed(e)),
        }
        drop(staged);
        sync_dir(parent).map_err(failed)
    }

    fn get(&self, key: &Key, size_max: u64) -> Result<Bytes, Error> {
        let (file, found) = self.open_object(key, "read")?;
        if found.len() > size_max {
            let why = format!("it has {} bytes, at most {size_max} are allowed", found.len());
            return Err(Error::new(ErrorKind::TooLarge, "read", self.path(key).display(), why));
        }
        self.read_exactly(key, &file, found.len())
    }

    fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        let (mut file, found) = self.open_object(key, "read")?;
        if range.start > range.end || range.end > found.len() {
            let why = format!("it has {} bytes, {range:?} was asked for", found.len());
            return Err(Error::new(ErrorKind::CutShort, "read", self.path(key).display(), why));
        }
        file.seek(SeekFrom::Start(range.start))
            .map_err(|e| io_error("read", self.path(key).display(), &e))?;
        self.read_exactly(key, &file, range.end - range.start)
    }

    fn head(&self, key: &Key) -> Result<Entry, Error> {
        let path = self.path(key);
        let found = match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => found,
            Ok(_) => return Err(Error::not_found("look up", key)),
            Err(e) if is_absent(&e) => return Err(Error::not_found("look up", key)),
            Err(e) => return Err(io_error("look up", path.display(), &e)),
        };
        entry(key.clone(), &found).map_err(|e| io_error("look up", path.display(), &e))
    }

    fn delete(&self, key: &Key) -> Result<(), Error> {
        let path = self.path(key);
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if is_absent(&e) => return Ok(()),
            Err(e) => return Err(io_error("delete", path.display(), &e)),
        }
        let parent = path.parent().expect("a key's path has the root above it");
        sync_dir(parent).map_err(|e| io_error("delete", path.display(), &e))
    }

    fn open_object(&self, key: &Key, doing: &'static str) -> Result<(File, Metadata), Error> {
        let path = self.path(key);
        let opened = File::open(&path).and_then(|file| file.metadata().map(|found| (file, found)));
        match opened {
            Ok((file, found)) if found.is_file() => Ok((file, found)),
            Ok(_) => Err(Error::not_found(doing, key)),
            Err(e) if is_absent(&e) => Err(Error::not_found(doing, key)),
            Err(e) => Err(io_error(doing, path.display(), &e)),
        }
    }

    /// Reads `len` bytes from where `file` stands, into memory that is not zeroed first.
    fn read_exactly(&self, key: &Key, file: &File, len: u64) -> Result<Bytes, Error> {
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(usize::MAX));
        let path = self.path(key);
        file.take(len).read_to_end(&mut bytes).map_err(|e| io_error("read", path.display(), &e))?;
        if (bytes.len() as u64) < len {
            let why = format!("{} bytes came, {len} were there when it was opened", bytes.len());
            return Err(Error::new(ErrorKind::CutShort, "read", path.display(), why));
        }
        Ok(bytes.into())
    }

    /// Makes `dir`, and sees to it that a crash will not take it away again.
    ///
    /// Also done for a directory that is already there: whoever made it may not have come to
    /// fsyncing its parent yet.
    fn make_durable(&self, dir: &Path) -> io::Result<()> {
        if self.durable.lock().expect("nobody panics holding it").contains(dir) {
            return Ok(());
        }
        if dir != self.root {
            let above = dir.parent().expect("a directory below the root has one above it");
            self.make_durable(above)?;
            make_dir(dir)?;
            sync_dir(above)?;
        }
        let mut durable = self.durable.lock().expect("nobody panics holding it");
        if durable.len() >= DURABLE_LEN_MAX {
            durable.clear();
        }
        durable.insert(dir.to_owned());
        Ok(())
    }

    fn forget_durable(&self) {
        self.durable.lock().expect("nobody panics holding it").clear();
    }

    fn clean_staging(&self, older_than: Duration) -> Result<u64, Error> {
        let staged = self.staged()?;
        if staged.is_empty() {
            return Ok(0);
        }
        let dir = self.root.join(STAGING);
        let failed = |e: io::Error| io_error("clean", dir.display(), &e);
        // A file server's clock is its own: a fresh file says what time it is there.
        let fresh = Staged::write(&dir, &[]).map_err(failed)?;
        let now = std::fs::metadata(&fresh.path).and_then(|f| f.modified()).map_err(failed)?;
        let mut removed = 0;
        for (path, found) in staged {
            let age = now.duration_since(found.modified().map_err(failed)?).unwrap_or_default();
            if age > older_than {
                match std::fs::remove_file(&path) {
                    Ok(()) => removed += 1,
                    Err(e) if is_absent(&e) => {}
                    Err(e) => return Err(io_error("remove", path.display(), &e)),
                }
            }
        }
        Ok(removed)
    }

    fn staged(&self) -> Result<Vec<(PathBuf, Metadata)>, Error> {
        let dir = self.root.join(STAGING);
        let failed = |e: io::Error| io_error("list", dir.display(), &e);
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if is_absent(&e) => return Ok(Vec::new()),
            Err(e) => return Err(failed(e)),
        };
        let mut staged = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            match entry.metadata() {
                Ok(found) if found.is_file() => staged.push((entry.path(), found)),
                Ok(_) => {}
                Err(e) if has_vanished(&e) => {}
                Err(e) => return Err(failed(e)),
            }
        }
        Ok(staged)
    }
}

/// A file under its staging name; dropping it removes that name.
struct Staged {
    path: PathBuf,
}

impl Staged {
    /// Writes and fsyncs a new staging file. A write that fails leaves none.
    fn write(dir: &Path, parts: &[Bytes]) -> io::Result<Staged> {
        let path = dir.join(format!("{:032x}", rand::random::<u128>()));
        let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = match create() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                make_dir(dir)?;
                create()?
            }
            created => created?,
        };
        let staged = Staged { path: path.clone() };
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_data()?;
        Ok(staged)
    }

    /// Gives the file its name, or fails with `AlreadyExists`.
    fn name(&self, name: &Path) -> io::Result<()> {
        match std::fs::hard_link(&self.path, name) {
            Err(e) if has_no_links(&e) => {
                use rustix::fs::{CWD, RenameFlags, renameat_with};
                // What link said is the better message when rename cannot do it either.
                renameat_with(CWD, &self.path, CWD, name, RenameFlags::NOREPLACE)
                    .map_err(|errno| if errno == Errno::INVAL { e } else { errno.into() })
            }
            linked => linked,
        }
    }

    /// Whether the object at `name` is this very file or has the same bytes.
    fn is_same(&self, name: &Path, parts: &[Bytes]) -> io::Result<bool> {
        let mut file = File::open(name)?;
        let (there, ours) = (file.metadata()?, std::fs::metadata(&self.path)?);
        if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) {
            return Ok(true);
        }
        if !there.is_file() || there.len() != ours.len() {
            return Ok(false);
        }
        let mut buffer = vec![0; COMPARE_BYTES];
        for piece in parts.iter().flat_map(|part| part.chunks(COMPARE_BYTES)) {
            let read = &mut buffer[..piece.len()];
            file.read_exact(read)?;
            if read != piece {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What cannot be removed now, `clean_staging` removes later.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One listing under way.
struct Walk<'d> {
    disk: &'d Disk,
    prefix: String,
    send: mpsc::Sender<Batch>,
    batch: Batch,
}

type Batch = Vec<Result<Entry, Error>>;

/// The listener has gone.
struct Gone;

impl<'d> Walk<'d> {
    fn new(disk: &'d Disk, prefix: String, send: mpsc::Sender<Batch>) -> Walk<'d> {
        Walk { disk, prefix, send, batch: Batch::new() }
    }

    fn run(mut self) {
        let dir = self.prefix.rfind('/').map_or("", |end| &self.prefix[..end]).to_owned();
        // Not worth telling a listener who is no longer there.
        let _ = self.dir(&dir).and_then(|()| self.flush());
    }

    /// Lists the directory `below` the root, whose text is a part of a key or empty.
    fn dir(&mut self, below: &str) -> Result<(), Gone> {
        let path = self.disk.root.join(below);
        let failed = |e: &io::Error| Err(io_error("list", path.display(), e));
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            // The root is there as long as the store is; anything below may never have been made.
            Err(e) if is_absent(&e) && !below.is_empty() => return Ok(()),
            Err(e) => return self.tell(failed(&e)),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => return self.tell(failed(&e)),
            };
            // Staging files, NFS's `.nfs…` and whatever else is not ours: no key has such a name.
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let below = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
            let Ok(key) = below.parse::<Key>() else { continue };
            match entry.file_type() {
                Ok(t) if t.is_dir() => self.dir(&below)?,
                Ok(t) if t.is_file() && below.starts_with(&self.prefix) => self.file(key, &entry)?,
                Ok(_) => {}
                Err(e) if has_vanished(&e) => {}
                Err(e) => self.tell(failed(&e))?,
            }
        }
        Ok(())
    }

    fn file(&mut self, key: Key, at: &std::fs::DirEntry) -> Result<(), Gone> {
        match at.metadata().and_then(|found| entry(key, &found)) {
            Ok(entry) => self.tell(Ok(entry)),
            Err(e) if has_vanished(&e) => Ok(()),
            Err(e) => self.tell(Err(io_error("list", at.path().display(), &e))),
        }
    }

    fn tell(&mut self, found: Result<Entry, Error>) -> Result<(), Gone> {
        self.batch.push(found);
        if self.batch.len() >= LIST_BATCH_LEN { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Gone> {
        self.send.blocking_send(std::mem::take(&mut self.batch)).map_err(|_| Gone)
    }
}

fn entry(key: Key, found: &Metadata) -> io::Result<Entry> {
    Ok(Entry { key, size: found.len(), modified: found.modified()? })
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Makes `dir` and what is missing above it, each durable before the next.
fn make_dirs(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    match dir.parent().filter(|above| !above.as_os_str().is_empty()) {
        Some(above) => {
            make_dirs(above)?;
            make_dir(dir)?;
            sync_dir(above)
        }
        None => make_dir(dir),
    }
}

/// Puts a directory's names on disk, where the file system can do that for a directory.
fn sync_dir(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        // SMB and some FUSE file systems cannot sync a directory and say so in one of these ways.
        Err(e) if is_errno(&e, &[Errno::INVAL, Errno::NOTSUP, Errno::BADF]) => Ok(()),
        synced => synced,
    }
}

fn is_errno(e: &io::Error, any_of: &[Errno]) -> bool {
    any_of.iter().any(|errno| e.raw_os_error() == Some(errno.raw_os_error()))
}

/// No such file: also when the path leads through a file. `ESTALE` is not among them: a file server
/// that lost its export says it of every file, and none of them is gone.
fn is_absent(e: &io::Error) -> bool {
    is_errno(e, &[Errno::NOENT, Errno::NOTDIR])
}

/// A name that a listing has just seen and that is no longer there.
fn has_vanished(e: &io::Error) -> bool {
    is_absent(e) || is_errno(e, &[Errno::STALE])
}

/// How FAT, SMB and FUSE say that they have no hard links.
fn has_no_links(e: &io::Error) -> bool {
    is_errno(e, &[Errno::PERM, Errno::NOTSUP, Errno::NOSYS, Errno::MLINK])
}

/// Reads a file that an option names, such as a certificate.
///
/// # Errors
/// [`ErrorKind::Config`] when it is absent, [`ErrorKind::TooLarge`] beyond `size_max` bytes.
pub(crate) fn read_small(path: &Path, size_max: u64) -> Result<Vec<u8>, Error> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => {
            Error::new(ErrorKind::Config, "read", path.display(), "there is no such file")
        }
        _ => io_error("read", path.display(), &e),
    };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(size_max + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > size_max {
        let why = format!("it has more than {size_max} bytes");
        return Err(Error::new(ErrorKind::TooLarge, "read", path.display(), why));
    }
    Ok(bytes)
}

/// An [`io::Error`] in terms of what the caller can do about it.
fn io_error(doing: &'static str, subject: impl std::fmt::Display, e: &io::Error) -> Error {
    use io::ErrorKind as Io;
    let (kind, advice) = match e.kind() {
        Io::StorageFull => (ErrorKind::Full, "; make room and run it again"),
        Io::QuotaExceeded => (ErrorKind::Full, "; raise the quota or make room, and run it again"),
        Io::ReadOnlyFilesystem => (ErrorKind::Denied, "; mount it read-write"),
        Io::PermissionDenied => (ErrorKind::Denied, "; check owner and mode of the directory"),
        Io::StaleNetworkFileHandle => (ErrorKind::Unavailable, "; the file server forgot the file"),
        Io::TimedOut | Io::Interrupted => (ErrorKind::Unavailable, ""),
        _ if is_errno(e, &[Errno::IO]) => (ErrorKind::Unavailable, "; the kernel log says more"),
        _ if is_errno(e, &[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN]) => {
            (ErrorKind::Unavailable, "")
        }
        _ => (ErrorKind::Other, ""),
    };
    Error::new(kind, doing, subject, format!("{e}{advice}"))
}
