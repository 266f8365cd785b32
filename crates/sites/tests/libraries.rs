//! This machine's own libraries: what is planned decodes again, and means the same in a trampoline far away.

#![cfg(target_os = "linux")]

use iced_x86::{BlockEncoder, BlockEncoderOptions, Decoder, DecoderOptions, Instruction, InstructionBlock};
use ring3_sites::image::Machine;
use ring3_sites::{Claim, Identity, Image, List, Plan, Site, Special, find, plan};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// How far a trampoline can be.
const FAR: u64 = 1 << 30;

/// The files that this very program has mapped and that are libraries; none where it is linked statically.
fn libraries() -> Vec<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps.lines().filter_map(|line| line.split_once('/').map(|(_, path)| format!("/{path}")));
    let wanted = ["libc.so", "libc-", "ld-linux", "ld-musl", "ld-2"];
    let names = paths.filter(|path| wanted.iter().any(|part| path.contains(part)));
    let found: Vec<PathBuf> = names.collect::<BTreeSet<_>>().into_iter().map(PathBuf::from).collect();
    assert!(!found.is_empty() || cfg!(target_feature = "crt-static"), "this program has no library");
    found
}

fn decoded(code: &[u8], address: u64) -> Vec<Instruction> {
    Decoder::with_ip(64, code, address, DecoderOptions::NONE).into_iter().collect()
}

/// Says that two instructions are the same but for where they are.
fn same(one: &Instruction, other: &Instruction) -> bool {
    let operands = (0..one.op_count()).all(|n| {
        one.op_kind(n) == other.op_kind(n)
            && one.op_register(n) == other.op_register(n)
            && one.try_immediate(n).ok() == other.try_immediate(n).ok()
    });
    let place = one.memory_base() == other.memory_base()
        && one.memory_index() == other.memory_index()
        && one.memory_index_scale() == other.memory_index_scale()
        && one.segment_prefix() == other.segment_prefix()
        && one.memory_displacement64() == other.memory_displacement64();
    one.code() == other.code() && one.op_count() == other.op_count() && operands && place
}

fn check(site: &Site) {
    let code = site.code();
    let here = decoded(&code, site.address);
    assert!(here.iter().all(|instruction| !instruction.is_invalid()), "{:#x}", site.address);
    assert_eq!(here.iter().map(Instruction::len).sum::<usize>(), code.len());
    let calls = here.iter().filter(|instruction| instruction.code() == iced_x86::Code::Syscall);
    assert_eq!(calls.map(Instruction::ip).collect::<Vec<_>>(), [site.syscall()]);
    for there in [site.address.wrapping_add(FAR), site.address.wrapping_sub(FAR)] {
        let block = InstructionBlock::new(&here, there);
        let encoded = BlockEncoder::encode(64, block, BlockEncoderOptions::NONE).unwrap();
        let again = decoded(&encoded.code_buffer, there);
        assert_eq!(again.len(), here.len());
        assert!(here.iter().zip(&again).all(|(one, other)| same(one, other)), "{:#x}", site.address);
        // A trampoline has the bytes as they are, which is the same again.
        let copied = decoded(&code, there);
        assert!(here.iter().zip(&copied).all(|(one, other)| same(one, other)), "{:#x}", site.address);
    }
}

fn planned(file: &[u8]) -> Option<Plan> {
    let image = Image::read(file).unwrap();
    (image.machine == Machine::X86).then(|| plan(&image, &find(&image)).unwrap())
}

#[test]
fn what_is_planned_means_the_same_far_away() {
    for path in libraries() {
        let file = std::fs::read(&path).unwrap();
        let Some(plan) = planned(&file) else { continue };
        plan.sites.iter().for_each(check);
        let ordered = plan.sites.windows(2).all(|pair| pair[0].range().end <= pair[1].range().start);
        assert!(ordered, "{}", path.display());
        let all = plan.sites.len() + plan.left.len();
        assert!(plan.sites.len() * 10 >= all * 8, "{}: {} of {all}", path.display(), plan.sites.len());
    }
}

#[test]
fn a_list_fits_its_library_and_no_changed_one() {
    for path in libraries() {
        let mut file = std::fs::read(&path).unwrap();
        let Some(plan) = planned(&file) else { continue };
        let identity = Identity::of(&Image::read(&file).unwrap().build_id.unwrap_or(vec![1])).unwrap();
        let list = List::new(identity.clone(), &plan);
        let claim = Claim::read(&list.write()).unwrap();
        assert_eq!(claim.clone().verify(&identity, &file), Ok(list));
        let last = plan.sites.last().unwrap();
        file[last.offset as usize] ^= 1;
        assert!(claim.verify(&identity, &file).is_err());
    }
}

#[test]
fn libc_has_forks_that_are_marked() {
    let Some(path) = libraries().into_iter().find(|path| path.to_string_lossy().contains("libc")) else {
        return;
    };
    let Some(plan) = planned(&std::fs::read(path).unwrap()) else { return };
    assert!(plan.sites.iter().any(|site| site.special == Special::Vfork || site.special == Special::Clone));
}
