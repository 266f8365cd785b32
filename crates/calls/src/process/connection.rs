//! The connection to the broker, and requests over it.
//!
//! # Invariants
//! B1. The descriptor is used only after fstat has shown that its number still names our socket: programs close and reuse
//!     descriptors they do not know.
//! B2. One request at a time: `Identity::rpc` is held from its sending to its answer.
//! B3. A request is sent again only if it could not be sent, or if what was to come beside its answer found no descriptor free (`deputy.rs`).

use crate::process::identity::{self, Identity};
use crate::process::line::Line;
use crate::process::packet::receive;
pub use crate::process::packet::{Answer, HEAD, Small};
pub(crate) use crate::process::packet::{receive_once, send};
use crate::process::{deputy, directory, environment};
use crate::thread::{section, signal};
use ring3_abi::{Errno, Pid};
use ring3_os::fd::{self, Fd};
use ring3_os::{seccomp, socket};
use ring3_wire::claim::OwnPid;
use ring3_wire::request::{Grow, Hello, Settle, Stuck};
use ring3_wire::{Op, reply::Welcome};
use zerocopy::{Immutable, IntoBytes};

/// The calling process's end.
fn line() -> &'static Line {
    identity::known().map_or(Identity::inherited(), Identity::line)
}

/// The connection's number, if there may be one.
#[inline]
pub(crate) fn number() -> Option<i32> {
    line().number()
}

/// Whether a number is the connection's (B1).
#[inline]
pub(crate) fn holds(fd: i32) -> bool {
    number() == Some(fd) && line().get() == Some(fd)
}

/// Gives the connection another number, if it has this one: the program wants it. The old number stays open until the program replaces it.
#[cold]
pub(crate) fn make_way(fd: i32) {
    let section = section::enter();
    let Ok(page) = identity::mine() else { return };
    let _held = page.rpc.hold(&section);
    if holds(fd)
        && let Ok(line) = fd::duplicate_above(fd, fd + 1).or_else(|_| fd::duplicate_above(fd, 0))
    {
        let _ = page.line().keep_here(line, page.line().image());
    }
}

/// Sends a request and waits for its answer, which comes without a descriptor; one that comes is closed.
///
/// # Errors
/// The broker's answer; `ENOSYS` without a broker.
pub fn call(op: Op, body: &[u8], rest: &[u8], buf: &mut [u8]) -> Result<Answer, Errno> {
    deputy::provided(|| fetch(op, body, rest, buf).map(Answer::without_descriptor))
}

