//! `cargo xtask`: house checks, the test command, the oracle and the death harness.
//!
//! One file a command; `test.rs` runs all of them and is what continuous integration calls.

#![allow(clippy::print_stdout, reason = "a command prints its results")]

mod breaks;
mod cargo;
mod counts;
mod death;
mod family;
mod fuzz;
mod ipc;
mod layers;
mod licences;
mod model;
mod oracle;
mod performance;
mod permissions;
mod ptrace;
mod scale;
mod sites;
mod so_check;
mod storm;
mod test;
mod tidy;

use std::process::ExitCode;

/// What `cargo xtask` prints without a command.
const USAGE: &str = "cargo xtask COMMAND

  test [--quick]       everything that must pass; does its own set-up
  tidy                 the house rules that a program can check
  layers               which crate may use which, compared with the manifests
  licences             licences of everything that is built in
  so-check [FILE]      what the agent needs and exports
  sites [FILE…]        which system calls of libraries can be replaced by a jump, beside a second decoder
  model [--rounds N]   the engine's calls under schedules that switch before each access
  oracle [ARGUMENT…]   the same calls on the kernel and on ring3
  permissions [--short] [--only IDENTITY]
                       who may do what to an object of which mode, on the kernel and on ring3
  death [--sample N] [--seed S] [--stop] [--native] [--only NAME] [--jobs N] [--list]
                       single-steps calls and kills after every instruction
  breaks [--only NAME,…] [--list] [--check]
                       takes a promise out of a copy of the tree: does anything notice?
  storm [--minutes N] [--kill clients[,broker,keeper]] [--workers N] [--seed S] [--native]
                       processes at work on shared objects while they are killed: lost, doubled, torn, stuck
  scale [--part N] [--only waiters|objects] [--alone]
                       as many objects, processes and sleepers as there may be, on ring3 and on the kernel
  fuzz [--minutes N] [--only live|wire|queue|set] [--seed S]
                       garbage that knows the formats: libFuzzer's targets, and a hostile process beside honest ones
  counts [--only ROW] [--bless] [--trace ROW] [--ring3 FILE]
                       how many instructions a call takes, compared with docs/counts.txt; where they go
  performance [--rounds N] [--time MS] [--to FILE | --from FILE]
                       measures, and writes the tables and the plot of docs/performance.md";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, rest)) = arguments.split_first() else {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    };
    let done = match command.as_str() {
        "test" => test::run(rest),
        "tidy" => tidy::run(),
        "layers" => layers::run(),
        "licences" => licences::run(),
        "so-check" => so_check::run(rest),
        "sites" => sites::run(rest),
        "model" => model::run(rest),
        "oracle" => oracle::run(rest),
        "permissions" => permissions::run(rest),
        "death" => death::run(rest),
        "breaks" => breaks::run(rest),
        "counts" => counts::run(rest),
        "performance" => performance::run(rest),
        "storm" => storm::run(rest),
        "storm-inside" => storm::inside(rest),
        "storm-worker" => storm::again(rest),
        "scale" => scale::run(rest),
        "scale-inside" => scale::inside(rest),
        "fuzz" => fuzz::run(rest),
        "fuzz-inside" => fuzz::inside(rest),
        "counts-inside" => counts::inside(rest),
        "death-inside" => death::inside(rest),
        "--help" | "-h" | "help" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(format!("no command \"{other}\"\n\n{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
