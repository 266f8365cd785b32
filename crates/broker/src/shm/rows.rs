//! The segments' rows in the directory, by which processes answer IPC_STAT and its like without asking. `engine/src/directory/segment.rs` says what
//! a reader makes of them.
//!
//! # Invariants
//! W1. A row says what the broker would answer, from the moment when a change is answered or its note is done.

use super::KIND;
use crate::life::{Holder, Process};
use crate::namespace::Namespace;
use ring3_abi::ipc::index_of;
use ring3_abi::{IpcId, Pid};
use ring3_engine::directory::layout::HOLDERS;
use ring3_engine::directory::{Segment as Row, Writer};
use ring3_engine::life::Life;
use std::collections::BTreeSet;

/// Writes what there is of a segment now. One that has gone has no row.
pub(super) fn publish(ns: &Namespace, id: IpcId) {
    if ns.names(KIND).get(id).is_some()
        && let Some((directory, index)) = ns.directory().zip(index_of(id))
    {
        put(ns, directory, index, id);
    }
}

/// The same at an index of the directory, where nothing is told of a segment that has gone.
pub(super) fn put(ns: &Namespace, directory: Writer<'_>, index: usize, id: IpcId) {
    // No index is beyond the directory's end.
    let _ = directory.put_segment(index, &row(ns, id).unwrap_or_default());
}

/// Writes the rows of all that a process has attached, or attaches by itself: others know of its end by its life from now on, or have to ask.
pub(super) fn publish_of(ns: &Namespace, pid: Pid) {
    let shm = &ns.states.shm;
    let ids: BTreeSet<IpcId> =
        shm.attachments.segments_of(Holder::Process(pid)).chain(shm.again.of(pid)).collect();
    ids.into_iter().for_each(|id| publish(ns, id));
}

fn row(ns: &Namespace, id: IpcId) -> Option<Row> {
    let segment = ns.states.shm.segments.get(&id)?;
    let mut holders = [0; HOLDERS];
    let others = segment.readers.iter().map(|&pid| Holder::Process(pid));
    let others = others.filter(|holder| !segment.holders.contains_key(holder));
    let mut all = segment.holders.keys().copied().chain(others);
    let mut more = false;
    for (place, holder) in holders.iter_mut().zip(&mut all) {
        *place = life(ns, holder);
        more |= *place == 0;
    }
    more |= all.next().is_some();
    Some(Row { holders, more, ..segment.told() })
}

/// The life by which others know of a holder's end and of what it announces; 0 if they have to ask, as of one whose memory others run in.
fn life(ns: &Namespace, holder: Holder) -> Life {
    match holder {
        Holder::Process(pid) if ns.neighbours(pid).is_empty() => {
            ns.processes.get(&pid).map_or(0, Process::life)
        }
        _ => 0,
    }
}
