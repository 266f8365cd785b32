//! Where namespaces live: one directory each, with socket, agent and lock.
//!
//! The base is `$RING3_DIR`; else /run/ring3 for root, whose programs change user and must still reach it; else
//! `$XDG_RUNTIME_DIR/ring3`; else /tmp/ring3-UID. A base with a path that programs cannot be given is reached by a link (`alias.rs`). A
//! namespace is a directory in it:
//!
//! | file | what |
//! | --- | --- |
//! | `sock` | the broker listens here; anybody may connect, the broker looks at credentials |
//! | `libring3.so` | the agent, or a link to it (`install.rs`) |
//! | `lock` | flock(2) held by the broker and whoever keeps it |
//!
//! # Invariants
//! P1. Whoever makes or clears a namespace holds `<base>/.lock`.
//! P2. A namespace whose lock is free, seen under P1, is dead: its lock is taken before P1's is let go.
//!
//! # Death
//! A namespace whose processes were all killed stays as a directory with a free lock; the next start clears it.

use crate::alias;
use crate::fault::{Fault, Result, plain};
use crate::install;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::env;
use std::fs::{self, File, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Longest path a Unix socket address holds, without its NUL.
pub(crate) const LONGEST_SOCKET: usize = 107;

/// Where root's namespaces are.
pub(crate) const ROOTS: &str = "/run/ring3";

/// A namespace's directory, existing or not.
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    /// Its name.
    pub(crate) name: String,
    /// Its directory.
    pub(crate) dir: PathBuf,
}

/// A namespace that was just made: nobody serves it yet.
pub(crate) struct Fresh {
    /// Where.
    pub(crate) namespace: Namespace,
    /// The listening socket.
    pub(crate) listener: OwnedFd,
    /// The lock, held.
    pub(crate) lock: OwnedFd,
}

/// The directory that holds this caller's namespaces. It need not exist.
pub(crate) fn base() -> PathBuf {
    match set("RING3_DIR") {
        Some(dir) => std::path::absolute(&dir).unwrap_or(dir),
        None => usual(),
    }
}

/// The same where the user did not say.
pub(crate) fn usual() -> PathBuf {
    if root() {
        return PathBuf::from(ROOTS);
    }
    match set("XDG_RUNTIME_DIR") {
        Some(dir) if dir.is_dir() => dir.join("ring3"),
        _ => temporary(),
    }
}

/// The same where there is no better one.
pub(crate) fn temporary() -> PathBuf {
    PathBuf::from(format!("/tmp/ring3-{}", uid()))
}

