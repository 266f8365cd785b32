//! `ring3 stop`: ends a namespace that nobody needs any more.

use crate::args::Stop;
use crate::client::Client;
use crate::fault::{Fault, Result};
use crate::place::Namespace;
use ring3_abi::Errno;

/// Ends it and returns when it is gone.
pub(crate) fn main(args: &Stop) -> Result<u8> {
    let namespace = Namespace::named(&args.name)?;
    let mut client = Client::to(Some(&args.name))?;
    match client.shutdown()? {
        Ok(()) => {}
        Err(Errno::EBUSY) => {
            return Err(Fault::new(format!("namespace {:?} still has programs in it", args.name))
                .remedy("end them first, then try again"));
        }
        Err(Errno::EPERM | Errno::EACCES) => {
            return Err(Fault::new(format!("namespace {:?} belongs to another user", args.name))
                .remedy("ask that user, or root, to end it"));
        }
        Err(why) => return Err(Fault::new(format!("cannot end namespace {:?}: {why}", args.name))),
    }
    client.wait_end();
    namespace.wait_gone();
    Ok(0)
}
