//! `ring3`: System V IPC in user space, from one command.
//!
//! What was typed leads to one function; whatever goes wrong comes back here as a [`fault::Fault`], is said
//! once on standard error and becomes the exit status. Usage errors end with 2, as clap has it.

#![deny(unsafe_code)]

mod agent;
mod alias;
mod args;
mod bench;
mod broker;
mod client;
mod doctor;
mod family;
mod fault;
mod install;
mod keeper;
mod launch;
mod leak;
mod limit;
mod lookout;
mod ls;
mod manual;
mod narrow;
mod notify;
mod place;
mod rm;
mod run;
mod selection;
mod serve;
mod stop;
mod sys;
mod table;
mod users;

use args::{Command, Ring3};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match Ring3::parse().command {
        Command::Run(args) => run::main(&args),
        Command::Serve(args) => serve::main(&args),
        Command::Stop(args) => stop::main(&args),
        Command::Ls(args) => ls::main(&args),
        Command::Rm(args) => rm::main(&args),
        Command::Doctor => doctor::main(),
        Command::Bench(args) => bench::main(&args),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man => manual::page(),
        Command::BenchWorker(args) => bench::worker::main(&args),
    };
    done.map_or_else(
        |fault| {
            eprintln!("ring3: {fault}");
            ExitCode::from(fault.status)
        },
        ExitCode::from,
    )
}