fn set(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The caller's effective user.
pub(crate) fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn root() -> bool {
    uid() == 0
}

/// A name for a private namespace.
pub(crate) fn private_name() -> String {
    let mut random = [0; 4];
    // Without /dev/urandom the process number alone must do: under P1 a clash is only an error.
    let _ = File::open("/dev/urandom").and_then(|mut file| std::io::Read::read_exact(&mut file, &mut random));
    format!("run-{}-{:08x}", std::process::id(), u32::from_ne_bytes(random))
}

impl Namespace {
    /// The namespace `name` of this caller.
    pub(crate) fn named(name: &str) -> Result<Namespace> {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > 64 || name.starts_with(['.', '-']) || !name.bytes().all(fine) {
            return Err(Fault::new(format!("{name:?} cannot name a namespace"))
                .remedy("take letters, digits, '.', '_' and '-', at most 64")
                .status(2));
        }
        Ok(Namespace { name: name.to_string(), dir: alias::path(&base(), name).join(name) })
    }

    /// The socket's path.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    /// The agent's path.
    pub(crate) fn library(&self) -> PathBuf {
        self.dir.join("libring3.so")
    }

    /// Where a trace goes when nobody said where: beside the namespace, so that it outlives it.
    pub(crate) fn log(&self) -> PathBuf {
        self.dir.with_file_name(format!("{}.log", self.name))
    }

    /// Waits until its broker has ended, as far as this user may look, and clears what it left.
    pub(crate) fn wait_gone(&self) {
        let lock = rustix::fs::open(self.dir.join("lock"), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        if lock.is_ok_and(|lock| rustix::fs::flock(&lock, FlockOperation::LockExclusive).is_ok()) {
            self.clear();
        }
    }

    /// Complains that it is not there.
    pub(crate) fn missing(&self) -> Fault {
        Fault::new(format!("no namespace {:?} (looked in {})", self.name, base().display()))
            .remedy(format!("start it with: ring3 serve {}", self.name))
    }

    /// Whether somebody serves it.
    pub(crate) fn served(&self) -> bool {
        self.dial().is_ok()
    }

    /// Connects to its broker.
    pub(crate) fn dial(&self) -> rustix::io::Result<OwnedFd> {
        let base = base();
        if let Some(path) = self.dir.parent()
            && base.join(&self.name).exists()
        {
            // Another user who serves it made a link that may be of no use here. One that cannot be made may be a stranger's.
            alias::make(path, &base).map_err(|_| Errno::ACCESS)?;
        }
        crate::client::dial(&self.socket())
    }

    /// Makes it: clears what is dead, then directory, lock, agent and socket.
    pub(crate) fn create(self) -> Result<Fresh> {
        if self.socket().as_os_str().len() > LONGEST_SOCKET {
            return Err(Fault::new(format!("the path {} is too long for a socket", self.socket().display()))
                .remedy("set RING3_DIR to a shorter one"));
        }
        let base = base();
        let making = lock_base(&base)?;
        let made = self.make(&base);
        drop(making);
        match made {
            Ok((listener, lock)) => Ok(Fresh { namespace: self, listener, lock }),
            Err(fault) => {
                self.tidy();
                Err(fault)
            }
        }
    }

    /// The same under P1's lock.
    fn make(&self, base: &Path) -> Result<(OwnedFd, OwnedFd)> {
        sweep(base);
        alias::make(self.dir.parent().unwrap_or(base), base)?;
        // One that was killed right after its first step is empty, and only such a one can be removed so.
        let _ = fs::remove_dir(&self.dir);
        match fs::create_dir(&self.dir) {
            Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Fault::new(format!("namespace {:?} is being served already", self.name)).remedy(
                    format!(
                        "join it with: ring3 run --in {0} -- CMD, or end it with: ring3 stop {0}",
                        self.name
                    ),
                ));
            }
            Err(why) => return Err(Fault::file("make", &self.dir, why)),
            Ok(()) => {}
        }
        let made = furnish(self);
        if made.is_err() {
            remove(&self.dir);
        }
        made
    }

    /// Removes it from the disk, and the base when it was the last thing in it. For whoever holds its lock; a namesake that was made meanwhile has another.
    pub(crate) fn remove(&self, lock: impl AsFd) {
        let there = rustix::fs::stat(self.dir.join("lock"));
        let same = |there: rustix::fs::Stat| {
            rustix::fs::fstat(lock)
                .is_ok_and(|held| (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino))
        };
        if there.is_ok_and(same) {
            remove(&self.dir);
        }
        self.tidy();
    }

    /// Removes it if it is dead; a namesake that was made meanwhile is not.
    pub(crate) fn clear(&self) {
        let making = self.dir.parent().map(lock_existing);
        if let Some(Ok(Some(_making))) = making
            && dead(&self.dir)
        {
            remove(&self.dir);
        }
        self.tidy();
    }

    /// Removes the base if nothing is left in it.
    fn tidy(&self) {
        let Some(base) = self.dir.parent() else { return };
        if let Ok(Some(_making)) = lock_existing(base) {
            let alone = |entries: fs::ReadDir| entries.flatten().all(|entry| entry.file_name() == ".lock");
            if fs::read_dir(base).is_ok_and(alone) {
                let _ = fs::remove_file(base.join(".lock"));
                alias::remove(base);
                // A directory that the user named is the user's; and it may have filled up meanwhile.
                let _ = if told() { Ok(()) } else { fs::remove_dir(base) };
            }
        }
    }
}

/// Whether the user named the base.
fn told() -> bool {
    env::var_os("RING3_DIR").is_some_and(|dir| !dir.is_empty())
}

