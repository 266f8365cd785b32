//! The hand-written scripts: every flag, command and errno of the manual pages, one file a mechanism.

use super::script::{self, Case};

mod life;
mod msg;
mod proc;
mod sem;
mod shm;

/// All of them.
pub fn all() -> Vec<Case> {
    [msg::CASES, sem::CASES, shm::CASES, life::CASES, proc::CASES]
        .into_iter()
        .flat_map(script::cases)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::all;
    use crate::oracle::script::Step;
    use std::collections::HashSet;

    #[test]
    fn every_line_of_every_case_is_a_step() {
        let mut names = HashSet::new();
        for case in all() {
            for line in &case.lines {
                if let Err(e) = Step::parse(line) {
                    panic!("case {}: {e}", case.name);
                }
            }
            assert!(!case.lines.is_empty(), "case {} is empty", case.name);
            assert!(names.insert(case.name.clone()), "two cases are called {}", case.name);
        }
    }
}
