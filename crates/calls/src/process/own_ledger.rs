//! This process's own ledger: what it does without asking (`engine/src/ledger.rs`). `Home::attach` is held by whoever writes.

use crate::process::connection;
use ring3_abi::{IpcId, Kind};
use ring3_engine::ledger::{self, Deed, Event, Ledger, ROOM};
use ring3_os::time;
use ring3_wire::Op;

/// Something that is written down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) deed: Deed,
    pub(crate) kind: Kind,
    pub(crate) id: IpcId,
    /// An attachment's token; of something new `ledger::new_token`'s.
    pub(crate) token: u64,
    /// Of something new.
    pub(crate) mode: u16,
}

/// Writes it, and answers whether that was possible. What is looked at after this is what counts: it has not changed before.
pub(crate) fn write(ledger: Ledger<'_>, line: Line) -> bool {
    let Line { deed, kind, id, token, mode } = line;
    let (stamp, time) = (time::monotonic(), time::coarse_seconds());
    let written = ledger.write(&Event { stamp, time, token, id, kind, deed, mode }).is_ok();
    ledger::cross();
    written
}

/// Has the broker read when there is not much room left, without waiting for it.
pub(crate) fn have_read(ledger: Ledger<'_>) {
    const AT: [u64; 2] = [ROOM - 20, ROOM - 10];
    if AT.contains(&ledger.unread()) {
        connection::notify(Op::Read, &());
    }
}
