//! The broker's count of a segment's mappings, by its tokens. kernel: shm_open(), shm_close().

use crate::process::connection;
use ring3_abi::Errno;
use ring3_wire::Op;
use ring3_wire::request::Detach;

/// Another mapping of what `token` names; 0 if the broker does not count it.
pub(crate) fn opened(token: u64) -> u64 {
    if token == 0 {
        return 0;
    }
    connection::ask(Op::Split, &Detach { token, undo: 0, pad: 0 }).map_or(0, i64::cast_unsigned)
}

/// A mapping fewer.
pub(crate) fn closed(token: u64) {
    if token != 0 {
        let _ = connection::ask(Op::Detach, &Detach { token, undo: 0, pad: 0 });
    }
}

/// A mapping in the place of the one that `token` names, which goes first. # Errors: `EINVAL` if the segment went with it.
pub(crate) fn renew(token: u64) -> Result<u64, Errno> {
    if token == 0 {
        return Ok(0);
    }
    connection::ask(Op::Renew, &Detach { token, undo: 0, pad: 0 }).map(i64::cast_unsigned)
}
