//! The broker's process, the other side of `keeper.rs`.
//!
//! It has a session of its own, holds no descriptor of its keeper's but those it was given, and ends by
//! removing the namespace and handing in its report, whether or not a keeper is left to read it. If it is killed, its lookout is the broker (`lookout.rs`).

use crate::family;
use crate::keeper;
use crate::leak::Leak;
use crate::limit::Terms;
use crate::lookout::{Post, Relief};
use crate::notify::FdStore;
use crate::place::Namespace;
use crate::sys;
use ring3_abi::limits::Limits;
use ring3_broker::{Broker, Config, Failure, Keeper, Keeping, Memory, Report, Share, Unpacked, Word, unpack};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;
use std::env;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// How often a broker without a keeper looks whether programs are left.
const BETWEEN: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// What a broker is born with.
pub(crate) struct Start {
    /// The namespace.
    pub(crate) namespace: Namespace,
    /// What it is started with.
    pub(crate) terms: Terms,
    /// The keeper.
    pub(crate) control: UnixStream,
    /// /dev/null.
    pub(crate) null: File,
    /// Where the trace goes.
    pub(crate) trace: Option<File>,
}

/// The exit status of one that was to take a namespace up whose broker lives.
pub(crate) const IS_SERVED: i32 = 3;
/// How long a process that was killed may take to be gone.
const DYING: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// What every broker of a namespace has, one after the other: descriptors that are never closed, by number.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    namespace: Namespace,
    listener: RawFd,
    lock: RawFd,
    control: RawFd,
    share: Share,
    /// What keeps descriptors when all are dead, and a pair of sockets by which that is known: one is kept, the other one is the brokers' alone.
    keeping: Option<(FdStore, [RawFd; 2])>,
}

/// Serves until the end. For a process that its keeper has just forked: what else the keeper had is not dropped, only forgotten.
pub(crate) fn main(start: Start, listener: OwnedFd, lock: OwnedFd) -> ! {
    let Start { namespace, terms, control, null, trace } = start;
    let (listener, lock, control) = (listener.into_raw_fd(), lock.into_raw_fd(), control.into_raw_fd());
    let told = keeping(terms.store)
        .and_then(|keeping| {
            let seat = Seat { namespace, listener, lock, control, share: terms.share, keeping };
            shed(&seat.descriptors(), [Some(&null), trace.as_ref()]);
            depart(null, trace)?;
            Ok((Post::new(seat.clone())?, seat))
        })
        .map_err(|why| format!("the broker cannot leave its keeper: {why}"))
        .and_then(|((post, relief), seat)| {
            serve(&seat, Turn::First, Broker::new(seat.config(terms.limits, post)), relief)
        });
    leave(told)
}

/// What keeps descriptors, with a new pair of sockets.
fn keeping(store: Option<FdStore>) -> io::Result<Option<(FdStore, [RawFd; 2])>> {
    let Some(store) = store else { return Ok(None) };
    let (kept, own) = UnixStream::pair()?;
    Ok(Some((store, [kept.into_raw_fd(), own.into_raw_fd()])))
}

/// Goes on where all processes of the namespace were killed at once, and serves until the end. For a process that its keeper has just forked.
pub(crate) fn take_up(start: Start, given: Vec<OwnedFd>) -> ! {
    let Start { namespace, terms, control, null, trace } = start;
    let mut needed: Vec<RawFd> = given.iter().map(AsRawFd::as_raw_fd).collect();
    needed.push(control.as_raw_fd());
    shed(&needed, [Some(&null), trace.as_ref()]);
    let own = [Some(OwnedFd::from(control)), Some(null.into()), trace.map(OwnedFd::from)];
    let told = unpack(given, own.into_iter().flatten().collect())
        .map_err(|why| why.to_string())
        .and_then(|unpacked| sit_down(unpacked, namespace, terms).map_err(|why| why.to_string()))
        .and_then(|(seat, memory)| {
            let (post, relief) = Post::new(seat.clone()).map_err(|why| why.to_string())?;
            let broker = Broker::resume(seat.config(Limits::default(), post), &memory);
            if broker.is_ok() {
                seat.say_who();
            }
            serve(&seat, Turn::Later, broker, relief)
        });
    leave(told)
}

