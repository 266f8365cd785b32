//! Names for addresses of this process: the victims are forked from it, so theirs are the same.

use std::fs;
use std::process::Command;

/// Says what stands at an address: function and line where they can be had, else file and offset.
pub(super) fn name(address: u64) -> String {
    let Some((file, offset)) = file(address) else { return format!("{address:#x}") };
    let short = file.rsplit('/').next().unwrap_or(&file);
    let plain = format!("{short}+{offset:#x}");
    let output = Command::new("addr2line").args(["-Cfpie", &file, &format!("{offset:#x}")]).output();
    let text =
        output.map(|output| String::from_utf8_lossy(&output.stdout).replace('\n', ";")).unwrap_or_default();
    if text.is_empty() || text.starts_with("??") {
        plain
    } else {
        format!("{plain} [{}]", text.trim_end_matches(';'))
    }
}

/// Finds the mapped file that an address belongs to, and the offset from where the file's mappings begin.
fn file(address: u64) -> Option<(String, u64)> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let mut begins: Option<(String, u64)> = None;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        let path = words.nth(4).unwrap_or_default();
        if begins.as_ref().is_none_or(|(begun, _)| begun != path) {
            begins = Some((path.to_owned(), from));
        }
        if (from..to).contains(&address) {
            return begins
                .filter(|(path, _)| path.starts_with('/'))
                .map(|(path, base)| (path, address - base));
        }
    }
    None
}
