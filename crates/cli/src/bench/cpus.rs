//! Which CPUs there are, and who runs where.

use super::measure::Work;
use rustix::thread::CpuSet;

/// The CPUs that this process may use.
pub(super) fn cpus() -> Work<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None).map_err(|why| format!("sched_getaffinity: {why}"))?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

/// Keeps this process on these CPUs.
pub(super) fn pin(cpus: &[usize]) -> Work<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    rustix::thread::sched_setaffinity(None, &set).map_err(|why| format!("sched_setaffinity: {why}"))
}

/// Two CPUs, if there are.
pub(super) fn two_cpus() -> Work<[usize; 2]> {
    match cpus()?[..] {
        [one, two, ..] => Ok([one, two]),
        _ => Err("needs two CPUs".to_string()),
    }
}
