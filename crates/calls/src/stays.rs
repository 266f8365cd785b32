//! Who has to stay in a region that his object may leave: a served sleeper whose answer lies there, a text that is being copied out.
//! What the process does not let go because of that is let go when the last one has left (O3 in `objects.rs`).

use crate::objects::{Object, leave_region, stays_at};
use crate::section;
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
    fence,
};
use ring3_abi::{IpcId, Kind};

/// Regions that are to be let go when nobody stays in them. Changed under `Identity::objects` only.
static LEFT_BEHIND: LeftBehind = LeftBehind {
    count: AtomicUsize::new(0),
    records: [const { AtomicPtr::new(null_mut()) }; LeftBehind::ROOM],
};

struct LeftBehind {
    count: AtomicUsize,
    records: [AtomicPtr<Object>; LeftBehind::ROOM],
}

/// Whether a region waits to be let go.
pub(crate) fn some_left_behind() -> bool {
    LEFT_BEHIND.count.load(Relaxed) != 0
}

/// Keeps a region until nobody stays in it. Under `Identity::objects`.
pub(crate) fn leave_behind(kind: Kind, old: &'static Object) {
    LEFT_BEHIND.push(kind, old);
}

impl LeftBehind {
    /// One more than these stays mapped until the process ends.
    const ROOM: usize = 64;

    /// The kind goes into the pointer's lowest bit.
    fn push(&self, kind: Kind, old: &'static Object) {
        let tagged = core::ptr::from_ref(old).cast_mut().map_addr(|at| at | kind as usize);
        let empty = |place: &&AtomicPtr<Object>| place.load(Relaxed).is_null();
        if let Some(place) = self.records.iter().find(empty) {
            place.store(tagged, Relaxed);
            // ORDERING: SeqCst: the last one out sees it (Stay's drop), or we saw that he had left.
            self.count.fetch_add(1, SeqCst);
        }
    }

    /// Lets those go in which nobody stays any more.
    fn review(&self) {
        for place in &self.records {
            let tagged = place.load(Relaxed);
            let kind = if tagged.addr() & 1 == 1 { Kind::Sem } else { Kind::Msg };
            // SAFETY: null, or a record, which stays (O1): its range is not given back while calls sleep (graves.rs, R2).
            let Some(old) = (unsafe { tagged.map_addr(|at| at & !1).as_ref() }) else { continue };
            let empty = stays_at(kind, old.id).is_some_and(|stays| stays.load(SeqCst) == 0);
            if empty {
                place.store(null_mut(), Relaxed);
                self.count.fetch_sub(1, SeqCst);
                leave_region(kind, old);
            }
        }
    }
}

/// A call that stays in the regions of an index: they are not let go meanwhile. A call that a handler jumped out of stays for ever.
#[derive(Debug)]
pub(crate) struct Stay(Option<&'static AtomicU32>);

/// Begins a stay. What is found with `objects::find` or `objects::open` afterwards keeps its region until it ends.
pub(crate) fn stay(kind: Kind, id: IpcId) -> Stay {
    let stays = stays_at(kind, id);
    if let Some(stays) = stays {
        // ORDERING: SeqCst: see `objects::retire`.
        stays.fetch_add(1, SeqCst);
        fence(SeqCst);
    }
    Stay(stays)
}

impl Drop for Stay {
    fn drop(&mut self) {
        let Some(stays) = self.0 else { return };
        // ORDERING: SeqCst: see LeftBehind::push().
        if stays.fetch_sub(1, SeqCst) == 1 && LEFT_BEHIND.count.load(SeqCst) != 0 {
            let section = section::enter();
            let _held = crate::identity::current().objects.hold(&section);
            LEFT_BEHIND.review();
        }
    }
}
