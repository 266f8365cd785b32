//! A set in a region in which a peer writes what it likes, before and between operations: they answer, in bounded time, and touch nothing else.

#![no_main]

mod scene;

use libfuzzer_sys::fuzz_target;
use ring3_abi::sem::Sembuf;
use ring3_engine::Ticket;
use ring3_engine::sem::{Geometry, Set, Undo};
use scene::{Input, Memory, Still, scribble, who};

/// Semaphores.
const COUNT: u32 = 6;

/// Operations of one call; numbers and flags may be anything.
fn operations(input: &mut Input<'_>) -> Option<Vec<Sembuf>> {
    let count = usize::from(input.byte()? % 5);
    (0..count)
        .map(|_| {
            let (number, change, flags) = (input.byte()?, input.byte()? as i8, input.byte()?);
            let flags = i16::from(flags & 1) << 12 | i16::from(flags & 2) << 10;
            Some(Sembuf { sem_num: u16::from(number % 8), sem_op: i16::from(change % 4), sem_flg: flags })
        })
        .collect()
}

fn step(memory: &Memory, set: Set<'_>, input: &mut Input<'_>) -> Option<()> {
    let (action, number) = (input.byte()?, input.byte()?);
    let caller = who(number);
    match action % 11 {
        0 | 1 => scribble(memory, input)?,
        2..=4 => _ = set.semop(&Still, caller, &operations(input)?),
        5 => {
            for operation in operations(input)? {
                let _ = set.fast(caller.pid, 1_000_000, &operation);
            }
        }
        6 => {
            let (ticket, why) = (Ticket(u32::from(input.byte()?)), input.why()?);
            let _ = (set.resume(&Still, caller, ticket, why), set.wait_word(ticket).is_ok());
        }
        7 => {
            let undo = if number & 8 == 0 { Undo::Apply } else { Undo::Keep };
            let _ = (set.settle(&Still, caller.pid, who(0), undo), set.adopt(&Still, caller));
            let _ = set.withdraw(&Still, caller);
        }
        8 => {
            let at = u32::from(number % 8);
            let _ = (set.getval(&Still, caller, at), set.getpid(&Still, caller, at), set.peek(at));
            let _ = (set.counts(&Still, caller, at), set.stat(), set.sleepers());
            let _ = set.getall(&Still, caller, |at, _| assert!(at < COUNT));
        }
        9 => {
            let value = i32::from(input.word()?);
            let _ = set.setval(&Still, caller, u32::from(number % 8), value);
            let _ = set.setall(&Still, caller, |at| at as u16);
            let _ = set.hand_over(&Still, caller.pid, who(number / 5).pid, who(0));
        }
        _ if number == 255 => _ = set.remove(&Still, caller),
        _ => {
            let larger = set.geometry().grown(8)?;
            let new = Memory::new(larger.len());
            let _ = Set::new(new.region(), larger).map(|new| set.move_to(&Still, caller, new));
        }
    }
    Some(())
}

fuzz_target!(|bytes: &[u8]| {
    // Small: most of the time should not go into making memory.
    let geometry = Geometry { nsems: COUNT, rows: 64, tickets: 8, ops: 8 };
    let memory = Memory::new(geometry.len());
    let Ok(set) = Set::new(memory.region(), geometry) else { return };
    let _ = set.format(7, 1_000_000);
    let mut input = Input(bytes);
    while step(&memory, set, &mut input).is_some() {}
});