/// Makes a seat of what was kept, once it is sure that nobody else sits there.
fn sit_down(unpacked: Unpacked, namespace: Namespace, terms: Terms) -> io::Result<(Seat, Memory)> {
    let Unpacked { memory, listener, also, own } = unpacked;
    let [lock, witness] = also[..] else { return Err(io::ErrorKind::InvalidData.into()) };
    // The other end of it is with brokers and lookouts alone.
    let witness = sys::owned(witness);
    let _ = poll(&mut [PollFd::new(&witness, PollFlags::empty())], Some(&DYING));
    if !has_hung_up(&witness) || !memory.take_over(memory.reign()) {
        sys::exit(IS_SERVED);
    }
    let mut own = own.into_iter();
    let (Some(control), Some(null)) = (own.next(), own.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    depart(null.into(), own.next().map(File::from))?;
    let keeping = keeping(terms.store)?;
    let control = control.into_raw_fd();
    Ok((Seat { namespace, listener, lock, control, share: terms.share, keeping }, memory))
}

fn has_hung_up(witness: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(witness, PollFlags::empty())];
    let _ = poll(&mut polled, Some(&Timespec::default()));
    polled.iter().any(|end| end.revents().contains(PollFlags::HUP))
}

/// Goes on where the broker was killed, and serves until the end. For its lookout.
pub(crate) fn go_on(seat: &Seat, memory: &Memory, post: Post, relief: Relief) -> ! {
    sys::set_name(c"ring3-broker");
    sys::set_command_line(b"ring3\0broker");
    // Before anything else: the keeper cannot know this process.
    seat.say_who();
    let broker = Broker::resume(seat.config(Limits::default(), post), memory);
    leave(serve(seat, Turn::Later, broker, relief))
}

fn leave(told: Result<(), String>) -> ! {
    sys::exit(told.map_or_else(
        |why| {
            eprintln!("ring3: {why}");
            1
        },
        |()| 0,
    ))
}

/// Leaves the keeper's descriptors but for those that were given.
fn shed(given: &[RawFd], files: [Option<&File>; 2]) {
    let files = files.into_iter().flatten().map(AsRawFd::as_raw_fd);
    sys::close_all_but(&given.iter().copied().chain(files).collect::<Vec<_>>());
}

/// Leaves the keeper's standard streams, signals, session and directory.
fn depart(null: File, trace: Option<File>) -> io::Result<()> {
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(trace.as_ref().unwrap_or(&null))?;
    drop((null, trace));
    sys::unblock_signals();
    // It fails only for a group leader, which a forked child is not.
    let _ = rustix::process::setsid();
    sys::set_name(c"ring3-broker");
    sys::set_command_line(b"ring3\0broker");
    env::set_current_dir("/")
}

/// Which of a namespace's brokers this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    First,
    Later,
}

fn serve(seat: &Seat, turn: Turn, broker: Result<Broker, Failure>, relief: Relief) -> Result<(), String> {
    let failed = |why| format!("the broker of {:?} failed: {why}", seat.namespace.name);
    let served = match broker {
        // The lookout tries.
        Err(why) if turn == Turn::Later => return Err(failed(why)),
        broker => broker.and_then(Broker::serve),
    };
    seat.clear();
    let handed_in = served.map(|report| seat.hand_in(&report)).map_err(failed);
    relief.come();
    handed_in
}

impl Seat {
    /// What a broker is started with.
    fn config(&self, limits: Limits, post: Post) -> Config {
        let keeper = Heard { seat: self.clone(), last_word: None };
        Config {
            listener: sys::owned(self.listener),
            name: self.namespace.name.clone(),
            limits,
            share: self.share,
            keeper: Some(Box::new(keeper)),
            keeping: self.keeping.as_ref().map(|(store, [kept, _])| Keeping {
                store: Box::new(store.clone()),
                also: vec![self.lock, *kept],
            }),
            lookout: Some(Box::new(post)),
        }
    }

