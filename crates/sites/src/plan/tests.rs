//! Sites as libraries have them, and sites that must be left.

use super::*;
use crate::find::find;
use crate::image::Function;

/// Where the code of these tests is.
const BASE: u64 = 0x4000;

/// Plans what is in one function.
fn planned(code: &[u8]) -> Plan {
    planned_with(code, &[], |_| {})
}

/// The same, with data behind it and something more known of it.
fn planned_with(code: &[u8], data: &[u8], more: impl FnOnce(&mut Image)) -> Plan {
    let pieces = vec![Piece { address: BASE, offset: 0x400, bytes: code }];
    let rest = vec![Piece { address: 0x9000, offset: 0x9000, bytes: data }];
    let mut image = Image::of(Machine::X86, pieces, rest);
    image.function(BASE, BASE + code.len() as u64);
    more(&mut image);
    plan(&image, &find(&image)).unwrap()
}

/// The ranges of a plan that leaves nothing.
fn ranges(code: &[u8]) -> Vec<(u64, u64)> {
    let plan = planned(code);
    assert_eq!(plan.left, []);
    plan.sites.iter().map(ends).collect()
}

/// Where a site's range begins and ends, counted from the code's beginning.
fn ends(site: &Site) -> (u64, u64) {
    (site.range().start - BASE, site.range().end - BASE)
}

/// The reasons of a plan without sites.
fn reasons(plan: &Plan) -> Vec<Reason> {
    assert_eq!(plan.sites, []);
    plan.left.iter().map(|left| left.reason).collect()
}

const MOV_EAX_66: [u8; 5] = [0xb8, 0x42, 0, 0, 0];
const SYSCALL_: [u8; 2] = [0x0f, 0x05];
const CMP_RAX: [u8; 6] = [0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff];
const RET: [u8; 1] = [0xc3];

#[test]
fn glibc_has_the_number_before_and_the_comparison_behind() {
    // mov $66,%eax; syscall; cmp $-4096,%rax; ja +1; ret; ret
    let code = [&MOV_EAX_66[..], &SYSCALL_, &CMP_RAX, &[0x77, 0x01], &RET, &RET].concat();
    let plan = planned(&code);
    let site = Site {
        offset: 0x400,
        address: BASE,
        before: MOV_EAX_66.to_vec(),
        after: Vec::new(),
        special: Special::None,
    };
    assert_eq!(plan, Plan { sites: vec![site], left: Vec::new() });
}

#[test]
fn musl_moves_arguments_before_its_site() {
    // mov %rdi,%rax; mov %rsi,%rdi; mov %rdx,%rsi; syscall; ret: one instruction is enough.
    let code = [&[0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6][..], &SYSCALL_, &RET].concat();
    assert_eq!(ranges(&code), [(6, 11)]);
    // Two of two bytes: push $66; pop %rax would be one byte too few alone, so xor %edi,%edi goes with it.
    let code = [&[0x31, 0xff, 0x31, 0xf6][..], &SYSCALL_, &RET].concat();
    assert_eq!(ranges(&code), [(0, 6)]);
}

#[test]
fn a_branch_to_the_site_leaves_what_is_before_it() {
    // mov $66,%eax; jmp +5; mov $66,%eax; syscall; cmp; ret: the jump arrives at the site itself.
    let code = [&MOV_EAX_66[..], &[0xeb, 0x05], &MOV_EAX_66, &SYSCALL_, &CMP_RAX, &RET].concat();
    assert_eq!(ranges(&code), [(12, 20)]);
}

#[test]
fn a_branch_to_the_comparison_leaves_what_is_behind() {
    // jne behind the site; the site with one byte before it: no room on either side.
    let code = [&[0x75, 0x03, 0x90][..], &SYSCALL_, &CMP_RAX, &RET].concat();
    assert_eq!(reasons(&planned(&code)), [Reason::Entered]);
    // The same with room before it.
    let code = [&[0x75, 0x07][..], &MOV_EAX_66, &SYSCALL_, &CMP_RAX, &RET].concat();
    assert_eq!(ranges(&code), [(2, 9)]);
}

#[test]
fn a_branch_into_the_middle_of_an_instruction_is_seen() {
    // jne into the immediate of the mov: what is there decodes as well.
    let code = [&[0x75, 0x01][..], &[0xb8, 0x90, 0x90, 0x90, 0x90], &SYSCALL_, &[0x75, 0x00], &RET].concat();
    let plan = planned(&code);
    assert_eq!(reasons(&plan), [Reason::Entered]);
}

#[test]
fn the_bytes_inside_of_another_instruction_are_not_found() {
    // mov $0x050f050f,%eax; ret; a site behind it, to show that decoding is not lost.
    let code = [&[0xb8, 0x0f, 0x05, 0x0f, 0x05][..], &MOV_EAX_66, &SYSCALL_, &RET].concat();
    let plan = planned(&code);
    assert_eq!(plan.left, []);
    assert_eq!(plan.sites.iter().map(Site::syscall).collect::<Vec<_>>(), [BASE + 10]);
}

