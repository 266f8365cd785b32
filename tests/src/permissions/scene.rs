//! One row of the table: a maker makes an object for each call, an identity does the calls, and root looks at what has become of the objects.
//!
//! The maker is a process of its own, so that whoever plays an identity has nothing of the objects but what it opened itself.

use super::CREATOR;
use super::calls::{self, Call, Object};
use super::held::{self, Rights};
use super::identity::Identity;
use crate::oracle::sys;
use ring3_abi::ipc::{IPC_CREAT, IPC_EXCL};
use ring3_abi::{IpcId, Kind};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write};

/// What all identities' first uses of objects find.
const OPEN: u32 = 0o666;

/// What an identity did with the objects before the row begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Nothing.
    Fresh,
    /// It used them as they are, and then became another.
    Used,
    /// It used them while their mode gave everything to everybody.
    Changed,
}

impl History {
    /// The histories that make a difference for an identity.
    pub fn of(identity: &Identity) -> &'static [History] {
        if identity.after.is_some() {
            &[History::Fresh, History::Used, History::Changed]
        } else {
            &[History::Fresh, History::Changed]
        }
    }

    fn word(self) -> &'static str {
        match self {
            History::Fresh => "fresh",
            History::Used => "used",
            History::Changed => "changed",
        }
    }
}

/// The first key; each call has one of its own.
const KEYS: i32 = 0x7269_0000;

/// Both directions of a talk with a forked process.
struct Talk {
    input: PipeReader,
    output: PipeWriter,
}

/// Forks a process that does `work` and ends.
fn fork_with(work: impl FnOnce(&mut Talk) -> io::Result<()>) -> io::Result<(u32, Talk)> {
    let (child_input, output) = io::pipe()?;
    let (input, child_output) = io::pipe()?;
    let pid = sys::fork()?;
    if pid == 0 {
        drop((input, output));
        sys::die_with_parent();
        let done = work(&mut Talk { input: child_input, output: child_output });
        if let Err(why) = &done {
            let _ = writeln!(io::stderr(), "ring3-permissions: {why}");
        }
        sys::exit_now(i32::from(done.is_err()));
    }
    Ok((pid as u32, Talk { input, output }))
}

/// Plays one identity on objects of one mode.
///
/// # Errors
/// What the system calls answer, or that the identity's process failed.
pub fn row(identity: &Identity, mode: u32, history: History, out: &mut String) -> io::Result<usize> {
    let calls = calls::all();
    let (maker, mut making) = fork_with(|talk| make(&calls::all(), mode, history, talk))?;
    let mut ids = vec![0; calls.len() * 4];
    making.input.read_exact(&mut ids)?;
    let objects: Vec<Object> = calls
        .iter()
        .zip(ids.chunks_exact(4))
        .enumerate()
        .map(|(n, (call, id))| {
            let id = i32::from_le_bytes(id.try_into().unwrap_or_default());
            object(n, call, id, mode)
        })
        .collect();
    let (player, mut playing) = fork_with(|talk| play(identity, &calls, &objects, history, talk))?;
    let mut byte = [0];
    // The objects were used, or are not to be; then their mode is what the row is about.
    playing.input.read_exact(&mut byte)?;
    making.output.write_all(&byte)?;
    making.input.read_exact(&mut byte)?;
    playing.output.write_all(&byte)?;
    let results: Vec<String> = BufReader::new(playing.input).lines().collect::<io::Result<_>>()?;
    let ended = sys::wait(player, true)?;
    making.output.write_all(&byte)?;
    let states: Vec<String> = BufReader::new(making.input).lines().collect::<io::Result<_>>()?;
    sys::wait(maker, true)?;
    let what = format!("{} {} {mode:o}", identity.name, history.word());
    if ended.as_deref() != Some("exit 0") || results.len() != calls.len() + 1 || states.len() != calls.len() {
        return Err(io::Error::other(format!(
            "{what}: {ended:?}, {} results, {} states",
            results.len(),
            states.len()
        )));
    }
    let _ = writeln!(out, "{what} beyond rights: {}", results[0]);
    for ((call, result), state) in calls.iter().zip(&results[1..]).zip(&states) {
        let _ = writeln!(out, "{what} {}: {result}; then {state}", call.name);
    }
    Ok(calls.len() + 1)
}

fn object(n: usize, call: &Call, id: IpcId, mode: u32) -> Object {
    Object { kind: call.kind, id, key: KEYS + n as i32, mode }
}

/// Makes an object for each call and says its identifier; changes the modes when told to; says in the end how the objects look, and removes them.
fn make(calls: &[Call], mode: u32, history: History, talk: &mut Talk) -> io::Result<()> {
    let first = if history == History::Changed { OPEN } else { mode };
    let mut objects = Vec::new();
    // SAFETY: they take numbers only.
    unsafe {
        sys::check(i64::from(libc::setegid(CREATOR.1)))?;
        sys::check(i64::from(libc::seteuid(CREATOR.0)))?;
    }
    for (n, call) in calls.iter().enumerate() {
        let key = object(n, call, 0, mode).key;
        let id = sys::check(calls::get(call.kind, key, IPC_CREAT | IPC_EXCL | OPEN as i32))? as i32;
        let object = Object { mode: first, ..object(n, call, id, mode) };
        match call.kind {
            Kind::Msg => sys::check(calls::send(id)),
            Kind::Sem => sys::check(calls::operate(id, &[(0, 2, 0)])),
            Kind::Shm => Ok(0),
        }?;
        set_mode(object)?;
        objects.push(object);
        talk.output.write_all(&id.to_le_bytes())?;
    }
    // SAFETY: they take numbers only.
    unsafe {
        sys::check(i64::from(libc::seteuid(0)))?;
        sys::check(i64::from(libc::setegid(0)))?;
    }
    let mut byte = [0];
    talk.input.read_exact(&mut byte)?;
    for object in &mut objects {
        object.mode = mode;
        if history == History::Changed {
            set_mode(*object)?;
        }
    }
    talk.output.write_all(&byte)?;
    talk.input.read_exact(&mut byte)?;
    for &object in &objects {
        writeln!(talk.output, "{}", calls::state(object))?;
        let _ = calls::remove(object);
    }
    Ok(())
}

/// Gives an object its owner, group and mode.
fn set_mode(object: Object) -> io::Result<()> {
    let said = calls::change(object, |_| (), calls::BYTES);
    if said == "0" { Ok(()) } else { Err(io::Error::other(format!("IPC_SET: {said}"))) }
}

/// Becomes the identity and does the calls.
fn play(
    identity: &Identity,
    calls: &[Call],
    objects: &[Object],
    history: History,
    talk: &mut Talk,
) -> io::Result<()> {
    (identity.before)()?;
    if history != History::Fresh {
        objects.iter().for_each(|&object| calls::touch(object));
    }
    talk.output.write_all(&[0])?;
    talk.input.read_exact(&mut [0])?;
    if let Some(after) = identity.after {
        after()?;
    }
    if history == History::Changed {
        // What an IPC_SET has taken away goes with the next call.
        objects.iter().for_each(|&object| drop(calls::state(object)));
    }
    let rights = [Kind::Msg, Kind::Sem].map(|kind| {
        let any = objects.iter().find(|object| object.kind == kind).map_or(0, |object| object.key);
        let may = |bits| calls::get(kind, any, bits) != -1;
        Rights { word: kind.word(), read: may(0o400), alter: may(0o200) }
    });
    writeln!(talk.output, "{}", held::beyond(&rights))?;
    for (call, &object) in calls.iter().zip(objects) {
        writeln!(talk.output, "{}", (call.run)(object))?;
    }
    Ok(())
}
