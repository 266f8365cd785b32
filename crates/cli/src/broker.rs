//! `ring3 broker`: the broker's process, the other side of `keeper.rs`.
//!
//! It has a session of its own, holds no descriptor of its keeper's but the three it was given, and ends by
//! removing the namespace and handing in its report, whether or not a keeper is left to read it.

use crate::family;
use crate::fault::{Fault, Result};
use crate::keeper::{self, Start};
use crate::leak::Leak;
use crate::place::Namespace;
use crate::sys;
use ring3_abi::limits::Limits;
use ring3_broker::{Config, Report};
use rustix::io::IoSliceMut;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::{Resource, Rlimit};
use std::io::{self, PipeWriter, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How often a broker without a keeper looks whether programs are left.
const BETWEEN: Duration = Duration::from_millis(50);

/// Serves until the end.
pub(crate) fn main() -> Result<u8> {
    keeper::drop_inherited();
    sys::unblock_signals();
    // A session leader already (under a debugger, say) is as good.
    let _ = rustix::process::setsid();
    sys::set_name(c"ring3-broker");
    raise_descriptors();

    let fail =
        |why: io::Error| Fault::io("hear the keeper", why).remedy("this subcommand is for ring3's own use");
    let keeper = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().map_err(fail)?);
    let (start, listener, lock) = receive(&keeper).map_err(fail)?;
    let namespace = Namespace { name: start.name.clone(), dir: start.dir.clone() };
    (&keeper).write_all(b"ready\n").map_err(fail)?;

    let (watched, socket) = (keeper.try_clone().map_err(fail)?, namespace.socket());
    let (called, last_word) = io::pipe().map_err(fail)?;
    thread::spawn(move || watch(watched, last_word, &socket));
    let limits = limits(&start);
    let served = ring3_broker::serve(Config {
        listener,
        name: start.name.clone(),
        limits,
        keeper: Some(called.into()),
    });
    namespace.remove();
    let report = served.map_err(|why| Fault::new(format!("the broker of {:?} failed: {why}", start.name)))?;
    hand_in(&keeper, &report);
    drop(lock);
    Ok(0)
}

/// Hears the keeper's last word, or its death, and lets `last_word` go: then the broker ends with its last client.
/// After a death nobody has counted: programs that have not called yet are waited for, too.
fn watch(mut keeper: UnixStream, last_word: PipeWriter, socket: &Path) {
    let mut word = [0];
    let told = keeper.read(&mut word).is_ok_and(|len| len == 1);
    if told && word == [keeper::STAY] {
        // Nobody calls any more; only `ring3 stop` ends it.
        std::mem::forget(last_word);
        return;
    }
    while !told && family::anybody_with("RING3_SOCKET", socket.as_os_str()) {
        thread::sleep(BETWEEN);
    }
}

/// Every object's file, connection and process costs a descriptor: takes as many as the hard limit allows.
fn raise_descriptors() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // If the kernel refuses, the limit stays as it is and the broker lives with fewer.
    let _ = rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit { current: limit.maximum, maximum: limit.maximum },
    );
}

/// Receives the first line and the two descriptors.
fn receive(keeper: &UnixStream) -> io::Result<(Start, OwnedFd, OwnedFd)> {
    let mut line = vec![0; 16 * 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = rustix::net::recvmsg(keeper, &mut [IoSliceMut::new(&mut line)], &mut beside, flags)?;
    line.truncate(got.bytes);
    let mut descriptors = beside
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        })
        .flatten();
    match (descriptors.next(), descriptors.next()) {
        (Some(listener), Some(lock)) => Ok((serde_json::from_slice(&line)?, listener, lock)),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    }
}

/// The limits as the keeper sent them.
fn limits(start: &Start) -> Limits {
    let words: Option<[u64; size_of::<Limits>() / 8]> = start.limits.clone().try_into().ok();
    words.map_or_else(Limits::default, |words| zerocopy::transmute!(words))
}

/// Sends what was left behind; nobody may be there to hear it.
fn hand_in(mut keeper: &UnixStream, report: &Report) {
    let leaks: Vec<Leak> = report.left.iter().map(|left| Leak::new(left.kind, &left.detail)).collect();
    let mut line = serde_json::to_vec(&leaks).unwrap_or_default();
    line.push(b'\n');
    let _ = keeper.write_all(&line);
}
