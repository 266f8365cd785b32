//! The broker's count of a segment's mappings, by its tokens. kernel: shm_open(), shm_close().

use crate::process::{self, connection, notes};
use ring3_abi::Errno;
use ring3_wire::Op;
use ring3_wire::request::{Detach, Limit};

/// Another mapping of what `token` names; 0 if the broker does not count it.
pub(crate) fn opened(token: u64) -> u64 {
    if token == 0 {
        return 0;
    }
    connection::ask(Op::Split, &Detach { token, undo: 0, note: 0 }).map_or(0, i64::cast_unsigned)
}

/// A mapping fewer. Nobody waits for it: the broker hears it before anything that somebody asks who can know of it.
pub(crate) fn closed(token: u64) {
    // A forked child that has its parent's attachments says first who it is.
    if token == 0 || process::ready().is_err() {
        return;
    }
    notes::announce(Op::Detach, |note| Detach { token, undo: 0, note });
    if process::limit(Limit::ShmRmidForced).is_ok_and(|forced| forced != 0) {
        // The segment's key may go with it, and keys are looked up without asking. Any answer will do.
        let _ = connection::ask(Op::Limits, &());
    }
}

/// A mapping in the place of the one that `token` names, which goes first. # Errors: `EINVAL` if the segment went with it.
pub(crate) fn renew(token: u64) -> Result<u64, Errno> {
    if token == 0 {
        return Ok(0);
    }
    connection::ask(Op::Renew, &Detach { token, undo: 0, note: 0 }).map(i64::cast_unsigned)
}
