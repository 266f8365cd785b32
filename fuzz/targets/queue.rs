//! A queue in a region in which a peer writes what it likes, before and between operations: they answer, in bounded time, and touch nothing else.

#![no_main]

mod scene;

use libfuzzer_sys::fuzz_target;
use ring3_engine::msg::{
    Geometry, Pieces, Queue, Received, ReceivedText, ReservedMessage, Room, STAGE, Selection,
};
use ring3_engine::{Step, Ticket};
use scene::{Input, Memory, Still, scribble, who};

/// What processes have got out of the region so far.
#[derive(Default)]
struct Held {
    received: Vec<(u8, ReceivedText)>,
    reserved: Vec<(u8, ReservedMessage)>,
}

/// Reads and writes what the pieces name.
fn touch(pieces: Pieces<'_>, len: usize) {
    let mut sum = 0;
    for piece in pieces.flatten() {
        sum += piece.len;
        // SAFETY: pieces are checked to lie in the region; the sanitizer says if not.
        unsafe { piece.ptr.write_bytes(0x5a, piece.len) };
    }
    assert!(sum <= len);
}

fn step(memory: &Memory, queue: Queue<'_>, held: &mut Held, input: &mut Input<'_>) -> Option<()> {
    let (action, number) = (input.byte()?, input.byte()?);
    let caller = who(number);
    let mut out = [0; STAGE];
    match action % 13 {
        0 | 1 => scribble(memory, input)?,
        2 => {
            let (mtype, len) = (i64::from(input.byte()?) + 1, usize::from(input.word()?) % STAGE);
            let _ = queue.send_small(&Still, caller, mtype, &out[..len], number & 8 == 0);
        }
        3 => {
            let reserved = queue.reserve(&Still, caller, usize::from(input.word()?) % 6000);
            held.reserved.extend(reserved.ok().map(|reserved| (number, reserved)));
        }
        4 | 5 => {
            let (msgtyp, size) = (i64::from(input.byte()? as i8), usize::from(input.word()?));
            let selection = Selection { msgtyp, size, flags: i32::from(input.word()?) };
            let room = if size.is_multiple_of(3) { 0 } else { STAGE };
            keep(held, number, queue.receive(&Still, caller, selection, &mut out[..room]));
        }
        6 => {
            let (ticket, why) = (Ticket(u32::from(input.byte()?)), input.why()?);
            let selection = Selection { msgtyp: 0, size: 900, flags: 0 };
            keep(held, number, queue.resume_receive(&Still, caller, ticket, selection, why, &mut out));
            let _ = (queue.resume_send(&Still, caller, ticket, why), queue.wait_word(ticket).is_ok());
        }
        7 => {
            let room = Room { size: 5000, msgmax: 8192, noerror: number & 8 == 0 };
            let got = queue.copy(&Still, caller, i64::from(input.byte()? as i8), room, &mut out);
            keep(held, number, got.map(Step::Done));
        }
        8 => {
            if let Some((number, text)) = held.received.pop() {
                touch(queue.received_pieces(&text), text.len);
                let _ = queue.release(&Still, who(number), &text);
            }
        }
        9 => {
            if let Some((number, text)) = held.reserved.pop() {
                touch(queue.reserved_pieces(&text), text.size);
                let _ = match number & 8 {
                    0 => queue.abandon(&Still, who(number), &text),
                    _ => queue.post(&Still, who(number), &text, 2, number & 16 == 0).map(drop),
                };
            }
        }
        10 => {
            let _ = (queue.settle(&Still, caller.pid, who(0)), queue.adopt(&Still, caller));
            let _ = queue.withdraw(&Still, caller);
        }
        11 => {
            let _ = (queue.stat(&Still, caller), queue.peek(), queue.sleepers(), queue.verify());
            let _ = queue.set_qbytes(&Still, caller, u64::from(input.word()?));
        }
        _ if number == 255 => _ = queue.remove(&Still, caller),
        _ => {
            let larger = queue.geometry().grown()?;
            let new = Memory::new(larger.len());
            let _ = Queue::new(new.region(), larger).map(|new| queue.move_to(&Still, caller, new));
        }
    }
    Some(())
}

fn keep(held: &mut Held, number: u8, got: ring3_engine::Result<Step<Received>>) {
    if let Ok(Step::Done(Received { pending: Some(text), .. })) = got {
        held.received.push((number, text));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let geometry = Geometry { tickets: 8, slots: 16, blocks: 16 };
    let memory = Memory::new(geometry.len());
    let Ok(queue) = Queue::new(memory.region(), geometry) else { return };
    let _ = queue.format(7, 6000, 1_000_000);
    let (mut input, mut held) = (Input(bytes), Held::default());
    while step(&memory, queue, &mut held, &mut input).is_some() {}
});
