//! What a plan is compared with: the instructions that binutils' objdump decodes, and the symbols that its nm lists.

use ring3_sites::{Plan, Reason};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// What objdump decoded.
#[derive(Debug, Default)]
struct Decoded {
    /// Where instructions begin, and where sections' code ends.
    starts: BTreeSet<u64>,
    /// Which of them are `syscall`.
    syscalls: BTreeSet<u64>,
    /// Which of them are `int $0x80` and `sysenter`.
    others: BTreeSet<u64>,
}

impl Decoded {
    /// Reads its output.
    fn read(text: &str) -> Decoded {
        let mut decoded = Decoded::default();
        let lines = text.lines().filter_map(|line| line.strip_prefix(' ')?.split_once(":\t"));
        for (address, instruction) in lines {
            let Ok(address) = u64::from_str_radix(address.trim(), 16) else { continue };
            decoded.starts.insert(address);
            let words: Vec<&str> = instruction.split_whitespace().collect();
            match words[..] {
                ["syscall", ..] => drop(decoded.syscalls.insert(address)),
                ["int", "$0x80"] | ["sysenter", ..] => drop(decoded.others.insert(address)),
                _ => {}
            }
        }
        decoded
    }
}

/// Says what of a plan the second decoder and the symbols contradict.
pub(super) fn compare(path: &Path, symbols: Option<&Path>, plan: &Plan) -> Result<Vec<String>, String> {
    let text = printed("objdump", &["-d", "-z", "-w", "--no-show-raw-insn"], path)?;
    let mut wrong = contradictions(&Decoded::read(&text), plan);
    for (options, file) in [(&["-a"][..], Some(path)), (&["-D"], Some(path)), (&["-a"], symbols)] {
        if let Some(file) = file {
            wrong.extend(inside(&named(&printed("nm", options, file)?), plan));
        }
    }
    Ok(wrong)
}

/// Compares the decoders.
fn contradictions(decoded: &Decoded, plan: &Plan) -> Vec<String> {
    let left = |other: bool| {
        let left = plan.left.iter().filter(move |left| (left.reason == Reason::OtherDoor) == other);
        left.map(|left| left.address)
    };
    let syscalls: BTreeSet<u64> = plan.sites.iter().map(|site| site.syscall()).chain(left(false)).collect();
    let others: BTreeSet<u64> = left(true).collect();
    let mut wrong = Vec::new();
    let differ = |one: &BTreeSet<u64>, two: &BTreeSet<u64>, what: &str| -> Vec<String> {
        one.difference(two).map(|address| format!("{address:#x}: {what}")).collect()
    };
    wrong.extend(differ(&decoded.syscalls, &syscalls, "a syscall for objdump alone"));
    wrong.extend(differ(&syscalls, &decoded.syscalls, "no syscall for objdump"));
    wrong.extend(differ(&decoded.others, &others, "another door for objdump alone"));
    wrong.extend(differ(&others, &decoded.others, "no other door for objdump"));
    for site in &plan.sites {
        // Who begins at a range's first byte and comes to the site decodes the same instructions.
        if !decoded.starts.contains(&site.address) || !decoded.syscalls.contains(&site.syscall()) {
            wrong.push(format!("{:#x}: its range begins elsewhere for objdump", site.syscall()));
        }
        let end = site.range().end;
        let next = decoded.starts.range(site.syscall() + 2..).next();
        if !site.after.is_empty() && !decoded.starts.contains(&end) && next.is_some_and(|next| *next < end) {
            wrong.push(format!("{:#x}: its range ends elsewhere for objdump", site.syscall()));
        }
    }
    wrong
}

/// The addresses of nm's output.
fn named(text: &str) -> BTreeSet<u64> {
    text.lines().filter_map(|line| u64::from_str_radix(line.split(' ').next()?, 16).ok()).collect()
}

/// The symbols inside of ranges.
fn inside(symbols: &BTreeSet<u64>, plan: &Plan) -> Vec<String> {
    let within = |site: &ring3_sites::Site| symbols.range(site.address + 1..site.range().end).next().copied();
    let sites = plan.sites.iter().filter_map(|site| Some((site, within(site)?)));
    sites.map(|(site, at)| format!("{:#x}: a symbol lies in its range, at {at:#x}", site.syscall())).collect()
}

/// What a tool of binutils prints of a file.
fn printed(tool: &str, options: &[&str], path: &Path) -> Result<String, String> {
    let output = Command::new("timeout").args(["300", tool]).args(options).arg(path).output();
    let output = output.map_err(|why| format!("cannot run {tool}: {why}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{tool} failed: {}", complaint.lines().next().unwrap_or("it said nothing")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring3_sites::{Left, Site, Special};

    const TEXT: &str = "\nx:     file format elf64-x86-64\n\n0000000000001000 <f>:\n    1000:\tmov    $0x42,%eax\n    1005:\tsyscall\n    1007:\tint    $0x80\n    1009:\tret\n";

    fn plan() -> Plan {
        let site = Site {
            offset: 0,
            address: 0x1000,
            before: vec![0xb8, 0x42, 0, 0, 0],
            after: Vec::new(),
            special: Special::None,
        };
        Plan { sites: vec![site], left: vec![Left { address: 0x1007, reason: Reason::OtherDoor }] }
    }

    #[test]
    fn what_both_have_is_not_wrong() {
        assert_eq!(contradictions(&Decoded::read(TEXT), &plan()), Vec::<String>::new());
    }

    #[test]
    fn what_one_has_is_wrong() {
        let without = TEXT.replace("syscall", "nop");
        assert_eq!(contradictions(&Decoded::read(&without), &plan()).len(), 2);
        let elsewhere = TEXT.replace("1000:\t", "1001:\t");
        assert_eq!(contradictions(&Decoded::read(&elsewhere), &plan()).len(), 1);
        assert_eq!(contradictions(&Decoded::read(TEXT), &Plan::default()).len(), 2);
    }

    #[test]
    fn a_symbol_may_be_at_a_ranges_first_byte_only() {
        let text = "0000000000001000 T f\n                 U g\n0000000000001007 t h\n";
        assert_eq!(inside(&named(text), &plan()), Vec::<String>::new());
        assert_eq!(inside(&named("0000000000001005 t inner\n"), &plan()).len(), 1);
    }
}