#[test]
fn calls_branches_and_addresses_do_not_move() {
    // call -5; syscall; je +0; ret
    let code = [&[0xe8, 0xfb, 0xff, 0xff, 0xff][..], &SYSCALL_, &[0x74, 0x00], &RET].concat();
    assert_eq!(reasons(&planned(&code)), [Reason::Crowded]);
    // lea 0(%rip),%rax; syscall; ret: what it means depends on where it is.
    let code = [&[0x48, 0x8d, 0x05, 0, 0x10, 0, 0][..], &SYSCALL_, &RET].concat();
    assert_eq!(reasons(&planned(&code)), [Reason::Crowded]);
    // endbr64; syscall; ret: it is where a call arrives.
    let code = [&[0xf3, 0x0f, 0x1e, 0xfa][..], &SYSCALL_, &RET].concat();
    assert_eq!(reasons(&planned(&code)), [Reason::Crowded]);
}

#[test]
fn a_return_is_never_in_a_range() {
    let code = [&RET[..], &SYSCALL_, &RET, &RET, &RET].concat();
    assert_eq!(reasons(&planned(&code)), [Reason::Crowded]);
    // Nor is what is before the function.
    let code = [&SYSCALL_[..], &RET, &RET, &RET].concat();
    assert_eq!(reasons(&planned(&code)), [Reason::Entered]);
}

#[test]
fn two_sites_share_nothing() {
    // xor %eax,%eax; syscall; mov %rax,%rdi; syscall; ret: both want the mov, the first gets it.
    let code = [&[0x31, 0xc0][..], &SYSCALL_, &[0x48, 0x89, 0xc7], &SYSCALL_, &RET].concat();
    let plan = planned(&code);
    assert_eq!(plan.sites.iter().map(ends).collect::<Vec<_>>(), [(2, 7)]);
    assert_eq!(plan.left, [Left { address: BASE + 7, reason: Reason::Crowded }]);
}

#[test]
fn what_data_points_at_is_not_inside_of_a_range() {
    let code = [&[0x31, 0xc0, 0x31, 0xff][..], &SYSCALL_, &[0x75, 0x00], &RET].concat();
    // xor; xor; syscall: both are needed, so that the second's address would be inside.
    assert_eq!(ranges(&code), [(0, 6)]);
    let word = (BASE + 2).to_le_bytes();
    let words = planned_with(&code, &word, |image| image.pointed.extend([BASE + 2]));
    assert_eq!(reasons(&words), [Reason::Entered]);
    let first = planned_with(&code, &word, |image| image.pointed.extend([BASE]));
    assert_eq!(first.sites.len(), 1);
}

#[test]
fn a_table_of_distances_is_read() {
    // lea table(%rip),%rdx; ret; then xor; xor; syscall, with an entry that leads to the second xor.
    let distance = |to: u64| (to as i32).wrapping_sub(0x9000).to_le_bytes();
    let lea = (0x9000_i32 - (BASE as i32 + 7)).to_le_bytes();
    let site = [&[0x31, 0xc0, 0x31, 0xff][..], &SYSCALL_, &[0x75, 0x00], &RET].concat();
    let code = [&[0x48, 0x8d, 0x15][..], &lea, &RET, &site].concat();
    let table = [distance(BASE + 8), distance(BASE + 10), [0x7f; 4], distance(BASE + 12)].concat();
    assert_eq!(reasons(&planned_with(&code, &table, |_| {})), [Reason::Entered]);
    // Behind an entry that leads out of the code there is no table any more.
    let table = [distance(BASE + 8), [0x7f; 4], distance(BASE + 10)].concat();
    assert_eq!(planned_with(&code, &table, |_| {}).sites.len(), 1);
}

#[test]
fn forks_are_marked_where_their_number_is_nearby() {
    let with = |number: [u8; 5]| {
        let code = [&number[..], &[0x48, 0x89, 0xd6], &SYSCALL_, &CMP_RAX, &RET].concat();
        planned(&code).sites[0].special
    };
    assert_eq!(with([0xb8, 56, 0, 0, 0]), Special::Clone);
    assert_eq!(with([0xb8, 57, 0, 0, 0]), Special::Clone);
    assert_eq!(with([0xb8, 58, 0, 0, 0]), Special::Vfork);
    assert_eq!(with([0xb8, 0xb3, 0x01, 0, 0]), Special::Clone3);
    assert_eq!(with([0xb8, 59, 0, 0, 0]), Special::None);
    // push $58; pop %rax
    let code = [&[0x6a, 58, 0x58][..], &SYSCALL_, &RET].concat();
    assert_eq!(planned(&code).sites[0].special, Special::Vfork);
    // A number that holds on one way only is none.
    let code =
        [&[0x75, 0x05][..], &[0xb8, 58, 0, 0, 0], &[0x48, 0x89, 0xd6], &SYSCALL_, &CMP_RAX, &RET].concat();
    assert_eq!(planned(&code).sites[0].special, Special::None);
}

