//! What a call does about an error of the engine that is no answer yet.

use crate::object::record::Object;
use crate::process::connection;
use ring3_abi::Errno;
use ring3_engine::Error;
use ring3_os::process;

/// What a call has tried so far to get over errors of the engine.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    /// How often the broker was asked for a larger region: others may have filled that one, too.
    grown: u32,
    /// Naps while the broker was between marking a region and telling so.
    naps: u32,
}

/// Naps before a region that is said to have moved, but never gets a successor, counts as gone: some seconds.
const NAPS: u32 = 100_000;

/// No table can be doubled that often: the broker says ENOMEM before.
const GROWTHS: u32 = 32;

/// What to do about an error of the engine: nothing (call again), or it is the call's answer.
#[cold]
pub(crate) fn recover(object: &Object, error: Error, tries: &mut Tries) -> Result<(), Errno> {
    match error {
        Error::Errno(errno) => Err(errno),
        Error::Removed => Err(Errno::EIDRM),
        Error::Spoiled if object.is_current() => Err(Errno::EIDRM),
        Error::Moved if object.is_current() => {
            tries.naps += 1;
            process::nap();
            if tries.naps < NAPS { Ok(()) } else { Err(Errno::EIDRM) }
        }
        Error::Moved | Error::Spoiled => Ok(()),
        Error::Stuck(holder) => connection::stuck(object.kind, object.id, holder),
        Error::Full if tries.grown < GROWTHS => {
            tries.grown += 1;
            connection::grow(object.kind, object.id, object.entry.version)
        }
        Error::Full => Err(Errno::ENOMEM),
    }
}
