//! Whether a namespace survives its broker's or its keeper's death: tried once, before the storm.

use super::keepers::{self, Keepers};
use crate::cargo::Done;
use crate::ipc::{self, Kind};

/// Kills one of them and looks whether the namespace goes on, with somebody who serves and somebody who keeps.
pub(super) fn run(whom: &str) -> Done {
    let mut keepers = Keepers::new()?;
    let pair = keepers.await_pair().ok_or("no broker was found")?;
    let id = ipc::semget(1, 1, libc::IPC_CREAT | 0o600).map_err(|why| why.to_string())?;
    let pid = if whom == "keeper" { pair.keeper } else { pair.broker };
    if !keepers::kill(pid) {
        return Err(format!("the {whom} (process {pid}) cannot be killed"));
    }
    let found = ipc::semget(1, 1, 0);
    if found.as_ref().ok() != Some(&id) {
        return Err(format!("the namespace does not survive its {whom}'s death: semget gives {found:?}"));
    }
    if keepers.await_pair().is_none() {
        return Err(format!(
            "nobody takes the dead {whom}'s place, so the next death would end the namespace"
        ));
    }
    Kind::Sem.remove(id).map_err(|why| why.to_string())
}