    /// Its descriptors.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let pair = self.keeping.iter().flat_map(|(_, pair)| *pair);
        [self.listener, self.lock, self.control].into_iter().chain(pair).collect()
    }

    /// Tells the keeper which process the broker is.
    fn say_who(&self) {
        let _ =
            (&*self.control()).write_all(format!("{}{}\n", keeper::BROKER, std::process::id()).as_bytes());
    }

    fn control(&self) -> std::mem::ManuallyDrop<UnixStream> {
        std::mem::ManuallyDrop::new(UnixStream::from(sys::owned(self.control)))
    }

    /// What the keeper has said so far. It stays there, for those who come later.
    fn said(&self) -> io::Result<Vec<u8>> {
        let mut words = [0; 16];
        let (len, _) = rustix::net::recv(
            sys::borrowed(self.control),
            &mut words,
            RecvFlags::PEEK | RecvFlags::DONTWAIT,
        )?;
        Ok(words.get(..len).unwrap_or_default().to_vec())
    }

    /// Whether the keeper does not want anybody to go on.
    pub(crate) fn is_to_die(&self) -> bool {
        self.said().is_ok_and(|words| words.contains(&keeper::DIE))
    }

    /// Removes the namespace from the disk, if it is still the one that this is the seat of.
    pub(crate) fn clear(&self) {
        self.namespace.remove(sys::borrowed(self.lock));
        self.keeping.iter().for_each(|(store, _)| store.clear());
    }

    /// Sends what was left behind; nobody may be there to hear it.
    fn hand_in(&self, report: &Report) {
        let leaks: Vec<Leak> = report.left.iter().map(|left| Leak::new(left.kind, &left.detail)).collect();
        let mut line = serde_json::to_vec(&leaks).unwrap_or_default();
        line.push(b'\n');
        let _ = (&*self.control()).write_all(&line);
    }
}

/// The keeper, as it is heard here.
#[derive(Debug)]
struct Heard {
    seat: Seat,
    /// The keeper died: hangs up when no program is left.
    last_word: Option<PipeReader>,
}

impl Keeper for Heard {
    fn voice(&self) -> BorrowedFd<'_> {
        self.last_word.as_ref().map_or_else(|| sys::borrowed(self.seat.control), AsFd::as_fd)
    }

    fn hear(&mut self) -> Word {
        if self.last_word.is_some() {
            return Word::End;
        }
        match self.seat.said().as_deref() {
            Ok([keeper::STAY, ..]) => Word::Stay,
            Ok([_, ..]) => Word::End,
            _ => self.outlive(),
        }
    }
}

/// Waits a while, and answers whether nobody can hear what is said here any more.
fn is_unheard(end: &PipeWriter) -> bool {
    let mut polled = [PollFd::new(end, PollFlags::empty())];
    let _ = poll(&mut polled, Some(&BETWEEN));
    polled.iter().any(|end| !end.revents().is_empty())
}

impl Heard {
    /// After a death nobody has counted: programs that have not called yet are waited for, too. To look through all processes takes its time,
    /// and the kernel may let a reader of these files wait; so a process of its own reads them, while the broker serves.
    fn outlive(&mut self) -> Word {
        let Ok((last_word, end)) = io::pipe() else { return Word::End };
        let socket: PathBuf = self.seat.namespace.socket();
        self.last_word = Some(last_word);
        if let Ok(None) = sys::fork() {
            sys::set_name(c"ring3-family");
            sys::close_all_but(&[end.as_raw_fd()]);
            // The next broker starts one of its own, and closes what this one's had.
            while !is_unheard(&end) && family::anybody_with("RING3_SOCKET", socket.as_os_str()) {}
            sys::exit(0);
        }
        // Without that process the other end is let go here and now.
        Word::Later
    }
}