#[test]
fn the_return_from_a_handler_is_left() {
    // mov $15,%rax; syscall
    let code = [&[0x48, 0xc7, 0xc0, 15, 0, 0, 0][..], &SYSCALL_].concat();
    assert_eq!(reasons(&planned(&code)), [Reason::Sigreturn]);
    // By its frame, whatever the number.
    let code = [&MOV_EAX_66[..], &SYSCALL_, &RET].concat();
    let plan = planned_with(&code, &[], |image| {
        image.signal_frames.push(Function { start: BASE, end: BASE + 8 });
    });
    assert_eq!(reasons(&plan), [Reason::Sigreturn]);
}

#[test]
fn a_site_whose_end_is_compared_with_is_left() {
    // mov %rdx,8(%rsp); syscall; ret, and somewhere else lea of the address behind the syscall.
    let site = [&[0x48, 0x89, 0x54, 0x24, 0x08][..], &SYSCALL_, &RET].concat();
    let back = (7_i32 - 15).to_le_bytes();
    let code = [&site[..], &[0x48, 0x8d, 0x05], &back, &RET].concat();
    assert_eq!(reasons(&planned(&code)), [Reason::Compared]);
    assert_eq!(planned(&site).sites.len(), 1);
    // In a program that is not moved the number is in the instruction: cmp $address,%rax.
    let number = (BASE as u32 + 7).to_le_bytes();
    let code = [&site[..], &[0x48, 0x3d], &number, &RET].concat();
    assert_eq!(reasons(&planned_with(&code, &[], |image| image.fixed = true)), [Reason::Compared]);
    assert_eq!(planned(&code).sites.len(), 1);
}

#[test]
fn the_cancellation_point_is_left() {
    // mov 16(%rsp),%r9; mov %r11,8(%rsp); syscall; ret, with nothing that names an address of it.
    let code = [&[0x4c, 0x8b, 0x4c, 0x24, 0x10, 0x4c, 0x89, 0x5c, 0x24, 0x08][..], &SYSCALL_, &RET].concat();
    assert_eq!(reasons(&planned(&code)), [Reason::Compared]);
    // At another place of the stack it is no such point.
    let code = [&[0x4c, 0x89, 0x5c, 0x24, 0x18][..], &SYSCALL_, &RET].concat();
    assert_eq!(ranges(&code), [(0, 7)]);
}

#[test]
fn other_doors_are_counted() {
    let code = [&MOV_EAX_66[..], &[0xcd, 0x80, 0x0f, 0x34, 0xcd, 0x03], &RET].concat();
    assert_eq!(reasons(&planned(&code)), [Reason::OtherDoor, Reason::OtherDoor]);
}

#[test]
fn what_no_start_leads_to_is_left() {
    let code = [&RET[..], &MOV_EAX_66, &SYSCALL_, &RET].concat();
    let pieces = vec![Piece { address: BASE, offset: 0, bytes: &code }];
    let mut image = Image::of(Machine::X86, pieces, Vec::new());
    image.starts.push(BASE);
    assert_eq!(reasons(&plan(&image, &find(&image)).unwrap()), [Reason::Unreached]);
    // A start that leads there by a jump is enough.
    image.starts.push(BASE + 1);
    assert_eq!(plan(&image, &find(&image)).unwrap().sites.len(), 1);
}

#[test]
fn decodings_that_do_not_agree_leave_the_site() {
    // The section begins with a byte that is no code; with it, the sweep takes the mov for something else.
    let code = [&[0x48][..], &[0x31, 0xc0, 0x31, 0xff], &[0xb8], &SYSCALL_, &[0x90, 0x90], &RET].concat();
    let pieces = vec![Piece { address: BASE, offset: 0, bytes: &code }];
    let mut image = Image::of(Machine::X86, pieces, Vec::new());
    // The sweep has mov $…,%eax over the syscall; a symbol says that an instruction begins there.
    image.starts.push(BASE + 6);
    assert_eq!(reasons(&plan(&image, &find(&image)).unwrap()), [Reason::Disputed]);
}

#[test]
fn a_function_that_does_not_end_where_it_should_vouches_for_nothing() {
    let code = [&RET[..], &MOV_EAX_66, &SYSCALL_, &RET, &[0xb8, 0, 0, 0, 0]].concat();
    let pieces = vec![Piece { address: BASE, offset: 0, bytes: &code }];
    let mut image = Image::of(Machine::X86, pieces, Vec::new());
    // Its end is in the middle of the last mov, and behind its first return no flow goes on.
    image.function(BASE, BASE + 11);
    assert_eq!(reasons(&plan(&image, &find(&image)).unwrap()), [Reason::Unreached]);
}

#[test]
fn there_are_no_plans_for_aarch64() {
    let image = Image::of(Machine::Arm, Vec::new(), Vec::new());
    assert_eq!(plan(&image, &find(&image)), Err(Error::NoPlans(Machine::Arm)));
}
