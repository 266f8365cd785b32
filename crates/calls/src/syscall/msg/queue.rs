//! The queue that a call is for, as this process has it mapped.

use crate::object::open;
use crate::object::record::{self, Handle, Object};
use crate::object::recover::{Tries, recover};
use crate::process::{connection, identity};
use crate::thread::section::Section;
use crate::thread::sleep::Agent;
use ring3_abi::{Errno, IpcId, Kind};
use ring3_engine::msg::Queue;
use ring3_engine::{Caller, Error, Ticket};
use ring3_os::user::{UserBytes, UserPtr};

pub(super) const KIND: Kind = Kind::Msg;

/// The caller's message: an address that is said to lead to `mtype`; the text follows.
pub(in crate::syscall) type Message = UserPtr<i64>;

/// Where the text of a message is, of so many bytes.
pub(in crate::syscall) fn text(message: Message, size: usize) -> Result<UserBytes, Errno> {
    Ok(message.nth(1)?.bytes(size))
}

/// The queue of an object that this process may read and alter.
pub(super) fn queue_of(object: &Object) -> Option<&Queue<'static>> {
    match &object.handle {
        Handle::Queue(queue) if object.is_writable() => Some(queue),
        _ => None,
    }
}

/// The queue of an identifier, and who calls, if every thread may do everything with it and nothing must be asked.
#[inline(always)]
pub(super) fn queue_at_once(id: IpcId, section: &Section) -> Option<(&'static Queue<'static>, Caller)> {
    let page = identity::current();
    let object = record::find(KIND, id, page)?;
    match &object.handle {
        Handle::Queue(queue) if object.direct => {
            Some((queue, Caller { pid: page.pid(), tid: identity::tid_of(section.thread()), life: 0 }))
        }
        _ => None,
    }
}

/// The queue's new region and this thread's ticket there.
pub(super) fn follow(
    id: IpcId,
    who: Caller,
) -> Result<(&'static Object, &'static Queue<'static>, Ticket), Errno> {
    let mut tries = Tries::default();
    loop {
        let object = open::open(KIND, id).map_err(|_| Errno::EIDRM)?;
        let queue = queue_of(object).ok_or(Errno::EACCES)?;
        match queue.adopt(&Agent, who) {
            Ok(ticket) => return Ok((object, queue, ticket.ok_or(Errno::EIDRM)?)),
            Err(error) => recover(object, error, &mut tries)?,
        }
    }
}

/// Does an operation that holds something already: if the lock does not come free it is tried again until it does.
pub(super) fn patiently<T>(id: IpcId, mut operation: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match operation() {
            Err(Error::Stuck(holder)) => connection::stuck(KIND, id, holder).map_err(Error::Errno)?,
            other => return other,
        }
    }
}