/// [`call`] for an answer with a descriptor: what uses that is done under `deputy::provided`.
///
/// # Errors
/// As for [`call`]; `EMFILE` if no descriptor is free to ask with.
pub fn fetch(op: Op, body: &[u8], rest: &[u8], buf: &mut [u8]) -> Result<Answer, Errno> {
    let section = section::enter();
    let page = identity::mine()?;
    let _held = page.rpc.hold(&section);
    for _ in 0..2 {
        let line = establish(page)?;
        let tag = page.next_tag();
        match send(line, op, tag, body, rest, None) {
            Ok(()) => return receive(line, tag, buf).map_err(lost),
            Err(errno) if is_hang_up(errno) => hang_up(page),
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::ENOSYS)
}

/// [`call`] for a request without a body in its answer.
pub fn ask(op: Op, body: &(impl IntoBytes + Immutable)) -> Result<i64, Errno> {
    let mut buf: Small = [0; 256];
    call(op, body.as_bytes(), &[], &mut buf).map(|answer| answer.value)
}

/// Sends a one-way request. A process that the broker does not know has nothing to say.
pub fn notify(op: Op, body: &(impl IntoBytes + Immutable)) {
    notify_with(op, body, &[]);
}

/// [`notify`] with something behind the body.
pub(crate) fn notify_with(op: Op, body: &(impl IntoBytes + Immutable), rest: &[u8]) {
    let section = section::enter();
    let Some(page) = identity::known().filter(|page| page.pid() != 0) else { return };
    // One that cannot be heard has nothing to say either.
    let _ = deputy::provided(|| {
        let _held = page.rpc.hold(&section);
        send(establish(page)?, op, page.next_tag(), body.as_bytes(), rest, None)
    });
}

/// Sends a one-way request that is made when its turn has come.
pub(super) fn notify_in_turn<T: IntoBytes + Immutable>(op: Op, body: impl Fn(&Identity) -> T) {
    let section = section::enter();
    let Some(page) = identity::known().filter(|page| page.pid() != 0) else { return };
    // One that cannot be heard has nothing to say either.
    let _ = deputy::provided(|| {
        let _held = page.rpc.hold(&section);
        let line = establish(page)?;
        send(line, op, page.next_tag(), body(page).as_bytes(), &[], None)
    });
}

/// Sends a one-way request over the connection that a forked child inherited, in the child's own name. Answers whether there is one.
pub fn notify_inherited(op: Op, body: &(impl IntoBytes + Immutable)) -> bool {
    let _section = section::enter();
    let line = Identity::inherited().get();
    line.is_some_and(|line| send(line, op, 0, body.as_bytes(), &[], None).is_ok())
}

/// Whether the calling process has a connection that is there after the next request, too.
pub(crate) fn lasts() -> bool {
    let Some(home) = identity::known_home() else { return false };
    identity::known().is_some_and(|page| page.line().get_of(home.image()).is_some())
}

/// Waits until the death of `pid` is settled, if the broker may know it. In a PID namespace below the broker's the directory, which has the
/// broker's numbers, cannot say.
pub fn settle(pid: Pid) {
    let known = || directory::directory().is_ok_and(|directory| directory.registered(pid));
    if crate::process::registered() && (crate::process::pids_abroad() || known()) {
        let _ = ask(Op::Settle, &Settle { pid: OwnPid(pid) });
    }
}

/// Tells the broker that an object's lock does not come free.
pub(crate) fn stuck(kind: ring3_abi::Kind, id: i32, holder: Pid) -> Result<(), Errno> {
    ask(Op::Stuck, &Stuck { kind: kind.into(), id, holder }).map(|_| ())
}

/// Asks for a larger region than that of this version.
pub(crate) fn grow(kind: ring3_abi::Kind, id: i32, version: u64) -> Result<(), Errno> {
    ask(Op::Grow, &Grow { kind: kind.into(), id, version }).map(|_| ())
}

/// A further connection of this process, for a call that sleeps.
pub(crate) fn further_line() -> Result<Fd, Errno> {
    let section = section::enter();
    let page = identity::mine()?;
    let _held = page.rpc.hold(&section);
    let line = establish(page)?;
    adopted(line)
}

/// Registers this process. # Errors: `ENOSYS`.
#[cold]
pub(crate) fn register() -> Result<&'static Identity, Errno> {
    let section = section::enter();
    let page = identity::mine()?;
    if page.pid() != 0 {
        // In company the caller could not know.
        return Ok(page);
    }
    let _held = page.rpc.hold(&section);
    establish(page)?;
    Ok(page)
}

/// Makes the connection that this process will introduce itself over, where it could not be made later. The broker knows nothing of the process
/// by that: one that never uses IPC costs it a descriptor. What a forked child has inherited is as good.
pub(crate) fn prepare() {
    let section = section::enter();
    let Ok(page) = identity::mine() else { return };
    let _held = page.rpc.hold(&section);
    let kept = Identity::inherited();
    if page.pid() == 0
        && page.is_owner()
        && kept.get().is_none()
        && let Ok(line) = dial()
    {
        // Without a broker there is nothing to be served; the first use will say so.
        let _ = kept.keep(line, Line::NOT_INTRODUCED);
    }
}

/// A connection on which the broker knows us. `Identity::rpc` is held.
fn establish(page: &Identity) -> Result<i32, Errno> {
    if let Some(line) = deputy::line() {
        return Ok(line);
    }
    if page.pid() != 0
        && let Some(line) = page.line().get_of(identity::home()?.image())
    {
        return Ok(line);
    }
    signal::arm_faults();
    let inherited = Identity::inherited();
    if let Some(old) = inherited.get() {
        // A guest's parent uses it still, and a task has no right to it.
        let ends = page.is_owner() && !deputy::is_at_work();
        match adopted(old).and_then(|new| hello(page, new)) {
            Ok(line) => {
                if ends {
                    fd::close(old);
                }
                return Ok(line);
            }
            Err(Errno::EMFILE) => return Err(Errno::EMFILE),
            Err(_) if ends => inherited.hang_up(),
            Err(_) => {}
        }
    }
    by_path(page)
}

