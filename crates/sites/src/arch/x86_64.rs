//! x86-64: instructions have no alignment, so where one begins is proven by two decodings (S2).
//!
//! The *sweep* decodes each section from its first byte. The *descent* begins where something vouches for an instruction: a function whose both ends are known is decoded as a whole,
//! and counts only if it ends where it should; from the other starts the flow is followed, into what they call and jump to. What an indirect jump leads to is not followed.

use crate::code::{COMPARED, ENTERED, Notes, SWEPT, VOUCHED};
use crate::find::{Found, Left, Reason};
use crate::image::{Function, Image, Piece};
use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};
use std::collections::BTreeMap;

/// Most entries that a table of distances is read for.
const LONGEST_TABLE: usize = 4096;

/// How far before a site its number is looked for.
const FURTHEST_NUMBER: usize = 12;

/// The instruction at an address, if one can be decoded there.
pub(crate) fn decode(image: &Image, address: u64) -> Option<Instruction> {
    let bytes = image.code.iter().find_map(|piece| piece.from(address))?;
    let bytes = &bytes[..bytes.len().min(15)];
    let instruction = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
    (!instruction.is_invalid()).then_some(instruction)
}

/// The instruction that ends at an address, as the sweep has it.
pub(crate) fn before(image: &Image, notes: &Notes, address: u64) -> Option<Instruction> {
    let start = (1..=15).filter_map(|n| address.checked_sub(n));
    let start = start.into_iter().find(|start| notes.at(image, *start) & SWEPT != 0)?;
    decode(image, start).filter(|instruction| instruction.next_ip() == address)
}

/// The number in rax at a site, where the instructions before it have it as a constant on every way to it.
pub(crate) fn number(image: &Image, notes: &Notes, site: u64) -> Option<u32> {
    let mut factory = InstructionInfoFactory::new();
    let mut at = site;
    for _ in 0..FURTHEST_NUMBER {
        if notes.at(image, at) & ENTERED != 0 {
            return None;
        }
        let instruction =
            before(image, notes, at).filter(|found| found.flow_control() == FlowControl::Next)?;
        at = instruction.ip();
        let used = factory.info(&instruction).used_registers();
        let writes = used.iter().any(|used| {
            let written =
                !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess);
            written && used.register().full_register() == Register::RAX
        });
        if writes {
            return constant(image, notes, &instruction);
        }
    }
    None
}

/// What an instruction that writes rax makes of it.
fn constant(image: &Image, notes: &Notes, instruction: &Instruction) -> Option<u32> {
    match instruction.code() {
        Code::Mov_r32_imm32 | Code::Mov_rm32_imm32 => Some(instruction.immediate32()),
        Code::Mov_rm64_imm32 => u32::try_from(instruction.immediate(1)).ok(),
        Code::Xor_r32_rm32 | Code::Xor_rm32_r32 => {
            (instruction.op0_register() == instruction.op1_register()).then_some(0)
        }
        Code::Pop_r64 => {
            let pushed = before(image, notes, instruction.ip())?;
            (pushed.code() == Code::Pushq_imm8).then(|| u32::try_from(pushed.immediate(0)).ok())?
        }
        _ => None,
    }
}

/// Whether an instruction means the same at every address, and goes on to the next (S4).
pub(crate) fn moves(instruction: &Instruction) -> bool {
    let stays = matches!(instruction.mnemonic(), Mnemonic::Endbr64 | Mnemonic::Endbr32 | Mnemonic::Hlt);
    instruction.flow_control() == FlowControl::Next && !instruction.is_ip_rel_memory_operand() && !stays
}

/// An instruction that enters the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Syscall,
    Other,
}

fn door(instruction: &Instruction) -> Option<Door> {
    match instruction.code() {
        Code::Syscall => Some(Door::Syscall),
        Code::Sysenter => Some(Door::Other),
        Code::Int_imm8 if instruction.immediate8() == 0x80 => Some(Door::Other),
        _ => None,
    }
}

/// Finds the sites.
pub(crate) fn find(image: &Image) -> Found {
    let mut survey = Survey { image, notes: Notes::of(image), doors: BTreeMap::new(), waiting: Vec::new() };
    for piece in &image.code {
        survey.sweep(piece);
    }
    survey.descend();
    survey.judge()
}

/// What has been found of a file so far.
struct Survey<'i, 'd> {
    image: &'i Image<'d>,
    notes: Notes,
    doors: BTreeMap<u64, Door>,
    /// Starts that the flow is still to be followed from.
    waiting: Vec<u64>,
}

impl Survey<'_, '_> {
    /// Decodes a section from its first byte; what is no instruction is one byte long.
    fn sweep(&mut self, piece: &Piece) {
        let mut decoder = Decoder::with_ip(64, piece.bytes, piece.address, DecoderOptions::NONE);
        while decoder.can_decode() {
            let at = decoder.position();
            let instruction = decoder.decode();
            if instruction.is_invalid() {
                let moved = decoder.set_position(at + 1);
                debug_assert!(moved.is_ok(), "the position was there before");
                decoder.set_ip(piece.address + at as u64 + 1);
                continue;
            }
            self.note(&instruction, SWEPT);
        }
    }

    /// Decodes what something vouches for.
    fn descend(&mut self) {
        let image = self.image;
        for function in &image.functions {
            match whole(image, *function) {
                Some(instructions) => {
                    for instruction in &instructions {
                        self.note(instruction, VOUCHED);
                        self.waiting.extend(branch(instruction));
                    }
                }
                None => self.waiting.push(function.start),
            }
        }
        self.waiting.extend(&image.starts);
        while let Some(start) = self.waiting.pop() {
            self.follow(start);
        }
    }

