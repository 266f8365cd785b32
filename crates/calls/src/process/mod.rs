//! Who this process is to the broker, and the connection to it.
//!
//! | question | file |
//! | --- | --- |
//! | which process, which thread, which epoch | `identity.rs`, `guests.rs` |
//! | may this thread use an object | `credentials.rs` |
//! | how is the broker asked | `connection.rs`, `packet.rs`, `line.rs` |
//! | how do others learn of this process's end, and this one of theirs | `own_life.rs`, `life_state.rs`, `lives.rs` |
//! | how is anything received by a process that has no descriptor free | `deputy.rs` |
//! | how does it write down what it does without asking | `own_ledger.rs` |
//! | what has this process mapped, as the kernel says | `own_maps.rs` |
//! | where is the namespace's directory | `directory.rs` |
//! | what did `ring3 run` leave for its programs | `environment.rs` |
//! | what does `RING3_LOG=debug` write | `trace.rs` |

pub mod connection;
pub mod credentials;
pub(crate) mod deputy;
pub(crate) mod directory;
pub mod environment;
mod guests;
pub mod identity;
mod life_state;
mod line;
pub(crate) mod lives;
pub(crate) mod notes;
pub(crate) mod own_ledger;
pub(crate) mod own_life;
pub(crate) mod own_maps;
mod packet;
pub mod trace;

use crate::process::identity::Identity;
use ring3_abi::limits::Limits;
use ring3_abi::{Errno, Pid};
use ring3_engine::Caller;
use ring3_wire::Op;
use ring3_wire::request::Limit;

/// The process number as the broker knows it; 0 if it does not know us.
#[inline]
pub fn pid() -> Pid {
    match identity::current().pid() {
        0 => identity::known().map_or(0, Identity::pid),
        pid => pid,
    }
}

/// Whether the broker knows this process.
pub fn registered() -> bool {
    pid() != 0
}

/// Whether users and groups have other ids to this process than to the broker (another user namespace): the broker decides what it may do.
pub(crate) fn users_abroad() -> bool {
    identity::known().is_some_and(Identity::users_abroad)
}

/// Whether processes have other numbers to this process than in regions (a PID namespace below the broker's): the broker translates.
pub(crate) fn pids_abroad() -> bool {
    identity::known().is_some_and(Identity::pids_abroad)
}

/// Our identity, after registering if need be.
///
/// # Errors
/// `ENOSYS` if there is no broker to be reached.
pub(crate) fn ready() -> Result<&'static Identity, Errno> {
    let page = identity::current();
    if page.pid() != 0 {
        return Ok(page);
    }
    let page = deputy::provided(connection::register)?;
    own_life::resume(page);
    Ok(page)
}

/// Who calls.
pub(crate) fn caller(page: &Identity) -> Caller {
    Caller { pid: page.pid(), tid: identity::tid(), life: page.life.number() }
}

/// [`limit`] if the broker need not be asked.
#[inline(always)]
pub(crate) fn limit_at_once(which: Limit) -> Option<i64> {
    let head = directory::head().ok()?;
    if head.limits_may_change() { None } else { Some(head.limit(which)) }
}

/// All limits of the namespace, as [`limit`] tells each.
pub(crate) fn limits() -> Result<Limits, Errno> {
    limit(Limit::Msgmni)?;
    Ok(directory::directory()?.limits())
}

/// A limit of the namespace. What was written to its file before is in force: kernel: proc_ipc_dointvec() and its sisters return after
/// they have set it, but a write to our files returns when the text is in a pipe.
#[inline]
pub(crate) fn limit(which: Limit) -> Result<i64, Errno> {
    let head = directory::head()?;
    if head.limits_may_change() {
        // Any answer will do: the broker empties the pipes before it answers.
        connection::ask(Op::Limits, &())?;
    }
    Ok(head.limit(which))
}
