//! The kernel's own files of limits, of an IPC namespace that only the broker knows. ipc_namespaces(7), inotify(7); kernel: ipc/ipc_sysctl.c.
//!
//! A program that opens /proc/sys/kernel/shmmax gets such a file: each read, seek, write and refusal of a bad number is the kernel's. The
//! limits in force are this namespace's copy of what stands there, brought up to date by inotify, whose events the kernel makes before a
//! write returns.
//!
//! Not everybody can have them: the kernel is older than 5.19 or has no System V IPC, /proc/sys is mounted read-only, namespaces are
//! forbidden. `../procfs.rs` knows another way.
//!
//! # Invariants
//! K1. What stands in the files is what is in force, but for a write whose event has not been read yet.
//! K2. `granted` is set from the moment that a file is opened for writing, or is seen to be written by somebody who opened it anew by way
//!     of a descriptor, until a lease has shown that nobody has it so any more: a program that looks at a limit meanwhile asks the broker.
//!
//! DEATH: the kernel closes a dead writer's descriptors, and makes the event. When the broker dies its IPC namespace goes, and the files
//! that programs still have open answer ENOENT.

use crate::failure::errno;
use crate::policy::limits;
use crate::serve::client::is_readable;
use crate::state::{Held, Keep, keep};
use ring3_abi::limits::Limits;
use ring3_abi::{Errno, Uid};
use ring3_os::file as os;
use ring3_os::ipc_namespace::{self, Order};
use ring3_wire::claim::Numbered;
use ring3_wire::request::ProcFile;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg,
    socketpair,
};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The files, the first being the one that shows whether an opened file stays its namespace's. The wished identifiers are not among them:
/// the kernel forgets a wish that was used, and nobody can write that into a file.
const FILES: [ProcFile; 9] = [
    ProcFile::Msgmni,
    ProcFile::Msgmax,
    ProcFile::Msgmnb,
    ProcFile::Sem,
    ProcFile::Shmmax,
    ProcFile::Shmall,
    ProcFile::Shmmni,
    ProcFile::ShmRmidForced,
    ProcFile::AutoMsgmni,
];

#[derive(Debug)]
struct File {
    which: ProcFile,
    /// O_PATH: each open is by way of it.
    place: Held,
    watch: i32,
    granted: bool,
}

impl Keep for File {
    fn put(&self, out: &mut Vec<u8>) {
        self.which.number().put(out);
        self.place.put(out);
        (self.watch, self.granted).put(out);
    }

    fn get(from: &mut &[u8]) -> Option<File> {
        let (which, place) = (ProcFile::with_number(u32::get(from)?)?, Held::get(from)?);
        let (watch, granted) = Keep::get(from)?;
        Some(File { which, place, watch, granted })
    }
}

/// The files.
#[derive(Debug)]
pub(crate) struct KernelLimits {
    files: Vec<File>,
    events: Held,
    root: Uid,
    /// Keeps the namespace.
    namespace: Held,
}
keep!(KernelLimits { files, events, root, namespace });

impl KernelLimits {
    /// Makes a namespace and puts limits into its files. `root` is the user of this process.
    ///
    /// # Errors
    /// The machine cannot have them.
    pub(crate) fn new(root: Uid, limits: &Limits) -> Result<KernelLimits, Errno> {
        let mut opened = open_there(root)?;
        let namespace = opened.pop().ok_or(Errno::EIO)?;
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(errno)?;
        let mut files = Vec::new();
        for (place, which) in opened.into_iter().zip(FILES) {
            let wanted = WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE;
            let watch = inotify::add_watch(&events, path_of(&place), wanted).map_err(errno)?;
            let file = File { which, place: place.into(), watch, granted: false };
            file.write(&limits::text(limits, which))?;
            files.push(file);
        }
        Ok(KernelLimits { files, events: events.into(), root, namespace: namespace.into() })
    }