/// A connection is lost. A task leaves its process's to the process.
fn hang_up(page: &Identity) {
    if !deputy::is_at_work() {
        page.line().hang_up();
    } else if deputy::line().is_some() {
        deputy::hang_up();
    } else if let Some(line) = page.line().get() {
        fd::close(line);
    }
}

/// Makes a pair and hands one end to the broker over an existing connection.
fn adopted(line: i32) -> Result<Fd, Errno> {
    let [ours, theirs] = deputy::opening(socket::pair)?.map(Fd::own);
    send(line, Op::Adopt, 0, &[], &[], Some(theirs.raw()))?;
    Ok(ours)
}

fn by_path(page: &Identity) -> Result<i32, Errno> {
    hello(page, dial()?).map_err(no_broker)
}

/// A connection by the socket's path. # Errors: `ENOSYS`; `EMFILE`.
fn dial() -> Result<Fd, Errno> {
    // A filter may end the process for a socket that its program knows nothing of.
    if seccomp::is_filtered() {
        return Err(Errno::ENOSYS);
    }
    let path = environment::socket().ok_or(Errno::ENOSYS)?;
    deputy::opening(|| socket::connect(path)).map(Fd::own).map_err(no_broker)
}

/// What a process answers that finds no broker; who has no descriptor has not looked.
fn no_broker(errno: Errno) -> Errno {
    if errno == Errno::EMFILE { errno } else { Errno::ENOSYS }
}

/// Introduces this image on a new connection, and keeps the connection.
fn hello(page: &Identity, line: Fd) -> Result<i32, Errno> {
    let (home, turn) = (identity::home()?, directory::turn());
    let welcome = introduce(page, line.raw())?;
    let is_deputys = deputy::is_at_work();
    let line = if is_deputys { deputy::keep(line) } else { page.line().keep(line, home.image())? };
    if page.pid() == 0 {
        page.life.inherit(welcome.life);
    }
    // A task introduces the same image again and again.
    let is_news = !page.is_welcomed_as_before(&welcome) || directory::turn() != turn;
    if is_news || !is_deputys {
        page.welcome(&welcome, home);
    }
    Ok(line)
}

/// Says who this image is, and keeps the directory of the namespace that it belongs to.
fn introduce(page: &Identity, line: i32) -> Result<Welcome, Errno> {
    let mut buf: Small = [0; 256];
    let tag = page.next_tag();
    let image = identity::home()?.image();
    send(line, Op::Hello, tag, Hello { image }.as_bytes(), &[], None)?;
    let answer = receive(line, tag, &mut buf)?;
    let welcome: Welcome = answer.body(&buf)?;
    directory::keep(answer.descriptor()?.raw(), welcome.directory_len, page.is_owner())?;
    Ok(welcome)
}

/// Introduces this image once more, by a new connection if there is none: it may have come into other namespaces. Without an answer it stays
/// what it was.
pub(crate) fn introduce_again() {
    let section = section::enter();
    let Some(page) = identity::known().filter(|page| page.pid() != 0) else { return };
    let Ok(home) = identity::home() else { return };
    let _objects = home.objects.hold(&section);
    let _ = deputy::provided(|| {
        let _held = page.rpc.hold(&section);
        match page.line().get_of(home.image()) {
            Some(line) => introduce(page, line).map(|welcome| page.welcome(&welcome, home)),
            None => establish(page).map(|_| ()),
        }
    });
}

fn is_hang_up(errno: Errno) -> bool {
    matches!(errno, Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN | Errno::EBADF | Errno::ECONNREFUSED)
}

/// What a call answers whose broker went away.
fn lost(errno: Errno) -> Errno {
    if is_hang_up(errno) { Errno::ENOSYS } else { errno }
}
