//! One-way requests that change what others are told of this process's attachments: until one is done, others ask the broker. `engine/src/life.rs`, E5.

use crate::process::{connection, own_life};
use ring3_engine::life::Notes;
use ring3_wire::Op;
use zerocopy::{Immutable, IntoBytes};

/// Sends one; `body` makes it of its number. One that cannot be sent stays announced: others ask until the next one is done.
pub(crate) fn announce<T: IntoBytes + Immutable>(op: Op, body: impl Fn(u32) -> T) {
    connection::notify_in_turn(op, |page| body(own_life::notes(page).map_or(0, Notes::announce)));
}