    /// What becomes readable when somebody has written.
    pub(crate) fn events(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Opens a file for somebody: its status flags are `flags`. `None`: the file is not here, or its kernel would refuse this user.
    pub(crate) fn open(&mut self, which: ProcFile, user: Uid, flags: OFlags) -> Option<Held> {
        let writes = flags & OFlags::ACCMODE != OFlags::RDONLY;
        let root = self.root;
        let file = self.files.iter_mut().find(|file| file.which == which)?;
        if writes && user != root {
            return None;
        }
        let opened = file.open(flags).ok()?;
        file.granted |= writes;
        Some(opened.into())
    }

    /// Whether somebody has written since the events were read.
    pub(crate) fn have_news(&self) -> bool {
        is_readable(&self.events)
    }

    /// The limits as they stand, whether or not the events of it were read by another broker.
    pub(crate) fn standing(&mut self, limits: &Limits) -> Limits {
        let mut new = *limits;
        for file in &mut self.files {
            file.take_up(&mut new);
            file.granted &= !file.is_let_go();
        }
        new
    }

    /// How many files somebody may have open for writing (K2).
    pub(crate) fn writers(&self) -> usize {
        self.files.iter().filter(|file| file.granted).count()
    }

    /// Writes to the files what is new in limits, and nothing else: a program may be writing to the others.
    ///
    /// # Errors
    /// The kernel refuses one: the files cannot be used any more.
    pub(crate) fn store(&self, old: &Limits, new: &Limits) -> Result<(), Errno> {
        for file in &self.files {
            let text = limits::text(new, file.which);
            if text != limits::text(old, file.which) {
                file.write(&text)?;
            }
        }
        Ok(())
    }

    /// Reads the events, and answers the limits as they stand now if somebody wrote.
    pub(crate) fn changed(&mut self, limits: &Limits) -> Option<Limits> {
        let (mut new, mut written) = (*limits, false);
        let mut room = [MaybeUninit::<u8>::uninit(); 1024];
        let mut reader = Reader::new(&self.events, &mut room);
        while let Ok(event) = reader.next() {
            // Events that did not fit into the kernel's queue are told without a file: any may have been written.
            let lost = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            for file in self.files.iter_mut().filter(|file| lost || file.watch == event.wd()) {
                written |= file.take_up(&mut new);
                file.granted = !file.is_let_go();
            }
        }
        written.then_some(new)
    }
}

impl File {
    fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        rustix::fs::open(path_of(&self.place), flags | OFlags::CLOEXEC, Mode::empty()).map_err(errno)
    }

    fn write(&self, text: &str) -> Result<(), Errno> {
        let opened = self.open(OFlags::WRONLY)?;
        rustix::io::write(&opened, text.as_bytes()).map_err(errno).map(|_| ())
    }

    fn read(&self) -> Result<Vec<u8>, Errno> {
        let mut room = [0u8; 256];
        let len = rustix::io::read(self.open(OFlags::RDONLY)?, &mut room).map_err(errno)?;
        Ok(room.get(..len).unwrap_or_default().to_vec())
    }

    /// Takes what stands in the file into the limits, if it is something else.
    fn take_up(&self, limits: &mut Limits) -> bool {
        let Ok(text) = self.read() else { return false };
        let differs = text != limits::text(limits, self.which).as_bytes();
        differs && limits::write(limits, self.which, &text).is_ok()
    }

    fn is_let_go(&self) -> bool {
        self.open(OFlags::RDONLY).is_ok_and(|file| os::nobody_writes(file.as_raw_fd()))
    }
}

fn path_of(place: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", place.as_raw_fd())
}