    /// Follows the flow from a start until it ends or is known.
    fn follow(&mut self, start: u64) {
        let mut at = start;
        while self.notes.at(self.image, at) & VOUCHED == 0 {
            let Some(instruction) = decode(self.image, at) else { return };
            self.note(&instruction, VOUCHED);
            self.waiting.extend(branch(&instruction));
            match instruction.flow_control() {
                FlowControl::UnconditionalBranch
                | FlowControl::IndirectBranch
                | FlowControl::Return
                | FlowControl::Exception => return,
                FlowControl::Interrupt if door(&instruction).is_none() => return,
                _ if instruction.mnemonic() == Mnemonic::Hlt => return,
                _ => at = instruction.next_ip(),
            }
        }
    }

    /// Notes that an instruction is there, what it enters, and what it points at.
    fn note(&mut self, instruction: &Instruction, by: u8) {
        let image = self.image;
        self.notes.add(image, instruction.ip(), by);
        if let Some(door) = door(instruction) {
            self.doors.insert(instruction.ip(), door);
        }
        if let Some(target) = branch(instruction) {
            self.notes.add(image, target, ENTERED);
        }
        if instruction.is_ip_rel_memory_operand() {
            let target = instruction.ip_rel_memory_address();
            self.notes.add(image, target, COMPARED | ENTERED);
            if instruction.mnemonic() == Mnemonic::Lea {
                self.distances(target);
            }
        }
        if image.fixed {
            self.numbers(instruction);
        }
    }

    /// Notes the numbers of an instruction that can be addresses, in a file that is not moved.
    fn numbers(&mut self, instruction: &Instruction) {
        for operand in 0..instruction.op_count() {
            let wide = [OpKind::Immediate32, OpKind::Immediate64, OpKind::Immediate32to64];
            if wide.contains(&instruction.op_kind(operand)) {
                self.notes.add(self.image, instruction.immediate(operand), COMPARED | ENTERED);
            }
        }
    }

    /// Takes the data at an address for a table of distances from itself, as compilers write for `switch`, until an entry leads out of the code.
    fn distances(&mut self, table: u64) {
        let Some(bytes) = self.image.data.iter().find_map(|piece| piece.from(table)) else { return };
        for entry in bytes.chunks_exact(4).take(LONGEST_TABLE) {
            let distance = i32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
            let target = table.wrapping_add_signed(i64::from(distance));
            if !self.image.is_code(target) {
                return;
            }
            self.notes.add(self.image, target, ENTERED);
        }
    }

    /// Says of each site whether it is proven.
    fn judge(self) -> Found {
        let mut found = Found::default();
        for (address, door) in &self.doors {
            match self.reason(*address, *door) {
                Some(reason) => found.left.push(Left { address: *address, reason }),
                None => found.proven.push(*address),
            }
        }
        found.notes = self.notes;
        found
    }

    /// Why a site has to be left as it is.
    fn reason(&self, site: u64, door: Door) -> Option<Reason> {
        let (image, notes) = (self.image, &self.notes);
        let len = 2;
        if notes.at(image, site) & VOUCHED == 0 {
            return Some(Reason::Unreached);
        }
        if !notes.agree_on(image, site, len) {
            return Some(Reason::Disputed);
        }
        if door == Door::Other {
            return Some(Reason::OtherDoor);
        }
        let returns = image.signal_frames.iter().any(|frame| (frame.start..frame.end).contains(&site));
        if returns || number(image, notes, site) == Some(15) {
            return Some(Reason::Sigreturn);
        }
        (self.is_compared(site) || self.is_cancelled(site)).then_some(Reason::Compared)
    }

    /// Whether it is the one site of musl's, and of glibc's since 2.41, that a cancellation's handler looks for by its place. What both have directly before it shows it, however
    /// the handler comes by the address: r11, which a system call spoils, is kept at the place of the seventh argument.
    fn is_cancelled(&self, site: u64) -> bool {
        before(self.image, &self.notes, site).is_some_and(|kept| {
            kept.code() == Code::Mov_rm64_r64
                && kept.op1_register() == Register::R11
                && kept.memory_base() == Register::RSP
                && kept.memory_displacement64() == 8
        })
    }

    /// Whether an instruction has the address of the site, or the one behind it, as a number. That of a function is called, not compared.
    fn is_compared(&self, site: u64) -> bool {
        [site, site + 2].into_iter().any(|address| {
            let begins =
                self.image.functions.binary_search_by_key(&address, |function| function.start).is_ok();
            self.notes.at(self.image, address) & COMPARED != 0 && !begins
        })
    }
}

/// Where an instruction branches to, if it says so itself.
fn branch(instruction: &Instruction) -> Option<u64> {
    let near = [OpKind::NearBranch16, OpKind::NearBranch32, OpKind::NearBranch64];
    let branches = instruction.op_count() > 0 && near.contains(&instruction.op0_kind());
    branches.then(|| instruction.near_branch_target())
}

/// All instructions of a function, if they fill it.
fn whole(image: &Image, function: Function) -> Option<Vec<Instruction>> {
    let bytes = image.code.iter().find_map(|piece| piece.from(function.start))?;
    let len = usize::try_from(function.end.checked_sub(function.start)?).ok()?;
    let decoder = Decoder::with_ip(64, bytes.get(..len)?, function.start, DecoderOptions::NONE);
    let instructions: Vec<Instruction> = decoder.into_iter().collect();
    instructions.iter().all(|instruction| !instruction.is_invalid()).then_some(instructions)
}
