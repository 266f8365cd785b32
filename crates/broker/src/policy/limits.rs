//! The settable limits: who may set them, and the text of their files.
//! proc(5); kernel: ipc/ipc_sysctl.c, ipc_permissions(), __do_proc_dointvec(), __do_proc_doulongvec_minmax(), kernel/sysctl.c.

use super::creds::{Capability, Creds};
use crate::abroad;
use crate::namespace::{Namespace, Trouble};
use crate::serve::client::Answer;
use ring3_abi::Errno;
use ring3_abi::limits::{Limit, Limits, Range};
use ring3_wire::request::{ProcFile, SetLimit};

/// Whether somebody may set a limit: the namespace's owner and root, also that of the user namespace it belongs to, may set all, and who may restore checkpoints those that ask for an
/// identifier. kernel: ipc_permissions().
fn may_set(ns: &Namespace, creds: &Creds, next_id: bool) -> bool {
    creds.uid == ns.owner
        || creds.uid == 0
        || abroad::is_root_there(ns, creds)
        || next_id && (creds.capable(Capability::CheckpointRestore) || creds.capable(Capability::SysAdmin))
}

/// Whether somebody may write to a file of limits.
pub(crate) fn may_set_file(ns: &Namespace, creds: &Creds, file: ProcFile) -> bool {
    may_set(ns, creds, file.limits().any(Limit::is_next_id))
}

/// SetLimit: sets one limit.
pub(crate) fn set_limit(ns: &mut Namespace, creds: &Creds, ask: &SetLimit) -> Result<Answer, Trouble> {
    let which = ask.limit.known().ok_or(Errno::EINVAL)?;
    if !may_set(ns, creds, false) {
        return Err(Errno::EPERM.into());
    }
    let mut new = *ns.limits();
    set(&mut new, which, ask.value)?;
    ns.apply_limits(new);
    Ok(Answer::default())
}

/// Sets one limit. Unsigned limits come as their bits.
///
/// # Errors
/// `EINVAL` out of range; `ERANGE` for the fourth number of `sem`, as the kernel has it.
fn set(limits: &mut Limits, which: Limit, value: i64) -> Result<(), Errno> {
    if !which.row().range.allows(value) {
        return Err(if which == Limit::Semmni { Errno::ERANGE } else { Errno::EINVAL });
    }
    // The kernel takes this value and forgets it: reading gives 0 for ever.
    if which != Limit::AutoMsgmni {
        limits.put(which, value);
    }
    Ok(())
}

fn value(limits: &Limits, which: Limit) -> String {
    let signed = limits.get(which);
    if which.row().range == Range::Unsigned { signed.cast_unsigned().to_string() } else { signed.to_string() }
}

/// What reading a file of limits gives.
pub(crate) fn text(limits: &Limits, file: ProcFile) -> String {
    let values: Vec<String> = file.limits().map(|which| value(limits, which)).collect();
    values.join("\t") + "\n"
}

/// What writing `text` to a file does. As in the kernel, numbers before a bad one are set; what follows the last wanted one is not looked at.
///
/// # Errors
/// `EINVAL` for what is no number, or one out of range; `ERANGE` for too many sets.
pub(crate) fn write(limits: &mut Limits, file: ProcFile, text: &[u8]) -> Result<(), Errno> {
    if text.is_empty() {
        return Ok(());
    }
    let mut rest = text;
    let mut first = true;
    for which in file.limits() {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            break;
        }
        let (number, after) = number(rest)?;
        let wide = which.row().range == Range::Unsigned;
        let fitting = match (number.negative, wide) {
            (true, true) => None,
            (false, true) => Some(number.amount.cast_signed()),
            (negative, false) => {
                i64::try_from(number.amount).ok().map(|n| if negative { -n } else { n }).filter(in_int)
            }
        };
        set(limits, which, fitting.ok_or(Errno::EINVAL)?)?;
        rest = after;
        first = false;
    }
    if first { Err(Errno::EINVAL) } else { Ok(()) }
}

fn in_int(n: &i64) -> bool {
    i32::try_from(*n).is_ok()
}

struct Number {
    negative: bool,
    amount: u64,
}

/// Longest number the kernel looks at, its sign included.
const LONGEST: usize = 21;

/// Reads a number in any of C's three bases; a space, tab, newline or the end must follow. kernel: proc_get_long().
fn number(text: &[u8]) -> Result<(Number, &[u8]), Errno> {
    let len = text.iter().position(|byte| b" \t\n\0".contains(byte)).unwrap_or(text.len());
    let (word, rest) = text.split_at(len);
    let word = std::str::from_utf8(word).map_err(|_| Errno::EINVAL)?;
    if word.len() > LONGEST {
        return Err(Errno::EINVAL);
    }
    let (negative, digits) = word.strip_prefix('-').map_or((false, word), |digits| (true, digits));
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Errno::EINVAL);
    }
    let amount = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8),
        None => digits.parse(),
    };
    Ok((Number { negative, amount: amount.map_err(|_| Errno::EINVAL)? }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux 6.18 did with the same writes.
    #[test]
    fn writes_as_the_kernel_takes_them() {
        let mut limits = Limits::default();
        let mut check = |file, written: &str, result: Result<(), Errno>, then: &str| {
            assert_eq!(write(&mut limits, file, written.as_bytes()), result, "{written:?}");
            assert_eq!(text(&limits, file), then, "{written:?}");
        };
        let bad = Err(Errno::EINVAL);
        check(ProcFile::Msgmax, "0x20", Ok(()), "32\n");
        check(ProcFile::Msgmax, "010", Ok(()), "8\n");
        check(ProcFile::Msgmax, "-1", bad, "8\n");
        check(ProcFile::Msgmax, " 9 \n", Ok(()), "9\n");
        check(ProcFile::Msgmax, "8 9", Ok(()), "8\n");
        for written in ["8x", "\n", "2147483648", "+3", "00000000000000000000000000012"] {
            check(ProcFile::Msgmax, written, bad, "8\n");
        }
        check(ProcFile::Msgmax, "", Ok(()), "8\n");
        check(ProcFile::Msgmni, "32768", Ok(()), "32768\n");
        check(ProcFile::Msgmni, "32769", bad, "32768\n");
        check(ProcFile::Sem, "1 2", Ok(()), "1\t2\t500\t32000\n");
        check(ProcFile::Sem, "1 2 3 40000", Err(Errno::ERANGE), "1\t2\t3\t32000\n");
        check(ProcFile::Sem, "-1 5 x 6", bad, "-1\t5\t3\t32000\n");
        check(ProcFile::Sem, "10 20 30 40 50", Ok(()), "10\t20\t30\t40\n");
        check(ProcFile::Shmmax, "18446744073709551615", Ok(()), "18446744073709551615\n");
        check(ProcFile::Shmmax, "18446744073709551616", bad, "18446744073709551615\n");
        check(ProcFile::Shmmax, "-1", bad, "18446744073709551615\n");
        check(ProcFile::Shmmax, "0xfff", Ok(()), "4095\n");
        check(ProcFile::AutoMsgmni, "1", Ok(()), "0\n");
        check(ProcFile::AutoMsgmni, "2", bad, "0\n");
        check(ProcFile::ShmRmidForced, "1", Ok(()), "1\n");
        check(ProcFile::ShmNextId, "77", Ok(()), "77\n");
        check(ProcFile::ShmNextId, "-1", bad, "77\n");
        check(ProcFile::Sem, "32000\n1024000000\n500\n32000\n", Ok(()), "32000\t1024000000\t500\t32000\n");
    }
}
