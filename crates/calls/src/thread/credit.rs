//! Credit for looking at a word for a while instead of going to sleep: it goes on as long as it pays, and is tried again once in a while.

/// 0 unknown; up to [`PROBE`] none, and counting down to the next trial; above it, so many failures may come.
#[derive(Clone, Copy)]
pub(super) struct Credit(u32);

const PROBE: u32 = 24;
const MOST: u32 = PROBE + 6;

impl Credit {
    /// From the low half of a thread's word.
    pub(super) fn of(bits: u32) -> Credit {
        Credit(bits & 0xffff)
    }

    /// For a thread's word.
    pub(super) fn bits(self) -> u32 {
        self.0
    }

    /// Whether there is credit; counts down if there is none.
    pub(super) fn may(&mut self) -> bool {
        match self.0 {
            0 => self.0 = PROBE + 1,
            n if n <= PROBE => {
                self.0 = n - 1;
                return false;
            }
            _ => {}
        }
        true
    }

    /// Whether it has paid lately. Counts nothing.
    pub(super) fn is_good(self) -> bool {
        self.0 > PROBE
    }

    /// It was used, and has paid or not.
    pub(super) fn settle(&mut self, paid: bool) {
        self.0 = if paid { (self.0 + 1).min(MOST) } else { self.0 - 1 };
    }
}

/// Looks so many times whether it is over. Answers whether it was.
pub(super) fn look(times: u32, over: impl Fn() -> bool) -> bool {
    for _ in 0..times {
        if over() {
            return true;
        }
        core::hint::spin_loop();
    }
    false
}
