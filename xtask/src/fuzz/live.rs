//! Honest processes and a hostile one in one namespace: second by second it attacks, or something harmless takes as much of the machine.

use super::honest::{self, Room, WORK};
use super::hostile::{self, Prey};
use std::io;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// How long it attacks at a time.
const SLICE: Duration = Duration::from_millis(700);
/// A round that takes longer hangs.
const HANG: Duration = Duration::from_secs(5);
/// How much slower honest ones may be.
const FACTOR: f64 = 3.0;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Lines for the user.
    pub(super) rows: Vec<String>,
    pub(super) attacks: u64,
    pub(super) crashes: u64,
    pub(super) hangs: u64,
    pub(super) slowed: u64,
}

/// Plays it.
pub(super) fn run(time: Duration, seed: u64) -> io::Result<Outcome> {
    let room = Room::new()?;
    let honest = honest::start(room)?;
    let (began, mut outcome) = (Instant::now(), Outcome::default());
    let mut stuck = [(0, began); WORK.len()];
    while began.elapsed() < time {
        let prey = Prey::new()?;
        slice(room, None)?;
        slice(room, Some((prey, seed + outcome.attacks)))?;
        outcome.attacks += 1;
        let removing = Instant::now();
        if prey.remove().is_err() {
            outcome.crashes += 1;
            outcome.rows.push("a spoiled object cannot be removed".to_owned());
        }
        outcome.hangs += u64::from(removing.elapsed() > HANG);
        for (desk, stuck) in room.desks.iter().zip(&mut stuck) {
            let rounds = desk.rounds.iter().map(|rounds| rounds.load(SeqCst)).sum::<u64>();
            if rounds != stuck.0 {
                *stuck = (rounds, Instant::now());
            } else if stuck.1.elapsed() > HANG {
                outcome.hangs += 1;
                stuck.1 = Instant::now();
            }
        }
    }
    for pid in honest {
        super::end(pid);
    }
    judge(room, &mut outcome);
    Ok(outcome)
}

/// A while with the hostile process, or with one that merely works.
fn slice(room: &Room, attack: Option<(Prey, u64)>) -> io::Result<()> {
    let pid = super::fork(|| match attack {
        Some((prey, seed)) => hostile::attack(prey, seed),
        None => loop {
            std::hint::spin_loop();
        },
    })?;
    room.attacked.store(u32::from(attack.is_some()), SeqCst);
    // SAFETY: usleep(3) takes a number.
    unsafe { libc::usleep(SLICE.as_micros() as u32) };
    super::end(pid);
    room.attacked.store(0, SeqCst);
    Ok(())
}

/// Looks how the honest ones fared.
fn judge(room: &Room, outcome: &mut Outcome) {
    for (desk, name) in room.desks.iter().zip(WORK) {
        let [quiet, attacked] = [0, 1].map(|at| desk.rounds[at].load(SeqCst));
        let [calm, longest] = [0, 1].map(|at| Duration::from_nanos(desk.longest[at].load(SeqCst)));
        let failed = desk.failed.load(SeqCst);
        let factor = quiet as f64 / attacked.max(1) as f64;
        outcome.rows.push(format!(
            "{name}: {quiet} rounds quiet, {attacked} under attack ({factor:.2} times as long), longest {} and {} ms",
            calm.as_millis(),
            longest.as_millis()
        ));
        if failed != 0 {
            outcome.crashes += 1;
            outcome.rows.push(format!("{name}: {}", io::Error::from_raw_os_error(failed as i32)));
        }
        outcome.hangs += u64::from(calm.max(longest) > HANG);
        outcome.slowed += u64::from(factor > FACTOR);
    }
}