/// Makes a directory of the caller's, or checks that one can be trusted. `named`: by the user, so it may be a link or root's.
pub(crate) fn make_own(dir: &Path, named: bool) -> Result<()> {
    let mode = if root() { 0o755 } else { 0o700 };
    let made = fs::DirBuilder::new().recursive(named).mode(mode).create(dir);
    if let Err(why) = made
        && why.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(Fault::file("make", dir, why).remedy("set RING3_DIR to a directory of yours"));
    }
    let found = if named { fs::metadata(dir) } else { fs::symlink_metadata(dir) };
    let found = found.map_err(|why| Fault::file("look at", dir, why))?;
    let bad = match () {
        () if !found.is_dir() => "is no directory",
        () if found.uid() != uid() && !(named && found.uid() == 0) => "belongs to another user",
        () if found.mode() & 0o022 != 0 => "can be written by others",
        () => return Ok(()),
    };
    Err(Fault::new(format!("{} {bad}, so it cannot be trusted", dir.display()))
        .remedy("remove it, or set RING3_DIR to a directory of yours"))
}

/// Makes the base if need be and takes P1's lock, which is let go when the file is dropped.
fn lock_base(base: &Path) -> Result<File> {
    loop {
        make_own(base, told())?;
        if let Some(file) = lock_existing(base)? {
            return Ok(file);
        }
    }
}

/// Takes P1's lock. `None`: the base, or the lock's file, was removed meanwhile, so a lock on it says nothing.
fn lock_existing(base: &Path) -> Result<Option<File>> {
    let path = base.join(".lock");
    let open = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = match open {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|why| Fault::file("open", &path, why))?,
    };
    rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|why| Fault::file("lock", &path, why))?;
    let same = |now: fs::Metadata| file.metadata().is_ok_and(|ours| ours.ino() == now.ino());
    Ok(fs::metadata(&path).is_ok_and(same).then_some(file))
}

/// Clears the namespaces that nobody serves (P2). What cannot be cleared stays: it is another user's.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for dir in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if dead(&dir.path()) {
            remove(&dir.path());
        }
    }
}

/// Whether the namespace in `dir` is there and has a lock that nobody holds, or none at all.
fn dead(dir: &Path) -> bool {
    let path = dir.join("lock");
    match rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(lock) => rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(why) => why == Errno::NOENT && namespace_like(dir),
    }
}

/// Whether a directory without a lock can only be a namespace half made or half removed: it has nothing but such files,
/// and if it is empty, a private namespace's name.
fn namespace_like(dir: &Path) -> bool {
    const OURS: [&str; 2] = ["sock", "libring3.so"];
    let ours = |entry: std::io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| OURS.iter().any(|name| entry.file_name() == *name))
    };
    let private = dir.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"run-"));
    fs::read_dir(dir).is_ok_and(|entries| {
        let mut entries = entries.peekable();
        (private || entries.peek().is_some()) && entries.all(ours)
    })
}

/// Fills a new directory. The lock comes first (P2).
fn furnish(namespace: &Namespace) -> Result<(OwnedFd, OwnedFd)> {
    let dir = &namespace.dir;
    let lock = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join("lock"));
    let lock = lock.map_err(|why| Fault::file("make a lock in", dir, why))?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|why| Fault::file("lock", &dir.join("lock"), why))?;
    fs::set_permissions(dir, Permissions::from_mode(0o755))
        .map_err(|why| Fault::file("open up", dir, why))?;
    install::agent(namespace)?;
    Ok((listen(&namespace.socket())?, lock.into()))
}

/// Binds and listens.
fn listen(path: &Path) -> Result<OwnedFd> {
    let bind = || -> rustix::io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        rustix::net::listen(&socket, 4096)?;
        Ok(socket)
    };
    let socket = bind().map_err(|why| Fault::file("listen at", path, why))?;
    fs::set_permissions(path, Permissions::from_mode(0o666))
        .map_err(|why| Fault::file("open up", path, why))?;
    Ok(socket)
}

/// Removes a namespace's directory, and the agent when it stands elsewhere.
fn remove(dir: &Path) {
    install::remove(dir);
    if let Err(why) = fs::remove_dir_all(dir)
        && why.kind() != std::io::ErrorKind::NotFound
    {
        eprintln!("ring3: cannot remove {}: {}", dir.display(), plain(&why));
    }
}