/// Opens the files in a new namespace: a descriptor for each, and the namespace's at the end.
fn open_there(root: Uid) -> Result<Vec<OwnedFd>, Errno> {
    let paths = FILES.map(ProcFile::path);
    let here = std::fs::read(paths[0].to_string_lossy().as_ref()).map_err(|_| Errno::ENOENT)?;
    let mark: &[u8] = if here.starts_with(b"31999") { b"31998" } else { b"31999" };
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(errno)?;
    let uid_map = format!("0 {root} 1");
    ipc_namespace::open_in_new(
        Order { paths: &paths, mark, uid_map: uid_map.as_bytes() },
        theirs.as_raw_fd(),
    )?;
    let opened: Vec<OwnedFd> = (0..=paths.len()).map(|_| handed_over(&ours)).collect::<Result<_, _>>()?;
    // Before Linux 5.19 a file was whose namespace's its reader was.
    let there = opened.first().and_then(|file| std::fs::read(path_of(file)).ok());
    if there.is_some_and(|text| text.starts_with(mark)) { Ok(opened) } else { Err(Errno::EOPNOTSUPP) }
}

/// The descriptor in a socket's next packet.
fn handed_over(socket: &OwnedFd) -> Result<OwnedFd, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    recvmsg(socket, &mut [IoSliceMut::new(&mut [0; 8])], &mut control, flags).map_err(errno)?;
    let message = control.drain().next();
    match message {
        Some(RecvAncillaryMessage::ScmRights(mut fds)) => fds.next().ok_or(Errno::EIO),
        _ => Err(Errno::EIO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    /// Files of a namespace with these limits, unless the machine has none: then there is nothing to test.
    fn files(limits: &Limits) -> Option<KernelLimits> {
        KernelLimits::new(rustix::process::geteuid().as_raw(), limits).ok()
    }

    fn open(files: &mut KernelLimits, which: ProcFile, flags: OFlags) -> std::fs::File {
        let root = files.root;
        let file = files.open(which, root, flags).unwrap().as_fd().try_clone_to_owned().unwrap();
        crate::state::held::close_dropped();
        file.into()
    }

    /// Another test's thread may have forked meanwhile: the child has a copy of each descriptor until it executes its program.
    fn await_no_writer(files: &mut KernelLimits, limits: &Limits) {
        let began = std::time::Instant::now();
        while files.writers() != 0 {
            assert!(began.elapsed() < std::time::Duration::from_secs(10));
            files.changed(limits);
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_write_is_in_force_and_the_machine_keeps_its_own() {
        let limits = Limits { shmmni: 77, ..Limits::default() };
        let Some(mut files) = files(&limits) else { return };
        let machine = std::fs::read("/proc/sys/kernel/shmmni").unwrap();
        let mut file = open(&mut files, ProcFile::Shmmni, OFlags::RDWR);
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), files.writers()), ("77\n", 1));
        file.rewind().unwrap();
        file.write_all(b"78").unwrap();
        assert_eq!(files.changed(&limits), Some(Limits { shmmni: 78, ..limits }));
        assert_eq!(files.changed(&limits), None);
        file.rewind().unwrap();
        assert_eq!(file.write(b"x").unwrap_err().raw_os_error(), Some(22));
        assert_eq!(std::fs::read("/proc/sys/kernel/shmmni").unwrap(), machine);
        drop(file);
        await_no_writer(&mut files, &limits);
    }

    #[test]
    fn a_file_stays_granted_until_the_last_writer_closes() {
        let limits = Limits::default();
        let Some(mut files) = files(&limits) else { return };
        let first = open(&mut files, ProcFile::Sem, OFlags::WRONLY);
        let second = open(&mut files, ProcFile::Sem, OFlags::WRONLY);
        drop(first);
        files.changed(&limits);
        assert_eq!(files.writers(), 1);
        drop(second);
        await_no_writer(&mut files, &limits);
    }

    #[test]
    fn limits_set_by_request_stand_in_the_files() {
        let mut limits = Limits::default();
        let Some(mut files) = files(&limits) else { return };
        let mut file = open(&mut files, ProcFile::Msgmnb, OFlags::RDONLY);
        let old = limits;
        limits.msgmnb = 5;
        files.store(&old, &limits).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), files.changed(&limits)), ("5\n", None));
        assert!(files.open(ProcFile::Msgmnb, files.root + 1, OFlags::WRONLY).is_none());
        assert!(files.open(ProcFile::MsgNextId, files.root, OFlags::RDONLY).is_none());
    }
}
