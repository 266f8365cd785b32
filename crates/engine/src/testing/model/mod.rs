//! The mechanisms under a scheduler that decides: real code, threads that switch before every access to shared memory, and futexes that
//! forget nothing. A wake-up that is lost leaves everybody asleep, which the scheduler reports.
//!
//! Accesses are sequentially consistent here: what goes wrong only by a weaker order is not found. Only these tests are built so
//! (`--features model`), and only they run: `cargo xtask model`.

pub(crate) mod atomic;
mod lock;
mod msg;
mod sem;
mod words;

use crate::atomic::{Acquire, AtomicU32};
use crate::host::{Caller, Deadline, Host, Parked, WaitWord};
use core::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use shuttle::rand::Rng;
use shuttle::sync::{Condvar, Mutex};
use std::vec::Vec;

/// Schedules that a test tries, of each kind, unless RING3_MODEL_ROUNDS says otherwise.
const ROUNDS: usize = 1000;
/// How many times a schedule of the second kind prefers another thread than the one it would.
const DEPTH: usize = 3;

/// Runs a test under many schedules: random ones, and ones with few changes at random places, which find what needs a long run in between.
fn check(test: impl Fn() + Send + Sync + Clone + 'static) {
    let rounds = std::env::var("RING3_MODEL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let test = move || {
        let _switching = atomic::switching();
        test();
    };
    shuttle::check_random(test.clone(), rounds);
    shuttle::check_pct(test, rounds, DEPTH);
}

fn who(n: u32) -> Caller {
    Caller { pid: 100 + n, tid: 200 + n, life: 0 }
}

/// Whether sleepers get tired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sleep {
    /// They sleep until they are woken.
    Sound,
    /// Their time may pass at any moment.
    Light,
}

/// The kernel's part: futexes as futex(2) has them.
struct Kernel {
    sleep: Sleep,
    clock: AtomicI64,
    /// Who sleeps: on which word, and as the how-manieth of all.
    queue: Mutex<Vec<(usize, usize)>>,
    came: AtomicUsize,
    changed: Condvar,
}

impl Kernel {
    fn new(sleep: Sleep) -> Kernel {
        Kernel {
            sleep,
            clock: AtomicI64::new(1_000_000),
            queue: Mutex::new(Vec::new()),
            came: AtomicUsize::new(0),
            changed: Condvar::new(),
        }
    }

    /// FUTEX_WAIT: sleeps while the word has the value, which is looked at under the queue's lock.
    fn wait(&self, word: &AtomicU32, value: u32) {
        let mut queue = self.queue.lock().unwrap();
        if word.load(Acquire) != value {
            return;
        }
        let me = self.came.fetch_add(1, Relaxed);
        queue.push((word.as_ptr() as usize, me));
        while queue.iter().any(|(_, n)| *n == me) {
            queue = self.changed.wait(queue).unwrap();
        }
    }
}

impl Host for Kernel {
    fn now(&self) -> i64 {
        self.clock.load(Relaxed)
    }

    fn park(&self, word: WaitWord<'_>, until: Deadline) -> Parked {
        let mut random = shuttle::rand::thread_rng();
        // Some look for a while first.
        for _ in 0..random.gen_range(0..3) {
            if word.has_changed() {
                return Parked::Woken;
            }
        }
        if !word.mark_parked() {
            return Parked::Woken;
        }
        // What waits for a lock does not get tired: its patience must not hide that nobody woke it.
        if self.sleep == Sleep::Light && until != Deadline::SHORT && random.gen_bool(0.5) {
            return Parked::TimedOut;
        }
        self.wait(word.futex(), word.parked());
        Parked::Woken
    }

    fn wake(&self, word: &AtomicU32, count: u32, _: &AtomicU32) {
        let mut left = count;
        self.queue.lock().unwrap().retain(|(at, _)| {
            let goes = *at == word.as_ptr() as usize && left > 0;
            left -= u32::from(goes);
            !goes
        });
        self.changed.notify_all();
    }

    fn wake_together<'w>(
        &self,
        words: impl Iterator<Item = &'w AtomicU32>,
        served: u32,
        gathering: &AtomicU32,
        cpu: &AtomicU32,
    ) {
        let place = gathering.as_ptr() as usize;
        for word in words {
            let mut queue = self.queue.lock().unwrap();
            if word.load(Acquire) == served {
                queue
                    .iter_mut()
                    .filter(|(at, _)| *at == word.as_ptr() as usize)
                    .for_each(|(at, _)| *at = place);
            }
        }
        self.wake(gathering, u32::MAX, cpu);
    }
}
