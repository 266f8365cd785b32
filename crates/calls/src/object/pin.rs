//! Pins a region that a call still needs after its object has moved or gone: a served sleeper's answer lies there, or a text that is being
//! copied out. A region that the process lets go meanwhile is kept, and let go when the last pin is taken away (O3 in `open.rs`).

use crate::object::record::{Object, pins_at};
use crate::process::{connection, identity};
use crate::thread::section;
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
    fence,
};
use ring3_abi::{IpcId, Kind};
use ring3_os::map;
use ring3_wire::{Op, request};

/// Regions that are to be let go when nothing pins them any more. Changed under `Home::objects` only.
static KEPT: Kept =
    Kept { count: AtomicUsize::new(0), records: [const { AtomicPtr::new(null_mut()) }; Kept::ROOM] };

struct Kept {
    count: AtomicUsize,
    records: [AtomicPtr<Object>; Kept::ROOM],
}

/// Whether a region waits to be let go.
pub(crate) fn some_kept() -> bool {
    KEPT.count.load(Relaxed) != 0
}

/// Keeps a region until nothing pins it. Under `Home::objects`.
pub(super) fn keep_for_now(old: &'static Object) {
    KEPT.push(old);
}

impl Kept {
    /// One more than these stays mapped until the process ends.
    const ROOM: usize = 64;

    fn push(&self, old: &'static Object) {
        let empty = |place: &&AtomicPtr<Object>| place.load(Relaxed).is_null();
        if let Some(place) = self.records.iter().find(empty) {
            place.store(core::ptr::from_ref(old).cast_mut(), Relaxed);
            // ORDERING: SeqCst: the last pin to go sees it (Pin's drop), or the caller saw that there is none.
            self.count.fetch_add(1, SeqCst);
        }
    }

    /// Lets those go that nothing pins any more.
    fn review(&self) {
        for place in &self.records {
            // SAFETY: null, or a record, which stays (O1): its range is not given back while calls sleep (`reclaim.rs`, R2).
            let Some(old) = (unsafe { place.load(Relaxed).as_ref() }) else { continue };
            // ORDERING: SeqCst pairs with pin() and with Pin's drop, as in open::release.
            let free = pins_at(old.kind, old.id).is_some_and(|pins| pins.load(SeqCst) == 0);
            if free {
                place.store(null_mut(), Relaxed);
                // ORDERING: SeqCst pairs with Pin's drop, which looks at the count after it has taken its pin away.
                self.count.fetch_sub(1, SeqCst);
                leave_region(old);
            }
        }
    }
}

/// Puts zeroes in the region's place and says that we have left it.
pub(super) fn leave_region(old: &'static Object) {
    // SAFETY: the range is the record's own mapping, which is named by nothing else; what still reads there copes (O3).
    if unsafe { map::blank(old.base, old.len) }.is_ok() && !old.lingers {
        connection::notify(Op::Close, &request::Object { kind: old.kind.into(), id: old.id });
    }
}

/// A pin of the regions of an index: they are not let go meanwhile. The pin of a call that a handler jumped out of stays for ever.
#[derive(Debug)]
pub(crate) struct Pin(Option<&'static AtomicU32>);

/// Pins. What is found with `record::find` or `open::open` afterwards keeps its region until the pin is dropped.
pub(crate) fn pin(kind: Kind, id: IpcId) -> Pin {
    let pins = pins_at(kind, id);
    if let Some(pins) = pins {
        // ORDERING: SeqCst: see `open::release`.
        pins.fetch_add(1, SeqCst);
        fence(SeqCst);
    }
    Pin(pins)
}

impl Drop for Pin {
    fn drop(&mut self) {
        let Some(pins) = self.0 else { return };
        // ORDERING: SeqCst: see Kept::push().
        if pins.fetch_sub(1, SeqCst) == 1 && KEPT.count.load(SeqCst) != 0 {
            let section = section::enter();
            let Some(home) = identity::known_home() else { return };
            let _held = home.objects.hold(&section);
            KEPT.review();
        }
    }
}
