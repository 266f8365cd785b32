//! `ring3 rm`: removes objects by identifier, key, kind or owner.

use crate::args::Rm;
use crate::client::Client;
use crate::fault::{Fault, Result};
use crate::selection::{self, Selection};
use ring3_abi::{Errno, Kind};

/// Removes them. The exit status is 1 when one could not be removed, or none was found.
pub(crate) fn main(args: &Rm) -> Result<u8> {
    let selection = Selection::new(args)?;
    let mut client = Client::to(args.name.as_deref())?;
    let mut failed = 0_u32;
    if !args.ids.is_empty() && selection.is_empty() {
        for (kind, id) in
            selection::kinds(args).into_iter().flat_map(|kind| args.ids.iter().map(move |id| (kind, *id)))
        {
            if let Err(why) = client.remove(kind, id)? {
                complain(kind, id, why);
                failed += 1;
            }
        }
        return Ok(u8::from(failed > 0));
    }
    let mut found = 0_u32;
    for kind in selection::kinds(args) {
        for detail in client.list(kind)?.iter().filter(|detail| selection.fits(detail)) {
            if !args.ids.is_empty() && !args.ids.contains(&detail.id) {
                continue;
            }
            found += 1;
            match client.remove(kind, detail.id)? {
                // Somebody else was faster: it is gone, as wished.
                Ok(()) | Err(Errno::EIDRM | Errno::EINVAL) => {}
                Err(why) => {
                    complain(kind, detail.id, why);
                    failed += 1;
                }
            }
        }
    }
    if found == 0 && !args.all {
        return Err(Fault::new("nothing like that is there").remedy("see what is with: ring3 ls"));
    }
    Ok(u8::from(failed > 0))
}

fn complain(kind: Kind, id: i32, why: Errno) {
    let text = match why {
        Errno::EINVAL | Errno::EIDRM => "there is none".to_string(),
        Errno::EPERM | Errno::EACCES => "it belongs to another user".to_string(),
        other => other.to_string(),
    };
    eprintln!("ring3: cannot remove {} {id}: {text}", kind.word());
}
